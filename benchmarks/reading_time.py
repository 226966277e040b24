"""Time searches by what is read, in one run.

    python -m benchmarks.reading_time DIR [--queries 30] [--seed 0] [--concurrent 16]

The documents go to an embedded Qdrant in memory. Each query is searched (hybrid, k=50, the bundled
models, no caches) under each policy in turn. Prints the median and the 95th percentile of the times
of whole searches and of reranking, the mean number of documents read, and the median time against
reading all; then how long ``--concurrent`` searches at once take.
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vecdb_rerank import Outcome, Policy, observe
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.evaluation import datasets
from vecdb_rerank.evaluation.connector import EvaluatedConnector, temporary_connector
from vecdb_rerank.policy.passages import Passages

POLICIES = {
    "full": Policy(effort="full", deadline=None),
    "auto": Policy(effort="auto", deadline=None),
    "full, focus": Policy(effort="full", passages=Passages("focus"), deadline=None),
    "auto, focus": Policy(effort="auto", passages=Passages("focus"), deadline=None),
}


def searched(connector: EvaluatedConnector, query: str, policy: Policy) -> Outcome:
    """Search once; return the outcome."""
    with observe() as outcomes:
        connector.search(query, k=50, limit=10, rerank=policy)
    return outcomes[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--concurrent", type=int, default=16)
    options = parser.parse_args()
    dataset = datasets.load(options.folder).sample(options.queries, options.seed)
    settings = Settings(backend={"path": ":memory:"})
    found: dict[str, list[Outcome]] = {name: [] for name in POLICIES}
    with temporary_connector(settings, dataset, lambda *_: None) as connector:
        texts = list(dataset.queries.values())
        searched(connector, texts[0], POLICIES["full"])  # loads the models
        for text in texts:
            for name, policy in POLICIES.items():
                found[name].append(searched(connector, text, policy))
        print("| policy | search, p50 ms | p95 | rerank, p50 ms | read | against full |")
        print("| --- |" + " ---: |" * 5)
        for name, outcomes in found.items():
            totals = [outcome.timings["total"] for outcome in outcomes]
            rerank = [outcome.timings["rerank"] for outcome in outcomes]
            p95 = statistics.quantiles(totals, n=20, method="inclusive")[18]
            against = statistics.median(
                one / whole.timings["total"]
                for one, whole in zip(totals, found["full"], strict=True)
            )
            print(
                f"| {name} | {statistics.median(totals):.0f} | {p95:.0f} | "
                f"{statistics.median(rerank):.0f} | "
                f"{statistics.fmean(outcome.scored for outcome in outcomes):.1f} | {against:.2f} |"
            )
        print(f"\n| policy | {options.concurrent} searches at once, s |\n| --- | ---: |")
        for name in ("full", "auto"):
            queries = (texts * options.concurrent)[: options.concurrent]
            started = time.perf_counter()
            with ThreadPoolExecutor(options.concurrent) as pool:
                list(pool.map(lambda q: searched(connector, q, POLICIES[name]), queries))  # noqa: B023
            print(f"| {name} | {time.perf_counter() - started:.1f} |")


if __name__ == "__main__":
    main()
