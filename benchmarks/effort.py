"""Measure how little a reranker needs to read, on judged collections.

    python -m benchmarks.effort DIR... [--queries 200] [--seed 0] [--cache FOLDER]

Every query is searched once, read in full (hybrid, k=50); `benchmarks/blending.py` keeps the hits
in the cache folder. Then its reading is repeated batch by batch, and could have ended after each.

Prints NDCG@10 by collection: first pass, all candidates read, and ``auto`` with the tolerance that
spends the budget of pairs on all other collections, its change against reading all with a paired
bootstrap interval, its pairs, and the gain that it still expected. At the same mean number of pairs
it prints the change of reading the most promising m, of the numbers of pairs of ``auto`` shuffled
among the queries, and of reading the first m of the fused order and setting the others aside. Then
the same for each tolerance over all queries, with the mean over collections and the worst one, and
the curve over the share of the candidates that is read.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.blending import Judged, load, relevance
from vecdb_rerank.evaluation import metrics
from vecdb_rerank.evaluation.significance import bootstrap
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.effort import Effort
from vecdb_rerank.ranking import estimates, reading
from vecdb_rerank.ranking.blending import final_scores

BATCH = 8
TOLERANCES = (0.02, 0.01, 0.005, 0.003, 0.002, 0.001, 0.0005)
BUDGET = 0.45  # the share of the candidates that a tolerance may read where it is chosen
SHUFFLES = 50
SHARES = (0.25, 0.3, 0.4, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Step:
    """Where reading could end: after ``read`` candidates, expecting to gain ``worth`` by more."""

    read: int
    worth: float
    ndcg: float


@dataclass(frozen=True)
class Query:
    """The steps of one query's reading, and NDCG@10 of the other ways to read m candidates."""

    first_pass: float
    steps: list[Step]
    promising: list[float]
    set_aside: list[float]

    @property
    def full(self) -> float:
        """The NDCG@10 after reading all."""
        return self.steps[-1].ndcg

    def ends(self, tolerance: float) -> Step:
        """Return where reading ends."""
        return next(step for step in self.steps if step.worth <= tolerance)

    def after(self, count: float) -> Step:
        """Return the last step within ``count`` candidates, or the first step."""
        within = [step for step in self.steps if step.read <= count]
        return within[-1] if within else self.steps[0]


def measured(query: Judged, branches: bool) -> Query:
    """Repeat the reading of a query; without ``branches``, as a drop-in does."""
    if not branches:
        kept = [replace(candidate, branches={}) for candidate in query.candidates]
        query = replace(query, candidates=kept)
    known = [relevance(logit) for logit in query.logits]
    every = range(len(known))
    order = reading.promising(query.candidates, Blend())
    return Query(
        _ndcg(query, list(every)),
        _steps(query, known),
        [_estimated(query, _only(known, order[:m])) for m in every],
        [_set_aside(query, known[:m]) for m in every],
    )


def _steps(query: Judged, known: Sequence[float]) -> list[Step]:
    found: list[Step] = []
    seen: list[float | None] = [None] * len(known)
    while batch := reading.next_batch(query.candidates, seen, Blend(), size=BATCH, tolerance=0.0):
        for n in batch:
            seen[n] = known[n]
        worth = float(reading.gains(query.candidates, seen, Blend()).sum()) if None in seen else 0.0
        read = len(seen) - seen.count(None)
        found.append(Step(read, worth, _estimated(query, seen)))
    return found


def _only(known: Sequence[float], read: Sequence[int]) -> list[float | None]:
    return [value if n in read else None for n, value in enumerate(known)]


def _estimated(query: Judged, seen: Sequence[float | None]) -> float:
    if all(value is None for value in seen):
        return _ndcg(query, list(range(len(seen))))
    values, _ = estimates.estimate(query.candidates, seen)
    scores = final_scores(query.candidates, values.tolist(), Blend())
    return _ndcg(query, sorted(range(len(scores)), key=lambda n: -scores[n]))


def _set_aside(query: Judged, known: Sequence[float]) -> float:
    count = len(known)
    scores = final_scores(query.candidates[:count], known, Blend())
    order = sorted(range(count), key=lambda n: -scores[n])
    return _ndcg(query, [*order, *range(count, len(query.candidates))])


def _ndcg(query: Judged, order: Sequence[int]) -> float:
    return metrics.ndcg([str(query.candidates[n].id) for n in order], query.grades)


Collections = Mapping[str, Sequence[Query]]


def choose(others: Collections) -> float:
    """Return the smallest tolerance that reads no more than `BUDGET` of these collections."""

    def share(tolerance: float) -> float:
        return statistics.fmean(
            statistics.fmean(q.ends(tolerance).read / q.steps[-1].read for q in queries)
            for queries in others.values()
        )

    return min((t for t in TOLERANCES if share(t) <= BUDGET), default=TOLERANCES[0])


def compared(queries: Sequence[Query], tolerances: Sequence[float]) -> list[str]:
    """Return the cells that compare ``auto`` with other ways to read as many pairs."""
    ends = [q.ends(t) for q, t in zip(queries, tolerances, strict=True)]
    changes = [end.ndcg - q.full for q, end in zip(queries, ends, strict=True)]
    low, high = bootstrap(changes)
    mean = statistics.fmean(end.read for end in ends)
    share = statistics.fmean(
        end.read / q.steps[-1].read for q, end in zip(queries, ends, strict=True)
    )
    counts = [end.read for end in ends]
    chance = random.Random(0)
    shuffled = statistics.fmean(
        q.after(count).ndcg - q.full
        for _ in range(SHUFFLES)
        for q, count in zip(queries, chance.sample(counts, len(counts)), strict=True)
    )
    m = round(mean)
    return [
        f"{statistics.fmean(changes):+.4f} [{low:+.4f}, {high:+.4f}]",
        f"{mean:.1f} ({share:.0%})",
        f"{statistics.fmean(end.worth for end in ends):.4f}",
        f"{statistics.fmean(_at(q.promising, m, q.full) - q.full for q in queries):+.4f}",
        f"{shuffled:+.4f}",
        f"{statistics.fmean(_at(q.set_aside, m, q.full) - q.full for q in queries):+.4f}",
    ]


def _at(values: Sequence[float], m: int, full: float) -> float:
    return values[m] if m < len(values) else full


def report(collections: Collections) -> None:
    """Print all tables."""
    heads = ["change against all", "pairs", "expected", "first m", "shuffled", "set aside"]
    print(
        "| collection | queries | first pass | all read | tolerance | " + " | ".join(heads) + " |"
    )
    print("| --- |" + " ---: |" * (len(heads) + 4))
    pooled: list[Query] = []
    chosen: list[float] = []
    for name, queries in collections.items():
        tolerance = choose({n: q for n, q in collections.items() if n != name})
        pooled += queries
        chosen += [tolerance] * len(queries)
        means = [
            statistics.fmean(q.first_pass for q in queries),
            statistics.fmean(q.full for q in queries),
        ]
        cells = [*(f"{mean:.4f}" for mean in means), f"{tolerance:g}"]
        cells += compared(queries, [tolerance] * len(queries))
        print(f"| {name} | {len(queries)} | {' | '.join(cells)} |")
    means = [
        statistics.fmean(q.first_pass for q in pooled),
        statistics.fmean(q.full for q in pooled),
    ]
    cells = [*(f"{mean:.4f}" for mean in means), "", *compared(pooled, chosen)]
    print(f"| all queries | {len(pooled)} | {' | '.join(cells)} |\n")
    ends = ["mean of collections", "first m", "worst collection", "first m"]
    print(f"| tolerance, all queries | {' | '.join([*heads, *ends])} |")
    print("| --- |" + " ---: |" * (len(heads) + len(ends)))
    for tolerance in TOLERANCES:
        mark = " (default)" if tolerance == Effort().tolerance else ""
        cells = compared(pooled, [tolerance] * len(pooled))
        m = round(statistics.fmean(q.ends(tolerance).read for q in pooled))
        groups = collections.values()
        auto = [statistics.fmean(q.ends(tolerance).ndcg - q.full for q in qs) for qs in groups]
        fixed = [
            statistics.fmean(_at(q.promising, m, q.full) - q.full for q in qs) for qs in groups
        ]
        for of in (statistics.fmean, min):
            cells += [f"{of(auto):+.4f}", f"{of(fixed):+.4f}"]
        print(f"| {tolerance:g}{mark} | {' | '.join(cells)} |")
    print(
        "\n| share read | "
        + " | ".join(f"{name}: estimated | set aside" for name in collections)
        + " |"
    )
    print("| --- |" + " ---: |" * (2 * len(collections)))
    for share in SHARES:
        curve: list[float] = []
        for queries in collections.values():
            curve.append(statistics.fmean(q.after(share * q.steps[-1].read).ndcg for q in queries))
            curve.append(
                statistics.fmean(
                    _at(q.set_aside, round(share * q.steps[-1].read), q.full) for q in queries
                )
            )
        print(f"| {share:.0%} | {' | '.join(f'{cell:.4f}' for cell in curve)} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path(".vecdb_rerank/blending"))
    options = parser.parse_args()
    judged = {
        folder.resolve().name: load(folder, options.cache, options.queries, options.seed)
        for folder in options.folders
    }
    for branches in (True, False):
        print("\nwith branch evidence\n" if branches else "\nby the fused order alone\n")
        report({name: [measured(q, branches) for q in queries] for name, queries in judged.items()})


if __name__ == "__main__":
    main()
