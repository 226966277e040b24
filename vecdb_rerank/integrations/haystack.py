"""Haystack: the components `VecdbRerankRanker` and `VecdbRerankRetriever`.

Both can be saved with their pipeline: rerankers and databases are then given as settings (the
tables of ``vecdb_rerank.toml``), keys in them as Haystack's `Secret`. Loading wants
``Pipeline.loads(text, allowed_modules=["vecdb_rerank"])``.
"""

# No lazy annotations here: Haystack reads the sockets of a component from those of `run`.

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from vecdb_rerank._optional import importing
from vecdb_rerank.config.factory import connect, connect_async, rerankers
from vecdb_rerank.config.loading import check
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.integrations.shared import AnyConnector, Found, Searcher, Shape, marks
from vecdb_rerank.search.connector import Rerankers
from vecdb_rerank.search.rerank_list import ListReranker, Place
from vecdb_rerank.secrets import concealed
from vecdb_rerank.text_fields import TextFields

with importing("haystack", extra="haystack"):
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.core.errors import SerializationError
    from haystack.utils.auth import Secret

Options = Mapping[str, Any]
_CONTENT = "content"
_BUNDLED: Final = "bundled"


@component
class VecdbRerankRanker:
    """Reorders documents by how well they answer the query, and keeps the first.

    The documents that come out are copies: id and content are as they came, ``score`` is the
    final one (0 to 1), and ``meta`` has ``relevance_score``, ``rerank_score``,
    ``first_pass_rank`` and, if it was known, ``first_pass_score`` besides. When the reranker
    fails, the first ``top_k`` come in the order and with the scores given.
    """

    def __init__(
        self,
        reranker: Rerankers | Options | Sequence[Options] = _BUNDLED,
        *,
        top_k: int | None = 10,
        meta_fields_to_embed: Sequence[str] = (),
        policy: Options | None = None,
    ) -> None:
        """Check the arguments; models are loaded and keys are read by `warm_up`.

        Args:
            reranker: ``"bundled"``, the settings of a reranker such as ``{"type": "http",
                "url": …, "api_key": Secret.from_env_var("KEY")}``, or a list of such settings:
                a chain, in which the next one is asked where one fails. A reranker itself, or a
                list of them, works too, but cannot be saved.
            top_k: documents returned; None for all.
            meta_fields_to_embed: meta fields that the reranker reads before the content.
            policy: as under ``[policy]`` in the settings: ``deadline``, ``on_error``,
                ``min_relevance``, ``blend`` and so on.

        Raises `ConfigurationError` that names the key, also for a secret in clear.

        """
        _checked_top_k(top_k)
        self.reranker = reranker
        self.top_k = top_k
        self.meta_fields_to_embed = tuple(meta_fields_to_embed)
        self.policy = dict(policy or {})
        self._text_fields = TextFields(fields=(*self.meta_fields_to_embed, _CONTENT))
        self._reorder: ListReranker | None = None
        self._settings(secrets=False)

    def warm_up(self) -> None:
        """Read the keys and make the reranker."""
        self._warm()

    def _warm(self) -> ListReranker:
        if self._reorder is None:
            settings = self._settings(secrets=True)
            described = self._described()
            chosen: Any = rerankers(settings) or None if described else self.reranker
            self._reorder = ListReranker("haystack", chosen, settings.policy)
        return self._reorder

    def close(self) -> None:
        """Close the reranker's connections."""
        if self._reorder is not None and self._reorder.chain is not None:
            run(self._reorder.chain.closing())

    async def close_async(self) -> None:
        """Close the reranker's connections on this event loop."""
        if self._reorder is not None and self._reorder.chain is not None:
            await run_async(self._reorder.chain.closing())

    def to_dict(self) -> dict[str, Any]:
        """The component for a saved pipeline; `SerializationError` if it holds a reranker."""
        described = self._described()
        if not described and self.reranker not in (_BUNDLED, None):
            raise SerializationError(
                "VecdbRerankRanker: a reranker cannot be saved; give its settings instead, such as "
                '{"type": "http", "url": …}'
            )
        return default_to_dict(
            self,
            reranker=_saved(described) or self.reranker,
            top_k=self.top_k,
            meta_fields_to_embed=list(self.meta_fields_to_embed),
            policy=self.policy,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "VecdbRerankRanker":
        """The component that `to_dict` described."""
        return default_from_dict(cls, _restored(data))

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """The best ``top_k`` of ``documents`` for ``query``, best first."""
        places = run(self._steps(query, documents, top_k))
        return {"documents": [_placed(documents[place.position], place) for place in places]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """`run` without blocking the event loop."""
        places = await run_async(self._steps(query, documents, top_k))
        return {"documents": [_placed(documents[place.position], place) for place in places]}

    def _steps(
        self, query: str, documents: Sequence[Document], top_k: int | None
    ) -> Flow[list[Place]]:
        texts = [self._text_fields.text({**d.meta, _CONTENT: d.content}) for d in documents]
        limit = self.top_k if top_k is None else _checked_top_k(top_k)
        return self._warm().steps(query, texts, [d.score for d in documents], limit)

    def _described(self) -> list[Options]:
        """The settings of the reranker or rerankers; none where they were given otherwise."""
        given = [self.reranker] if isinstance(self.reranker, Mapping) else self.reranker
        if not isinstance(given, list | tuple):
            return []
        described = [one for one in given if isinstance(one, Mapping)]
        return described if len(described) == len(given) else []

    def _settings(self, *, secrets: bool) -> Settings:
        sections: dict[str, Any] = {"policy": self.policy}
        if described := self._described():
            sections["rerankers"] = [_resolved(one, "reranker", secrets) for one in described]
        return check(**sections)


@component
class VecdbRerankRetriever:
    """Hybrid first pass and rerank in one retriever, over a connector.

    ``meta`` of a document is what is stored, with ``relevance_score``, ``rerank_score``,
    ``first_pass_rank`` and ``first_pass_score`` besides.
    """

    def __init__(
        self,
        connector: AnyConnector | None = None,
        *,
        async_connector: AnyConnector | None = None,
        settings: Options | None = None,
        file: str | None = None,
        use_async: bool = False,
        top_k: int | None = 10,
        k: int | None = None,
        filters: Options | None = None,
        mode: str | None = None,
        content_field: str | None = None,
        metadata_field: str | None = None,
    ) -> None:
        """Check the arguments; `warm_up` connects.

        Args:
            connector: a connector of either colour; a synchronous one serves `run_async` in a
                thread. Without it, `warm_up` opens one; only then can the component be saved.
            async_connector: an asynchronous one for `run_async`, beside a synchronous one.
            settings: those of `connect`, such as ``{"backend": {"type": "qdrant", "url": …,
                "api_key": Secret.from_env_var("KEY")}}``.
            file: the settings file of `connect`.
            use_async: open an asynchronous connector, for `run_async` alone.
            top_k: documents returned; None for the connector's default.
            k: candidates of the first pass; default is the connector's.
            filters: a filter in the database's own terms: of OpenSearch a query, of Qdrant a
                filter as JSON has it.
            mode: ``hybrid``, ``dense`` or ``bm25``; default is the connector's.
            content_field: the stored field that becomes the content; by default the text that
                the connector's `TextFields` read.
            metadata_field: the stored field that holds the meta; by default the whole document.

        Raises `ConfigurationError` that names the key, also for a secret in clear.

        """
        if connector is not None and (settings or file or use_async):
            raise ConfigurationError("connector", "give it, or settings, file, use_async; not both")
        _checked_top_k(top_k)
        _resolved(settings or {}, "settings", secrets=False)
        self.connector = connector
        self.async_connector = async_connector
        self.settings = dict(settings or {})
        self.file = file
        self.use_async = use_async
        self.top_k = top_k
        self.k = k
        self.filters = filters
        self.mode = mode
        self.content_field = content_field
        self.metadata_field = metadata_field
        self._opened: AnyConnector | None = None
        self._searcher: Searcher | None = None

    def warm_up(self) -> None:
        """Connect, unless a connector was given."""
        self._warm()

    def _warm(self) -> Searcher:
        if self._searcher is None:
            connector = self._open() if self.connector is None else self.connector
            shape = Shape(self.content_field, self.metadata_field)
            self._searcher = Searcher(connector, self.async_connector, shape)
        return self._searcher

    def _open(self) -> AnyConnector:
        open_it = connect_async if self.use_async else connect
        opened: AnyConnector = open_it(
            self.file, **_resolved(self.settings, "settings", secrets=True)
        )
        self._opened = opened
        return opened

    def close(self) -> None:
        """Close the connector that `warm_up` opened, if it is a synchronous one."""
        if self._opened is not None and not self.use_async:
            self._opened.close()
            self._opened = self._searcher = None

    async def close_async(self) -> None:
        """Close the connector that `warm_up` opened."""
        if self._opened is not None and self.use_async:
            await self._opened.close()
            self._opened = self._searcher = None
        self.close()

    def to_dict(self) -> dict[str, Any]:
        """The component for a saved pipeline; `SerializationError` if it holds a connector."""
        if self.connector is not None or self.async_connector is not None:
            raise SerializationError(
                "VecdbRerankRetriever: a connector cannot be saved; give settings instead, such as "
                '{"backend": {"type": "qdrant", "url": …}}'
            )
        return default_to_dict(
            self,
            settings=_saved(self.settings),
            file=self.file,
            use_async=self.use_async,
            top_k=self.top_k,
            k=self.k,
            filters=self.filters,
            mode=self.mode,
            content_field=self.content_field,
            metadata_field=self.metadata_field,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "VecdbRerankRetriever":
        """The component that `to_dict` described."""
        return default_from_dict(cls, _restored(data))

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        k: int | None = None,
    ) -> dict[str, list[Document]]:
        """The best ``top_k`` documents for ``query``; raises what the connector's search does."""
        found = self._warm().search(query, **self._arguments(filters, top_k, k))
        return {"documents": [_document(hit) for hit in found]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        k: int | None = None,
    ) -> dict[str, list[Document]]:
        """`run` without blocking the event loop."""
        found = await self._warm().asearch(query, **self._arguments(filters, top_k, k))
        return {"documents": [_document(hit) for hit in found]}

    def _arguments(
        self, filters: Options | None, top_k: int | None, k: int | None
    ) -> dict[str, Any]:
        return {
            "filter": self.filters if filters is None else filters,
            "limit": self.top_k if top_k is None else _checked_top_k(top_k),
            "k": self.k if k is None else k,
            "mode": self.mode,
        }


def _checked_top_k(top_k: int | None) -> int | None:
    if top_k is not None and top_k < 1:
        raise ConfigurationError("top_k", f"{top_k} is below 1")
    return top_k


def _placed(document: Document, place: Place) -> Document:
    told = marks(
        relevance=place.relevance,
        score=place.score,
        rank=place.position + 1,
        first_pass_score=document.score,
    )
    score = document.score if place.score is None else place.score
    return replace(document, score=score, meta={**document.meta, **told})


def _document(hit: Found) -> Document:
    return Document(
        id=hit.id, content=hit.text, score=hit.score, meta={**hit.metadata, **hit.marks}
    )


def _resolved(value: Any, key: str, secrets: bool) -> Any:
    """Settings with their secrets as text (``secrets``), or as stars, to be checked before.

    `ConfigurationError` for one that is given in clear: it would be saved with the pipeline.
    """
    if isinstance(value, Secret):
        return value.resolve_value() if secrets else "**********"
    if isinstance(value, Mapping):
        return {name: _resolved(inner, f"{key}.{name}", secrets) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(inner, key, secrets) for inner in value]
    if concealed(key.rpartition(".")[2], value) != value:
        raise ConfigurationError(key, 'give it as a Secret: Secret.from_env_var("…")')
    return value


def _saved(value: Any) -> Any:
    """Settings for YAML."""
    if isinstance(value, Secret):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {name: _saved(inner) for name, inner in value.items()}
    return [_saved(inner) for inner in value] if isinstance(value, list | tuple) else value


def _restored(value: Any) -> Any:
    """`_saved` backwards."""
    if isinstance(value, Mapping):
        if value.get("type") == "env_var":
            return Secret.from_dict(dict(value))
        return {name: _restored(inner) for name, inner in value.items()}
    return [_restored(inner) for inner in value] if isinstance(value, list) else value
