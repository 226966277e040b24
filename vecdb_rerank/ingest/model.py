"""Documents to add, and what became of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import HitId
from vecdb_rerank.protocols import Vector

T = TypeVar("T")

ItemT = TypeVar("ItemT")


# Whose fault a failed write is: a passing state of the server, one of the documents, or the set-up.
Cause = Literal["transient", "document", "fatal"]


_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "vecdb-rerank")


@dataclass(frozen=True, slots=True)
class Document:
    """One document to add: adding the same ``id`` again overwrites it.

    ``vector`` may bring its dense vector, shape (dimension,); else the embedder makes it.
    """

    id: HitId
    payload: Mapping[str, Any]
    vector: Vector | None = None

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Document:
        """A document under the payload's ``_id`` or ``id``, else under a hash of its content."""
        given = payload.get("_id", payload.get("id"))
        rest = {key: value for key, value in payload.items() if key != "_id"}
        if isinstance(given, int | str) and not isinstance(given, bool) and given != "":
            return cls(given, rest)
        return cls(stable_uuid(json.dumps(payload, sort_keys=True, default=str)), rest)


def stable_uuid(name: str) -> str:
    """The same UUID for the same name, always."""
    return str(uuid.uuid5(_NAMESPACE, name))


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that was not stored, and why."""

    id: HitId
    reason: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of the documents: ``added`` were stored, each of ``failed`` was not.

    ``without_text`` of those stored have none of the fields that make up their text: no word of
    them is found, and a reranker reads nothing.
    """

    added: int = 0
    failed: tuple[Failure, ...] = ()
    retries: int = 0
    seconds: float = 0.0
    without_text: int = 0


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How to add.

    A batch ends at ``batch_size`` documents or ``batch_chars`` characters of text. A server that
    does not answer, or is busy, is tried again for ``give_up_after`` seconds per batch; then
    `IngestError` is raised. ``on_progress`` is called with the documents done so far.
    """

    batch_size: int = 64
    batch_chars: int = 4_000_000
    give_up_after: float = 120.0
    on_progress: Callable[[int], None] | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "batch_chars", "give_up_after"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(name, f"{getattr(self, name)} is not above 0")


@dataclass(slots=True)
class WriteResult:
    """What a database said of a batch's items, by index: ``rejected`` why, ``busy`` for now."""

    rejected: dict[int, str] = field(default_factory=dict)
    busy: dict[int, str] = field(default_factory=dict)


class Writer(Protocol[ItemT]):
    """How one database takes documents."""

    def item(self, document: Document, text: str, vector: Vector | None) -> ItemT:
        """The document in native form; raises ValueError or TypeError if it cannot be stored."""
        ...

    def write(self, items: Sequence[ItemT]) -> Flow[WriteResult]:
        """Store the items, all or some."""
        ...

    def cause(self, error: Exception) -> Cause:
        """Whose fault an error of `write` is."""
        ...

    def describe_error(self, error: Exception) -> str:
        """One line that says what is wrong and what to do."""
        ...
