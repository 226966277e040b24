"""Find out which documents a collection holds, by their ids; nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from qdrant_client.http import models

from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.model import HitId
from vecdb_rerank.text_fields import lookup
from vecdb_rerank_qdrant.client import Client
from vecdb_rerank_qdrant.writer import native_id

_BATCH = 100  # ids per request
_PAGE = 1_000  # points per response


def is_point_id(id: HitId) -> bool:
    """Check whether ``id`` is of the form that Qdrant's own ids have: an integer, or a UUID."""
    if isinstance(id, int):
        return 0 <= id < 2**64
    try:
        UUID(id)
    except ValueError:
        return False
    return True


def own(client: Client, collection: str, ids: Sequence[str]) -> Flow[set[str]]:
    """Return those of ``ids`` under which a document was added."""
    found: set[str] = set()
    for batch in _batches(ids):
        points = [native_id(each) for each in batch]
        records: list[models.Record] = yield Call(
            partial(client.retrieve, collection, points, with_payload=False)
        )
        stored = {str(record.id) for record in records}
        found.update(e for e, point in zip(batch, points, strict=True) if str(point) in stored)
    return found


def in_field(client: Client, collection: str, field: str, ids: Sequence[str]) -> Flow[set[str]]:
    """Return those of ``ids`` that a payload has in ``field``, as text or as a number."""
    found: set[str] = set()
    for batch in _batches(ids):
        wanted, offset = _any_of(field, batch), None
        while True:
            page: tuple[list[models.Record], Any] = yield Call(
                partial(
                    client.scroll,
                    collection,
                    wanted,
                    limit=_PAGE,
                    offset=offset,
                    with_payload=[field],
                )
            )
            records, offset = page
            found.update(str(lookup(record.payload, field)) for record in records)
            if offset is None:
                break
    return found.intersection(ids)


def _any_of(field: str, ids: Sequence[str]) -> models.Filter:
    numbers = [int(each) for each in ids if each.isascii() and each.isdigit() and len(each) < 19]
    matches: list[models.Condition] = [
        models.FieldCondition(key=field, match=models.MatchAny(any=list(ids)))
    ]
    if numbers:
        matches.append(models.FieldCondition(key=field, match=models.MatchAny(any=numbers)))
    return models.Filter(should=matches)


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[n : n + _BATCH] for n in range(0, len(ids), _BATCH))
