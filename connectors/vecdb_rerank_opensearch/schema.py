"""Creating an index fit for hybrid search, and writing documents to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from vecdb_rerank.errors import SchemaError
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.request import Language
from vecdb_rerank_opensearch import errors
from vecdb_rerank_opensearch.layout import BM25_TEXT, Layout


def create(client: Any, layout: Layout, dimension: int) -> Flow[bool]:
    """Create the index if it is missing; True if this call did."""
    if (yield Call(lambda: client.indices.exists(index=layout.index))):
        yield from _require_fit(client, layout, dimension)
        return False
    body = index_body(layout, dimension)
    try:
        yield Call(lambda: client.indices.create(index=layout.index, body=body))
    except Exception as error:
        if not errors.already_exists(error):
            raise
        yield from _require_fit(client, layout, dimension)  # somebody else was faster
        return False
    return True


def index_body(layout: Layout, dimension: int) -> dict[str, Any]:
    """Settings and mappings: BM25 in the language and an HNSW graph of cosine similarity."""
    return {
        "settings": {"index": {"knn": True}},
        "mappings": {
            # A field is not a date because the first document's string looked like one.
            "date_detection": False,
            "properties": {
                layout.dense_vector: {
                    "type": "knn_vector",
                    "dimension": dimension,
                    "method": {"name": "hnsw", "space_type": "cosinesimil", "engine": "lucene"},
                },
                BM25_TEXT: {"type": "text", "analyzer": _analyzer(layout)},
                # Ids of all kinds in one collection: a first number must not refuse later words.
                "id": {"type": "keyword"},
            },
        },
    }


def _analyzer(layout: Layout) -> str:
    # OpenSearch's own are Snowball's languages and others, but not this one.
    return "standard" if layout.language == "tamil" else layout.language


def _require_fit(client: Any, layout: Layout, dimension: int) -> Flow[None]:
    mappings = yield Call(lambda: client.indices.get_mapping(index=layout.index))
    if problems := misfits(mappings, layout, dimension):
        raise SchemaError(
            f"index {layout.index!r} does not fit: {'; '.join(problems)}. Use another "
            "index name, or set backend.dense_vector / backend.bm25_fields / backend.language"
        )


def misfits(mappings: Mapping[str, Any], layout: Layout, dimension: int | None) -> list[str]:
    """What of existing indices does not fit, one line each."""
    problems: list[str] = []
    for mapping in mappings.values():
        properties = mapping["mappings"].get("properties", {})
        problems += _dense_misfits(_field(properties, layout.dense_vector), layout, dimension)
        problems += _language_misfits(properties.get(BM25_TEXT, {}), layout)
    return list(dict.fromkeys([*problems, *bm25_misfits(mappings, layout)]))


def bm25_misfits(mappings: Mapping[str, Any], layout: Layout) -> list[str]:
    """Which of the fields that BM25 searches the indices lack, one line each."""
    problems: list[str] = []
    for mapping in mappings.values():
        properties = mapping["mappings"].get("properties", {})
        for name in layout.bm25_fields:
            plain = name.partition("^")[0]
            if "*" not in plain and not _is_text(_field(properties, plain)):
                problems.append(f"has no text field {plain!r} (it has: {_names(properties)})")
    return list(dict.fromkeys(problems))


def _dense_misfits(
    field: Mapping[str, Any] | None, layout: Layout, dimension: int | None
) -> list[str]:
    if field is None or field.get("type") != "knn_vector":
        return [f"has no knn_vector field {layout.dense_vector!r}"]
    size = field.get("dimension")
    if dimension is not None and size is not None and size != dimension:
        return [f"{layout.dense_vector!r} has {size} dimensions, the embedder makes {dimension}"]
    return []


def _language_misfits(field: Mapping[str, Any], layout: Layout) -> list[str]:
    """That the text for BM25 is analyzed in another language; an index of one's own may be."""
    analyzer = field.get("analyzer")
    if analyzer not in get_args(Language) or analyzer == _analyzer(layout):
        return []
    return [f"analyzes {BM25_TEXT!r} as {analyzer}, language is {layout.language!r}"]


def _field(properties: Mapping[str, Any], path: str) -> Mapping[str, Any] | None:
    head, _, rest = path.partition(".")
    field = properties.get(head)
    if field is None or not rest:
        return field
    inner = {**field.get("fields", {}), **field.get("properties", {})}
    return _field(inner, rest)


def _is_text(field: Mapping[str, Any] | None) -> bool:
    return field is not None and field.get("type") in ("text", "match_only_text", "keyword")


def _names(properties: Mapping[str, Any]) -> str:
    return ", ".join(properties) or "no fields"
