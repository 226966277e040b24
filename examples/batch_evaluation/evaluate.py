"""Compare configurations on judged queries and print a table; a gate for continuous integration.

python evaluate.py collection

The exit code is 1 if the default's NDCG@10 is more than 0.01 below that of its own first pass.
"""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vecdb_rerank.config.loading import load
from vecdb_rerank.evaluation import datasets
from vecdb_rerank.evaluation.evaluate import evaluate

BACKEND = {"path": ":memory:"}  # or {"type": "opensearch", "url": "..."}
CONFIGURATIONS = {
    "default, k=50": (50, {}),
    "default, k=10": (10, {}),
    "reranker alone, k=50": (50, {"policy": {"blend": {"method": "replace"}}}),
    "titles alone, k=50": (50, {"text_fields": {"fields": ["title"]}}),
}
FIRST_PASS, RERANKED = "hybrid", "hybrid+rerank"
TOLERANCE = 0.01

dataset = datasets.load(Path(sys.argv[1]))
table = Table(title=f"{dataset.name}: {len(dataset.queries)} queries")
for column in ("configuration", "first pass", "reranked", "recall", "p50 ms"):
    table.add_column(column, justify="left" if column == "configuration" else "right")

lost = False
for name, (k, settings) in CONFIGURATIONS.items():
    loaded = load(backend=BACKEND, **settings)
    stages = evaluate(loaded.settings, dataset, modes=["hybrid"], k=k)["stages"]
    before, after = stages[FIRST_PASS], stages[RERANKED]
    table.add_row(
        name,
        f"{before['ndcg@10']:.3f}",
        f"{after['ndcg@10']:.3f}",
        f"{before[f'recall@{k}']:.3f}",
        f"{after['latency_ms']['p50']:.0f}",
    )
    if name.startswith("default"):
        lost |= after["ndcg@10"] < before["ndcg@10"] - TOLERANCE

Console().print(table)
sys.exit(1 if lost else 0)
