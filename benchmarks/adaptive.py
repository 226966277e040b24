"""What a window that follows the need saves, and what it costs, on judged collections.

Replays what `benchmarks/blending.py` keeps in its cache (hybrid, branches 50 deep, with the
reranker's logits; that fills it) through the pipeline itself: with k fixed, and with
`AdaptiveK` from the same k. Each collection's queries are searched in their order, ``--rounds``
times, so that there is something to learn from.

    python -m benchmarks.adaptive DIR... [--k 50] [--least 20] [--most 50] [--rounds 3]

Prints by collection NDCG@10 with k fixed, adaptive, and with a smaller fixed k that scores as many
documents as that; how many those are for a query; and the share of searches that were widened, and
that stayed narrower than k.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.blending import Judged, K, load
from vecdb_rerank import observe
from vecdb_rerank.adaptive import AdaptiveK
from vecdb_rerank.calibration import MS_MARCO_MINILM
from vecdb_rerank.candidates import Candidate, Outcome, Ranking, Scores
from vecdb_rerank.chain import Chain
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.documents import Documents
from vecdb_rerank.evaluation import metrics
from vecdb_rerank.flow import Flow, run
from vecdb_rerank.pipeline import Pipeline
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import FirstPass, Vector
from vecdb_rerank.search import Fusion, Search

LIMIT = 10


@dataclass
class Replay:
    """The first pass of one judged query, as deep as it was recorded."""

    judged: Judged
    name: str = "replay"

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[list[str]]]:
        yield from ()
        return FirstPass([str(c.id) for c in self.judged.candidates[: search.k]], "client")

    def candidates(self, first: FirstPass[list[str]], documents: Documents) -> Sequence[Candidate]:
        found = self.judged.candidates[: len(first.response)]
        return [replace(c, score=-c.position) for c in found]

    def rebuild(self, first: FirstPass[list[str]], ranking: Ranking) -> list[str]:
        return [first.response[hit.candidate.position] for hit in ranking.hits]

    def describe_error(self, error: Exception) -> str:
        return str(error)


class Recorded:
    """The recorded logits of the query that is searched, by text."""

    name = "recorded"
    keeps_deadline = True
    calibration = MS_MARCO_MINILM

    def __init__(self) -> None:
        self.logits: dict[str, float] = {}

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        return Scores.from_logits([self.logits[document] for document in documents])


@dataclass(frozen=True)
class Run:
    """All queries searched one way."""

    ndcg: float
    outcomes: list[Outcome]

    @property
    def scored(self) -> float:
        """Documents that were scored for a query."""
        return statistics.fmean(outcome.scored for outcome in self.outcomes)


def searched(queries: Sequence[Judged], k: int, rules: AdaptiveK | None, rounds: int) -> Run:
    """Search every query ``rounds`` times through one pipeline."""
    policy, recorded = Policy(adaptive_k=rules), Recorded()
    pipeline = Pipeline(Chain([recorded], policy), policy=policy)
    found, values = [], []
    for judged in [*queries] * rounds:
        pairs = zip(judged.candidates, judged.logits, strict=True)
        recorded.logits = {c.text: logit for c, logit in pairs}
        asked = Search(judged.query, k, LIMIT, 0, "bm25", K, Fusion(), adapts=rules is not None)
        with observe() as outcomes:
            ids = run(pipeline.search(Replay(judged), asked))
        found += outcomes
        grades = {judged.query_id: judged.grades}
        values.append(metrics.quality({judged.query_id: ids}, grades, K)["ndcg@10"])
    return Run(statistics.fmean(values), found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--k", type=int, default=K)
    parser.add_argument("--least", type=int, default=20)
    parser.add_argument("--most", type=int, default=K)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path(".vecdb_rerank/blending"))
    options = parser.parse_args()
    rules = AdaptiveK(least=options.least, most=options.most)
    print(
        f"| collection | k={options.k} | adaptive | fixed, as dear | scored | widened | narrower |"
    )
    print("| --- |" + " ---: |" * 6)
    for folder in options.folders:
        queries = load(folder, options.cache, options.queries, options.seed)
        fixed = searched(queries, options.k, None, 1)
        adaptive = searched(queries, options.k, rules, options.rounds)
        as_dear = searched(queries, max(LIMIT, round(adaptive.scored)), None, 1)
        count = len(adaptive.outcomes)
        widened = sum(outcome.widened for outcome in adaptive.outcomes) / count
        narrower = sum(outcome.k < options.k for outcome in adaptive.outcomes) / count
        print(
            f"| {folder.resolve().name} | {fixed.ndcg:.4f} | {adaptive.ndcg:.4f} "
            f"| {as_dear.ndcg:.4f} | {adaptive.scored:.1f} | {widened:.0%} | {narrower:.0%} |"
        )


if __name__ == "__main__":
    main()
