"""Compare what is read of long documents, on judged collections.

    python -m benchmarks.focus DIR... [--queries 50] [--seed 0] [--long] [--windows 64,96,128]

Every query is searched once (hybrid, k=50; `benchmarks/blending.py` keeps the hits). Its candidates
are scored again as `policy.passages` says: the beginning, all passages, and the sentences with most
of the query. With --long, each document is put at a seeded place among eight to twelve others.

Prints NDCG@10 with the default blend and by relevance alone, the change of the former against the
beginning with its 95 % interval, and the mean milliseconds of scoring a query and of selecting.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.blending import Judged, load
from vecdb_rerank import OnnxReranker
from vecdb_rerank.evaluation import datasets, metrics
from vecdb_rerank.evaluation.significance import bootstrap
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.passages import HEAD, Passages
from vecdb_rerank.ranking.blending import final_scores
from vecdb_rerank.resilience.focus import Focus
from vecdb_rerank.resilience.guarded import GuardedReranker
from vecdb_rerank.text_fields import TextFields


@dataclass(frozen=True)
class Measured:
    """One query: NDCG@10 with the blend and by relevance alone, milliseconds of both steps."""

    blended: float
    alone: float
    scoring_ms: float
    selecting_ms: float


def measure(guarded: GuardedReranker, query: Judged, rules: Passages) -> Measured:
    """Score the candidates of a query as ``rules`` say."""
    texts = list(dict.fromkeys(c.text for c in query.candidates if c.text))
    started = time.perf_counter()
    policy = Policy(passages=rules, deadline=None)
    scores = run(guarded.ask(query.query, texts, Deadline(), policy))
    scoring = time.perf_counter() - started
    started = time.perf_counter()
    if rules.mode == "focus":
        Focus(query.query, texts).select(guarded.reranker, query.query, texts, rules)
    selecting = time.perf_counter() - started
    of_text = dict(zip(texts, scores.relevance, strict=True))
    relevance = [of_text.get(c.text) or 0.0 for c in query.candidates]
    final = final_scores(query.candidates, relevance, Blend())
    return Measured(ndcg(query, final), ndcg(query, relevance), scoring * 1e3, selecting * 1e3)


def ndcg(query: Judged, scores: Sequence[float]) -> float:
    """Return the NDCG@10 of the order by ``scores``."""
    order = sorted(range(len(scores)), key=lambda n: -scores[n])
    return metrics.ndcg([str(query.candidates[n].id) for n in order], query.grades)


def lengthened(queries: Sequence[Judged], texts: Sequence[str], seed: int) -> list[Judged]:
    """Put each candidate's text at a place among eight to twelve others, the same in each query."""
    long: dict[str, str] = {}

    def among_others(text: str) -> str:
        if text not in long:
            draw = random.Random(f"{seed} {text}")
            others = draw.sample(texts, draw.randint(8, 12))
            others.insert(draw.randint(0, len(others)), text)
            long[text] = "\n".join(others)
        return long[text]

    return [
        replace(query, candidates=[replace(c, text=among_others(c.text)) for c in query.candidates])
        for query in queries
    ]


def report(name: str, queries: Sequence[Judged], ways: Mapping[str, Passages]) -> None:
    """Print a row for each way to read."""
    guarded = GuardedReranker(OnnxReranker())
    guarded.reranker.warmup()
    before: list[float] = []
    for way, rules in ways.items():
        found = [measure(guarded, query, rules) for query in queries]
        blended = [one.blended for one in found]
        before = before or blended
        changes = [a - b for a, b in zip(blended, before, strict=True)]
        low, high = bootstrap(changes)
        print(
            f"| {name} | {way} | {statistics.fmean(blended):.4f} | "
            f"{statistics.fmean(changes):+.4f} [{low:+.4f}, {high:+.4f}] | "
            f"{statistics.fmean(one.alone for one in found):.4f} | "
            f"{statistics.fmean(one.scoring_ms for one in found):.0f} | "
            f"{statistics.fmean(one.selecting_ms for one in found):.1f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--windows", default="64,96,128")
    parser.add_argument("--cache", type=Path, default=Path(".vecdb_rerank/blending"))
    options = parser.parse_args()
    ways = {"head": HEAD}
    if options.long:
        ways["all"] = Passages(window=256, most=16)
    for window in map(int, options.windows.split(",")):
        ways[f"focus, {window} tokens"] = Passages("focus", window=window)
    print("| collection | read | NDCG@10 | against head | relevance alone | ms | selecting, ms |")
    print("| --- | --- |" + " ---: |" * 5)
    for folder in options.folders:
        queries = load(folder, options.cache, options.queries, options.seed)
        if options.long:
            fields = TextFields()
            texts = [fields.text(document) for document in datasets.load(folder).corpus]
            queries = lengthened(queries, [text for text in texts if text], options.seed)
        report(f"{folder.resolve().name}{', long' if options.long else ''}", queries, ways)


if __name__ == "__main__":
    main()
