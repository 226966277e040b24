"""What a connector does, as flows: the one implementation behind sync and async."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack

from vecdb_rerank._checks import check_names, check_type, is_bool
from vecdb_rerank.embedders.flows import closing
from vecdb_rerank.errors import (
    ConfigurationError,
    DatabaseError,
    MissingDependencyError,
    VecdbRerankError,
)
from vecdb_rerank.flow.steps import Flow, call, compute
from vecdb_rerank.model import Candidate
from vecdb_rerank.policy.stages import extras
from vecdb_rerank.protocols import FirstPass, FlowEmbedder
from vecdb_rerank.request import UNSPACED, Language, Search, SearchDefaults, available
from vecdb_rerank.search import misfit
from vecdb_rerank.search.arguments import (
    AddOptions,
    CommonSearchOptions,
    ConnectorOptions,
    SearchOptions,
    make_chain,
    make_embedder,
    make_policy,
    make_rerank,
)
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.search.result import deliver
from vecdb_rerank.search.self_retrieval import self_retrieval
from vecdb_rerank.search.store import Finding, Level, Store
from vecdb_rerank.text_fields import TextFields

if TYPE_CHECKING:
    from vecdb_rerank.ingest.model import Document, IngestReport

log = logging.getLogger("vecdb_rerank")
T = TypeVar("T")
ResponseT = TypeVar("ResponseT")

PAGE = 10  # hits returned if neither the call nor the defaults say how many
_SAMPLE = 16  # documents that `check` reads
_COMMON = frozenset(SearchOptions.__annotations__)
# The options that have defaults.
_SHAPE = ("k", "limit", "mode", "depth", "fusion", "payload", "instruction")


class Core(Generic[ResponseT]):
    """A connector without its I/O: every method returns a flow, which a facade runs.

    ``search_options`` is the TypedDict of the options that its searches take. Raises
    `ConfigurationError` if an option is unknown or of the wrong type.
    """

    def __init__(
        self,
        store: Store[ResponseT],
        search_options: type = SearchOptions,
        **options: Unpack[ConnectorOptions],
    ) -> None:
        check_names(options, ConnectorOptions.__annotations__)
        check_type("text_fields", options.get("text_fields"), TextFields)
        check_type("defaults", options.get("defaults"), SearchDefaults)
        is_bool("close_client", options.get("close_client", False))
        self.store = store
        defaults = options.get("defaults") or SearchDefaults()
        mode = available(defaults.mode, store.branches)
        self.defaults: SearchDefaults = replace(defaults, mode=mode)
        self.pipeline: Pipeline = Pipeline(
            chain=make_chain(options.get("reranker", "bundled")),
            embedder=make_embedder(options.get("embedder", "bundled")),
            text_fields=options.get("text_fields") or TextFields(),
            policy=make_policy(options.get("policy")),
        )
        self.pipeline.check_instruction(defaults.instruction)
        store.check_filters(extras(self.pipeline.policy.after).filters)
        self._close_client = options.get("close_client", False)
        self._search_options = frozenset(search_options.__annotations__)
        self._warn_of_language()

    def _warn_of_language(self) -> None:
        """Warn if the texts are in a language that the models do not read."""
        language, chain = self.store.language, self.pipeline.chain
        if language in (None, "english"):
            return
        embedder = None if self.defaults.mode == "bm25" else self.pipeline.embedder
        models = [embedder, *(() if chain is None else chain.rerankers)]
        names = [
            str(getattr(model, "name", type(model).__name__))
            for model in models
            if getattr(model, "english_only", False)
        ]
        if names:
            log.warning(
                "language is %s, but these models read English alone: %s. Name multilingual ones, "
                "such as embedder.model BAAI/bge-m3 and reranker.model BAAI/bge-reranker-v2-m3, or "
                "search in mode bm25 without a reranker",
                language,
                ", ".join(names),
            )

    def of_collection(self, name: str) -> Core[ResponseT]:
        """Return a core over another collection, with the same client and models."""
        core = copy(self)
        core.store = self.store.of_collection(name)
        core._close_client = False
        return core

    def candidates(self, response: ResponseT) -> Sequence[Candidate]:
        """Return the hits of a native response in the form shared by all databases."""
        return self.store.candidates(FirstPass(response), self.pipeline.text_fields)

    def search(self, query: str, options: CommonSearchOptions) -> Flow[ResponseT]:
        """Run a search; options that are missing or None come from the defaults."""
        check_names(options, self._search_options)
        given: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
        shape = {name: given[name] for name in _SHAPE if name in given}
        chosen = replace(self.defaults, **{"limit": None, **shape})
        policy = make_rerank(given.get("rerank", True), self.pipeline.policy)
        if policy is not None:
            self.store.check_filters(extras(policy.after).filters)
        explain = given.get("explain", False)
        is_bool("explain", explain)
        search = Search(
            query=query,
            k=chosen.k,
            limit=chosen.limit or min(self.defaults.limit or PAGE, chosen.k),
            offset=given.get("offset", 0),
            mode=available(chosen.mode, self.store.branches),
            depth=chosen.depth or chosen.k,
            fusion=chosen.fusion,
            payload=chosen.payload,
            instruction=chosen.instruction,
            query_vector=given.get("query_vector"),
            filter=given.get("filter"),
            native={name: given[name] for name in given if name not in _COMMON},
        )
        completed = yield from self.pipeline.search(
            self.store,
            search,
            policy=policy or self.pipeline.policy,
            rerank=policy is not None,
            explain=explain,
        )
        return deliver(completed, policy or self.pipeline.policy)

    def create(self) -> Flow[bool]:
        """Create the collection; the value is False if it exists already."""
        return self._converting_errors(self._create())

    def _create(self) -> Flow[bool]:
        dimension = yield from self._dimension()
        if dimension is None and self.defaults.mode != "bm25":
            raise ConfigurationError(
                "embedder",
                "is None, and creating a collection needs its dimension; set backend.dense_vector ="
                ' "none" (dense_vector="none") for a collection that is searched by BM25 alone',
            )
        return (yield from self.store.create(dimension, self.defaults.mode))

    def add(
        self,
        documents: Iterable[Document | Mapping[str, Any]],
        **options: Unpack[AddOptions],
    ) -> Flow[IngestReport]:
        """Add documents and make them visible to searches."""
        from vecdb_rerank.ingest.flow import ingest
        from vecdb_rerank.ingest.model import IngestOptions, check_documents

        check_names(options, AddOptions.__annotations__)
        check_documents(documents)
        rules: dict[str, Any] = {**options}
        writer = self.store.writer(self.defaults.mode, rules.pop("shard_key", None))
        pipeline = self.pipeline
        # An error of the source or the embedder is not the database's, so it stays as it is.
        report = yield from ingest(
            writer,
            documents,
            pipeline.embedder if "dense" in self.store.branches else None,
            pipeline.text_fields,
            IngestOptions(**rules),
        )
        yield from self._converting_errors(self.store.refresh())
        return report

    def warmup(self) -> Flow[None]:
        """Load the models of the embedder and the rerankers; send nothing to a service."""
        embedder, chain = self.pipeline.embedder, self.pipeline.chain
        if embedder is not None and not isinstance(embedder, FlowEmbedder):
            yield from compute(partial(embedder.embed_query, "warm up"))
        if chain is not None:
            yield from compute(chain.warmup)

    def check(self) -> Flow[list[Finding]]:
        """Check connection, schema and, if these are fine, the texts of some documents."""
        return self._converting_errors(self._check())

    def _check(self) -> Flow[list[Finding]]:
        mode = self.defaults.mode
        dimension = None if mode == "bm25" else (yield from self._dimension())
        findings = yield from self.store.check(dimension, mode, self.defaults.k)
        # An empty branch may be one because no document has text.
        if any(found.level == "error" and found.subject != "branches" for found in findings):
            return findings
        payloads = yield from self.store.sample(_SAMPLE)
        text_fields = self.pipeline.text_fields
        findings = [*findings, *_text_findings(payloads, text_fields)]
        if mode != "dense" and self.store.language is not None:
            texts = [text_fields.text(payload) for payload in payloads]
            findings += _language_findings(texts, self.store.language)
        return findings

    def self_retrieval(self) -> Flow[tuple[float, float] | None]:
        """Measure how well each branch finds stored documents; None if that cannot be measured."""
        if self.defaults.mode != "hybrid" or self.pipeline.embedder is None:
            return None
        measuring = self_retrieval(self.pipeline, self.store)
        return (yield from self._converting_errors(measuring))

    def delete(self) -> Flow[None]:
        """Delete the collection with all its documents."""
        return self._converting_errors(self.store.delete())

    def close(self) -> Flow[None]:
        """Close the connections of embedder and rerankers, and the client if ``close_client``."""
        yield from closing(self.pipeline.embedder)
        if self.pipeline.chain is not None:
            yield from self.pipeline.chain.closing()
        if self._close_client:
            yield from call(self.store.close)

    def _dimension(self) -> Flow[int | None]:
        embedder = self.pipeline.embedder
        if embedder is None:
            return None
        return (yield from compute(lambda: embedder.dimension))  # may have to load its model

    def _converting_errors(self, flow: Flow[T]) -> Flow[T]:
        """Run ``flow`` with the database client's errors raised as `DatabaseError`."""
        try:
            return (yield from flow)
        except VecdbRerankError:
            raise
        except Exception as error:
            raise DatabaseError(self.store.describe_error(error)) from error


def _language_findings(texts: Sequence[str], language: Language) -> list[Finding]:
    """Check whether the texts are in another language than BM25 reads them.

    Without the library that tells languages nothing is checked.
    """
    from vecdb_rerank.ingest.language import detect_language

    try:
        found = detect_language(texts)
    except MissingDependencyError:
        return []
    # Texts without spaces are searched by their characters in every language.
    if found is None or found in (language, *UNSPACED):
        return []
    detail = f"sampled documents are {found}, BM25 reads them as {language}"
    fix = misfit.read_as(found)
    return [Finding("language", "warning", detail, fix)]


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
    fields = ", ".join(dict.fromkeys(str(name) for payload in empty for name in payload)) or "none"
    return [
        Finding(
            "text",
            level,
            f"{len(empty)} of {len(payloads)} sampled documents have no text in {names}; "
            f"their fields: {fields}",
            "name the fields that hold the text in text_fields.fields",
        )
    ]
