"""The user's text in a search that somebody else wrote: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vecdb_rerank_opensearch import clauses

# Clauses that hold the text beside their options, and those that hold it by field.
_WHOLE = ("multi_match", "query_string", "simple_query_string")
_BY_FIELD = {
    "match": "query",
    "match_bool_prefix": "query",
    "match_phrase": "query",
    "match_phrase_prefix": "query",
    "neural": "query_text",
    "neural_sparse": "query_text",
}


def query_texts(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What a body's user asks: one text, or none, or several where it says several things.

    First what the server's own rerank processors are told (`ext.rerank.query_context`:
    `query_text`, or `query_text_path` into the body), else the texts of the clauses that score:
    `match` and its kin, `multi_match`, `query_string`, `simple_query_string`, `neural`, inside
    `bool` and `hybrid` ones too. A filter is not asked, it only narrows.
    """
    context = _at(body, ["ext", "rerank", "query_context"])
    found: Iterable[Any] = _texts(body.get("query"))
    if isinstance(context, Mapping):
        text, path = context.get("query_text"), context.get("query_text_path")
        if text is None and isinstance(path, str):
            text = _at(body, path.split("."))
        found = [text]
    texts = (text.strip() for text in found if isinstance(text, str))
    return tuple(dict.fromkeys(filter(None, texts)))


def _texts(query: Any) -> Iterator[Any]:
    for name, parameters in clauses.scoring(query):
        if not isinstance(parameters, Mapping):
            continue
        if name in _WHOLE:
            found = [parameters.get("query")]
        elif name in _BY_FIELD:
            key = _BY_FIELD[name]
            found = [p.get(key) if isinstance(p, Mapping) else p for p in parameters.values()]
        else:
            continue
        yield from found


def _at(value: Any, path: Sequence[str]) -> Any:
    """The value at a path; the short form of a clause ends one step before its long one."""
    if not path or (isinstance(value, str) and list(path) == ["query"]):
        return value
    if isinstance(value, Mapping):
        for n in range(len(path), 0, -1):  # field names hold dots themselves
            if (key := ".".join(path[:n])) in value:
                return _at(value[key], path[n:])
        return _at(value, path[1:]) if path[0] == "0" else None  # one clause, or a list of one
    if isinstance(value, list | tuple) and path[0].isdigit() and int(path[0]) < len(value):
        return _at(value[int(path[0])], path[1:])
    return None
