"""The keyword options of connectors and their searches, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import getattr_static, signature
from typing import Any, Literal, TypedDict, cast

from vecdb_rerank import registry
from vecdb_rerank._checks import check_type, shown
from vecdb_rerank.embedders.function import FunctionEmbedder
from vecdb_rerank.errors import ConfigurationError, MissingDependencyError
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import AnyReranker, Embedder, Vector
from vecdb_rerank.request import Fusion, Mode, Payload, SearchDefaults
from vecdb_rerank.rerankers.function import as_reranker
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search.delegate import Delegate
from vecdb_rerank.search.store import ShardKey
from vecdb_rerank.text_fields import TextFields

EmbedFunction = Callable[[list[str]], Sequence[Vector]]
RerankFunction = Callable[..., Any]
# The name of an installed one, or "bundled".
OneReranker = AnyReranker | RerankFunction | str
# One reranker, or several in order: the next one is called if one fails. None is no reranker.
Rerankers = OneReranker | Sequence[OneReranker] | None
Embedders = Embedder | EmbedFunction | str | None
# A policy, or its fields, as in the table [policy] of the settings.
AnyPolicy = Policy | Mapping[str, Any]
Rerank = bool | AnyPolicy


class ConnectorOptions(TypedDict, total=False):
    """What the connectors of all databases take."""

    reranker: Rerankers
    embedder: Embedders
    text_fields: TextFields | None
    policy: AnyPolicy | None
    defaults: SearchDefaults | None
    close_client: bool


class AddOptions(TypedDict, total=False):
    """What adding documents takes."""

    batch_size: int
    batch_bytes: int
    shard_key: ShardKey | None
    give_up_after: float
    on_progress: Callable[[int], None] | None


class CommonSearchOptions(TypedDict, total=False):
    """What a search takes, whatever the database."""

    k: int | None
    limit: int | None
    offset: int
    mode: Mode | None
    query_vector: Vector | None
    depth: int | None
    fusion: Fusion | None
    instruction: str | None
    payload: Payload | None
    rerank: Rerank
    explain: bool


class SearchOptions(CommonSearchOptions, total=False):
    """What a search of any connector takes; ``filter`` is in the database's own terms."""

    filter: Any


def check_client(client: object, native: type, other: type, instead: str) -> None:
    """Raise `ConfigurationError` unless ``client`` is a ``native`` one that does not rerank.

    ``other`` is the native class for synchronous code if ``native`` is for asynchronous code, and
    the other way round; it belongs into the class named ``instead``.
    """
    given = shown(client)
    if isinstance(client, Delegate):
        raise ConfigurationError(
            "client",
            f"{given} reranks already; give the client that it wraps, or hits are reranked twice",
        )
    if isinstance(client, other):
        raise ConfigurationError(
            "client", f"must be {native.__name__}, got {given}; give it to {instead}"
        )
    if not isinstance(client, native):
        raise ConfigurationError(
            "client", f"must be {native.__name__}, such as {native.__name__}(url), got {given}"
        )


def make_policy(given: AnyPolicy | None) -> Policy:
    """Return the policy that a ``policy`` argument stands for."""
    if given is None:
        return Policy()
    if isinstance(given, Mapping):
        return Policy.of(given)
    check_type("policy", given, Policy)
    return given


def make_rerank(given: Rerank, default: Policy) -> Policy | None:
    """Return the policy of a search by its ``rerank`` argument; None if it is not reranked."""
    if isinstance(given, Policy | Mapping):
        return make_policy(given)
    if not isinstance(given, bool):
        raise ConfigurationError(
            "rerank", f"must be True, False, a Policy or its mapping, got {shown(given)}"
        )
    return default if given else None


def make_chain(rerankers: Rerankers) -> Chain | None:
    """Return the chain that a ``reranker`` argument stands for."""
    if rerankers is None or rerankers == "none":
        return None
    if isinstance(rerankers, str) or not isinstance(rerankers, Sequence):
        rerankers = [rerankers]
    return Chain([_reranker(given) for given in rerankers])


def make_embedder(embedder: Embedders) -> Embedder | None:
    """Return the embedder that an ``embedder`` argument stands for."""
    if embedder is None or embedder == "none":
        return None
    if isinstance(embedder, str):
        made: Embedder = _named("embedder", embedder)
        return made
    if isinstance(embedder, type):
        raise ConfigurationError("embedder", f"got {shown(embedder)}; create an object")
    if all(hasattr(embedder, name) for name in ("embed_query", "embed_documents")):
        # Asking whether it has a dimension may load a model.
        if getattr_static(embedder, "dimension", None) is None and not hasattr(
            embedder, "dimension"
        ):
            raise ConfigurationError(
                "embedder",
                f"{type(embedder).__name__} has no dimension; give FunctionEmbedder("
                "it.embed_documents, query=…) instead",
            )
        return cast("Embedder", embedder)
    if callable(embedder):
        return FunctionEmbedder(embedder)
    raise ConfigurationError(
        "embedder",
        "must be 'bundled', None, a function from texts to vectors, or an embedder with dimension, "
        f"embed_query(text) and embed_documents(texts); got {shown(embedder)}",
    )


def require_embedder(given: Embedders) -> Embedder:
    """Return the embedder that a required argument ``embedder`` stands for."""
    if (embedder := make_embedder(given)) is None:
        raise ConfigurationError("embedder", f"must be an embedder, got {shown(given)}")
    return embedder


def _reranker(given: AnyReranker | RerankFunction | str) -> AnyReranker:
    if given == "none":
        raise ConfigurationError("reranker", "'none' must not be in a list; give 'none' alone")
    return _named("reranker", given) if isinstance(given, str) else as_reranker(given)


def _named(key: Literal["reranker", "embedder"], name: str) -> Any:
    """Make what is installed under ``name``, with its defaults."""
    kind: registry.Kind = "rerankers" if key == "reranker" else "embedders"
    try:
        factory = registry.find(kind, "onnx" if name == "bundled" else name)
    except MissingDependencyError:
        raise
    except ConfigurationError as error:
        raise ConfigurationError(key, f"{error.problem}, bundled, or an object") from None
    try:
        signature(factory).bind()
    except TypeError as error:
        raise _needs_arguments(key, name, factory, error) from None
    try:
        return factory()
    except MissingDependencyError:
        raise
    except ConfigurationError as error:
        raise _needs_arguments(key, name, factory, error) from None


def _needs_arguments(key: str, name: str, factory: Any, error: Exception) -> ConfigurationError:
    why = f"{name!r} needs arguments ({error}); create {factory.__name__}(...)"
    return ConfigurationError(key, why)
