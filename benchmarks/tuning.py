"""Measure what tuning on half of a collection's queries gains on the other half.

    python benchmarks/tuning.py DIR... [--queries 200] [--seed 0] [--max-k 30] [--blend confidence]
        [--cache FOLDER]

Scores are kept in the folder, so that a second run takes minutes. Prints one row per collection:
NDCG@10 of the default settings (--blend: with another blend) and of the tuned ones on the other
half, the change with its paired bootstrap interval, and the chosen settings. Then the same over
many random halves, compared with always taking the setting that was best on the first half.
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
    """Return the indices of the queries to tune on, and of the others."""
    order = random.Random(seed).sample(range(count), count)
    return sorted(order[: count // 2]), sorted(order[count // 2 :])


def part(quality: Quality, indices: Sequence[int]) -> dict[Setting, list[float]]:
    """Return the quality on some of the queries."""
    return {setting: [values[n] for n in indices] for setting, values in quality.items()}


def changes(quality: Quality, chosen: Setting, now: Setting) -> list[float]:
    """Return the change of each query."""
    return [a - b for a, b in zip(quality[chosen], quality[now], strict=True)]


def once(name: str, quality: Quality, now: Setting, seed: int) -> str:
    """Return a row: tuned on one half, tested on the other."""
    mine, other = (part(quality, indices) for indices in halves(len(quality[now]), seed))
    chosen = choose(mine, now).chosen
    how = paired(changes(other, chosen, now))
    low, high = how.interval
    before, after = (statistics.fmean(other[setting]) for setting in (now, chosen))
    return (
        f"| {name} | {len(mine[now])} | {len(other[now])} | {before:.4f} | {after:.4f} | "
        f"{how.change:+.4f} [{low:+.4f}, {high:+.4f}] | {chosen.described(now)} |"
    )


def often(name: str, quality: Quality, now: Setting) -> str:
    """Return a row: the same over many halves, by `choose` and by the best mean."""
    chosen: list[float] = []
    naive: list[float] = []
    for seed in range(SPLITS):
        mine, other = (part(quality, indices) for indices in halves(len(quality[now]), seed))
        best = max(mine, key=lambda setting: sum(mine[setting]))
        chosen.append(statistics.fmean(changes(other, choose(mine, now).chosen, now)))
        naive.append(statistics.fmean(changes(other, best, now)))
    return f"| {name} | {_summary(chosen)} | {_summary(naive)} |"


def _summary(means: Sequence[float]) -> str:
    worse = sum(mean < -1e-9 for mean in means) / len(means)
    return f"{statistics.fmean(means):+.4f} | {min(means):+.4f} | {worse:.0%}"


def measured(folder: Path, options: argparse.Namespace) -> tuple[Quality, Setting]:
    """Return NDCG@10 of every query under every setting, and the default setting."""
    settings = Settings(policy={"blend": {"method": options.blend}})
    now = current(settings)
    tried = grid(now, limit=settings.search.limit, max_k=options.max_k)
    dataset = datasets.load(folder).sample(options.queries, options.seed)
    scores = options.cache / "scores.sqlite"
    rerankers = sections(settings)
    collected = collect(
        settings, dataset, tried, rerankers, scores=scores, on_progress=print_progress
    )
    return evaluate(
        collected, tried, lambda done, total: print_progress("settings", done, total)
    ), now


def print_progress(what: str, done: int, total: int) -> None:
    """Print progress to standard error."""
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
    parser.add_argument("--blend", default=Blend().method, help="blend of the settings to improve")
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
