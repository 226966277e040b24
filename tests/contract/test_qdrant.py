"""What is Qdrant's own: selectors, vectors, thresholds, layouts, errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from qdrant_client import models
from qdrant_client.http import models as rest

from tests.contract.backends import SERVED, Backend, Remembering, opened, qdrant_client
from tests.contract.documents import FORMS, NESTED
from tests.servers import free_port
from vecdb_rerank.errors import FirstPassError, SchemaError
from vecdb_rerank.ingest.model import Document
from vecdb_rerank.outcome import observe
from vecdb_rerank.request import Fusion, Language
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank.testing.base import ids, new_name, one_line
from vecdb_rerank.testing.searching import WIDE, every_mode
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import Bm25


@pytest.fixture(scope="module")
def collection(qdrant: Backend, models: Remembering) -> Iterator[str]:
    name = new_name()
    connector = qdrant.connect(name, embedder=models, reranker=models)
    qdrant.call(connector.create())
    report = qdrant.call(connector.add(Document(n, d) for n, d in enumerate(NESTED)))
    assert report.added == len(NESTED)
    yield name
    qdrant.call(connector.delete())


@pytest.fixture
def connector(qdrant: Backend, collection: str, models: Remembering) -> Any:
    return qdrant.connect(collection, embedder=models, reranker=models)


def stored(backend: Backend, collection: str, **selectors: Any) -> dict[Any, Any]:
    """The points as Qdrant itself gives them, by id."""
    found = range(len(NESTED))
    points = backend.call(backend.client.retrieve(collection, list(found), **selectors))
    return {point.id: point for point in points}


SELECTORS: list[Any] = [
    None,
    True,
    False,
    ["number"],
    ["text"],
    ["meta.author.name", "tags"],
    ["meta"],
    ["meta.summary"],
    [],
    models.PayloadSelectorInclude(include=["number"]),
    models.PayloadSelectorExclude(exclude=["text"]),
    models.PayloadSelectorExclude(exclude=["title", "text", "meta"]),
    models.PayloadSelectorExclude(exclude=["meta.summary"]),
    models.PayloadSelectorExclude(exclude=["number"]),
]


@every_mode
@pytest.mark.parametrize("fields", [("title", "text"), ("meta.summary", "text")])
@pytest.mark.parametrize("selector", SELECTORS, ids=repr)
def test_payload_selectors(
    qdrant: Backend,
    collection: str,
    models: Remembering,
    selector: Any,
    fields: tuple[str, ...],
    mode: str,
) -> None:
    """Whatever is selected: all is reranked alike, and hits hold what was selected."""
    options: dict[str, Any] = {"embedder": models, "reranker": models}
    connector = qdrant.connect(collection, text_fields=TextFields(fields), **options)
    with observe() as outcomes:
        plain = qdrant.call(connector.search(WIDE, mode=mode))
        response = qdrant.call(connector.search(WIDE, mode=mode, with_payload=selector))
    assert [outcome.status for outcome in outcomes] == ["reranked", "reranked"]
    assert [p.id for p in response.points] == [p.id for p in plain.points]
    # Local Qdrant's own scores differ in their seventh digit from call to call.
    scores = [p.score for p in plain.points]
    assert [p.score for p in response.points] == pytest.approx(scores, rel=1e-6)
    shown = True if selector is None else selector
    expected = stored(qdrant, collection, with_payload=shown)
    for point in response.points:
        assert (point.payload or None) == (expected[point.id].payload or None)


@every_mode
@pytest.mark.parametrize("wanted", [True, False, ["dense"], ["bm25", "dense"]])
def test_vectors(qdrant: Backend, collection: str, connector: Any, wanted: Any, mode: str) -> None:
    response = qdrant.call(connector.search(WIDE, mode=mode, with_vectors=wanted))
    expected = stored(qdrant, collection, with_vectors=wanted)
    assert len(response.points) == 10
    for point in response.points:
        assert point.vector == expected[point.id].vector


@pytest.mark.parametrize("method", ["rrf", "dbsf", "min_max", "l2"])
@pytest.mark.parametrize("weights", [None, (0.7, 0.3)])
def test_threshold_of_fused_scores(
    qdrant: Backend, connector: Any, method: Any, weights: Any
) -> None:
    """The threshold tests the first pass's own score, in either fusion."""
    if method == "dbsf" and weights:
        return
    fusion = Fusion(method, weights=weights or "auto")
    arguments: dict[str, Any] = {"fusion": fusion, "k": 20, "limit": 20}
    scores = [
        p.score for p in qdrant.call(connector.search(WIDE, rerank=False, **arguments)).points
    ]
    threshold = (scores[9] + scores[10]) / 2
    if scores[9] == scores[10]:
        threshold = scores[9]
    expected = sum(score >= threshold for score in scores)
    assert expected < 20
    with observe() as outcomes:
        response = qdrant.call(connector.search(WIDE, score_threshold=threshold, **arguments))
    assert len(response.points) == expected
    assert min(outcomes[0].first_pass_score.values()) >= threshold


@pytest.mark.parametrize("mode", ["dense", "bm25"])
def test_threshold_of_a_branch(qdrant: Backend, connector: Any, mode: str) -> None:
    arguments = {"mode": mode, "k": 20, "limit": 20}
    scores = [
        p.score for p in qdrant.call(connector.search(WIDE, rerank=False, **arguments)).points
    ]
    threshold = (scores[4] + scores[5]) / 2
    response = qdrant.call(connector.search(WIDE, score_threshold=threshold, **arguments))
    assert len(response.points) == 5


@every_mode
# Local mode has no index to tune, and warns.
@pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning")
def test_search_parameters(qdrant: Backend, connector: Any, mode: str) -> None:
    """They reach the dense branch, and disturb no other."""
    plain = qdrant.call(connector.search(WIDE, mode=mode))
    exact = models.SearchParams(exact=True, hnsw_ef=64)
    tuned = qdrant.call(connector.search(WIDE, mode=mode, search_params=exact, consistency=1))
    assert ids(connector, tuned) == ids(connector, plain)


@every_mode
def test_hits_are_qdrants_own(qdrant: Backend, collection: str, connector: Any, mode: str) -> None:
    """A hit is the point as it is stored, but for the score; the response has one type."""
    response = qdrant.call(connector.search(WIDE, mode=mode))
    assert type(response) is rest.QueryResponse
    expected = stored(qdrant, collection, with_payload=True)
    for point in response.points:
        assert type(point) is rest.ScoredPoint
        assert type(point.score) is float
        assert point.payload == expected[point.id].payload == NESTED[int(point.id)]


@every_mode
def test_unnamed_dense_vector(qdrant: Backend, models: Remembering, mode: str) -> None:
    connector = qdrant.connect(new_name(), dense_vector=None, embedder=models, reranker=models)
    assert qdrant.call(connector.create()) is True
    assert qdrant.call(connector.create()) is False
    assert qdrant.call(connector.add(NESTED)).added == len(NESTED)
    response = qdrant.call(connector.search("how do honey bees dance", mode=mode, limit=3))
    assert ids(connector, response)[0] == "bees-0"
    qdrant.call(connector.delete())


def test_foreign_ids_are_stable(qdrant: Backend, models: Remembering) -> None:
    """A point's id is a UUID made of the foreign id, which the payload keeps."""
    connector = qdrant.connect(new_name(), embedder=models, reranker=models)
    qdrant.call(connector.create())
    qdrant.call(connector.add([Document("page 1", {"text": "one"}), Document(5, {"text": "two"})]))
    points = qdrant.call(connector.search("one", mode="dense")).points
    qdrant.call(connector.delete())
    assert {p.id: p.payload for p in points} == {
        "d3c0a841-8472-5691-8407-108a5519fc5b": {"text": "one", "_doc_id": "page 1"},
        5: {"text": "two"},
    }


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("mode", ["hybrid", "bm25"])
def test_unreachable(name: str, mode: str, models: Remembering) -> None:
    """A host that is not there is one line, at once."""
    port = free_port()
    client = qdrant_client(name, f"http://127.0.0.1:{port}", port, check_compatibility=False)
    with opened(name, client) as backend:
        connector = backend.connect("docs", embedder=models, reranker=models)
        started = time.monotonic()
        with pytest.raises(
            FirstPassError, match=rf"127\.0\.0\.1:{port} cannot be reached"
        ) as caught:
            backend.call(connector.search(WIDE, mode=mode))
        assert time.monotonic() - started < 5
        assert one_line(caught.value)
        findings = backend.call(connector.check())
        assert [finding.ok for finding in findings] == [False]


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_a_distance_of_which_less_is_better_is_refused(qdrant: Backend, mode: str) -> None:
    """Its order would be turned around."""
    name = new_name()
    euclid = models.VectorParams(size=2, distance=models.Distance.EUCLID)
    idf = models.SparseVectorParams(modifier=models.Modifier.IDF)
    qdrant.call(
        qdrant.client.create_collection(
            name, vectors_config={"dense": euclid}, sparse_vectors_config={"bm25": idf}
        )
    )
    points = [
        models.PointStruct(id=n, vector={"dense": [float(n), 0.0]}, payload={"text": f"number {n}"})
        for n in range(5)
    ]
    qdrant.call(qdrant.client.upsert(name, points))
    connector = qdrant.connect(name, embedder=None, reranker=None)
    with pytest.raises(SchemaError, match="distance"):
        qdrant.call(connector.search("number", mode=mode, query_vector=[0.0, 0.0], explain=True))
    findings = qdrant.call(connector.check())
    assert "distance" in findings[-1].detail
    qdrant.call(qdrant.client.delete_collection(name))


@pytest.mark.parametrize("language", FORMS)
def test_bm25_stems_in_the_language_of_the_collection(
    qdrant: Backend, models: Remembering, language: Language
) -> None:
    stored_form, asked_form = FORMS[language]
    connector = qdrant.connect(
        new_name(), bm25=Bm25(language=language), embedder=models, reranker=None
    )
    qdrant.call(connector.create())
    try:
        texts = [f"xyz {stored_form} xyz", "xyz abc xyz"]
        qdrant.call(connector.add({"id": n, "text": text} for n, text in enumerate(texts)))
        response = qdrant.call(connector.search(asked_form, mode="bm25"))
        assert len(connector.candidates(response)) == 1
    finally:
        qdrant.call(connector.delete())


def test_a_collection_in_another_language_is_told(qdrant: Backend) -> None:
    """A query in the wrong one would miss most words unnoticed."""
    name = new_name()
    german = qdrant.connect(
        name, bm25=Bm25(language="german"), embedder=HashEmbedder(), reranker=None
    )
    english = qdrant.connect(name, embedder=HashEmbedder(), reranker=None)
    qdrant.call(german.create())
    try:
        texts = [
            "Die Häuser der Städte werden häufig gebaut",
            "Bücher und Zeitungen wurden gelesen",
        ]
        qdrant.call(german.add({"id": n, "text": text} for n, text in enumerate(texts)))
        assert not qdrant.call(german.create())
        assert [finding for finding in qdrant.call(german.check()) if not finding.ok] == []
        with pytest.raises(SchemaError, match="made of german texts, language is 'english'"):
            qdrant.call(english.create())
        wrong = qdrant.call(english.check())[-1]
        assert not wrong.ok
        assert "made of german texts" in wrong.detail
        assert "language" in wrong.fix
    finally:
        qdrant.call(german.delete())


def test_foreign_vectors_are_no_other_language(qdrant: Backend) -> None:
    """Terms that no language explains are the user's own."""
    name = new_name()
    connector = qdrant.connect(name, embedder=HashEmbedder(), reranker=None)
    qdrant.call(connector.create())
    try:
        vector = {
            "dense": [1.0] + [0.0] * (HashEmbedder().dimension - 1),
            "bm25": models.SparseVector(indices=[1, 2, 3], values=[1.0, 1.0, 1.0]),
        }
        point = models.PointStruct(id=1, vector=vector, payload={"text": "the houses of a city"})
        qdrant.call(qdrant.client.upsert(name, [point]))
        assert not qdrant.call(connector.create())
        assert all(finding.ok for finding in qdrant.call(connector.check()))
    finally:
        qdrant.call(connector.delete())
