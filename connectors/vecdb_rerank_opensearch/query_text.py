"""Find the query text of a search: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from vecdb_rerank_opensearch import clauses

# Clauses that hold the text beside their options, and those that hold it by field.
_WHOLE = ("combined_fields", "multi_match", "query_string", "simple_query_string")
_BY_FIELD = {
    "match": "query",
    "match_bool_prefix": "query",
    "match_phrase": "query",
    "match_phrase_prefix": "query",
    "neural": "query_text",
    "neural_sparse": "query_text",
}
_CONTEXT = ("ext", "rerank", "query_context")
# Clauses whose score is a relevance to a text or to its vector.
RELEVANCE = {*_WHOLE, *_BY_FIELD, *clauses.VECTORS, "intervals", "more_like_this"}


def query_texts(body: Mapping[str, object]) -> tuple[str, ...]:
    """Return the query texts of a body: one, none, or several if its clauses differ.

    The text for the server's own rerank processors comes first (`ext.rerank.query_context`:
    `query_text`, or `query_text_path` into the body). Without it, the texts are those of the
    clauses that score. Texts of filters do not count. Each text is stripped and comes once.
    """
    context = _at(body, _CONTEXT)
    found: Iterable[object] = _texts(body.get("query"))
    if isinstance(context, Mapping):
        text, path = context.get("query_text"), context.get("query_text_path")
        if text is None and isinstance(path, str):
            text = _at(body, path.split("."))
        found = [text]
    texts = (text.strip() for text in found if isinstance(text, str))
    return tuple(dict.fromkeys(filter(None, texts)))


def has_context(body: Mapping[str, object]) -> bool:
    """Check whether a body holds the text for the server's own rerank processors."""
    return isinstance(_at(body, _CONTEXT), Mapping)


def _texts(query: object) -> Iterator[object]:
    for name, parameters in clauses.scoring(query):
        if not (name in RELEVANCE and isinstance(parameters, Mapping)):
            continue
        if name in _WHOLE:
            yield parameters.get("query")
        elif name in _BY_FIELD:
            for value in parameters.values():
                if isinstance(value, str):
                    yield value
                elif isinstance(value, Mapping):
                    yield value.get(_BY_FIELD[name])
        elif name == "intervals":
            for rule in parameters.values():
                yield from _intervals(rule)
        elif name == "more_like_this":
            like = parameters.get("like")
            yield from like if isinstance(like, list | tuple) else [like]


def _intervals(rule: object) -> Iterator[object]:
    """Yield the texts of an `intervals` rule; its filters do not count."""
    for name, parameters in clauses.each(rule):
        if name == "match" and isinstance(parameters, Mapping):
            yield parameters.get("query")
        elif name in ("all_of", "any_of") and isinstance(parameters, Mapping):
            yield from _intervals(parameters.get("intervals"))


def _at(value: object, path: Sequence[str]) -> object:
    """Return the value at a path; the short form of a clause ends one step before its long one."""
    if not path or (isinstance(value, str) and list(path) == ["query"]):
        return value
    if isinstance(value, Mapping):
        for n in range(len(path), 0, -1):  # names of fields hold dots themselves
            if (key := ".".join(path[:n])) in value:
                return _at(value[key], path[n:])
        return _at(value, path[1:]) if path[0] == "0" else None  # one clause, or a list of one
    if isinstance(value, list | tuple) and path[0].isdigit() and int(path[0]) < len(value):
        return _at(value[int(path[0])], path[1:])
    return None
