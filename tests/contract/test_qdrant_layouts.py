"""Collections as people have them: vectors of one branch, no name, strict mode, languages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http import models as rest
from qdrant_client.http.exceptions import UnexpectedResponse

from tests.contract.backends import Backend, down, first_pass_notes
from vecdb_rerank.errors import ConfigurationError, FirstPassError, IngestError, SchemaError
from vecdb_rerank.ingest.model import Document
from vecdb_rerank.outcome import observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.request import SearchDefaults
from vecdb_rerank.testing import HashEmbedder, KeepingReranker
from vecdb_rerank.testing.base import ids, new_name
from vecdb_rerank_qdrant import QdrantConnector, RerankingQdrantClient

EMBEDDER = HashEmbedder(4)
BARE: dict[str, Any] = {"embedder": EMBEDDER, "reranker": KeepingReranker()}
DENSE = models.VectorParams(size=4, distance=models.Distance.COSINE)
IDF = {"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)}


def made(qdrant: Backend, dense: Any, sparse: Any = None) -> str:
    name = new_name()
    qdrant.call(
        qdrant.client.create_collection(name, vectors_config=dense, sparse_vectors_config=sparse)
    )
    return name


def wrong(qdrant: Backend, connector: Any) -> list[Any]:
    findings = qdrant.call(connector.check())
    return [finding for finding in findings if not finding.ok]


@pytest.mark.parametrize(
    ("dense", "sparse", "mode", "options"),
    [
        ({"": DENSE}, IDF, "hybrid", {"dense_vector": None}),  # as langchain-qdrant makes it
        (DENSE, IDF, "hybrid", {"dense_vector": None}),
        ({"": DENSE}, None, "dense", {"dense_vector": None}),
        (DENSE, None, "dense", {"dense_vector": ""}),
        ({"dense": DENSE}, None, "dense", {}),
        ({"dense": DENSE, "other": DENSE}, IDF, "bm25", {}),
        ({}, IDF, "bm25", {}),
    ],
)
def test_a_collection_needs_what_the_mode_needs(
    qdrant: Backend, dense: Any, sparse: Any, mode: Any, options: dict[str, Any]
) -> None:
    name = made(qdrant, dense, sparse)
    connector = qdrant.connect(name, defaults=SearchDefaults(mode=mode), **options, **BARE)
    assert not qdrant.call(connector.create())
    documents = [{"id": n, "text": text} for n, text in enumerate(["red fox", "honey bees"])]
    assert qdrant.call(connector.add(documents)).added == 2
    assert wrong(qdrant, connector) == []
    assert "0" in ids(connector, qdrant.call(connector.search("red fox")))
    qdrant.call(connector.delete())


@pytest.mark.parametrize(
    ("dense", "sparse", "mode"), [({"dense": DENSE}, None, "hybrid"), ({}, IDF, "dense")]
)
def test_what_the_mode_needs_and_the_collection_lacks_is_an_error(
    qdrant: Backend, dense: Any, sparse: Any, mode: Any
) -> None:
    name = made(qdrant, dense, sparse)
    connector = qdrant.connect(name, defaults=SearchDefaults(mode=mode), **BARE)
    (finding,) = wrong(qdrant, connector)
    assert finding.level == "error"
    with pytest.raises(IngestError, match="vector"):
        qdrant.call(connector.add([{"id": 1, "text": "one"}]))
    qdrant.call(connector.delete())


BRANCHES_OFF = [  # vectors of the collection, options of the connector, mode of its searches
    ({"": DENSE}, None, {"dense_vector": None, "bm25_vector": None}, "dense"),
    ({"dense": DENSE}, None, {"bm25_vector": "none"}, "dense"),
    ({}, IDF, {"dense_vector": "none"}, "bm25"),
]


@pytest.mark.parametrize(("dense", "sparse", "options", "mode"), BRANCHES_OFF)
def test_a_default_search_has_the_branches_that_there_are(
    qdrant: Backend, dense: Any, sparse: Any, options: dict[str, Any], mode: Any
) -> None:
    name = made(qdrant, dense, sparse)
    connector = qdrant.connect(name, **options, **BARE)
    assert not qdrant.call(connector.create())
    assert qdrant.call(connector.add([{"id": 1, "text": "red fox"}])).added == 1
    assert wrong(qdrant, connector) == []
    with observe() as outcomes:
        for given in (None, "hybrid", mode):
            assert ids(connector, qdrant.call(connector.search("fox", mode=given))) == ["1"]
    assert [outcome.mode for outcome in outcomes] == [mode] * 3
    other: Any = {"dense": "bm25", "bm25": "dense"}[mode]
    with pytest.raises(ConfigurationError) as error:
        qdrant.call(connector.search("fox", mode=other))
    assert error.value.key == "mode"
    with pytest.raises(ConfigurationError) as error:
        qdrant.connect(name, defaults=SearchDefaults(mode=other), **options, **BARE)
    assert error.value.key == "mode"
    qdrant.call(connector.delete())
    assert qdrant.call(connector.create())  # with these branches alone
    assert qdrant.call(connector.add([{"id": 1, "text": "red fox"}])).added == 1
    assert wrong(qdrant, connector) == []
    qdrant.call(connector.delete())


@pytest.mark.parametrize(
    "options",
    [
        {"dense_vector": "none", "bm25_vector": None},
        {"bm25_vector": "terms", "text_index": "text"},
    ],
)
def test_branches_that_exclude_each_other_are_refused(
    qdrant: Backend, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError) as error:
        qdrant.connect(new_name(), **options, **BARE)
    assert error.value.key in options


@pytest.mark.parametrize(
    ("dense", "sparse", "setting"),
    [
        ({"dense": DENSE}, None, 'bm25_vector = "none"'),
        (DENSE, IDF, 'dense_vector = ""'),
        ({}, IDF, 'dense_vector = "none"'),
        ({"dense": DENSE}, {"terms": IDF["bm25"]}, 'bm25_vector = "terms"'),
    ],
)
@pytest.mark.parametrize("evidence", [True, False])
def test_a_default_search_names_the_setting_that_it_needs(
    qdrant: Backend, dense: Any, sparse: Any, setting: str, evidence: bool
) -> None:
    name = made(qdrant, dense, sparse)
    connector = qdrant.connect(name, policy=Policy(branch_evidence=evidence), **BARE)
    with pytest.raises(SchemaError, match=setting):
        qdrant.call(connector.search("fox"))
    (finding,) = wrong(qdrant, connector)
    assert setting in finding.fix
    qdrant.call(connector.delete())


def test_a_collection_for_bm25_is_made_without_an_embedder(qdrant: Backend) -> None:
    options: dict[str, Any] = {"embedder": None, "reranker": None}
    connector = qdrant.connect(new_name(), defaults=SearchDefaults(mode="bm25"), **options)
    assert qdrant.call(connector.create())
    qdrant.call(connector.add([{"id": 1, "text": "red fox"}]))
    assert wrong(qdrant, connector) == []
    assert ids(connector, qdrant.call(connector.search("fox"))) == ["1"]
    qdrant.call(connector.delete())


@pytest.mark.parametrize("mode", ["hybrid", "bm25"])
def test_a_branch_without_any_vector_is_an_error_of_check_and_a_note(
    qdrant: Backend, mode: Any
) -> None:
    name = made(qdrant, {"dense": DENSE}, IDF)
    point = models.PointStruct(id=1, vector={"dense": [1.0, 0, 0, 0]}, payload={"text": "red fox"})
    qdrant.call(qdrant.client.upsert(name, [point]))
    connector = qdrant.connect(name, defaults=SearchDefaults(mode=mode), **BARE)
    (finding,) = wrong(qdrant, connector)
    assert "'bm25'" in finding.detail
    for _ in range(2):
        notes = first_pass_notes(qdrant.call, connector, "fox", mode=mode, evidence=True)
        assert "'bm25'" in notes["dead_branch"]
    qdrant.call(connector.delete())


def test_an_outage_of_the_embedder_is_an_error_if_bm25_can_never_match(qdrant: Backend) -> None:
    name = made(qdrant, {"dense": DENSE}, IDF)
    point = models.PointStruct(id=1, vector={"dense": [1.0, 0, 0, 0]}, payload={"text": "red fox"})
    qdrant.call(qdrant.client.upsert(name, [point]))
    connector = qdrant.connect(name, embedder=down, reranker=None)
    with pytest.raises(FirstPassError, match="out of order"):
        qdrant.call(connector.search("fox"))
    qdrant.call(connector.delete())


def test_a_branch_that_just_finds_nothing_is_not_dead(qdrant: Backend) -> None:
    name = made(qdrant, {"dense": DENSE}, IDF)
    connector = qdrant.connect(name, **BARE)
    qdrant.call(connector.add([{"id": 1, "text": "red fox"}]))
    assert first_pass_notes(qdrant.call, connector, "zebra", evidence=True) == {}
    qdrant.call(connector.delete())


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("数据库", "1"),
        ("検索", "2"),
        ("데이터베이스", "3"),
        ("ค้นหา", "4"),
        ("C++", "5"),
        ("C#", "6"),
        ("getUser", "7"),
        ("RFC 9110", "8"),
    ],
)
def test_languages_without_spaces_and_identifiers_are_found(
    qdrant: Backend, query: str, found: str
) -> None:
    connector = qdrant.connect(new_name(), **BARE)
    qdrant.call(connector.create())
    texts = [
        "这是一个向量数据库的例子",
        "全文検索エンジンを作る",
        "한국어 데이터베이스를 만든다",
        "ระบบค้นหาข้อความ",
        "written in C++, mostly",
        "written in C# mostly",
        "call get_user first",
        "see RFC9110",
    ]
    qdrant.call(connector.add({"id": n, "text": t} for n, t in enumerate(texts, start=1)))
    assert ids(connector, qdrant.call(connector.search(query, mode="bm25")))[0] == found
    assert {f.level for f in qdrant.call(connector.check())} == {"ok"}
    qdrant.call(connector.delete())


def test_check_says_what_indexing_anew_gains(qdrant: Backend) -> None:
    """Vectors of a server's own encoder hold a sentence without spaces as one term."""
    name = made(qdrant, {"dense": DENSE}, IDF)
    connector = qdrant.connect(name, **BARE)
    text = "全文検索エンジンを作る getUser"
    terms = sorted(connector.store._bm25.server_terms(text))
    vector: Any = {
        "dense": [1.0, 0, 0, 0],
        "bm25": models.SparseVector(indices=terms, values=[1.0] * len(terms)),
    }
    point = models.PointStruct(id=1, vector=vector, payload={"text": text})
    qdrant.call(qdrant.client.upsert(name, [point]))
    assert wrong(qdrant, connector) == []
    (finding,) = [f for f in qdrant.call(connector.check()) if f.level != "ok"]
    assert finding.level == "note"
    assert ids(connector, qdrant.call(connector.search("getUser", mode="bm25"))) == ["1"]
    qdrant.call(connector.delete())


def test_ids_are_the_same_documents_as_in_opensearch(qdrant: Backend) -> None:
    connector = qdrant.connect(new_name(), **BARE)
    qdrant.call(connector.create())
    for given in (7, "7"):
        assert qdrant.call(connector.add([{"id": given, "text": "x"}])).added == 1
    assert qdrant.call(qdrant.client.count(connector.store._layout.collection)).count == 1
    with pytest.raises(ConfigurationError) as error:
        qdrant.call(connector.add([{"id": 1}, Document(7.0, {})]))  # type: ignore[arg-type]
    assert error.value.key == "documents[1].id"
    qdrant.call(connector.delete())


# -- strict mode, in the words of server 1.19


class Strict(QdrantClient):
    """A client whose server has limits; local mode has none."""

    limits: dict[str, int]
    words = 'Limit exceeded {} > {} for "{}"'
    readable = True
    refused = 0

    def _check(self, name: str, value: int | None) -> None:
        limit = self.limits.get(name)
        if limit is not None and value is not None and value > limit:
            self.refused += 1
            error = self.words.format(value, limit, name)
            content = json.dumps({"status": {"error": f"Forbidden: {error}. Help: Reduce it."}})
            raise UnexpectedResponse(400, "Bad Request", content.encode(), httpx.Headers())

    def query_points(self, *args: Any, **kwargs: Any) -> Any:
        self._check("limit", kwargs.get("limit"))
        for prefetch in kwargs.get("prefetch") or ():
            self._check("limit", prefetch.limit)
        return super().query_points(*args, **kwargs)

    def query_batch_points(
        self, collection_name: str, requests: Sequence[Any], *args: Any, **kwargs: Any
    ) -> Any:
        self._check("search batch size", len(requests))
        for request in requests:
            self._check("limit", request.limit)
        return super().query_batch_points(collection_name, requests, *args, **kwargs)

    def get_collection(self, *args: Any, **kwargs: Any) -> rest.CollectionInfo:
        info = super().get_collection(*args, **kwargs)
        if self.readable:
            info.config.strict_mode_config = rest.StrictModeConfigOutput(
                enabled=True,
                max_query_limit=self.limits.get("limit"),
                search_max_batchsize=self.limits.get("search batch size"),
            )
        return info


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
@pytest.mark.parametrize("evidence", [False, True])
@pytest.mark.parametrize("readable", [False, True])
def test_a_strict_collection_is_searched_as_deep_as_it_allows(
    mode: Any, evidence: bool, readable: bool
) -> None:
    client = Strict(":memory:")
    client.limits, client.readable = {"limit": 20, "search batch size": 1}, readable
    connector = QdrantConnector(client, "docs", **BARE)
    connector.create()
    connector.add({"id": n, "text": f"red fox {n}"} for n in range(60))
    for _ in range(3):
        notes = first_pass_notes(
            lambda found: found,
            connector,
            "fox",
            mode=mode,
            evidence=evidence,
        )
        assert "max_query_limit is 20" in notes["limited_depth"]
        assert len(connector.search("fox", mode=mode).points) == 10
    assert client.refused <= 2  # learned
    if readable:
        assert "20" in " ".join(finding.detail for finding in connector.check())
    client.close()


@pytest.mark.parametrize("named", [True, False])
def test_a_drop_in_sends_what_a_strict_collection_allows(named: bool) -> None:
    client = Strict(":memory:")
    client.limits = {}
    connector = QdrantConnector(client, "docs", **BARE)
    connector.create()
    connector.add({"id": n, "text": f"red fox {n}"} for n in range(60))
    client.limits = {"limit": 20}
    if not named:
        client.words = "too many hits"
    drop_in = RerankingQdrantClient(client, KeepingReranker())
    with observe() as outcomes:
        for _ in range(3):
            found = drop_in.query_points(
                "docs", [1.0, 0.0, 0.0, 0.0], using="dense", rerank_query="fox"
            )
            assert len(found.points) == 10
    if named:
        assert client.refused == 1
        assert [(outcome.status, outcome.scored) for outcome in outcomes] == [("reranked", 20)] * 3
        assert all("20" in outcome.notes["limited_depth"] for outcome in outcomes)
    else:
        assert [outcome.status for outcome in outcomes] == ["skipped"] * 3
        assert all("too many hits" in str(outcome.reason) for outcome in outcomes)
    client.close()
