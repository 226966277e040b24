"""What tuning on half of a collection's queries gives on the other half.

    python benchmarks/tuning.py DIR... [--queries 200] [--seed 0] [--max-k 30] [--blend confidence]
        [--cache FOLDER]

Scores are kept in the folder, so that comparing is a matter of minutes the second time. Prints a
row a collection: NDCG@10 of the default settings (--blend: with another blend) and of the tuned
ones on the queries that tuning had not seen, the change with its paired bootstrap interval, and
what was chosen. Then the same over many random halves, beside taking whatever was best on the half
that was tuned on.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from vecdb_rerank.config.settings import Settings
from vecdb_rerank.evaluation import datasets
from vecdb_rerank.evaluation.significance import paired
from vecdb_rerank.evaluation.tuning import (
    Setting,
    choose,
    collect,
    current,
    evaluate,
    grid,
    sections,
)
from vecdb_rerank.policy.blend import Blend

SPLITS = 20
Quality = Mapping[Setting, Sequence[float]]
Halves = tuple[list[int], list[int]]


def halves(count: int, seed: int) -> Halves:
    """The places of the queries to tune on, and of the others."""
    order = random.Random(seed).sample(range(count), count)
    return sorted(order[: count // 2]), sorted(order[count // 2 :])


def part(quality: Quality, places: Sequence[int]) -> dict[Setting, list[float]]:
    """The quality on some of the queries."""
    return {setting: [values[n] for n in places] for setting, values in quality.items()}


def tested(quality: Quality, chosen: Setting, now: Setting) -> list[float]:
    """The change of each query."""
    return [a - b for a, b in zip(quality[chosen], quality[now], strict=True)]


def once(name: str, quality: Quality, now: Setting, seed: int) -> str:
    """A row: tuned on one half, tested on the other."""
    mine, other = (part(quality, places) for places in halves(len(quality[now]), seed))
    chosen = choose(mine, now).chosen
    how = paired(tested(other, chosen, now))
    low, high = how.interval
    before, after = (statistics.fmean(other[setting]) for setting in (now, chosen))
    return (
        f"| {name} | {len(mine[now])} | {len(other[now])} | {before:.4f} | {after:.4f} | "
        f"{how.change:+.4f} [{low:+.4f}, {high:+.4f}] | {chosen.described(now)} |"
    )


def often(name: str, quality: Quality, now: Setting) -> str:
    """A row: the same over many halves, chosen with care and without."""
    careful: list[float] = []
    naive: list[float] = []
    for seed in range(SPLITS):
        mine, other = (part(quality, places) for places in halves(len(quality[now]), seed))
        best = max(mine, key=lambda setting: sum(mine[setting]))
        careful.append(statistics.fmean(tested(other, choose(mine, now).chosen, now)))
        naive.append(statistics.fmean(tested(other, best, now)))
    return f"| {name} | {_summary(careful)} | {_summary(naive)} |"


def _summary(changes: Sequence[float]) -> str:
    worse = sum(change < -1e-9 for change in changes) / len(changes)
    return f"{statistics.fmean(changes):+.4f} | {min(changes):+.4f} | {worse:.0%}"


def measured(folder: Path, options: argparse.Namespace) -> tuple[Quality, Setting]:
    """NDCG@10 of every query of a collection under every setting, and the default one."""
    settings = Settings(policy={"blend": {"method": options.blend}})
    now = current(settings)
    tried = grid(now, limit=settings.search.limit, max_k=options.max_k)
    dataset = datasets.load(folder).sample(options.queries, options.seed)
    scores = options.cache / "scores.sqlite"
    rerankers = sections(settings)
    collected = collect(settings, dataset, tried, rerankers, scores=scores, on_progress=told)
    return evaluate(collected, tried, lambda done, total: told("settings", done, total)), now


def told(what: str, done: int, total: int | None) -> None:
    """Progress on standard error."""
    if done % 50 == 0 or done == total:
        print(f"{what} {done}/{total}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-k", type=int, default=30)
    parser.add_argument("--blend", default=Blend().method, help="of the settings tuned from")
    parser.add_argument("--cache", type=Path, default=Path(".vecdb_rerank/tuning"))
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    found = {folder.resolve().name: measured(folder, options) for folder in options.folders}
    print("| collection | tuned on | tested on | before | tuned | change [95 %] | chosen |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for name, (quality, now) in found.items():
        print(once(name, quality, now, options.seed), flush=True)
    print(f"\n{SPLITS} random halves: mean change, worst change, share of halves that got worse\n")
    print("| collection | tuned: mean | worst | worse | best of the half: mean | worst | worse |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, (quality, now) in found.items():
        print(often(name, quality, now), flush=True)


if __name__ == "__main__":
    main()
