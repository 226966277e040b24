"""What the connectors of all databases share: settings of a search, and the drivers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, cast

from vecdb_rerank.errors import ConfigurationError, DatabaseError, VecdbRerankError
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Call, Compute, Flow
from vecdb_rerank.model import Candidate
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import AnyReranker, BaseReranker, Database, Embedder, FirstPass, Vector
from vecdb_rerank.request import Fusion, Mode, Search, SearchDefaults
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.search.result import deliver
from vecdb_rerank.text_fields import TextFields

if TYPE_CHECKING:
    from vecdb_rerank.ingest.model import Document, IngestReport, Writer

T = TypeVar("T")
ResponseT = TypeVar("ResponseT")
# What the methods return: the value itself (sync) or an awaitable of it (async).
SearchT = TypeVar("SearchT")
ReportT = TypeVar("ReportT")
CreatedT = TypeVar("CreatedT")
ProblemsT = TypeVar("ProblemsT")

PAGE = 10  # hits, where nobody says how many
_SAMPLE = 16  # documents that `check` looks at
Bundled = Literal["bundled"]
ShardKey = int | str
# One, or several in order: the next one is asked where one fails.
Rerankers = AnyReranker | Sequence[AnyReranker] | Bundled | None


Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of `Connector.check`.

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
    """A database that can also be set up, filled and checked."""

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

    def check(self, dimension: int | None, mode: Mode) -> Flow[list[Finding]]:
        """Check connection, version, plugins, and the schema for what ``mode`` needs."""
        raise NotImplementedError

    def sample(self, count: int) -> Flow[Sequence[Mapping[str, object]]]:
        """The payloads of a few documents, whichever come first."""
        raise NotImplementedError

    def delete(self) -> Flow[None]:
        """Delete the collection with all its documents."""
        raise NotImplementedError

    def refresh(self) -> Flow[None]:
        """Make all documents added so far visible to searches."""
        raise NotImplementedError

    def close(self) -> Any:
        """Close the client."""
        raise NotImplementedError


class Connector(Generic[ResponseT, SearchT, ReportT, CreatedT, ProblemsT]):
    """Base of the connectors; a subclass adds ``search`` with its database's own arguments.

    `close` leaves the store's client open unless ``close_client``: it is the caller's.
    """

    def __init__(
        self,
        store: Store[ResponseT],
        *,
        reranker: Rerankers = "bundled",
        embedder: Embedder | Bundled | None = "bundled",
        text_fields: TextFields | None = None,
        policy: Policy | None = None,
        defaults: SearchDefaults | None = None,
        close_client: bool = False,
    ) -> None:
        self.store = store
        self._close_client = close_client
        self.defaults = defaults or SearchDefaults()
        policy = policy or Policy()
        self.pipeline = Pipeline(
            chain=make_chain(reranker),
            embedder=None if embedder is None else make_embedder(embedder),
            text_fields=text_fields or TextFields(),
            policy=policy,
        )

    def candidates(self, response: ResponseT) -> Sequence[Candidate]:
        """The hits of a native response in a form that is the same for every database."""
        return self.store.candidates(FirstPass(response), self.pipeline.text_fields)

    def create(self) -> CreatedT:
        """Create a collection or index fit for hybrid search; False if one is there already.

        Raises `SchemaError` where one is there that does not fit.
        """
        return self._run(self._guarded(self._created()))

    def add(
        self,
        documents: Iterable[Document | Mapping[str, Any]],
        *,
        batch_size: int = 64,
        batch_bytes: int = 8_000_000,
        give_up_after: float = 120.0,
        on_progress: Callable[[int], None] | None = None,
        shard_key: ShardKey | None = None,
    ) -> ReportT:
        """Add documents from any iterable, a batch at a time.

        A mapping is stored under its ``_id`` or ``id``, else under a hash of its content, so that
        adding it again changes nothing. The report names each document that was not stored.

        Args:
            documents: the documents, or their payloads.
            batch_size: documents per request.
            batch_bytes: approximate size of a request.
            give_up_after: seconds without progress after which `IngestError` is raised.
            on_progress: called after each batch with the number of documents read so far.
            shard_key: the shard of a Qdrant collection with custom sharding; in OpenSearch the
                routing value.

        Raises `ConfigurationError` for a document whose id is not an int, a str or a UUID, and
        `IngestError` if the database accepts nothing for ``give_up_after`` seconds, or never will.

        """
        from vecdb_rerank.ingest.flow import ingest
        from vecdb_rerank.ingest.model import IngestOptions

        options = IngestOptions(batch_size, batch_bytes, give_up_after, on_progress)
        pipeline, writer = self.pipeline, self.store.writer(self.defaults.mode, shard_key)

        def flow() -> Flow[IngestReport]:
            # Not guarded: an error of the source or the embedder is not the database's.
            report = yield from ingest(
                writer, documents, pipeline.embedder, pipeline.text_fields, options
            )
            yield from self._guarded(self.store.refresh())
            return report

        return self._run(flow())

    def warmup(self) -> Any:
        """Load the models of embedder and rerankers, so that no search has to wait for them.

        For the start of a server, before it says that it is ready: loading counts in the deadline
        of the search that it happens in. Nothing is sent to the database or to a remote reranker.
        Raises `ConfigurationError` where a model does not load.
        """
        embedder, chain = self.pipeline.embedder, self.pipeline.chain

        def flow() -> Flow[None]:
            if embedder is not None:
                yield Compute(lambda: embedder.embed_query("warm up"))
            if chain is not None:
                yield Compute(chain.warmup)

        return self._run(flow())

    def check(self) -> ProblemsT:
        """What stands between this connector and a search, with a fix for each."""
        return self._run(self._guarded(self._checked()))

    def delete(self) -> Any:
        """Delete the collection or index with all its documents."""
        return self._run(self._guarded(self.store.delete()))

    def close(self) -> Any:
        """Close the reranker's connections, and the database client if that is the connector's own.

        It is where `connect` made it, or the connector was told ``close_client=True``.
        """

        def flow() -> Flow[None]:
            if self.pipeline.chain is not None:
                yield from self.pipeline.chain.closing()
            if self._close_client:
                yield Call(self.store.close)

        return self._run(flow())

    def _created(self) -> Flow[bool]:
        dimension = yield from self._dimension()
        if dimension is None and self.defaults.mode != "bm25":
            raise ConfigurationError(
                "embedder", "creating a collection needs one, for its dimension"
            )
        return (yield from self.store.create(dimension, self.defaults.mode))

    def _checked(self) -> Flow[list[Finding]]:
        mode = self.defaults.mode
        dimension = None if mode == "bm25" else (yield from self._dimension())
        findings = yield from self.store.check(dimension, mode)
        # An empty branch may be one because no document has text.
        if all(found.level != "error" or found.subject == "branches" for found in findings):
            payloads = yield from self.store.sample(_SAMPLE)
            findings += _text_findings(payloads, self.pipeline.text_fields)
        return findings

    def _dimension(self) -> Flow[int | None]:
        embedder = self.pipeline.embedder
        if embedder is None:
            return None
        dimension: int = yield Compute(lambda: embedder.dimension)  # it may have to load its model
        return dimension

    def _search(
        self,
        query: str,
        *,
        k: int | None,
        limit: int | None,
        offset: int,
        mode: Mode | None,
        depth: int | None,
        fusion: Fusion | None,
        filter: Any,
        query_vector: Vector | None,
        rerank: bool | Policy,
        explain: bool,
        native: Mapping[str, Any],
    ) -> SearchT:
        """Run a search; what is None comes from the defaults."""
        defaults = self.defaults
        chosen_k = defaults.k if k is None else k
        search = Search(
            query=query,
            k=chosen_k,
            limit=min(defaults.limit or PAGE, chosen_k) if limit is None else limit,
            offset=offset,
            mode=mode or defaults.mode,
            depth=(defaults.depth or chosen_k) if depth is None else depth,
            fusion=fusion or defaults.fusion,
            query_vector=query_vector,
            filter=filter,
            native={name: value for name, value in native.items() if value is not None},
        )
        if not isinstance(rerank, bool | Policy):
            raise ConfigurationError("rerank", f"must be True, False or a Policy, got {rerank!r}")
        policy = rerank if isinstance(rerank, Policy) else self.pipeline.policy

        def flow() -> Flow[ResponseT]:
            completed = yield from self.pipeline.search(
                self.store, search, policy=policy, rerank=rerank is not False, explain=explain
            )
            return deliver(completed, policy)

        return self._run(flow())

    def _guarded(self, flow: Flow[T]) -> Flow[T]:
        """``flow`` with the database's own errors as ours."""
        try:
            return (yield from flow)
        except VecdbRerankError:
            raise
        except Exception as error:
            raise DatabaseError(self.store.describe_error(error)) from error

    def _run(self, flow: Flow[Any]) -> Any:
        """Drive a flow in the client's colour."""
        raise NotImplementedError


def _text_findings(
    payloads: Sequence[Mapping[str, object]], text_fields: TextFields
) -> list[Finding]:
    """Check whether stored documents have a text to search and rerank.

    A few without one are normal; if none has one, the fields are wrong.
    """
    if not payloads:
        return []
    empty = [payload for payload in payloads if not text_fields.text(payload).strip()]
    names = ", ".join(text_fields.paths)
    if not empty:
        return [Finding("text", "ok", f"documents have text in {names}")]
    level: Level = "note"
    if len(empty) == len(payloads):
        level = "error"
    elif 2 * len(empty) > len(payloads):
        level = "warning"
    held = ", ".join(dict.fromkeys(str(name) for payload in empty for name in payload)) or "none"
    return [
        Finding(
            "text",
            level,
            f"{len(empty)} of {len(payloads)} sampled documents have no text in {names}; "
            f"their fields: {held}",
            "name the fields that hold the text in text_fields.fields",
        )
    ]


class SyncDriver:
    """Mixin: methods return their values; a ``with`` block closes the connector in the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()  # type: ignore[attr-defined]  # of the connector

    def _run(self, flow: Flow[Any]) -> Any:
        return run(flow)


class AsyncDriver:
    """Mixin: methods return awaitables; an ``async with`` block closes the connector in the end."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()  # type: ignore[attr-defined]  # of the connector

    def _run(self, flow: Flow[Any]) -> Any:
        return run_async(flow)


class DropInClient:
    """Mixin that marks the drop-in clients: their searches are reranked already."""


def refuse_wrong_client(client: Any, other: type, instead: str) -> None:
    """`ConfigurationError` where ``client`` is none to search with.

    That is a drop-in one, whose every search would be reranked twice, or one of the ``other``
    colour, which is for ``instead``.
    """
    given = type(client).__name__
    if isinstance(client, DropInClient):
        raise ConfigurationError(
            "client",
            f"a {given} reranks already, and its hits would be reranked twice; "
            "give the plain client that it wraps",
        )
    if isinstance(client, other):
        raise ConfigurationError("client", f"is of type {given}; give it to {instead}")


def make_chain(rerankers: Rerankers) -> Chain | None:
    """Return the chain that a ``reranker`` argument names; None for None."""
    if rerankers is None:
        return None
    if rerankers == "bundled":
        return Chain([_bundled_reranker()])
    if isinstance(rerankers, str):
        raise ConfigurationError("reranker", f"must be 'bundled' or a reranker, got {rerankers!r}")
    if isinstance(rerankers, Sequence):
        return Chain(cast("Sequence[AnyReranker]", rerankers))
    return Chain([rerankers])


def _bundled_reranker() -> BaseReranker:
    from vecdb_rerank.rerankers.onnx import OnnxReranker

    return OnnxReranker()


def make_embedder(embedder: Embedder | Bundled) -> Embedder:
    """The embedder that ``embedder=`` names."""
    if embedder != "bundled":
        return embedder
    from vecdb_rerank.embedders.onnx import OnnxEmbedder

    return OnnxEmbedder()
