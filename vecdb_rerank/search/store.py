"""What a connector needs of its database besides searching: create, fill, check and delete."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.protocols import Database
from vecdb_rerank.request import Mode

if TYPE_CHECKING:
    from vecdb_rerank.ingest.model import Writer

ResponseT = TypeVar("ResponseT")


ShardKey = int | str
Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a connector's ``check``.

    A ``note`` needs no action, a ``warning`` lowers quality, an ``error`` makes searching
    impossible or pointless; ``fix`` says what to do.
    """

    subject: str
    level: Level
    detail: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done."""
        return self.level in ("ok", "note")


class Store(Database[ResponseT]):
    """A collection or index that can be created, filled, checked and deleted."""

    def create(self, dimension: int | None, mode: Mode) -> Flow[bool]:
        """Create the collection if it is missing; return whether this call did.

        ``dimension`` is None without an embedder; only ``bm25`` searches work then. Raises
        `SchemaError` if there is a collection that lacks what ``mode`` needs.
        """
        raise NotImplementedError

    def writer(self, mode: Mode, shard_key: ShardKey | None = None) -> Writer[Any]:
        """Return what writes the documents that searches in ``mode`` need.

        ``shard_key`` names the shard, in OpenSearch the routing value.
        """
        raise NotImplementedError

    def check(self, dimension: int | None, mode: Mode, k: int) -> Flow[list[Finding]]:
        """Check connection, version, plugins, and the schema for what ``mode`` needs.

        A limit of the database below ``k`` candidates is a warning.
        """
        raise NotImplementedError

    def sample(self, count: int) -> Flow[Sequence[Mapping[str, object]]]:
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
