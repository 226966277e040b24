"""Turn the client's models into the JSON-shaped mappings that `request_reader` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel
from qdrant_client.http import models

from vecdb_rerank_qdrant.queries import BATCH_NAMES
from vecdb_rerank_qdrant.request_reader import Request

Arguments = Mapping[str, object]
# What the reader reads; filters and vectors to return are not looked at.
_READ = ("query", "prefetch", "limit", "offset", "group_by", "group_size")


def request(arguments: Arguments) -> Request:
    """Return the part of a call's arguments that is read, JSON-shaped."""
    return _fields({name: arguments.get(name) for name in _READ})


def arguments_of(query_request: models.QueryRequest) -> dict[str, object]:
    """Return a batch's request as arguments of ``query_points``.

    A batch returns no payload unless it is requested.
    """
    found = {ours: getattr(query_request, theirs) for ours, theirs in BATCH_NAMES.items()}
    given = found["with_payload"]
    return {**found, "with_payload": False if given is None else given}


def selector(arguments: Arguments) -> object:
    """Return the payload selector; a single call brings the whole payload by default."""
    given = arguments.get("with_payload", True)
    return False if given is None else given


def value(given: object) -> object:
    """Return one value JSON-shaped. Vectors are not copied."""
    if isinstance(given, BaseModel):
        return _fields(dict(given))
    if isinstance(given, Mapping):
        return _fields(given)
    if isinstance(given, np.ndarray):
        return given.tolist()
    if isinstance(given, list | tuple) and not _is_vector(given):
        return [value(one) for one in given]
    return given


def _is_vector(given: Sequence[object]) -> bool:
    # In a formula, numbers and conditions stand in one list.
    return bool(given) and type(given[0]) is float and set(map(type, given)) == {float}


def _fields(given: Arguments) -> dict[str, object]:
    return {name: value(one) for name, one in given.items() if one is not None}
