"""What tuning on half of a collection's queries gives on the other half.

    python benchmarks/tuning.py DIR... [--queries 200] [--seed 0] [--max-k 100] [--cache FOLDER]

Scores are kept in the folder, so that comparing is a matter of minutes the second time. Prints a
row a collection: NDCG@10 of the default and the tuned settings on the queries that tuning had not
seen, the change with its paired bootstrap interval, and what was chosen.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from pathlib import Path

from vecdb_rerank.evaluation import datasets
from vecdb_rerank.evaluation.significance import paired
from vecdb_rerank.evaluation.tuning import choose, collect, current, evaluate, grid, sections
from vecdb_rerank.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-k", type=int, default=100)
    parser.add_argument("--cache", type=Path, default=Path(".vecdb_rerank/tuning"))
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    settings = Settings()
    now = current(settings)
    tried = grid(now, limit=settings.search.limit, max_k=options.max_k)
    print("| collection | tuned on | tested on | default | tuned | change [95 %] | p | chosen |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for folder in options.folders:
        dataset = datasets.load(folder).sample(options.queries, options.seed)
        collected = collect(
            settings,
            dataset,
            tried,
            sections(settings),
            scores=options.cache / "scores.sqlite",
            on_progress=told,
        )
        ids = sorted(dataset.queries)
        mine = sorted(random.Random(options.seed).sample(ids, len(ids) // 2))
        other = [query_id for query_id in ids if query_id not in set(mine)]
        choice = choose(evaluate(collected.of(mine), tried), now)
        tested = evaluate(collected.of(other), list(dict.fromkeys((now, choice.chosen))))
        before, after = tested[now], tested[choice.chosen]
        how = paired([a - b for a, b in zip(after, before, strict=True)])
        low, high = how.interval
        print(
            f"| {dataset.name} | {len(mine)} | {len(other)} | {statistics.fmean(before):.4f} | "
            f"{statistics.fmean(after):.4f} | {how.change:+.4f} [{low:+.4f}, {high:+.4f}] | "
            f"{how.p:.3f} | {choice.chosen.described(now)} |",
            flush=True,
        )


def told(what: str, done: int, total: int) -> None:
    """Progress on standard error."""
    if done % 20 == 0 or done == total:
        print(f"{what} {done}/{total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
