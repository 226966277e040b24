"""Components for Haystack: a ranker and a retriever.

Both can be saved with their pipeline if rerankers and databases are given as settings (the tables
of ``vecdb_rerank.toml``), with keys as Haystack's `Secret`. Load such a pipeline with
``Pipeline.loads(text, allowed_modules=["vecdb_rerank"])``.
"""

# No lazy annotations here: Haystack reads the sockets of a component from those of `run`.

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from vecdb_rerank._checks import check_type
from vecdb_rerank._optional import importing
from vecdb_rerank.config.factory import connect, connect_async, rerankers
from vecdb_rerank.config.loading import check
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.integrations.shared import (
    FoundDocument,
    PayloadShape,
    SearchableConnector,
    Searcher,
    check_connector,
    check_documents,
    check_top,
    payload_of,
    score_metadata,
)
from vecdb_rerank.policy import Policy
from vecdb_rerank.search.arguments import Rerankers, make_chain
from vecdb_rerank.search.rerank_list import ListReranker, Place
from vecdb_rerank.secrets import concealed
from vecdb_rerank.text_fields import TextFields

with importing("haystack", extra="haystack"):
    from haystack import Document, component, default_from_dict, default_to_dict
    from haystack.core.errors import SerializationError
    from haystack.utils.auth import Secret

__all__ = ["VecdbRerankRanker", "VecdbRerankRetriever"]

Options = Mapping[str, object]
_CONTENT = "content"
_BUNDLED: Final = "bundled"


@component
class VecdbRerankRanker:
    """Reranks documents and keeps the best.

    The documents returned are copies with the final score (0 to 1). ``meta`` has the additional
    keys ``relevance_score``, ``rerank_score``, ``first_pass_rank`` and, if the document had a
    score, ``first_pass_score``. Documents without content follow the others. If the reranker fails,
    the first ``top_k`` documents are returned with their own scores and order.
    """

    def __init__(
        self,
        reranker: Rerankers | Options | Sequence[Options] = _BUNDLED,
        *,
        top_k: int | None = 10,
        meta_fields_to_embed: Sequence[str] = (),
        policy: Options | None = None,
        instruction: str | None = None,
    ) -> None:
        """Check the arguments; `warm_up` reads keys and loads models.

        Args:
            reranker: ``"bundled"``, the settings of a reranker, such as ``{"type": "http",
                "url": …, "api_key": Secret.from_env_var("KEY")}``, or a list of such settings: if
                one reranker fails, the next one is called. A reranker, or a list of rerankers, can
                be given too, but not saved.
            top_k: The number of documents returned; None returns all.
            meta_fields_to_embed: The meta fields that the reranker reads before the content.
            policy: The settings of the table ``[policy]``, such as ``{"deadline": 2.0}``.
            instruction: What counts as relevant, such as ``prefer official documentation``, for
                rerankers that follow instructions (default: the reranker's).

        Raises `ConfigurationError` for a wrong setting, and for a key in plain text.

        """
        check_type("policy", policy, Mapping)
        if isinstance(meta_fields_to_embed, str):
            raise ConfigurationError(
                "meta_fields_to_embed", f"must be a list, got {meta_fields_to_embed!r}"
            )
        check_type("meta_fields_to_embed", meta_fields_to_embed, Sequence)
        if not isinstance(reranker, str | Mapping | Sequence):
            make_chain(reranker)  # loads nothing, unlike those named by settings
        self.reranker = reranker
        self.top_k = check_top("top_k", top_k)
        self.meta_fields_to_embed: tuple[str, ...] = tuple(meta_fields_to_embed)
        self.policy: dict[str, object] = dict(policy or {})
        self.instruction = instruction
        self._text_fields = TextFields(fields=(*self.meta_fields_to_embed, _CONTENT))
        self._reorder: ListReranker | None = None
        self._settings(secrets=False)

    def warm_up(self) -> None:
        """Read the keys and build the reranker."""
        self._warm()

    def _warm(self) -> ListReranker:
        if self._reorder is None:
            settings = self._settings(secrets=True)
            chosen = rerankers(settings) or None if self._settings_of_rerankers() else self.reranker
            self._reorder = ListReranker(
                "haystack", cast("Rerankers", chosen), settings.policy, self.instruction
            )
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
        """Return the component as plain values; raise `SerializationError` for a reranker."""
        described = self._settings_of_rerankers()
        if not described and self.reranker not in (_BUNDLED, None):
            raise SerializationError(
                "VecdbRerankRanker: a reranker cannot be saved; give its settings, such as "
                '{"type": "http", "url": …}'
            )
        return default_to_dict(
            self,
            reranker=_saved(described) or self.reranker,
            top_k=self.top_k,
            meta_fields_to_embed=list(self.meta_fields_to_embed),
            policy=self.policy,
            instruction=self.instruction,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "VecdbRerankRanker":
        """Return the component that `to_dict` described."""
        return default_from_dict(cls, _restored_dict(data))

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        policy: dict[str, Any] | None = None,
        instruction: str | None = None,
    ) -> dict[str, list[Document]]:
        """Return the best documents for ``query``, best first.

        ``top_k``, ``policy`` and ``instruction`` replace those of the ranker for this call.
        """
        places = run(self._steps(query, documents, top_k, policy, instruction))
        return {"documents": [_placed(documents[place.position], place) for place in places]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        policy: dict[str, Any] | None = None,
        instruction: str | None = None,
    ) -> dict[str, list[Document]]:
        """Do the same as `run` without blocking the event loop."""
        places = await run_async(self._steps(query, documents, top_k, policy, instruction))
        return {"documents": [_placed(documents[place.position], place) for place in places]}

    def _steps(
        self,
        query: str,
        documents: Sequence[Document],
        top_k: int | None,
        policy: Options | None,
        instruction: str | None,
    ) -> Flow[list[Place]]:
        check_documents("documents", documents, Document)
        texts = [self._text_fields.text({**d.meta, _CONTENT: d.content}) for d in documents]
        limit = self.top_k if top_k is None else check_top("top_k", top_k)
        scores = [document.score for document in documents]
        held = [payload_of(document.meta, document.id) for document in documents]
        rules = _policy(policy)
        return self._warm().steps(query, texts, scores, limit, rules, held, instruction)

    def _settings_of_rerankers(self) -> list[Options]:
        """Return the settings of the rerankers, or nothing if they were given as objects."""
        given = [self.reranker] if isinstance(self.reranker, Mapping) else self.reranker
        if not isinstance(given, list | tuple):
            return []
        described = [one for one in given if isinstance(one, Mapping)]
        return described if len(described) == len(given) else []

    def _settings(self, *, secrets: bool) -> Settings:
        sections: dict[str, object] = {"policy": self.policy}
        if described := self._settings_of_rerankers():
            sections["rerankers"] = [_resolved(one, "reranker", secrets) for one in described]
        return check(**sections)


@component
class VecdbRerankRetriever:
    """Searches a connector: first pass and reranking in one retriever.

    The ``meta`` of a document is its stored payload, with the additional keys ``relevance_score``,
    ``rerank_score``, ``first_pass_rank`` and ``first_pass_score``.
    """

    def __init__(
        self,
        connector: SearchableConnector | None = None,
        *,
        async_connector: SearchableConnector | None = None,
        settings: Options | None = None,
        file: str | None = None,
        use_async: bool = False,
        top_k: int | None = 10,
        k: int | None = None,
        filters: Options | None = None,
        mode: str | None = None,
        rerank: bool = True,
        policy: Options | None = None,
        instruction: str | None = None,
        content_field: str | None = None,
        metadata_field: str | None = None,
    ) -> None:
        """Check the arguments; `warm_up` connects.

        Args:
            connector: A synchronous or an asynchronous connector. `run_async` searches a
                synchronous one in a thread. Without it, `warm_up` opens one; only then can the
                component be saved.
            async_connector: An asynchronous connector for `run_async`, beside a synchronous one.
            settings: Settings for `connect`, such as ``{"backend": {"type": "qdrant", "url": …,
                "api_key": Secret.from_env_var("KEY")}}``.
            file: A settings file for `connect`.
            use_async: Whether to open an asynchronous connector, which only `run_async` can use.
            top_k: The number of documents returned (default: the connector's).
            k: The number of first-pass candidates (default: the connector's).
            filters: A filter in JSON: a query of OpenSearch, or a filter of Qdrant.
            mode: ``hybrid``, ``dense`` or ``bm25`` (default: the connector's).
            rerank: Whether to rerank.
            policy: The settings of the table ``[policy]`` (default: the connector's policy).
            instruction: What counts as relevant, for rerankers that follow instructions (default:
                the connector's).
            content_field: The stored field that becomes the content (default: the text that the
                connector's `TextFields` read).
            metadata_field: The stored field that holds the meta (default: the whole payload).

        Raises `ConfigurationError` for a wrong setting, and for a key in plain text.

        """
        if connector is not None and (settings or file or use_async):
            raise ConfigurationError(
                "connector", "must not be given together with settings, file or use_async"
            )
        if connector is not None:
            check_connector("connector", connector)
        check_type("policy", policy, Mapping)
        check_type("settings", settings, Mapping)
        _policy(policy)
        _resolved(settings or {}, "settings", secrets=False)
        self.connector = connector
        self.async_connector = async_connector
        self.settings: dict[str, object] = dict(settings or {})
        self.file = file
        self.use_async = use_async
        self.top_k = check_top("top_k", top_k)
        self.k = k
        self.filters = filters
        self.mode = mode
        self.rerank = rerank
        self.policy: dict[str, object] | None = None if policy is None else dict(policy)
        self.instruction = instruction
        self.content_field = content_field
        self.metadata_field = metadata_field
        self._opened: Any = None  # a connector of any database, sync or async
        self._searcher: Searcher | None = None

    def warm_up(self) -> None:
        """Connect, unless a connector was given."""
        self._warm()

    def _warm(self) -> Searcher:
        if self._searcher is None:
            connector = self._open() if self.connector is None else self.connector
            shape = PayloadShape(self.content_field, self.metadata_field)
            self._searcher = Searcher(connector, self.async_connector, shape)
        return self._searcher

    def _open(self) -> SearchableConnector:
        settings: dict[str, Any] = {
            name: _resolved(value, f"settings.{name}", secrets=True)
            for name, value in self.settings.items()
        }
        open_it = connect_async if self.use_async else connect
        self._opened = opened = open_it(self.file, **settings)
        return opened

    def close(self) -> None:
        """Close the connector that `warm_up` opened, unless it is asynchronous."""
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
        """Return the component as plain values; raise `SerializationError` for a connector."""
        if self.connector is not None or self.async_connector is not None:
            raise SerializationError(
                "VecdbRerankRetriever: a connector cannot be saved; give settings, such as "
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
            rerank=self.rerank,
            policy=self.policy,
            instruction=self.instruction,
            content_field=self.content_field,
            metadata_field=self.metadata_field,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "VecdbRerankRetriever":
        """Return the component that `to_dict` described."""
        return default_from_dict(cls, _restored_dict(data))

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        k: int | None = None,
        rerank: bool | None = None,
        policy: dict[str, Any] | None = None,
        instruction: str | None = None,
    ) -> dict[str, list[Document]]:
        """Return the best documents for ``query``, best first.

        The other arguments replace those of the retriever for this call. Raises what the
        connector's ``search`` raises.
        """
        options = self._options(filters, top_k, k, rerank, policy, instruction)
        return {"documents": [_document(found) for found in self._warm().search(query, **options)]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        k: int | None = None,
        rerank: bool | None = None,
        policy: dict[str, Any] | None = None,
        instruction: str | None = None,
    ) -> dict[str, list[Document]]:
        """Do the same as `run` without blocking the event loop."""
        options = self._options(filters, top_k, k, rerank, policy, instruction)
        found = await self._warm().asearch(query, **options)
        return {"documents": [_document(document) for document in found]}

    def _options(
        self,
        filters: Options | None,
        top_k: int | None,
        k: int | None,
        rerank: bool | None,
        policy: Options | None,
        instruction: str | None,
    ) -> dict[str, object]:
        reranks = self.rerank if rerank is None else rerank
        return {
            "filter": self.filters if filters is None else filters,
            "limit": self.top_k if top_k is None else check_top("top_k", top_k),
            "k": self.k if k is None else k,
            "mode": self.mode,
            "instruction": self.instruction if instruction is None else instruction,
            "rerank": reranks and (_policy(self.policy if policy is None else policy) or True),
        }


def _policy(settings: Options | None) -> Policy | None:
    return None if settings is None else check(policy=settings).policy


def _placed(document: Document, place: Place) -> Document:
    scores = score_metadata(
        relevance=place.relevance,
        score=place.score,
        rank=place.position + 1,
        first_pass_score=document.score,
    )
    score = document.score if place.score is None else place.score
    return replace(document, score=score, meta={**document.meta, **scores})


def _document(found: FoundDocument) -> Document:
    meta = {**found.metadata, **found.scores}
    return Document(id=found.id, content=found.text, score=found.score, meta=meta)


def _resolved(value: object, key: str, secrets: bool) -> object:
    """Return settings with each `Secret` as its text, or as stars unless ``secrets``.

    Raises `ConfigurationError` for a key or header in plain text, which would be saved with the
    pipeline.
    """
    if isinstance(value, Secret):
        return value.resolve_value() if secrets else "**********"
    if isinstance(value, Mapping):
        return {name: _resolved(inner, f"{key}.{name}", secrets) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(inner, key, secrets) for inner in value]
    section, _, name = key.rpartition(".")
    if concealed(section.rpartition(".")[2], {name: value}) != {name: value}:
        raise ConfigurationError(key, 'must be a Secret: Secret.from_env_var("…")')
    return value


def _saved(value: object) -> object:
    """Return settings as plain values."""
    if isinstance(value, Secret):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {name: _saved(inner) for name, inner in value.items()}
    return [_saved(inner) for inner in value] if isinstance(value, list | tuple) else value


def _restored_dict(data: Mapping[str, object]) -> dict[str, object]:
    return {name: _restored(value) for name, value in data.items()}


def _restored(value: object) -> object:
    """Return the settings that `_saved` was given."""
    if isinstance(value, Mapping):
        if value.get("type") == "env_var":
            return Secret.from_dict(dict(value))
        return _restored_dict(value)
    return [_restored(inner) for inner in value] if isinstance(value, list) else value
