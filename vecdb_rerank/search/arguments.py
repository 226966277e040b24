"""The keyword options of connectors and their searches, and what they stand for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypedDict, cast

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import AnyReranker, Embedder, Vector
from vecdb_rerank.request import Fusion, Mode, Payload, SearchDefaults
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search.delegate import Delegate
from vecdb_rerank.search.store import ShardKey
from vecdb_rerank.text_fields import TextFields

Bundled = Literal["bundled"]
# One reranker, or several in order: the next one is called if one fails. None is no reranker.
Rerankers = AnyReranker | Sequence[AnyReranker] | Bundled | None
Rerank = bool | Policy


class ConnectorOptions(TypedDict, total=False):
    """What the connectors of all databases take."""

    reranker: Rerankers
    embedder: Embedder | Bundled | None
    text_fields: TextFields | None
    policy: Policy | None
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
    payload: Payload | None
    rerank: Rerank
    explain: bool


class SearchOptions(CommonSearchOptions, total=False):
    """What a search of any connector takes; ``filter`` is in the database's own terms."""

    filter: Any


def check_names(given: Mapping[str, object], known: Collection[str]) -> None:
    """Raise `ConfigurationError` for an option that does not exist."""
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
            raise ConfigurationError(name, f"unknown option; {hint}")


def check_type(key: str, value: object, *kinds: type) -> None:
    """Raise `ConfigurationError` unless ``value`` is None or one of ``kinds``."""
    if value is not None and not isinstance(value, kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise ConfigurationError(key, f"must be a {expected}, got {value!r}")


def check_client(client: object, native: type, other: type, instead: str) -> None:
    """Raise `ConfigurationError` unless ``client`` is a ``native`` one that does not rerank.

    ``other`` is the native class for synchronous code if ``native`` is for asynchronous code, and
    the other way round; it belongs into the class named ``instead``.
    """
    given = type(client).__name__
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
        raise ConfigurationError("client", f"must be {native.__name__}, got {given}")


def make_chain(rerankers: Rerankers) -> Chain | None:
    """Return the chain that a ``reranker`` argument stands for."""
    if rerankers is None:
        return None
    if rerankers == "bundled":
        from vecdb_rerank.rerankers.onnx import OnnxReranker

        return Chain([OnnxReranker()])
    if isinstance(rerankers, str):
        raise ConfigurationError(
            "reranker", f"must be 'bundled', None, a reranker or several, got {rerankers!r}"
        )
    if isinstance(rerankers, Sequence):
        return Chain(cast("Sequence[AnyReranker]", rerankers))
    return Chain([rerankers])


def make_embedder(embedder: Embedder | Bundled) -> Embedder:
    """Return the embedder that an ``embedder`` argument stands for."""
    if embedder == "bundled":
        from vecdb_rerank.embedders.onnx import OnnxEmbedder

        return OnnxEmbedder()
    if isinstance(embedder, str):
        raise ConfigurationError(
            "embedder", f"must be 'bundled', None or an embedder, got {embedder!r}"
        )
    return embedder
