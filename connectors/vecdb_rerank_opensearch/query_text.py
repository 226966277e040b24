"""The user's text in a search that somebody else wrote: pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


def query_text(body: Mapping[str, Any]) -> str | None:
    """What a body's user asks, or None where it does not say, or says two things.

    First what the server's own rerank processors are told (`ext.rerank.query_context`:
    `query_text`, or `query_text_path` into the body), else the text of the clauses that score:
    `match` and its kin, `multi_match`, `query_string`, `simple_query_string`, `neural`, inside
    `bool` and `hybrid` ones too. A filter is not asked, it only narrows.
    """
    context = _at(body, ["ext", "rerank", "query_context"])
    if isinstance(context, Mapping):
        text = context.get("query_text")
        path = context.get("query_text_path")
        if text is None and isinstance(path, str):
            text = _at(body, path.split("."))
        return _text(text)
    texts = {text.strip() for text in _texts(body.get("query")) if text.strip()}
    return texts.pop() if len(texts) == 1 else None


def _texts(query: Any) -> Iterator[str]:
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
        yield from (text for text in found if isinstance(text, str))


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


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
