"""Indices as people have them: nested objects, wildcards, languages, limits, blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from opensearchpy.exceptions import NotFoundError

from tests.contract.backends import Backend, first_pass_notes
from vecdb_rerank.errors import ConfigurationError, IngestError, SchemaError
from vecdb_rerank.ingest.model import Document
from vecdb_rerank.outcome import observe
from vecdb_rerank.request import Language, SearchDefaults
from vecdb_rerank.testing import HashEmbedder, KeepingReranker
from vecdb_rerank.testing.base import ids, new_name
from vecdb_rerank.text_fields import TextFields

EMBEDDER = HashEmbedder(4)
BARE: dict[str, Any] = {"embedder": EMBEDDER, "reranker": KeepingReranker()}
VECTOR = {
    "type": "knn_vector",
    "dimension": 4,
    "method": {"name": "hnsw", "space_type": "cosinesimil", "engine": "lucene"},
}


@pytest.fixture
def index(opensearch: Backend) -> Iterator[str]:
    name = new_name()
    yield name
    with suppress(NotFoundError):
        opensearch.call(opensearch.client.indices.delete(index=name))


def made(opensearch: Backend, index: str, properties: Mapping[str, Any], **settings: Any) -> None:
    body = {
        "settings": {"index": {"knn": True, **settings}},
        "mappings": {"properties": properties},
    }
    opensearch.call(opensearch.client.indices.create(index=index, body=body))


def stored(opensearch: Backend, index: str, *documents: Mapping[str, Any]) -> None:
    for n, document in enumerate(documents):
        opensearch.call(opensearch.client.index(index=index, id=str(n), body=document))
    opensearch.call(opensearch.client.indices.refresh(index=index))


def wrong(opensearch: Backend, connector: Any) -> list[Any]:
    findings = opensearch.call(connector.check())
    return [finding for finding in findings if not finding.ok]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
def test_nested_fields_are_searched(opensearch: Backend, index: str, mode: Any) -> None:
    inner = {"vec": VECTOR, "text": {"type": "text"}}
    made(
        opensearch,
        index,
        {"chunks": {"type": "nested", "properties": inner}, "lang": {"type": "keyword"}},
    )

    def document(lang: str, *texts: str) -> dict[str, Any]:
        vectors = EMBEDDER.embed_documents(texts)
        chunks = [{"text": t, "vec": list(v)} for t, v in zip(texts, vectors, strict=True)]
        return {"lang": lang, "chunks": chunks}

    stored(opensearch, index, document("en", "honey bees", "they dance"), document("de", "red fox"))
    for fields in (["chunks.text"], ["chunks.*"], ["chunks.te*^2"]):
        connector = opensearch.connect(
            index,
            dense_vector="chunks.vec",
            bm25_fields=fields,
            text_fields=TextFields(("chunks.text",)),
            defaults=SearchDefaults(mode=mode),
            **BARE,
        )
        assert wrong(opensearch, connector) == []
        found = ids(connector, opensearch.call(connector.search("bees dance")))
        assert set(found) == ({"0"} if mode == "bm25" else {"0", "1"})
        assert "dead_branch" not in first_pass_notes(opensearch.call, connector, "bees", mode=mode)
        only = opensearch.call(connector.search("bees fox", filter={"term": {"lang": "de"}}))
        assert ids(connector, only) == ["1"]
        texts = [c.text for c in connector.candidates(opensearch.call(connector.search("bees")))]
        assert "honey bees\nthey dance" in texts


@pytest.mark.parametrize("fields", [["t*"], ["ti*^3"], ["*"], ["title", "t*"]])
def test_a_wildcard_is_searched(opensearch: Backend, index: str, fields: list[str]) -> None:
    made(opensearch, index, {"dense": VECTOR, "title": {"type": "text"}, "topic": {"type": "text"}})
    stored(opensearch, index, {"title": "red fox", "dense": [1, 0, 0, 0]}, {"topic": "red hen"})
    connector = opensearch.connect(index, bm25_fields=fields, **BARE)
    assert wrong(opensearch, connector) == []
    assert "0" in ids(connector, opensearch.call(connector.search("fox", mode="bm25")))


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        (["title", "body"], "bm25"),
        (["title", "body"], "hybrid"),
        (["x*"], "hybrid"),
    ],
)
def test_what_can_never_match_is_an_error_of_check_and_a_note(
    opensearch: Backend, index: str, fields: list[str], mode: Any
) -> None:
    made(opensearch, index, {"dense": VECTOR, "title": {"type": "text"}, "n": {"type": "integer"}})
    stored(opensearch, index, {"title": "red fox", "dense": [1, 0, 0, 0], "n": 1})
    connector = opensearch.connect(index, bm25_fields=fields, **BARE)
    (finding,) = wrong(opensearch, connector)
    assert finding.level == "error"
    assert repr(fields[-1]) in finding.detail
    for _ in range(2):
        notes = first_pass_notes(opensearch.call, connector, "fox", mode=mode)
        assert repr(fields[-1]) in notes["dead_branch"]


@pytest.mark.parametrize(
    ("properties", "options", "mode"),
    [
        ({"dense": VECTOR}, {"bm25_fields": []}, "dense"),
        ({"text": {"type": "text"}}, {"bm25_fields": ["text"], "dense_vector": None}, "bm25"),
        ({"text": {"type": "text"}}, {"bm25_fields": ["text"], "dense_vector": "none"}, "bm25"),
    ],
)
def test_a_default_search_has_the_branches_that_there_are(
    opensearch: Backend,
    index: str,
    properties: Mapping[str, Any],
    options: Mapping[str, Any],
    mode: Any,
) -> None:
    made(opensearch, index, properties)
    connector = opensearch.connect(index, **options, **BARE)
    assert not opensearch.call(connector.create())
    assert opensearch.call(connector.add([{"id": 1, "text": "red fox"}])).added == 1
    assert wrong(opensearch, connector) == []
    with observe() as outcomes:
        for given in (None, "hybrid", mode):
            assert ids(connector, opensearch.call(connector.search("fox", mode=given))) == ["1"]
    assert [outcome.mode for outcome in outcomes] == [mode] * 3
    with pytest.raises(ConfigurationError) as error:
        opensearch.call(connector.search("fox", mode={"dense": "bm25", "bm25": "dense"}[mode]))
    assert error.value.key == "mode"
    opensearch.call(connector.delete())
    assert opensearch.call(connector.create())  # with these branches alone
    assert opensearch.call(connector.add([{"id": 1, "text": "red fox"}])).added == 1
    assert wrong(opensearch, connector) == []


def test_an_index_without_anything_to_search_is_refused(opensearch: Backend) -> None:
    with pytest.raises(ConfigurationError) as error:
        opensearch.connect(new_name(), bm25_fields=[], dense_vector="none", **BARE)
    assert error.value.key == "bm25_fields"


@pytest.mark.parametrize(
    ("properties", "setting"),
    [
        ({"bm25_text": {"type": "text"}}, 'dense_vector = "none"'),
        ({"bm25_text": {"type": "text"}, "vec": VECTOR}, 'dense_vector = "vec"'),
    ],
)
def test_a_default_search_names_the_setting_that_it_needs(
    opensearch: Backend, index: str, properties: Mapping[str, Any], setting: str
) -> None:
    made(opensearch, index, properties)
    connector = opensearch.connect(index, **BARE)
    with pytest.raises(SchemaError, match=setting):
        opensearch.call(connector.search("fox"))
    (finding,) = wrong(opensearch, connector)
    assert setting in finding.fix


def test_create_makes_the_fields_of_ones_own(opensearch: Backend, index: str) -> None:
    connector = opensearch.connect(
        index,
        bm25_fields=["title^2", "body", "meta.summary", "title.exact"],
        language="german",
        **BARE,
    )
    assert opensearch.call(connector.create())
    assert not opensearch.call(connector.create())
    mapping = opensearch.call(opensearch.client.indices.get_mapping(index=index))[index]["mappings"]
    properties = mapping["properties"]
    for field in (
        properties["title"],
        properties["body"],
        properties["meta"]["properties"]["summary"],
    ):
        assert field["analyzer"] == "german"
    assert "bm25_text" not in properties
    opensearch.call(connector.add([{"id": 1, "title": "Die Häuser", "body": "x"}]))
    assert ids(connector, opensearch.call(connector.search("Haus", mode="bm25"))) == ["1"]
    source = opensearch.call(opensearch.client.get(index=index, id="1"))["_source"]
    assert "bm25_text" not in source
    assert wrong(opensearch, connector) == []


def test_a_strict_mapping_takes_what_add_writes(opensearch: Backend, index: str) -> None:
    body = {
        "settings": {"index": {"knn": True}},
        "mappings": {
            "dynamic": "strict",
            "properties": {"dense": VECTOR, "title": {"type": "text"}, "id": {"type": "long"}},
        },
    }
    opensearch.call(opensearch.client.indices.create(index=index, body=body))
    connector = opensearch.connect(index, bm25_fields=["title"], **BARE)
    assert opensearch.call(connector.add([{"id": 1, "title": "red fox"}])).added == 1


UNSPACED: list[tuple[Language, str, str, str]] = [
    ("chinese", "这是一个向量数据库的例子", "红狐狸跑了", "数据库"),
    ("japanese", "全文検索エンジンを作る", "赤い狐が走る", "検索"),
    ("korean", "한국어 데이터베이스를 검색", "빨간 여우가 달린다", "데이터베이스"),
    ("thai", "ระบบค้นหาข้อความภาษาไทย", "สุนัขจิ้งจอกสีแดง", "ค้นหา"),
]


@pytest.mark.parametrize(("language", "text", "other", "query"), UNSPACED)
def test_languages_without_spaces_are_found(
    opensearch: Backend, index: str, language: Language, text: str, other: str, query: str
) -> None:
    connector = opensearch.connect(index, language=language, **BARE)
    opensearch.call(connector.create())
    assert not opensearch.call(connector.create())
    opensearch.call(connector.add([{"id": 1, "text": text}, {"id": 2, "text": other}]))
    assert ids(connector, opensearch.call(connector.search(query, mode="bm25"))) == ["1"]
    assert wrong(opensearch, connector) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("C++", "1"),
        ("C#", "2"),
        ("getUser", "3"),
        ("RFC9110", "4"),
        ("get_user", "3"),
    ],
)
def test_identifiers_are_found(opensearch: Backend, index: str, query: str, found: str) -> None:
    connector = opensearch.connect(index, **BARE)
    opensearch.call(connector.create())
    texts = [
        "written in C++, mostly",
        "written in C# mostly",
        "call getUser() first",
        "see RFC9110",
    ]
    opensearch.call(connector.add({"id": n, "text": t} for n, t in enumerate(texts, start=1)))
    first, *_ = ids(connector, opensearch.call(connector.search(query, mode="bm25"))) or ["none"]
    assert first == found


@pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
def test_an_index_with_a_small_result_window_is_searched_within_it(
    opensearch: Backend, index: str, mode: Any
) -> None:
    text = {"type": "text"}
    made(opensearch, index, {"dense": VECTOR, "bm25_text": text}, max_result_window=20)
    connector = opensearch.connect(index, **BARE)
    opensearch.call(connector.add({"id": n, "text": f"red fox {n}"} for n in range(30)))
    for _ in range(2):
        assert len(ids(connector, opensearch.call(connector.search("fox", mode=mode)))) == 10
        notes = first_pass_notes(opensearch.call, connector, "fox", mode=mode)
        assert "20" in notes["limited_depth"]
    (limit,) = [f for f in opensearch.call(connector.check()) if f.level == "warning"]
    assert "max_result_window" in limit.detail


def test_a_failed_shard_is_a_note(opensearch: Backend, index: str) -> None:
    made(
        opensearch,
        index,
        {"dense": VECTOR, "bm25_text": {"type": "text"}, "n": {"type": "integer"}},
    )
    other = f"{index}-other"
    made(opensearch, other, {"dense": VECTOR, "bm25_text": {"type": "text"}, "n": {"type": "text"}})
    try:
        for name in (index, other):
            stored(opensearch, name, {"bm25_text": "fox", "dense": [1, 0, 0, 0], "n": 7})
        connector = opensearch.connect(f"{index},{other}", **BARE)
        native = {"aggs": {"n": {"avg": {"field": "n"}}}}  # of a text field: that shard fails
        notes = first_pass_notes(opensearch.call, connector, "fox", mode="bm25", native=native)
        assert "shards" in notes["partial_first_pass"]
    finally:
        opensearch.call(opensearch.client.indices.delete(index=other))


def test_a_blocked_index_ends_ingest_at_the_first_batch(opensearch: Backend, index: str) -> None:
    connector = opensearch.connect(index, **BARE)
    opensearch.call(connector.create())
    opensearch.call(connector.add([{"id": 1, "text": "one"}]))
    block = {"index": {"blocks": {"write": True}}}
    opensearch.call(opensearch.client.indices.put_settings(index=index, body=block))
    done: list[int] = []
    documents = (Document(n, {"text": "x"}) for n in range(1000))
    with pytest.raises(IngestError, match="block"):
        opensearch.call(connector.add(documents, on_progress=done.append))
    assert done == []
    lifted = {"index": {"blocks": {"write": False}}}
    opensearch.call(opensearch.client.indices.put_settings(index=index, body=lifted))


def test_an_index_without_vectors_is_fit_for_bm25(opensearch: Backend, index: str) -> None:
    options: dict[str, Any] = {"embedder": None, "reranker": None}
    connector = opensearch.connect(index, defaults=SearchDefaults(mode="bm25"), **options)
    assert opensearch.call(connector.create())
    assert not opensearch.call(connector.create())
    assert opensearch.call(connector.add([{"id": 1, "text": "red fox"}])).added == 1
    assert wrong(opensearch, connector) == []
    assert ids(connector, opensearch.call(connector.search("fox"))) == ["1"]
    hybrid = opensearch.connect(index, **BARE)
    assert "knn_vector" in wrong(opensearch, hybrid)[0].detail


def test_documents_go_to_the_shard_of_their_routing(opensearch: Backend, index: str) -> None:
    made(opensearch, index, {"dense": VECTOR, "bm25_text": {"type": "text"}}, number_of_shards=3)
    connector = opensearch.connect(index, **BARE)
    opensearch.call(
        connector.add([{"id": n, "text": "fox"} for n in range(9)], shard_key="tenant-a")
    )
    hits = opensearch.call(connector.search("fox", mode="bm25"))["hits"]["hits"]
    assert {hit["_routing"] for hit in hits} == {"tenant-a"}
    assert len(hits) == 9
