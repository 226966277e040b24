"""Documents to add, and the report of what was stored."""

from __future__ import annotations

import json
import math
import numbers
import operator
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, SupportsIndex, TypeGuard, TypeVar

from vecdb_rerank._checks import in_range, integer, is_callable, shown
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import HitId
from vecdb_rerank.protocols import Vector
from vecdb_rerank.registry import nearest
from vecdb_rerank.text_fields import lookup

ItemT = TypeVar("ItemT")
DocumentId = int | str | uuid.UUID

Cause = Literal["transient", "timeout", "too_large", "document", "fatal"]
"""Why a write failed.

``transient``: a passing state of the server. ``timeout``: no answer in time; the write may have
happened. ``too_large``: the request was over a limit of the server. ``document``: one of the
documents cannot be stored. ``fatal``: no document can be stored.
"""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "vecdb-rerank")
ID_FIELDS = ("_id", "id")  # where the id of a payload is, unless an option names its field


@dataclass(frozen=True, slots=True)
class Document:
    """One document to add. Adding the same ``id`` again overwrites it.

    ``id`` is an int (numpy's integers included), a non-empty str or a UUID. ``7`` and ``"7"`` are
    the same id. ``vector`` is the dense vector, shape (dimension,); without it the embedder makes
    one.
    """

    id: DocumentId
    payload: Mapping[str, object]
    vector: Vector | None = None

    @classmethod
    def from_payload(cls, payload: Mapping[str, object], id_field: str | None = None) -> Document:
        """Return a document under the payload's ``_id`` or ``id``, else a hash of its content.

        With ``id_field`` its id is at this path, dotted if it is nested. Raises
        `ConfigurationError` if the id has a wrong type, or nothing is at ``id_field``.
        """
        rest = {key: value for key, value in payload.items() if key != "_id"}
        if id_field is not None:
            if (found := lookup(payload, id_field)) is None:
                top, hint = id_field.partition(".")[0], ""
                if top not in payload:
                    hint = f"; {nearest(top, [str(key) for key in payload])}"
                raise ConfigurationError(
                    id_field, f"is the field of the id, and has no value{hint}"
                )
            return cls(plain_id(found, id_field), rest)
        for name in ID_FIELDS:
            if name in payload:
                doc_id = plain_id(payload[name], name)
                if name in rest:
                    rest[name] = doc_id  # clients cannot send numpy's integers
                return cls(doc_id, rest)
        return cls(stable_uuid(json.dumps(payload, sort_keys=True, default=str)), rest)

    @classmethod
    def read(cls, given: object) -> Document:
        """Return ``given``, a document or a payload, with an id that is an int or a str.

        Raises `ConfigurationError` for anything else.
        """
        if isinstance(given, Document):
            if not isinstance(given.payload, Mapping):
                raise ConfigurationError(
                    "payload", f"must be a mapping, got {shown(given.payload)}"
                )
            return replace(given, id=plain_id(given.id, "id"))
        if isinstance(given, Mapping):
            return cls.from_payload(given)
        raise ConfigurationError(
            "document", f"expected a Document or a mapping, got {shown(given)}"
        )


def check_documents(given: object) -> None:
    """Raise `ConfigurationError` unless ``given`` can be iterated over as documents."""
    key = "documents"
    if isinstance(given, Mapping | Document):
        raise ConfigurationError(key, "must be several; put the one into a list")
    if hasattr(given, "columns"):  # iterating over a table yields the names of its columns
        raise ConfigurationError(
            key, f"must be mappings, got {shown(given)}; give its to_dict('records')"
        )
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ConfigurationError(
            key, f"must be an iterable of mappings or Documents, got {shown(given)}"
        )


def plain_id(given: object, key: str) -> HitId:
    """Return a document's id as an int or a str.

    Raises `ConfigurationError` about ``key`` for anything but an integer, a non-empty str or a
    UUID.
    """
    if _is_integer(given):
        return operator.index(given)
    if isinstance(given, uuid.UUID):
        return str(given)
    if isinstance(given, str) and given:
        return str.__str__(given)
    got = "an empty str" if given == "" and isinstance(given, str) else type(given).__name__
    raise ConfigurationError(
        key,
        f"expected an int, a non-empty str or a UUID, got {got}; convert the id with str(), or "
        "leave it out to get a hash of the content",
    )


def _is_integer(given: object) -> TypeGuard[SupportsIndex]:
    """Check for an integer of at most 64 bytes; numpy counts its durations among integers, too."""
    if isinstance(given, bool) or not isinstance(given, numbers.Integral):
        return False
    return isinstance(given, SupportsIndex) and operator.index(given).bit_length() <= 512


def stable_uuid(name: str) -> str:
    """Return the UUID of a name; it never changes."""
    return str(uuid.uuid5(_NAMESPACE, name))


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that was not stored, and why."""

    id: HitId
    reason: str


@dataclass(frozen=True, slots=True)
class IngestReport:
    """The result of adding documents.

    ``added`` counts the distinct documents stored: an id that came twice counts once.
    ``failed`` lists the documents not stored, ``retries`` counts repeated requests.
    ``without_text`` counts stored documents that have none of the text fields: BM25 cannot find
    them and a reranker cannot score them.
    """

    added: int = 0
    failed: tuple[Failure, ...] = ()
    retries: int = 0
    seconds: float = 0.0
    without_text: int = 0


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How documents are added."""

    batch_size: int = 64
    """Documents per request (at least 1)."""
    batch_bytes: int = 8_000_000
    """Approximate size of a request: payload, text and given vectors as JSON (at least 1).

    Qdrant's default limit is 32 MB, OpenSearch's 100 MB.
    """
    give_up_after: float = 120.0
    """Seconds without progress after which `IngestError` is raised (above 0)."""
    on_progress: Callable[[int], None] | None = None
    """Called after each batch with the number of documents read so far."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "batch_bytes"):
            object.__setattr__(self, name, integer(name, getattr(self, name), 1))
        in_range("give_up_after", self.give_up_after, 0, math.inf)
        if not self.give_up_after:
            raise ConfigurationError("give_up_after", "must be above 0")
        if self.on_progress is not None:
            is_callable("on_progress", self.on_progress)


@dataclass(slots=True)
class WriteResult:
    """A database's answer to a batch, by the index of the item.

    ``rejected`` items cannot be stored, ``busy`` ones can be tried again. ``fatal`` is set if the
    database accepts no document at all. All other items are stored.
    """

    rejected: dict[int, str] = field(default_factory=dict)
    busy: dict[int, str] = field(default_factory=dict)
    fatal: str | None = None


class Writer(Protocol[ItemT]):
    """Writes documents to one database."""

    def item(self, document: Document, text: str, vector: Vector | None) -> ItemT:
        """Return the document in native form.

        Raises ValueError or TypeError if it cannot be stored.
        """
        ...

    def write(self, items: Sequence[ItemT]) -> Flow[WriteResult]:
        """Store the items."""
        ...

    def stored(self, items: Sequence[ItemT]) -> Flow[set[int]]:
        """Return the indices of the items that the database holds as they are here."""
        ...

    def cause(self, error: Exception) -> Cause:
        """Classify an error of `write`."""
        ...

    def describe_error(self, error: Exception) -> str:
        """Return one line with the problem and the fix."""
        ...
