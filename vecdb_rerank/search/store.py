"""The operations of a database besides searching: create, fill, check and delete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from vecdb_rerank.adopt.description import Description
from vecdb_rerank.errors import (
    ConfigurationError,
    FirstPassError,
    FirstPassTimeoutError,
    VecdbRerankError,
)
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.model import HitId
from vecdb_rerank.protocols import Database
from vecdb_rerank.request import BRANCHES, Branch, Language, Mode

if TYPE_CHECKING:
    from vecdb_rerank.ingest.model import Writer

T = TypeVar("T")
ResponseT = TypeVar("ResponseT")


ShardKey = int | str
Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a connector's ``check``.

    A ``note`` needs no action, a ``warning`` lowers quality, an ``error`` makes searching
    impossible or pointless; ``fix`` is what to do.
    """

    subject: str
    level: Level
    detail: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done."""
        return self.level in ("ok", "note")


def call_client(
    run: Callable[[], T | Awaitable[T]],
    deadline: Deadline,
    client_timeout: float,
    *,
    is_timeout: Callable[[Exception], bool],
    describe: Callable[[Exception], str],
) -> Flow[T]:
    """Call a client within the deadline and the client's own timeout, in seconds.

    Raises `FirstPassTimeoutError`, which names the client's timeout, if that was the smaller limit
    and the call took longer.
    """
    remaining = deadline.remaining()
    try:
        answer: T = yield Call(run, min(remaining, client_timeout))
    except Exception as error:
        if is_timeout(error) and client_timeout < remaining:
            raise FirstPassTimeoutError(
                f"{describe(error)}; the limit was the client's own timeout of "
                f"{client_timeout:g} s (backend.timeout)"
            ) from error
        raise
    return answer


class Store(Database[ResponseT]):
    """A collection or index that can be created, filled, checked and deleted.

    ``branches`` are those that it is configured to have; a hybrid search joins them. ``language``
    is that of its texts, as far as BM25 has to know it.
    """

    branches: Sequence[Branch] = BRANCHES
    language: Language | None = None

    def completing(self, flow: Flow[ResponseT], deadline: Deadline) -> Flow[ResponseT]:
        """Run the second request of a search, with the client's errors as `FirstPassError`."""
        try:
            return (yield from flow)
        except VecdbRerankError:
            raise
        except Exception as error:
            described = f"payloads of the page: {self.describe_error(error)}"
            if deadline.expired or isinstance(error, TimeoutError):
                raise FirstPassTimeoutError(described) from error
            raise FirstPassError(described) from error

    def of_collection(self, name: str) -> Store[ResponseT]:
        """Return the store of another collection of the same layout, over the same client."""
        raise ConfigurationError("collection", f"{self.name} serves one alone, not {name!r}")

    def check_filters(self, filters: Mapping[str, object]) -> None:
        """Raise `ConfigurationError` if a filter of a boost cannot be evaluated.

        ``filters`` are native filters by their settings' keys, as in `Search.extras`.
        """
        for key in filters:
            raise ConfigurationError(key, f"{self.name} evaluates no filters of boosts")

    def caller_filter(self, given: object, required: object = None) -> object | None:
        """Return the filter of a search for a caller who is not trusted.

        ``given`` is the caller's, as JSON; ``required``, which is trusted, has to match as well.
        Raises `ConfigurationError` (key ``filter…``) if ``given`` runs code, reads other
        documents than those searched, or is no filter.
        """
        if given is not None:
            raise ConfigurationError("filter", f"{self.name} does not check the filters of callers")
        return required

    def document(
        self,
        id: HitId,  # noqa: ARG002 - overridden
        filter: object,  # noqa: ARG002 - overridden
        deadline: Deadline,  # noqa: ARG002 - overridden
    ) -> Flow[Mapping[str, object] | None]:
        """Return the payload of a hit's document, or None if there is none or ``filter`` differs.

        ``filter`` is in the database's own terms; None matches every document.
        """
        raise ConfigurationError("id", f"{self.name} reads no single documents")

    def rest(self, response: ResponseT, seconds: float) -> object:  # noqa: ARG002 - overridden
        """Return a response as the database's REST API would, in the types of JSON.

        ``seconds`` is the time that the search took.
        """
        return response

    def is_refused(self, error: BaseException | None) -> bool:  # noqa: ARG002 - overridden
        """Check whether the client's ``error`` means that the request itself was wrong."""
        return False

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

    def misread(self) -> Flow[str]:
        """Return why BM25 finds little, in whose language the texts were not indexed; else empty.

        Takes one read. Empty as well if the database reads queries as it indexed the texts.
        """
        yield from ()
        return ""

    def sample(self, count: int) -> Flow[Sequence[Mapping[str, object]]]:
        """Return the payloads of up to ``count`` documents."""
        raise NotImplementedError

    def count(self) -> Flow[int]:
        """Return the number of stored documents."""
        raise NotImplementedError

    def held(self, ids: Sequence[str], field: str | None) -> Flow[set[str] | None]:
        """Return those of ``ids`` that stored documents have.

        They are compared with the documents' own ids, or with the values of ``field``. The value
        is None if the database cannot tell.
        """
        raise NotImplementedError

    def collections(self) -> Flow[list[str]]:
        """Return the names of the database's collections or indices."""
        raise NotImplementedError

    def describe(self) -> Flow[Description]:
        """Return what a search has to know about the collection: vectors, fields, samples.

        Reads as little as `vecdb_rerank.adopt.description` allows, and writes nothing.
        """
        raise NotImplementedError

    def create_text_index(self) -> Flow[None]:
        """Create the text index that ``backend.text_index`` names.

        Raises `ConfigurationError` if the database has none, or the setting is missing.
        """
        raise ConfigurationError("text_index", f"{self.name} needs none")

    def delete(self) -> Flow[None]:
        """Delete the collection with all its documents."""
        raise NotImplementedError

    def refresh(self) -> Flow[None]:
        """Make all documents added so far visible to searches."""
        raise NotImplementedError

    def close(self) -> Awaitable[None] | None:
        """Close the client."""
        raise NotImplementedError
