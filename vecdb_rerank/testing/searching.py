"""The contract of a connector: searching and reranking."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from vecdb_rerank.errors import (
    ConfigurationError,
    FirstPassError,
    RerankError,
    VecdbRerankError,
)
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores
from vecdb_rerank.outcome import observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import Embedder
from vecdb_rerank.testing.base import (
    REPLACE,
    Call,
    Connect,
    ConnectorFixtures,
    ConnectorUnderTest,
    descending,
    everything,
    explained,
    ids,
    new_name,
    one_line,
    scores,
)
from vecdb_rerank.testing.corpus import CORPUS, QUERIES
from vecdb_rerank.testing.doubles import (
    HashEmbedder,
    KeepingReranker,
    RaisingReranker,
    ReversingReranker,
)

MODES = ("hybrid", "dense", "bm25")
every_mode = pytest.mark.parametrize("mode", MODES)
# Words of many documents, so that BM25 finds enough of them.
WIDE = "bread boat lava list hive tax light fat yeast wind eruption hot one keep a day year before"


class Searching(ConnectorFixtures):
    """Searching and reranking."""

    @every_mode
    @pytest.mark.parametrize("subject", QUERIES)
    def test_finds_the_answer(
        self, call: Call, connector: ConnectorUnderTest, mode: str, subject: str
    ) -> None:
        """Each question finds its answer, and the response has the database's type."""
        response = call(connector.search(QUERIES[subject], mode=mode, k=10, limit=5))
        assert isinstance(response, self.response_type)
        assert ids(connector, response)[0] == f"{subject}-0"

    @every_mode
    def test_hits_are_the_first_pass(
        self, call: Call, connector: ConnectorUnderTest, mode: str
    ) -> None:
        """Reranking changes the order of the hits but not the hits; scores never rise."""
        arguments = {"mode": mode, "k": 15, "limit": 15}
        first = call(connector.search(WIDE, rerank=False, **arguments))
        reranked = call(connector.search(WIDE, **arguments))
        assert len(ids(connector, first)) == 15
        assert sorted(ids(connector, first)) == sorted(ids(connector, reranked))
        assert descending(scores(connector, first))
        assert descending(scores(connector, reranked))

    @every_mode
    def test_order_is_the_rerankers(
        self, make: Connect, call: Call, filled: str, mode: str
    ) -> None:
        """The order is that of the reranker's scores."""
        arguments = {"mode": mode, "k": 15, "limit": 15}
        keeping = make(filled, reranker=KeepingReranker())
        reversing = make(filled, reranker=ReversingReranker())
        first = ids(keeping, call(keeping.search(WIDE, rerank=False, **arguments)))
        assert ids(keeping, call(keeping.search(WIDE, **arguments))) == first
        assert ids(reversing, call(reversing.search(WIDE, **arguments))) == first[::-1]

    @every_mode
    def test_failing_reranker(self, make: Connect, call: Call, filled: str, mode: str) -> None:
        """If the reranker fails, order and scores are the database's, and the outcome says so."""
        connector = make(filled, reranker=RaisingReranker())
        arguments = {"mode": mode, "k": 15, "limit": 15}
        first = call(connector.search(WIDE, rerank=False, **arguments))
        with observe() as outcomes:
            response = call(connector.search(WIDE, **arguments))
        assert ids(connector, response) == ids(connector, first)
        assert scores(connector, response) == pytest.approx(scores(connector, first), rel=1e-5)
        assert outcomes[0].status == "fell_back"
        assert isinstance(outcomes[0].error, RerankError)

    def test_failing_reranker_raises(self, make: Connect, call: Call, filled: str) -> None:
        """If the reranker fails under ``on_error="raise"``, the search raises."""
        policy = Policy(on_error="raise")
        connector = make(filled, reranker=RaisingReranker(), policy=policy)
        with pytest.raises(RerankError, match="raising"):
            call(connector.search(WIDE))

    def test_late_reranker(self, make: Connect, call: Call, filled: str) -> None:
        """A slow reranker does not exceed the deadline."""
        connector = make(filled, reranker=_Sleeping(), policy=Policy(deadline=1.0))
        started = time.monotonic()
        with observe() as outcomes:
            response = call(connector.search(WIDE))
        assert time.monotonic() - started < 2.0
        assert len(ids(connector, response)) == 10
        assert outcomes[0].status == "fell_back"

    @every_mode
    def test_blend(self, make: Connect, call: Call, filled: str, mode: str) -> None:
        """By default, first pass and relevance are blended."""
        arguments = {"mode": mode, "k": 15, "limit": 15}
        connector = make(filled, reranker=ReversingReranker(best=0.5), policy=Policy())
        first = ids(connector, call(connector.search(WIDE, rerank=False, **arguments)))
        response = call(connector.search(WIDE, **arguments))
        blended = ids(connector, response)
        assert sorted(blended) == sorted(first)
        assert blended not in (first, first[::-1])
        assert descending(scores(connector, response))
        assert all(0 <= score <= 1 for score in scores(connector, response))

    def test_min_relevance(self, make: Connect, call: Call, filled: str) -> None:
        """Hits below the minimum relevance are dropped."""
        connector = make(
            filled, reranker=KeepingReranker(), policy=replace(REPLACE, min_relevance=0.5)
        )
        response = call(connector.search(WIDE, k=15, limit=15))
        assert 0 < len(ids(connector, response)) < 15
        assert min(scores(connector, response)) >= 0.5

    @every_mode
    def test_pages(self, call: Call, connector: ConnectorUnderTest, mode: str) -> None:
        """Pages show each hit of the window once, in its order."""
        whole = ids(connector, call(connector.search(WIDE, mode=mode, k=30, limit=30)))
        paged: list[str] = []
        for offset in range(0, 30, 7):
            page = call(connector.search(WIDE, mode=mode, k=30, limit=7, offset=offset))
            assert descending(scores(connector, page))
            paged += ids(connector, page)
        assert paged == whole
        assert len(set(paged)) == len(paged)
        assert len(paged) == 30 or mode == "bm25"
        beyond = call(connector.search(WIDE, mode=mode, k=30, limit=7, offset=30))
        assert ids(connector, beyond) == []

    @every_mode
    def test_filter(self, call: Call, connector: ConnectorUnderTest, mode: str) -> None:
        """The filter applies to every branch."""
        native = self.filter_by("subject", "bees")
        response = call(connector.search(WIDE, mode=mode, filter=native, k=20, limit=20))
        found = ids(connector, response)
        assert found
        assert all(doc_id.startswith("bees-") for doc_id in found)
        if mode != "bm25":
            assert len(found) == 5

    def test_filter_that_nothing_passes(self, call: Call, connector: ConnectorUnderTest) -> None:
        """Without hits, the native response is empty."""
        with observe() as outcomes:
            response = call(connector.search(WIDE, filter=self.filter_by("subject", "nobody")))
        assert isinstance(response, self.response_type)
        assert ids(connector, response) == []
        assert outcomes[0].status == "skipped"

    @every_mode
    @pytest.mark.parametrize(
        "query",
        [
            "the of and",
            "?!... ---",
            "日本語 \N{GRINNING FACE} Straße İstanbul",
            "a" * 5_000,
            "bread " * 2_000,
            'quoted "phrase" AND (x OR y) NOT z~ \\ / *',
            "x",
        ],
        ids=["stop words", "punctuation", "unicode", "long word", "long", "syntax", "letter"],
    )
    def test_awkward_queries(
        self, call: Call, connector: ConnectorUnderTest, mode: str, query: str
    ) -> None:
        """Any text is a query; without terms, only BM25 finds nothing."""
        response = call(connector.search(query, mode=mode, k=10, limit=10))
        assert len(ids(connector, response)) == 10 or mode == "bm25"
        assert descending(scores(connector, response))

    def test_wrong_arguments(self, call: Call, connector: ConnectorUnderTest) -> None:
        """Wrong arguments raise `ConfigurationError` with the argument as its key."""
        wrong: Sequence[tuple[str, dict[str, object]]] = [
            ("k", {"k": 0}),
            ("limit", {"k": 5, "limit": 6}),
            ("offset", {"offset": -1}),
            ("mode", {"mode": "fuzzy"}),
            ("query_vector", {"query_vector": [float("nan")]}),
        ]
        for name, arguments in wrong:
            with pytest.raises(ConfigurationError) as caught:
                call(connector.search(WIDE, **arguments))
            assert caught.value.key == name
        with pytest.raises(ConfigurationError) as caught:
            call(connector.search("  "))
        assert caught.value.key == "query"

    def test_query_vector(
        self,
        make: Connect,
        call: Call,
        filled: str,
        embedder: Embedder,
        connector: ConnectorUnderTest,
    ) -> None:
        """The caller's ``query_vector`` replaces the embedder."""
        bare = make(filled, embedder=None)
        vector = list(embedder.embed_query(WIDE))
        for mode in MODES:
            arguments = {"mode": mode, "k": 15, "limit": 15, "rerank": False}
            brought = call(bare.search(WIDE, query_vector=vector, **arguments))
            assert ids(bare, brought) == ids(connector, call(connector.search(WIDE, **arguments)))
        with pytest.raises(ConfigurationError) as caught:
            call(bare.search(WIDE))
        assert caught.value.key == "query_vector"
        assert ids(bare, call(bare.search(WIDE, mode="bm25")))

    @pytest.mark.parametrize("mode", ["hybrid", "dense"])
    def test_other_dimension_in_a_query(
        self, make: Connect, call: Call, filled: str, mode: str
    ) -> None:
        """An embedder of another dimension raises an error of one line."""
        connector = make(filled, embedder=HashEmbedder(7))
        with pytest.raises(VecdbRerankError, match=r"(?i)dimension|shape") as caught:
            call(connector.search(WIDE, mode=mode))
        assert one_line(caught.value)

    def test_failing_embedder(self, make: Connect, call: Call, filled: str) -> None:
        """If the embedder fails, a hybrid search is one by BM25; the outcome says so."""
        connector = make(filled, embedder=_Failing())
        arguments = {"k": 15, "limit": 7, "offset": 3}
        alone = ids(connector, call(connector.search(WIDE, mode="bm25", **arguments)))
        assert ids(connector, call(connector.search(WIDE, **arguments))) == alone
        outcome = explained(connector, call, WIDE, **arguments)
        assert (outcome.mode, outcome.status) == ("bm25", "reranked")
        assert "embedder_failed" in outcome.notes
        with pytest.raises(FirstPassError, match="out of order"):
            call(connector.search(WIDE, mode="dense"))

    @every_mode
    def test_unknown_collection(self, make: Connect, call: Call, mode: str) -> None:
        """A missing collection raises an error of one line that names it."""
        name = new_name()
        with pytest.raises(FirstPassError, match=name) as caught:
            call(make(name).search(WIDE, mode=mode))
        assert one_line(caught.value)

    def test_outcome(self, make: Connect, call: Call, filled: str) -> None:
        """The outcome has counts, timings and names."""
        connector = make(filled, reranker=KeepingReranker())
        with observe() as outcomes:
            call(connector.search(WIDE, k=15, limit=5))
        [outcome] = outcomes
        assert (outcome.status, outcome.seen, outcome.scored) == ("reranked", 15, 15)
        assert outcome.mode == "hybrid"
        assert outcome.reranker == "keeping"
        assert {"embed", "first_pass", "rerank", "total"} == set(outcome.timings)
        assert len(outcome.relevance) == len(outcome.first_pass_score) == 15

    def test_dense_search_finds_everything(self, call: Call, connector: ConnectorUnderTest) -> None:
        """A dense search with a large ``k`` finds all documents."""
        found = ids(connector, everything(connector, call))
        assert sorted(found) == sorted(str(document["id"]) for document in CORPUS)

    def test_closing_leaves_the_client_open(self, make: Connect, call: Call, filled: str) -> None:
        """Closing a connector does not close the caller's client."""
        call(make(filled).close())
        assert call(make(filled).search(WIDE)) is not None


class _Failing(HashEmbedder):
    def embed_query(self, text: str) -> list[float]:  # noqa: ARG002
        raise ConnectionError("out of order")


class _Sleeping(KeepingReranker):
    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        time.sleep(3)
        return super().score(query, documents, deadline=deadline)
