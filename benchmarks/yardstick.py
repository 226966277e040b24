"""Reranking against tuned fusion on judged collections: the tables of docs/quality.md.

All candidates are read (`policy.effort` is ``full``).

    python benchmarks/yardstick.py DIR... --queries 200 --seed 0

Scores are kept in the cache folder (see ``vecdb-rerank config``), so that a second run is fast and
an interrupted one continues. ``--json FOLDER`` also writes one snapshot per collection, as
``vecdb-rerank evaluate --json`` does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from vecdb_rerank.config.settings import Settings
from vecdb_rerank.evaluation import datasets
from vecdb_rerank.evaluation.evaluate import evaluate
from vecdb_rerank.evaluation.report.tables import changed
from vecdb_rerank.evaluation.result import EvaluationResult
from vecdb_rerank.evaluation.yardstick import Difference

ROWS = (
    "bm25",
    "dense",
    "hybrid",
    "tuned fusion",
    "reranked",
    "tuned reranking",
    "perfect order",
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def quality(result: EvaluationResult) -> list[str]:
    measured = result["yardstick"]
    rows = {row["name"]: f"{row['ndcg@10']:.3f}" for row in measured["rows"]}
    mark = "*" if measured["small"] else ""
    return [f"{result['dataset']}{mark}", str(result["queries"]), *(rows[name] for name in ROWS)]


def gains(result: EvaluationResult) -> list[str]:
    measured = result["yardstick"]
    [against_fusion] = [r["difference"] for r in measured["rows"] if r["name"] == "reranked"]
    return [
        result["dataset"],
        shown(against_fusion),
        measured["best"],
        shown(measured["gain"]),
        shown(measured["tuned_gain"]),
        result["verdict"]["answer"],
    ]


def shown(difference: Difference | None) -> str:
    return "" if difference is None else changed(difference["change"], difference["interval"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    settings = Settings(backend={"path": ":memory:"}, policy={"effort": "full"})
    results = []
    for folder in options.folders:
        dataset = datasets.load(folder).sample(options.queries, options.seed)
        results.append(evaluate(settings, dataset, modes=["hybrid"], cache=True))
        if options.json is not None:
            file = options.json / f"{dataset.name}.json"
            file.write_text(json.dumps(results[-1]), encoding="utf-8")
    print(table(("collection", "queries", *ROWS), [quality(one) for one in results]))
    print()
    head = (
        *("collection", "reranked against tuned fusion", "best without a reranker"),
        *("reranked against that", "with tuned reranking", "reranking"),
    )
    print(table(head, [gains(one) for one in results]))
    print()
    answers = [result["verdict"]["answer"] for result in results]
    counted = ", ".join(f"{answer} on {answers.count(answer)}" for answer in dict.fromkeys(answers))
    print(f"Of {len(answers)} collections, reranking {counted}.")


if __name__ == "__main__":
    main()
