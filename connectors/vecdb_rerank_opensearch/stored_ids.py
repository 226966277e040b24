"""Find out which documents an index holds, by their ids; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank_opensearch import errors
from vecdb_rerank_opensearch.client import Client
from vecdb_rerank_opensearch.layout import mapped_fields

_BATCH = 500  # ids per request
_BUCKETS = 10_000  # values per response; a field may hold several in one document
_EXACT = ("keyword", "byte", "short", "integer", "long", "unsigned_long")  # types without analysis


def own(client: Client, index: str, ids: Sequence[str]) -> Flow[set[str]]:
    """Return those of ``ids`` that are a document's ``_id``."""
    found: set[str] = set()
    for batch in _batches(ids):
        body = {"query": {"ids": {"values": batch}}, "size": _BUCKETS, "_source": False}
        answer = yield from _search(client, index, body)
        found.update(hit["_id"] for hit in answer["hits"]["hits"])
    return found


def in_field(client: Client, index: str, field: str, ids: Sequence[str]) -> Flow[set[str] | None]:
    """Return those of ``ids`` that documents have in ``field``.

    The value is None if the field cannot be searched for exact values, or the user may not read
    the mapping.
    """
    name = yield from _exact(client, index, field)
    if name is None:
        return None
    found: set[str] = set()
    for batch in _batches(ids):
        values = {"ids": {"terms": {"field": name, "size": _BUCKETS}}}
        body = {"query": {"terms": {name: batch}}, "size": 0, "aggs": values}
        try:
            answer = yield from _search(client, index, body)
        except Exception as error:
            if not errors.is_refused(error):  # a word where the field has numbers
                raise
            return None
        found.update(str(each["key"]) for each in answer["aggregations"]["ids"]["buckets"])
    return found.intersection(ids)


def _exact(client: Client, index: str, field: str) -> Flow[str | None]:
    """Return the field, or its sub-field, that holds whole values."""
    try:
        mappings: Mapping[str, Any] = yield Call(lambda: client.indices.get_mapping(index=index))
    except Exception as error:
        if not errors.is_forbidden(error):
            raise
        return None
    known = mapped_fields(mappings)
    if any(field.startswith(f"{n}.") for n, each in known.items() if each.get("type") == "nested"):
        return None
    inner = [name for name in known if name.rpartition(".")[0] == field]
    names = (name for name in (field, *inner) if known.get(name, {}).get("type") in _EXACT)
    return next(names, None)


def _search(client: Client, index: str, body: Mapping[str, Any]) -> Flow[dict[str, Any]]:
    answer: dict[str, Any] = yield Call(lambda: client.search(body=body, index=index))
    return errors.whole(answer)


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[n : n + _BATCH] for n in range(0, len(ids), _BATCH))
