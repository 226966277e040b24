"""What a connector needs of its database besides searching: create, fill, check and delete."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.protocols import Database

if TYPE_CHECKING:
    from vecdb_rerank.ingest.model import Writer

ResponseT = TypeVar("ResponseT")


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a connector's ``check``: ``fix`` says what to do if it is not ``ok``."""

    subject: str
    ok: bool
    detail: str
    fix: str = ""


class Store(Database[ResponseT]):
    """A collection or index that can be created, filled, checked and deleted."""

    def create(self, dimension: int) -> Flow[bool]:
        """Create the collection if it is missing; raise `SchemaError` if it exists but differs."""
        raise NotImplementedError

    def writer(self) -> Writer[Any]:
        """Return what writes documents; the type of its items is its own business."""
        raise NotImplementedError

    def check(self, dimension: int | None) -> Flow[list[Finding]]:
        """Check connection, version, plugins and schema without changing anything."""
        raise NotImplementedError

    def sample(self, count: int) -> Flow[Sequence[Mapping[str, Any]]]:
        """Return the payloads of up to ``count`` documents."""
        raise NotImplementedError

    def delete(self) -> Flow[None]:
        """Delete the collection with all its documents."""
        raise NotImplementedError

    def refresh(self) -> Flow[None]:
        """Make all documents added so far visible to searches."""
        raise NotImplementedError

    def close(self) -> Awaitable[None] | None:
        """Close the client."""
        raise NotImplementedError
