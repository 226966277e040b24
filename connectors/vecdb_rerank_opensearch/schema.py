"""Create an index for hybrid search, and check one that exists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import get_args

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.request import Language, Mode
from vecdb_rerank.search import misfit
from vecdb_rerank.search.misfit import ADOPT, OTHER_EMBEDDER, Misfit, instead
from vecdb_rerank_opensearch import errors
from vecdb_rerank_opensearch.client import Client
from vecdb_rerank_opensearch.layout import (
    BM25_TEXT,
    IDENTIFIERS,
    Layout,
    field_name,
    mapped_fields,
    text_fields,
)

Mappings = Mapping[str, Mapping[str, object]]
Json = dict[str, object]

# The analyzers of languages that OpenSearch has none of the same name for, best first, and the
# plugin that brings one. Pairs of characters (cjk) are always there.
_ANALYZERS: Mapping[str, tuple[str, ...]] = {
    "tamil": ("standard",),
    "chinese": ("smartcn", "cjk"),
    "japanese": ("kuromoji", "cjk"),
    "korean": ("nori", "cjk"),
}
_PLUGINS = {
    "smartcn": "analysis-smartcn",
    "kuromoji": "analysis-kuromoji",
    "nori": "analysis-nori",
}
# Splits getUser, RFC9110 and foo_bar, and keeps C++ and C# whole.
_ANALYSIS = {
    "filter": {
        "identifier_parts": {
            "type": "word_delimiter_graph",
            "preserve_original": True,
            "type_table": ["+ => ALPHA", "# => ALPHA"],
        }
    },
    "analyzer": {
        IDENTIFIERS: {
            "type": "custom",
            "tokenizer": "whitespace",
            "filter": ["identifier_parts", "flatten_graph", "lowercase"],
        }
    },
}


def create(client: Client, layout: Layout, dimension: int | None, mode: Mode) -> Flow[bool]:
    """Create the index if it is missing; return whether this call did.

    Without a ``dimension`` it has no vectors. Raises `SchemaError` if there is an index that lacks
    what ``mode`` needs, and `ConfigurationError` if a field to create is a wildcard.
    """
    exists: bool = yield Call(lambda: client.indices.exists(index=layout.index))
    if not exists:
        installed = yield from plugins(client)
        body = index_body(layout, dimension, installed)
        try:
            yield Call(lambda: client.indices.create(index=layout.index, body=body))
        except Exception as error:
            if not errors.already_exists(error):  # created by another process in the meantime
                raise
        else:
            return True
    mappings: Mappings = yield Call(lambda: client.indices.get_mapping(index=layout.index))
    if problems := misfits(mappings, layout, dimension, mode):
        raise misfit.error(layout.subject, problems)
    return False


def plugins(client: Client) -> Flow[frozenset[str]]:
    """Return the plugins of all nodes; none if the user may not see them."""
    try:
        rows: list[Mapping[str, str]] = yield Call(
            lambda: client.cat.plugins(params={"format": "json"})
        )
    except Exception as error:
        if not errors.is_forbidden(error):
            raise
        return frozenset()
    return frozenset(row["component"] for row in rows)


def index_body(
    layout: Layout, dimension: int | None, installed: Collection[str] = frozenset()
) -> Json:
    """Return settings and mappings: BM25 in the language, and an HNSW graph of cosine similarity.

    Raises `ConfigurationError` if a field is a wildcard.
    """
    analyzer = _analyzers(layout.language, installed)[0]
    # Ids of all kinds in one index: a number that came first must not refuse later words.
    properties: Json = {"id": {"type": "keyword"}}
    for field in sorted(map(field_name, layout.bm25_fields)):
        _add_field(properties, field, _text_field(analyzer))
    settings: Json = {"analysis": _ANALYSIS}
    if dimension is not None and layout.dense_vector is not None:
        vector: Json = {
            "type": "knn_vector",
            "dimension": dimension,
            "method": {"name": "hnsw", "space_type": "cosinesimil", "engine": "lucene"},
        }
        _add_field(properties, layout.dense_vector, vector)
        settings["index"] = {"knn": True}
    return {
        "settings": settings,
        # A field is not a date because the first document's string looked like one.
        "mappings": {"date_detection": False, "properties": properties},
    }


def _text_field(analyzer: str) -> Json:
    identifiers: Json = {"type": "text", "analyzer": IDENTIFIERS}
    return {"type": "text", "analyzer": analyzer, "fields": {IDENTIFIERS: identifiers}}


def _add_field(properties: Json, path: str, field: Json) -> None:
    """Add a field at a dotted path; below a text field it becomes one of its sub-fields."""
    if "*" in path:
        raise ConfigurationError("bm25_fields", f"create() needs names, got the wildcard {path!r}")
    *parents, leaf = path.split(".")
    level = properties
    for name in parents:
        parent = level.setdefault(name, {})
        assert isinstance(parent, dict)
        if "type" in parent:  # a sub-field has no sub-fields of its own
            field = {key: value for key, value in field.items() if key != "fields"}
        level = parent.setdefault("fields" if "type" in parent else "properties", {})
    level[leaf] = field


def _analyzers(language: str, installed: Collection[str] = frozenset()) -> list[str]:
    """Return the analyzers of a language that are there, best first."""
    known = _ANALYZERS.get(language, (language,))
    return [name for name in known if name not in _PLUGINS or _PLUGINS[name] in installed]


def misfits(
    mappings: Mappings, layout: Layout, dimension: int | None, mode: Mode = "hybrid"
) -> list[Misfit]:
    """Return what ``mode`` needs and the indices lack."""
    problems: list[Misfit] = []
    if mode != "bm25":
        problems += dense_misfits(mappings, layout, dimension)
    if mode != "dense":
        problems += _each(mappings, lambda found: _language_misfits(found, layout))
        problems += bm25_misfits(mappings, layout)
    return problems


def dense_misfits(mappings: Mappings, layout: Layout, dimension: int | None = None) -> list[Misfit]:
    """Return what the dense branch needs and the indices lack."""
    if layout.dense_vector is None:
        return []
    return _each(mappings, lambda found: _dense_misfits(found, layout, dimension))


def bm25_misfits(mappings: Mappings, layout: Layout) -> list[Misfit]:
    """Return the fields that BM25 searches and the indices lack."""
    return _each(mappings, lambda found: _text_misfits(found, layout))


def _each(
    mappings: Mappings, misfits_of: Callable[[Mapping[str, Mapping[str, object]]], Iterable[Misfit]]
) -> list[Misfit]:
    """Return the misfits of each index, equal ones once."""
    problems = (
        problem
        for name, mapping in mappings.items()
        for problem in misfits_of(mapped_fields({name: mapping}))
    )
    return list(dict.fromkeys(problems))


def _text_misfits(found: Mapping[str, Mapping[str, object]], layout: Layout) -> list[Misfit]:
    texts = text_fields(found)
    missing = [
        name for field in layout.bm25_fields if not _matches(name := field_name(field), texts)
    ]
    fix = f"set backend.bm25_fields to some of these, or to [] for none, {ADOPT}"
    return [
        Misfit(f"has no text field {name!r} (it has: {_names(texts)})", fix) for name in missing
    ]


def _matches(pattern: str, names: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _dense_misfits(
    found: Mapping[str, Mapping[str, object]], layout: Layout, dimension: int | None
) -> list[Misfit]:
    name = layout.dense_vector or ""
    field = found.get(name, {})
    if field.get("type") != "knn_vector":
        vectors = [name for name, each in found.items() if each.get("type") == "knn_vector"]
        lacking = f"has no knn_vector field {name!r} (it has: {_names(vectors)})"
        return [Misfit(lacking, instead("dense_vector", vectors))]
    size = field.get("dimension")
    if dimension is not None and size is not None and size != dimension:
        wrong = f"{name!r} has {size} dimensions, the embedder makes {dimension}"
        return [Misfit(wrong, OTHER_EMBEDDER)]
    return []


def _language_misfits(found: Mapping[str, Mapping[str, object]], layout: Layout) -> list[Misfit]:
    """Return one misfit if the text for BM25 is analyzed in another language."""
    analyzer = str(found.get(BM25_TEXT, {}).get("analyzer"))
    ours = {*get_args(Language), *(name for names in _ANALYZERS.values() for name in names)}
    fitting = _ANALYZERS.get(layout.language, (layout.language,))
    if analyzer not in ours or analyzer in fitting or analyzer == "standard":
        return []
    detail = f"analyzes {BM25_TEXT!r} as {analyzer}, language is {layout.language!r}"
    fix = f"set backend.language to that of the index; or, {misfit.read_as(layout.language)}"
    return [Misfit(detail, fix)]


def _names(names: Collection[str]) -> str:
    return ", ".join(names) or "none"
