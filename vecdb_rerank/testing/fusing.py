"""The contract of a connector: fusing BM25 and dense vectors."""

from __future__ import annotations

import random
from typing import Literal

import pytest

from vecdb_rerank.model import Candidate
from vecdb_rerank.outcome import observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.ranking.blending import final_scores
from vecdb_rerank.ranking.fusion import by_score, fuse
from vecdb_rerank.request import Fusion, FusionMethod
from vecdb_rerank.testing.base import (
    Call,
    Connect,
    ConnectorFixtures,
    ConnectorUnderTest,
    by_id,
    descending,
    explained,
    ids,
    new_name,
    scores,
)
from vecdb_rerank.testing.doubles import HashEmbedder, KeepingReranker, ReversingReranker
from vecdb_rerank.testing.searching import MODES, WIDE

BRANCHES = ("bm25", "dense")


class _OtherModel(HashEmbedder):
    """Embeds queries with another model than the documents."""

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query in another space."""
        return super().embed_query(text)[::-1]


class Fusing(ConnectorFixtures):
    """Hybrid searches."""

    fusions: tuple[FusionMethod, ...] = ("rrf", "min_max", "l2")
    """The fusion methods that the connector supports."""

    def test_depth(self, call: Call, connector: ConnectorUnderTest) -> None:
        """``depth`` hits of each branch are fused, no more."""
        tops: set[str] = set()
        for mode in BRANCHES:
            arguments = {"mode": mode, "k": 4, "limit": 4, "rerank": False}
            tops.update(ids(connector, call(connector.search(WIDE, **arguments))))
        for rerank in (False, True):
            response = call(connector.search(WIDE, k=30, limit=30, depth=4, rerank=rerank))
            assert set(ids(connector, response)) == tops

    @pytest.mark.parametrize("weights", [None, (1.0, 1.0), (0.7, 0.3), (0.0, 1.0), (3.0, 1.0)])
    @pytest.mark.parametrize("constant", [60, 10])
    def test_rrf(
        self,
        call: Call,
        connector: ConnectorUnderTest,
        constant: int,
        weights: tuple[float, float] | None,
    ) -> None:
        """Scores are the weighted sums of ``1 / (rank_constant + rank)`` over the branches."""
        fusion = Fusion(rank_constant=constant, weights=weights or "auto")
        outcome = explained(
            connector, call, WIDE, k=20, limit=20, depth=20, fusion=fusion, rerank=False
        )
        assert len(outcome.hits) == 20
        shares = dict(zip(BRANCHES, weights or (1.0, 1.0), strict=True))
        for hit in outcome.hits:
            expected = sum(
                shares[name] / (constant + found.rank) for name, found in hit.branches.items()
            )
            assert hit.first_pass_score == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("mode", ["hybrid"])
    @pytest.mark.parametrize("rerank", [False, True])
    def test_evidence(
        self, call: Call, connector: ConnectorUnderTest, mode: str, rerank: bool
    ) -> None:
        """``explain`` gives the ranks and scores of searches in one branch."""
        outcome = explained(
            connector, call, WIDE, mode=mode, k=25, limit=25, depth=12, rerank=rerank
        )
        found = by_id(outcome)
        for name in BRANCHES:
            alone = explained(connector, call, WIDE, mode=name, k=12, limit=12, rerank=False)
            expected = {hit.id: (hit.rank, hit.score) for hit in alone.hits}
            evidence = {i: hit.branches[name] for i, hit in found.items() if name in hit.branches}
            by_score = dict(expected.values())
            assert set(evidence) == set(expected)
            for hit_id, (rank, score) in expected.items():
                assert evidence[hit_id].score == pytest.approx(score, rel=1e-4)
                # Equal scores may be in another order in each search.
                assert evidence[hit_id].rank == rank or by_score[evidence[hit_id].rank] == score

    def test_evidence_changes_nothing(self, call: Call, connector: ConnectorUnderTest) -> None:
        """The hits are the same with and without ``explain``."""
        plain = call(connector.search(WIDE, k=15, limit=15))
        explained = call(connector.search(WIDE, k=15, limit=15, explain=True))
        assert ids(connector, plain) == ids(connector, explained)
        assert scores(connector, plain) == pytest.approx(scores(connector, explained), rel=1e-5)

    @pytest.mark.parametrize("weights", [None, (0.7, 0.3)])
    @pytest.mark.parametrize("explain", [False, True])
    def test_no_evidence(
        self,
        make: Connect,
        call: Call,
        filled: str,
        explain: bool,
        weights: tuple[float, float] | None,
    ) -> None:
        """Without ``branch_evidence``, only the fused order is blended."""
        blend = Blend(feedback=0.0, smoothing=0.0)  # independent of the texts
        policy = Policy(
            branch_evidence=False, blend=blend, calibration={"reversing": Calibration()}
        )
        connector = make(filled, reranker=ReversingReranker(0.85), policy=policy)
        for method in self.fusions:
            if method == "dbsf" and weights:
                continue
            fusion = Fusion(method, weights=weights or "auto")
            with observe() as outcomes:
                response = call(
                    connector.search(WIDE, k=15, limit=15, fusion=fusion, explain=explain)
                )
            (outcome,) = outcomes
            ordered = [
                Candidate(position=n, id=hit_id, text="", score=score)
                for n, (hit_id, score) in enumerate(by_score(outcome.first_pass_score.items()))
            ]
            relevance = [outcome.relevance[candidate.id] for candidate in ordered]
            blended = final_scores(ordered, relevance, blend)
            found = {hit.id: hit.score for hit in connector.candidates(response)}
            expected = {c.id: score for c, score in zip(ordered, blended, strict=True)}
            assert found == pytest.approx(expected, rel=1e-5), method

    def test_ranks_of_a_page(self, call: Call, connector: ConnectorUnderTest) -> None:
        """On a later page, explained ranks continue."""
        outcome = explained(connector, call, WIDE, k=15, limit=5, offset=5)
        assert [hit.rank for hit in outcome.hits] == [6, 7, 8, 9, 10]

    def test_same_window_every_time(self, make: Connect, call: Call) -> None:
        """Equal scores at rank k do not change which k hits are found."""
        dice = random.Random(1)
        words = "bread boat lava list hive tax light fat yeast wind hot one keep day year".split()
        documents = [{"id": n, "text": " ".join(dice.choices(words, k=6))} for n in range(400)]
        connector = make(new_name(), embedder=HashEmbedder(), reranker=KeepingReranker())
        call(connector.create())
        call(connector.add(documents, batch_size=400))
        query = "bread boat lava"
        windows = {
            tuple(ids(connector, call(connector.search(query, k=30, limit=30)))) for _ in range(20)
        }
        call(connector.delete())
        assert len(windows) == 1

    def test_weak_branch(self, make: Connect, call: Call) -> None:
        """A branch that does not find what is stored is found out, and then counts nothing."""
        dice = random.Random(1)
        words = ["".join(dice.choices("abdegiklmnoprstu", k=7)) for _ in range(200)]
        documents = [
            {"id": n, "text": ". ".join(" ".join(dice.choices(words, k=7)) for _ in range(3))}
            for n in range(40)
        ]
        name = new_name()
        connector = make(name, embedder=HashEmbedder(), reranker=None)
        call(connector.create())
        call(connector.add(documents))
        bm25, dense = call(connector.self_retrieval())
        assert min(bm25, dense) > 0.7
        other = _OtherModel()
        found = call(make(name, embedder=other, reranker=None).self_retrieval())
        assert found[0] == bm25
        assert found[1] < 0.3
        fusion = Fusion(weights="auto", self_retrieval=found)
        connector = make(name, embedder=other, reranker=KeepingReranker())
        query = str(documents[7]["text"])
        alone = explained(connector, call, query, mode="bm25", k=10, limit=10, rerank=False)
        both = explained(connector, call, query, fusion=fusion, k=10, limit=10)
        assert {hit.id for hit in both.hits} == {hit.id for hit in alone.hits}
        assert both.branch_weights["dense"].share == 0.0
        assert "dense" in both.notes["weak_branch"]
        call(connector.delete())

    def test_fusions(self, call: Call, connector: ConnectorUnderTest) -> None:
        """Every fusion method returns the same hits, best first."""
        for method in self.fusions:
            options: dict[str, object] = {"k": 40, "limit": 40, "depth": 15, "rerank": False}
            response = call(connector.search(WIDE, fusion=Fusion(method), **options))
            rrf = call(connector.search(WIDE, **options))
            assert sorted(ids(connector, response)) == sorted(ids(connector, rrf)), method
            assert descending(scores(connector, response)), method

    @pytest.mark.parametrize("weights", [None, (0.8, 0.2), (1.0, 3.0)])
    @pytest.mark.parametrize("method", ["min_max", "l2"])
    def test_normalised(
        self,
        call: Call,
        connector: ConnectorUnderTest,
        method: Literal["min_max", "l2"],
        weights: tuple[float, float] | None,
    ) -> None:
        """Scores are the weighted means of the branches' normalised scores."""
        fusion = Fusion(method, weights=weights or "auto")
        outcome = explained(
            connector, call, WIDE, k=40, limit=40, depth=15, fusion=fusion, rerank=False
        )
        branches = [
            {hit.id: hit.branches[name] for hit in outcome.hits if name in hit.branches}
            for name in BRANCHES
        ]
        expected = dict(fuse(branches, fusion))
        assert len(outcome.hits) == len(expected)
        for hit in outcome.hits:  # OpenSearch scores the last hit of a branch 0.001, not 0
            assert hit.first_pass_score == pytest.approx(expected[hit.id], abs=1.1e-3)

    def test_branch_alone_is_not_fused(self, call: Call, connector: ConnectorUnderTest) -> None:
        """The outcome of a search in one branch says that nothing was fused."""
        for mode in MODES:
            outcome = explained(connector, call, WIDE, mode=mode)
            assert (outcome.fused_by == "none") == (mode != "hybrid")
