"""Compare ways to blend relevance and first pass, on judged collections.

Every query is searched once (hybrid, k=50, both branches). The hits are kept as JSON in the cache
folder, so that a second run takes seconds.

    python benchmarks/blending.py DIR... [--queries 200] [--seed 0] [--cache FOLDER] [--held-out]

Prints NDCG@10 by collection, the mean relative change and the worst change against the hybrid
first pass, and for the default a paired bootstrap interval of the change by collection; then the
change from protecting exact terms of the query. With --held-out, also the NDCG@10 of the blend that
is best on all other collections.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vecdb_rerank import observe
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.evaluation import datasets, metrics
from vecdb_rerank.evaluation.connector import temporary_connector
from vecdb_rerank.evaluation.significance import bootstrap
from vecdb_rerank.model import BranchHit, Candidate, HitId, Scores, sigmoid
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.calibration import MS_MARCO_MINILM, logit
from vecdb_rerank.policy.exact_terms import ExactTerms
from vecdb_rerank.ranking.blending import final_scores, relevance_by_rank
from vecdb_rerank.ranking.exact_terms import exact_terms, protect
from vecdb_rerank.ranking.ordering import rerank
from vecdb_rerank.text_fields import TextFields

K = 50
FIRST_PASS = "hybrid first pass"
DEFAULT = "confidence, smoothed (default)"
Score = Callable[[Sequence[Candidate], Sequence[float]], Sequence[float]]


@dataclass(frozen=True)
class Judged:
    """One query's first pass, in its order, with the reranker's logits and the grades."""

    query_id: str
    query: str
    candidates: list[Candidate]
    logits: list[float]
    grades: dict[str, int]

    def ndcg(self, score: Score) -> float:
        """Return the NDCG@10 (0 to 1) of the order by ``score``."""
        final = score(self.candidates, [relevance(x) for x in self.logits])
        order = sorted(range(len(final)), key=lambda n: -final[n])
        return self._ndcg([self.candidates[n].id for n in order])

    def protected(self, rules: ExactTerms) -> float:
        """Return the NDCG@10 of the default order with exact terms protected."""
        scores = MS_MARCO_MINILM.scores(Scores.from_logits(self.logits))
        ranking = rerank(self.candidates, scores, Blend())
        return self._ndcg([h.candidate.id for h in protect(ranking, self.query, rules).hits])

    def _ndcg(self, ids: Sequence[HitId]) -> float:
        ranked = {self.query_id: [str(i) for i in ids]}
        return metrics.quality(ranked, {self.query_id: self.grades}, K)["ndcg@10"]


def relevance(logit: float) -> float:
    """Return the bundled reranker's logit as a relevance on the common scale."""
    return MS_MARCO_MINILM.relevance(sigmoid(logit))


def standard(values: Sequence[float]) -> list[float]:
    """Return z-scores, 0 if all values are equal."""
    mean, deviation = statistics.fmean(values), statistics.pstdev(values)
    return [(v - mean) / deviation if deviation else 0.0 for v in values]


def branch_scores(candidates: Sequence[Candidate], name: str) -> list[float]:
    """Return a branch's own scores, its lowest score for hits that it does not have."""
    known = [c.branches[name].score for c in candidates if name in c.branches]
    lowest = min(known, default=0.0)
    return [c.branches[name].score if name in c.branches else lowest for c in candidates]


def half_z(candidates: Sequence[Candidate], relevance: Sequence[float]) -> list[float]:
    """Return the sum of z-scored logits and the z-scored sum of z-scored BM25 and dense."""
    bm25, dense = (standard(branch_scores(candidates, n)) for n in ("bm25", "dense"))
    first = standard([b + d for b, d in zip(bm25, dense, strict=True)])
    reranked = standard([logit(r) for r in relevance])
    return [r + f for r, f in zip(reranked, first, strict=True)]


def blend(
    method: str, weight: float = 0.5, *, branches: bool = True, smoothed: bool = False
) -> Score:
    """Return a blend of the package, with or without branch evidence and smoothing."""

    def score(candidates: Sequence[Candidate], relevance: Sequence[float]) -> list[float]:
        seen = (
            candidates
            if branches
            else [Candidate(c.position, c.id, c.text, c.score) for c in candidates]
        )
        rules = Blend(method, weight)  # type: ignore[arg-type]
        plain = replace(rules, feedback=0, smoothing=0)
        return final_scores(seen, relevance, rules if smoothed else plain)

    return score


def by_rank(candidates: Sequence[Candidate], relevance: Sequence[float]) -> list[float]:
    """The default blend of a reranker without calibration: its scores count by rank."""
    return final_scores(candidates, relevance_by_rank(relevance), Blend())


METHODS: dict[str, Score] = {
    FIRST_PASS: lambda candidates, _: [c.score for c in candidates],
    "reranker alone": blend("replace"),
    "rrf of three, k=10": blend("rrf", 1 / 3),
    "half z-scores": half_z,
    "convex 0.5": blend("convex", 0.5),
    "convex 0.3": blend("convex", 0.3),
    "convex 0.3, smoothed": blend("convex", 0.3, smoothed=True),
    "confidence": blend("confidence"),
    DEFAULT: blend("confidence", smoothed=True),
    "... without calibration, by rank": by_rank,
    "... by fused order only": blend("confidence", branches=False, smoothed=True),
}


CHOICES = [
    Blend(method, weight, feedback, smoothing)  # type: ignore[arg-type]
    for method, weight in (("confidence", 0.5), ("convex", 0.3), ("convex", 0.5), ("rrf", 1 / 3))
    for feedback in (0, 0.15, 0.25, 0.4)
    for smoothing in (0, 0.2, 0.4, 0.6)
]


def held_out(judged: Mapping[str, Sequence[Judged]]) -> dict[str, tuple[Blend, float, float]]:
    """Return by collection the best blend on the others, its NDCG@10 and the first pass's."""
    first = {
        n: statistics.fmean(q.ndcg(METHODS[FIRST_PASS]) for q in qs) for n, qs in judged.items()
    }
    found: dict[str, list[float]] = {}
    for name, queries in judged.items():
        # All blends of a query in a row: they need the same similarity.
        by_query = [[q.ndcg(partial(_by, blend)) for blend in CHOICES] for q in queries]
        found[name] = [statistics.fmean(column) for column in zip(*by_query, strict=True)]

    def gain(place: int, names: Sequence[str]) -> float:
        return statistics.fmean(found[n][place] / first[n] for n in names)

    chosen = {}
    for name in judged:
        others = [n for n in judged if n != name]
        place = max(range(len(CHOICES)), key=lambda p, others=others: gain(p, others))  # type: ignore[misc]
        chosen[name] = CHOICES[place], found[name][place], first[name]
    return chosen


def _by(rules: Blend, candidates: Sequence[Candidate], relevance: Sequence[float]) -> list[float]:
    return final_scores(candidates, relevance, rules)


def collect(folder: Path, queries: int, seed: int) -> list[dict[str, object]]:
    """Search every query once; return what the comparison needs, as JSON."""
    dataset = datasets.load(folder).sample(queries, seed)
    found: list[dict[str, object]] = []
    with temporary_connector(
        Settings(policy={"effort": "full"}), dataset, lambda *_: None
    ) as connector:
        for query_id, text in dataset.queries.items():
            with observe() as outcomes:
                response = connector.search(text, k=K, limit=K, explain=True)
            names = {c.id: str(c.doc_id) for c in connector.candidates(response)}
            hits = sorted(outcomes[0].hits, key=lambda hit: hit.first_pass_rank)
            found.append(
                {
                    "query_id": query_id,
                    "grades": dict(dataset.qrels[query_id]),
                    "hits": [
                        {
                            "id": names[hit.id],
                            "score": hit.first_pass_score,
                            "logit": hit.raw,
                            "branches": {n: [b.rank, b.score] for n, b in hit.branches.items()},
                        }
                        for hit in hits
                        if hit.raw is not None
                    ],
                }
            )
    return found


def load(folder: Path, cache: Path, queries: int, seed: int) -> list[Judged]:
    """Return the judged queries of a collection, from the cache if it has them."""
    dataset = datasets.load(folder)
    texts = {str(d["_id"]): TextFields().text(d) for d in dataset.corpus}
    file = cache / f"{folder.resolve().name}-{queries}-{seed}.json"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(collect(folder, queries, seed)), encoding="utf-8")
    return [
        Judged(
            entry["query_id"],
            dataset.queries[entry["query_id"]],
            [
                Candidate(
                    n,
                    hit["id"],
                    texts[hit["id"]],
                    hit["score"],
                    branches={name: BranchHit(*b) for name, b in hit["branches"].items()},
                )
                for n, hit in enumerate(entry["hits"])
            ],
            [hit["logit"] for hit in entry["hits"]],
            entry["grades"],
        )
        for entry in json.loads(file.read_text(encoding="utf-8"))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path(".vecdb_rerank/blending"))
    parser.add_argument("--held-out", action="store_true")
    options = parser.parse_args()
    judged = {
        f.resolve().name: load(f, options.cache, options.queries, options.seed)
        for f in options.folders
    }
    results = {
        method: {name: [q.ndcg(score) for q in queries] for name, queries in judged.items()}
        for method, score in METHODS.items()
    }
    base = results[FIRST_PASS]
    print("| method | " + " | ".join(judged) + " | mean change | worst |")
    print("| --- |" + " ---: |" * (len(judged) + 2))
    for method, by_name in results.items():
        means = {name: statistics.fmean(values) for name, values in by_name.items()}
        first = {name: statistics.fmean(values) for name, values in base.items()}
        change = statistics.fmean(means[n] / first[n] - 1 for n in means)
        worst = min(means[n] - first[n] for n in means)
        cells = [f"{value:.3f}" for value in means.values()]
        print(f"| {method} | {' | '.join(cells)} | {change:+.1%} | {worst:+.3f} |")
    print()
    for name, values in results[DEFAULT].items():
        changes = [a - b for a, b in zip(values, base[name], strict=True)]
        low, high = bootstrap(changes)
        better, worse = sum(c > 1e-9 for c in changes), sum(c < -1e-9 for c in changes)
        print(
            f"{name}: {statistics.fmean(changes):+.4f} [{low:+.4f}, {high:+.4f}], "
            f"{better} queries better, {worse} worse, of {len(changes)}"
        )
    if options.held_out:
        print("\nchosen on the other collections:")
        chosen = held_out(judged)
        for name, (rules, ndcg, first_ndcg) in chosen.items():
            described = f"{rules.method}, feedback {rules.feedback}, smoothing {rules.smoothing}"
            print(f"{name}: {ndcg:.3f} ({ndcg - first_ndcg:+.3f}), {described}")
        change = statistics.fmean(ndcg / base_ndcg - 1 for _, ndcg, base_ndcg in chosen.values())
        print(f"mean change {change:+.1%}")
    print("\nexact terms protected:")
    for name, queries in judged.items():
        named = [q for q in queries if exact_terms(q.query)]
        changes = [q.protected(ExactTerms()) - q.ndcg(METHODS[DEFAULT]) for q in named]
        print(f"{name}: {sum(changes) / len(queries):+.4f}, {len(named)} queries with such terms")


if __name__ == "__main__":
    main()
