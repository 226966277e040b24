"""The stages of `policy.after` on real databases, through connectors and drop-in clients."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from tests.contract.backends import Backend, Remembering
from tests.contract.catalogue import QUERY, Overlap, products
from vecdb_rerank import (
    Boost,
    Bury,
    ConfigurationError,
    Decay,
    FieldSignal,
    MaxPer,
    Mmr,
    Outcome,
    Pin,
    Policy,
    Skip,
    observe,
)
from vecdb_rerank.policy.after import Stage
from vecdb_rerank.policy.calibration import MS_MARCO_MINILM
from vecdb_rerank.policy.effort import Effort
from vecdb_rerank.ranking.similarity import similarity
from vecdb_rerank.testing import HashEmbedder, RaisingReranker
from vecdb_rerank.testing.base import new_name
from vecdb_rerank_opensearch import AsyncRerankingOpenSearch, RerankingOpenSearch
from vecdb_rerank_qdrant import AsyncRerankingQdrantClient, RerankingQdrantClient

EMBEDDER = HashEmbedder(32)
PRODUCTS = {str(product["id"]): product for product in products()}
K = 40
POLICY = Policy(calibration={"bundled": MS_MARCO_MINILM})


@dataclass(frozen=True)
class Hit:
    """A hit as it came: its id, its score, and what it shows beside them."""

    id: str
    score: float
    shown: Mapping[str, Any]


@dataclass
class Surface:
    """A connector or a drop-in client over the catalogue, called the same way."""

    backend: Backend
    collection: str
    kind: str
    payload: Any = "all"

    @property
    def is_qdrant(self) -> bool:
        return self.backend.name.startswith("qdrant")

    @property
    def in_stock(self) -> dict[str, Any]:
        """A native filter for what is in stock."""
        if self.is_qdrant:
            return {"must": [{"key": "stock", "range": {"gt": 0}}]}
        return {"range": {"stock": {"gt": 0}}}

    def search(
        self,
        reranker: Any,
        policy: Policy | Mapping[str, Any] = POLICY,
        *,
        limit: int = K,
        offset: int = 0,
        explain: bool = False,
        shown: Sequence[str] | bool = True,
    ) -> tuple[list[Hit], Outcome]:
        call = self._connector if self.kind == "connector" else self._drop_in
        with observe() as outcomes:
            response = call(reranker, policy, limit, offset, explain, shown)
        return _hits(response), outcomes[-1]

    def _connector(
        self, reranker: Any, policy: Any, limit: int, offset: int, explain: bool, shown: Any
    ) -> Any:
        connector = self.backend.connect(self.collection, embedder=EMBEDDER, reranker=reranker)
        # The whole source of OpenSearch, asked for by name, includes the vector.
        narrowed = {} if shown is True else {"_source": shown}
        payload = {"with_payload": shown} if self.is_qdrant else {"body": narrowed}
        found = connector.search(
            QUERY,
            k=K,
            limit=limit,
            offset=offset,
            rerank=policy,
            explain=explain,
            payload=self.payload,
            **payload,
        )
        return self.backend.call(found)

    def _drop_in(
        self, reranker: Any, policy: Any, limit: int, offset: int, _: bool, shown: Any
    ) -> Any:
        asynchronous = self.backend.name.endswith("async")
        if self.is_qdrant:
            kind: Any = AsyncRerankingQdrantClient if asynchronous else RerankingQdrantClient
            found = kind(self.backend.client, reranker, k=K, payload=self.payload).query_points(
                self.collection,
                EMBEDDER.embed_query(QUERY),
                using="dense",
                limit=limit,
                offset=offset,
                with_payload=shown,
                rerank_query=QUERY,
                rerank=policy,
            )
            return self.backend.call(found)
        kind = AsyncRerankingOpenSearch if asynchronous else RerankingOpenSearch
        body = {
            "query": {"match": {"text": QUERY}},
            "from": offset,
            "size": limit,
            "_source": shown,
        }
        client = kind(self.backend.client, reranker, k=K, payload=self.payload)
        return self.backend.call(client.search(index=self.collection, body=body, rerank=policy))


def _hits(response: Any) -> list[Hit]:
    if isinstance(response, dict):
        return [
            Hit(hit["_id"], hit["_score"], {k: v for k, v in hit.items() if k != "_score"})
            for hit in response["hits"]["hits"]
        ]
    return [Hit(str(p.id), p.score, {"payload": p.payload}) for p in response.points]


@contextmanager
def filled(backend: Backend) -> Iterator[str]:
    name = new_name()
    connector = backend.connect(name, embedder=EMBEDDER, reranker=None)
    backend.call(connector.create())
    assert backend.call(connector.add(PRODUCTS.values(), batch_size=500)).added == len(PRODUCTS)
    yield name
    with suppress(Exception):
        backend.call(connector.delete())


@pytest.fixture(scope="module")
def collection(backend: Backend) -> Iterator[str]:
    with filled(backend) as name:
        yield name


@pytest.fixture(params=["connector", "drop-in"])
def surface(backend: Backend, collection: str, request: pytest.FixtureRequest) -> Surface:
    return Surface(backend, collection, request.param)


@pytest.fixture(params=["bundled", "service", "logits"])
def reranker(request: pytest.FixtureRequest, models: Remembering) -> Any:
    """The bundled model, a service of 0 to 1 without calibration, and raw logits."""
    return models if request.param == "bundled" else Overlap(request.param)


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def after(*stages: Stage) -> Policy:
    return replace(POLICY, after=stages)


# -- each stage does as documented: what the scores before it and the catalogue say


def boosted(surface: Surface) -> tuple[Stage, Callable[[Hit], float]]:
    return Boost(
        surface.in_stock, factor=1.4
    ), lambda hit: hit.score * (1.4 if PRODUCTS[hit.id]["stock"] else 1)


def raised(surface: Surface) -> tuple[Stage, Callable[[Hit], float]]:
    return Boost(
        surface.in_stock, add=0.3
    ), lambda hit: hit.score + (0.3 if PRODUCTS[hit.id]["stock"] else 0)


def fresher(_: Surface) -> tuple[Stage, Callable[[Hit], float]]:
    def expected(hit: Hit) -> float:
        added = PRODUCTS[hit.id]["added"]
        if added is None:
            return hit.score * (1 - 0.6 * 0.5)
        days = (datetime.now(UTC) - datetime.fromisoformat(added)).days
        return float(hit.score * (1 - 0.6 * (1 - 0.5 ** (days / 180))))

    return Decay("added", scale="180d", weight=0.6), expected


def cheaper(_: Surface) -> tuple[Stage, Callable[[Hit], float]]:
    return Decay(
        "price", scale=80, weight=0.5, origin=0, shape="linear"
    ), lambda hit: hit.score * (1 - 0.5 * (1 - max(0, 1 - PRODUCTS[hit.id]["price"] / 160)))


def stocked(_: Surface) -> tuple[Stage, Callable[[Hit], float]]:
    def expected(hit: Hit) -> float:
        stock = PRODUCTS[hit.id]["stock"]
        return float(hit.score * (1 - 0.5 * (1 - stock / (stock + 10))))

    return FieldSignal("stock", pivot=10, weight=0.5), expected


@pytest.mark.parametrize("case", [boosted, raised, fresher, cheaper, stocked])
def test_stages_change_scores_as_documented(case: Any, surface: Surface, reranker: Any) -> None:
    stage, expected = case(surface)
    before, _ = surface.search(reranker)
    found, _ = surface.search(reranker, after(stage))
    assert {hit.id: hit.score for hit in found} == pytest.approx(
        {hit.id: expected(hit) for hit in before}, abs=2e-3
    )
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    assert ids(found) != ids(before)


def test_stages_place_hits_as_documented(surface: Surface, reranker: Any) -> None:
    before, _ = surface.search(reranker)
    order = ids(before)
    last, first = order[-1], order[0]
    pinned, _ = surface.search(reranker, after(Pin((last, "not found"), place=2)))
    assert ids(pinned) == [first, last, *order[1:-1]]
    buried, _ = surface.search(reranker, after(Bury((int(first),))))
    assert ids(buried) == [*order[1:], first]
    limited, _ = surface.search(reranker, after(MaxPer("brand", 2)))
    brands = [PRODUCTS[one]["brand"] for one in ids(limited)]
    assert set(Counter(brands[: 2 * len(set(brands))]).values()) == {2}
    assert ids(limited)[0] == first
    for places in (pinned, buried, limited):
        assert [hit.score for hit in places] == [hit.score for hit in before]  # dealt out again


def by_mmr(before: Sequence[Hit], cosines: Any) -> list[str]:
    """The ids in the order of maximal marginal relevance with equal weights, step by step."""
    left, taken = list(range(len(before))), list[int]()
    while left:
        best = max(
            left,
            key=lambda n: (
                0.5 * before[n].score - 0.5 * max((cosines[n, m] for m in taken), default=0)
            ),
        )
        left.remove(best)
        taken.append(best)
    return [before[n].id for n in taken]


def test_variety_is_maximal_marginal_relevance(surface: Surface, reranker: Any) -> None:
    before, _ = surface.search(reranker)
    cosines = similarity(tuple(PRODUCTS[one]["text"] for one in ids(before)))
    found, _ = surface.search(reranker, after(Mmr(0.5)))
    assert ids(found)[:10] == by_mmr(before, cosines)[:10]


@pytest.mark.parametrize("payload", ["all", "page"])
def test_stored_vectors_count_for_variety_if_they_are_requested(
    payload: Any, backend: Backend, collection: str
) -> None:
    surface = Surface(backend, collection, "connector")
    before, _ = surface.search(Overlap("logits"))
    vectors = np.array(EMBEDDER.embed_documents([PRODUCTS[one]["text"] for one in ids(before)]))
    expected = by_mmr(before, np.clip(vectors @ vectors.T, 0, 1))
    connector = backend.connect(collection, embedder=EMBEDDER, reranker=Overlap("logits"))
    native = {"with_vectors": True} if surface.is_qdrant else {"body": {"_source": True}}
    options = {"k": K, "limit": 10, "rerank": after(Mmr(0.5)), "payload": payload, **native}
    found = _hits(backend.call(connector.search(QUERY, **options)))
    assert ids(found) == expected[:10]


def test_stages_act_in_their_order(surface: Surface, reranker: Any) -> None:
    before, _ = surface.search(reranker)
    last = before[-1].id
    pin, limit = Pin((last,)), MaxPer("brand", 1)
    first, _ = surface.search(reranker, after(limit, pin))
    assert first[0].id == last
    twice, _ = surface.search(reranker, after(Boost(surface.in_stock, factor=2), Mmr(1)))
    once, _ = surface.search(reranker, after(Boost(surface.in_stock, factor=2)))
    assert twice == once


# -- what holds for all of them

ALL: list[dict[str, Any]] = [
    {"type": "decay", "field": "added", "scale": "180d", "weight": 0.3},
    {"type": "field", "field": "stock", "pivot": 10, "weight": 0.3},
    {"type": "mmr", "lambda_mult": 0.6},
    {"type": "max_per", "field": "brand", "n": 3},
    {"type": "pin", "ids": ["1", "2"], "query": "scarf"},
]


@pytest.mark.parametrize("effort", ["full", {"pairs": 20}, {"tolerance": 0.01}])
def test_pages_never_overlap(effort: Any, surface: Surface, reranker: Any) -> None:
    boost = {"type": "boost", "filter": surface.in_stock, "factor": 1.3}
    policy = {"after": [boost, *ALL], "effort": effort}
    pages = [surface.search(reranker, policy, limit=8, offset=n)[0] for n in range(0, K, 8)]
    found = [one for page in pages for one in ids(page)]
    assert len(set(found)) == K
    if effort == "full":
        # Of equal scores, other hits may be the last ones of a request that is as deep as K.
        whole, _ = surface.search(reranker, policy, limit=K - 1)
        assert found[:-1] == ids(whole)


@pytest.mark.parametrize("shown", [["text"], False])
def test_what_stages_read_is_not_shown(shown: Any, surface: Surface) -> None:
    boost = Boost(surface.in_stock, factor=1.3)
    stages = (boost, Decay("added", "180d", 0.3), MaxPer("brand"), Pin(("1",)))
    found, _ = surface.search(Overlap("logits"), after(*stages), shown=shown)
    plain, _ = surface.search(Overlap("logits"), shown=shown)
    whole, _ = surface.search(Overlap("logits"), after(*stages))
    assert ids(found) == ids(whole) != ids(plain)
    assert {hit.id: hit.shown for hit in found} == {hit.id: hit.shown for hit in plain}


def test_payloads_may_come_for_the_page_alone(surface: Surface) -> None:
    boost = Boost(surface.in_stock, factor=1.3)
    policy = after(boost, Decay("added", "180d", 0.3), MaxPer("brand"))
    whole, _ = surface.search(Overlap("logits"), policy, limit=5)
    by_page, _ = replace(surface, payload="page").search(Overlap("logits"), policy, limit=5)
    assert by_page == whole


def test_relevance_is_tested_before_the_stages(surface: Surface) -> None:
    everything, outcome = surface.search(Overlap("logits"))
    minimum = statistics.median(outcome.relevance.values())
    kept = replace(after(Pin((everything[-1].id,))), min_relevance=minimum)
    found, _ = surface.search(Overlap("logits"), kept)
    relevant = {str(one) for one, value in outcome.relevance.items() if value >= minimum}
    assert set(ids(found)) == relevant < set(ids(everything))


def test_a_filter_that_cannot_be_evaluated_is_named_before_anything_is_sent(
    surface: Surface,
) -> None:
    wrong = (
        {"must": [{"key": "text", "match": {"text": "wool"}}]}
        if surface.is_qdrant
        else {"bool": {"must": [{"terms": {"brand": ["a"]}}, {"neural": {}}]}}
    )
    policy = {"after": [{"type": "mmr"}, {"type": "boost", "filter": wrong, "factor": 2}]}
    missing = replace(surface, collection=new_name())  # sending would fail otherwise
    with pytest.raises(ConfigurationError) as caught:
        missing.search(Overlap("logits"), policy)
    clause = "must.0.match.text" if surface.is_qdrant else "bool.must.1.neural"
    assert caught.value.key == f"policy.after.1.filter.{clause}"


def test_stages_hold_when_the_reranker_fails_or_is_skipped(surface: Surface) -> None:
    plain, _ = surface.search(RaisingReranker())
    last = plain[-1].id
    found, outcome = surface.search(RaisingReranker(), after(Pin((last,)), MaxPer("brand", 2)))
    assert outcome.status == "fell_back"
    assert found[0].id == last
    assert sorted(ids(found)) == sorted(ids(plain))
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    second, _ = surface.search(RaisingReranker(), after(Pin((plain[9].id,))), limit=9, offset=1)
    assert ids(second) == ids(plain)[:9]
    skipping = replace(after(Pin((last,))), skip=Skip(few=100))
    skipped, outcome = surface.search(Overlap("logits"), skipping)
    assert (outcome.status, outcome.would_skip) == ("skipped", None)
    assert skipped[0].id == last


def test_explain_tells_what_each_stage_did(backend: Backend, collection: str) -> None:
    surface = Surface(backend, collection, "connector")
    boost = Boost(surface.in_stock, factor=1.3)
    stages = (boost, Decay("price", scale=50, weight=0.5, origin=0), MaxPer("brand", 2))
    found, outcome = surface.search(Overlap("logits"), after(*stages), limit=5, explain=True)
    for rank, (hit, explained) in enumerate(zip(found, outcome.hits, strict=True), start=1):
        by_boost, by_price, by_brand = explained.after
        assert by_boost.value == (1.3 if PRODUCTS[hit.id]["stock"] else None)
        assert by_price.stage == "decay(price)"
        assert by_price.value == pytest.approx(0.5 ** (PRODUCTS[hit.id]["price"] / 50))
        assert by_price.score == pytest.approx(
            by_boost.score * (1 - 0.5 * (1 - (by_price.value or math.nan)))
        )
        assert (by_brand.rank, by_brand.score) == (rank, hit.score)


def test_an_unread_document_that_a_stage_lifts_is_read(backend: Backend, collection: str) -> None:
    surface = Surface(backend, collection, "connector")
    little = replace(POLICY, effort=Effort(pairs=12))
    _, plain = surface.search(Overlap("logits"), little)
    unread = [one for one in plain.first_pass_score if one not in plain.relevance]
    dear = [one for one in unread if PRODUCTS[str(one)]["price"] > 100]
    lifting = Decay("price", scale=0.01, weight=0.9, origin=PRODUCTS[str(dear[-1])]["price"])
    _, lifted = surface.search(Overlap("logits"), replace(little, after=(lifting,)))
    assert lifted.scored == plain.scored == 12
    assert dear[-1] in lifted.relevance


def test_boosts_leave_the_callers_own_filter_and_names_alone(opensearch: Backend) -> None:
    boost = Boost({"range": {"stock": {"gt": 0, "_name": "of the policy"}}}, factor=1.5)
    kind: Any = (
        AsyncRerankingOpenSearch if opensearch.name.endswith("async") else RerankingOpenSearch
    )
    client = kind(opensearch.client, Overlap("logits"), k=K, policy=after(boost))
    body = {
        "query": {"match": {"text": {"query": QUERY, "_name": "own"}}},
        "post_filter": {"terms": {"brand.keyword": ["Alder", "Birch"]}},
        "aggs": {"best": {"top_hits": {"size": 20, "_source": False}}},
        "size": 10,
    }
    with filled(opensearch) as name:
        plain = opensearch.call(client.search(index=name, body=body, rerank=POLICY))
        found = opensearch.call(client.search(index=name, body=body))
        lines = [{"index": name}, body]
        (many,) = opensearch.call(client.msearch(body=lines))["responses"]
        scored = opensearch.call(
            client.search(index=name, body=body, include_named_queries_score=True)
        )
        hidden = {"filter_path": "hits.hits._id,hits.hits._score,hits.hits._source"}
        with observe() as outcomes:
            opensearch.call(client.search(index=name, body=body, params=hidden))
    assert found["hits"]["total"] == plain["hits"]["total"]
    assert found["aggregations"] == many["aggregations"] == plain["aggregations"]
    hits = _hits(found)
    assert hits == _hits(many)
    assert ids(hits) == ids(_hits(scored)) != ids(_hits(plain))
    assert {PRODUCTS[hit.id]["brand"] for hit in hits} <= {"Alder", "Birch"}
    assert all(hit.shown["matched_queries"] == ["own"] for hit in hits)
    assert all(list(hit.shown["matched_queries"]) == ["own"] for hit in _hits(scored))
    assert outcomes[0].status == "skipped"
    assert "matched_queries" in str(outcomes[0].reason)
