"""The same boosts written as a Qdrant formula and as an OpenSearch `function_score`.

The expected order is worked out in Python: from the native scores that the raw client gives, the
scores of the reranker, and what the boosts say of a product.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from qdrant_client.http import models

from tests.contract.backends import Backend, Remembering
from tests.contract.catalogue import QUERY, Overlap, products
from vecdb_rerank import Outcome, Policy, observe
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking.fusion import tie_breaker
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank.testing.base import new_name
from vecdb_rerank_opensearch import AsyncRerankingOpenSearch, RerankingOpenSearch
from vecdb_rerank_qdrant import AsyncRerankingQdrantClient, RerankingQdrantClient

EMBEDDER = HashEmbedder(32)
PRODUCTS = {
    str(product["id"]): {name: v for name, v in product.items() if v is not None}
    for product in products()
}
K, FOUND = 40, 60
POLICY = Policy(deadline=None, blend=Blend("replace"))
TODAY = datetime.now(UTC)
BRAND = "Alder"
# The weights of what is in stock, fresh, cheap, and of a brand, beside scores of about this much.
SCALE = {"qdrant": 1.0, "opensearch": 8.0}


def boost(product: Mapping[str, Any]) -> float:
    """What is added for a product: stock, half as much each 90 days, less up to 200, a brand."""
    added = product.get("added")
    age = (TODAY - datetime.fromisoformat(added)) / timedelta(days=90) if added else None
    return float(
        0.2 * (product["stock"] > 0)
        + (0.3 * 0.5**age if age is not None else 0)
        + 0.2 * max(0.0, 1 - product["price"] / 200)
        + 0.1 * (product["brand"] == BRAND)
    )


def formula(scale: float) -> models.FormulaQuery:
    """The boosts in Qdrant's terms."""
    in_stock = models.FieldCondition(key="stock", range=models.Range(gt=0))
    fresh = models.ExpDecayExpression(
        exp_decay=models.DecayParamsExpression(
            x=models.DatetimeKeyExpression(datetime_key="added"),
            target=models.DatetimeExpression(datetime=TODAY.isoformat()),
            scale=90 * 86400.0,
            midpoint=0.5,
        )
    )
    cheap = models.LinDecayExpression(
        lin_decay=models.DecayParamsExpression(x="price", scale=100.0, midpoint=0.5)
    )
    brand = models.FieldCondition(key="brand", match=models.MatchValue(value=BRAND))
    parts = [(0.2, in_stock), (0.3, fresh), (0.2, cheap), (0.1, brand)]
    boosts = [models.MultExpression(mult=[scale * weight, part]) for weight, part in parts]
    return models.FormulaQuery(
        formula=models.SumExpression(sum=["$score", *boosts]),
        defaults={"added": "1970-01-01T00:00:00Z"},
    )


def function_score(scale: float) -> dict[str, Any]:
    """The boosts in OpenSearch's terms."""
    fresh = {"origin": TODAY.isoformat(), "scale": "90d", "decay": 0.5}
    functions = [
        {"filter": {"range": {"stock": {"gt": 0}}}, "weight": 0.2 * scale},
        {"filter": {"exists": {"field": "added"}}, "exp": {"added": fresh}, "weight": 0.3 * scale},
        {"linear": {"price": {"origin": 0, "scale": 100, "decay": 0.5}}, "weight": 0.2 * scale},
        {"filter": {"match": {"brand": BRAND}}, "weight": 0.1 * scale},
    ]
    return {
        "query": {"match": {"text": QUERY}},
        "functions": functions,
        "score_mode": "sum",
        "boost_mode": "sum",
    }


class Shop:
    """The catalogue in one database, asked with and without the boosts."""

    def __init__(self, backend: Backend, collection: str) -> None:
        self.backend, self.collection = backend, collection
        self.is_qdrant = backend.name.startswith("qdrant")
        self.scale = SCALE["qdrant" if self.is_qdrant else "opensearch"]

    def native(self) -> dict[str, float]:
        """The score of each product that the query finds, by id."""
        found = self._search(self.backend.client, models.FormulaQuery(formula="$score"), False)
        return dict(_scores(found))

    def raw(self) -> list[tuple[str, float]]:
        return _scores(self._search(self.backend.client, formula(self.scale), True))

    def reranked(self, reranker: Any, limit: int = K) -> tuple[list[tuple[str, float]], Outcome]:
        asynchronous = self.backend.name.endswith("async")
        if self.is_qdrant:
            kind: Any = AsyncRerankingQdrantClient if asynchronous else RerankingQdrantClient
        else:
            kind = AsyncRerankingOpenSearch if asynchronous else RerankingOpenSearch
        client = kind(self.backend.client, reranker, k=K, policy=POLICY)
        with observe() as outcomes:
            found = self._search(client, formula(self.scale), True, limit, rerank_query=QUERY)
        return _scores(found), outcomes[-1]

    def _search(
        self, client: Any, query: Any, boosted: bool, limit: int = FOUND, **ours: Any
    ) -> Any:
        if self.is_qdrant:
            near = models.Prefetch(
                query=list(EMBEDDER.embed_query(QUERY)), using="dense", limit=FOUND
            )
            call = client.query_points(
                collection_name=self.collection, query=query, prefetch=near, limit=limit, **ours
            )
            return self.backend.call(call)
        match = {"match": {"text": QUERY}}
        own = {"function_score": function_score(self.scale)} if boosted else match
        body = {"query": own, "size": limit if boosted else len(PRODUCTS)}
        return self.backend.call(client.search(index=self.collection, body=body, **ours))


def _scores(response: Any) -> list[tuple[str, float]]:
    if isinstance(response, dict):
        return [(hit["_id"], hit["_score"]) for hit in response["hits"]["hits"]]
    return [(str(point.id), point.score) for point in response.points]


@pytest.fixture(scope="module")
def shop(backend: Backend) -> Iterator[Shop]:
    name = new_name()
    connector = backend.connect(name, embedder=EMBEDDER, reranker=None)
    backend.call(connector.create())
    if not backend.name.startswith("qdrant"):
        fields = {"added": {"type": "date"}, "price": {"type": "float"}}
        call = backend.client.indices.put_mapping(index=name, body={"properties": fields})
        backend.call(call)
    backend.call(connector.add(PRODUCTS.values(), batch_size=500))
    yield Shop(backend, name)
    with suppress(Exception):
        backend.call(connector.delete())


@pytest.fixture(params=["bundled", "service", "logits"])
def reranker(request: pytest.FixtureRequest, models: Remembering) -> Any:
    """The bundled model, a service of 0 to 1, and raw logits."""
    return models if request.param == "bundled" else Overlap(request.param)


def test_the_boosts_stay_in_force_whatever_the_scale_of_the_reranker(
    shop: Shop, reranker: Any
) -> None:
    native, raw = shop.native(), shop.raw()
    added = {one: shop.scale * boost(PRODUCTS[one]) for one in native}
    assert dict(raw) == pytest.approx({one: native[one] + added[one] for one, _ in raw}, rel=1e-3)
    found, outcome = shop.reranked(reranker)
    assert outcome.status == "reranked", outcome.reason
    window = [one for one, _ in raw[:K]]
    best = sorted((native[one] for one in window), reverse=True)
    relevance = {str(one): value for one, value in outcome.raw.items()}
    tie = {one: tie_breaker(int(one) if shop.is_qdrant else one) for one in window}
    order = sorted(window, key=lambda one: (-relevance[one], -native[one], tie[one]))
    expected = {one: score + added[one] for one, score in zip(order, best, strict=True)}
    ids = [one for one, _ in found]
    assert dict(found) == pytest.approx(expected, rel=1e-3)
    assert [expected[one] for one in ids] == pytest.approx(
        sorted(expected.values(), reverse=True), rel=1e-3
    )
    assert ids != window
    assert ids != order
