"""Make a connector, and the rerankers and embedder in it, from settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, Unpack, overload

from pydantic import SecretStr

from vecdb_rerank import registry
from vecdb_rerank._checks import shown
from vecdb_rerank.config.loading import load
from vecdb_rerank.config.section import Section
from vecdb_rerank.config.settings import PluginSettings, Settings
from vecdb_rerank.errors import ConfigurationError, MissingDependencyError
from vecdb_rerank.protocols import Embedder, Reranker
from vecdb_rerank.search.arguments import ConnectorOptions
from vecdb_rerank.search.connector import AsyncConnector, Connector

T = TypeVar("T")
SyncT = TypeVar("SyncT", bound=Connector[Any])
AsyncT = TypeVar("AsyncT", bound=AsyncConnector[Any])


class FromSettings(Protocol):
    """What a connector's entry point is: it makes the connector and a client for it."""

    def __call__(
        self, settings: Any, *, use_async: bool = False, **options: Unpack[ConnectorOptions]
    ) -> Connector[Any] | AsyncConnector[Any]:
        """Return an asynchronous connector if ``use_async``, else a synchronous one."""
        ...


@overload
def connect(
    file: Path | str | None = ..., *, expect: None = ..., **settings: object
) -> Connector[Any]: ...
@overload
def connect(file: Path | str | None = ..., *, expect: type[SyncT], **settings: object) -> SyncT: ...
def connect(
    file: Path | str | None = None,
    *,
    expect: type[Connector[Any]] | None = None,
    **settings: object,
) -> Connector[Any]:
    """Make the configured connector and its synchronous client.

    Nothing is sent before the first call.

    Args:
        file: the settings file; by default ``vecdb_rerank.toml`` in the current folder.
        expect: the connector's class, such as `QdrantConnector`, for the exact type.
        settings: sections as nested mappings, such as ``backend={"type": "opensearch"}``; they
            override the file and the environment.

    Raises `ConfigurationError` if a setting is wrong or the connector is not the expected one.

    """
    return _expected(build(load(file, **settings).settings), expect)


@overload
def connect_async(
    file: Path | str | None = ..., *, expect: None = ..., **settings: object
) -> AsyncConnector[Any]: ...
@overload
def connect_async(
    file: Path | str | None = ..., *, expect: type[AsyncT], **settings: object
) -> AsyncT: ...
def connect_async(
    file: Path | str | None = None,
    *,
    expect: type[AsyncConnector[Any]] | None = None,
    **settings: object,
) -> AsyncConnector[Any]:
    """Make the configured connector and its asynchronous client, as `connect` does."""
    return _expected(build(load(file, **settings).settings, use_async=True), expect)


def _expected(connector: T, expect: type[T] | None) -> T:
    if expect is not None and not isinstance(expect, type):
        raise ConfigurationError("expect", f"must be a class of connectors, got {shown(expect)}")
    if expect is not None and not isinstance(connector, expect):
        raise ConfigurationError(
            "backend.type", f"expected {expect.__name__}, got {type(connector).__name__}"
        )
    return connector


@overload
def build(settings: Settings, *, use_async: Literal[False] = ...) -> Connector[Any]: ...
@overload
def build(settings: Settings, *, use_async: Literal[True]) -> AsyncConnector[Any]: ...
def build(settings: Settings, *, use_async: bool = False) -> Connector[Any] | AsyncConnector[Any]:
    """Make the connector that ``settings`` describe."""
    from_settings: FromSettings = registry.find("connectors", settings.backend.type)
    return from_settings(
        settings.backend,
        use_async=use_async,
        reranker=rerankers(settings) or None,
        embedder=embedder(settings),
        text_fields=settings.text_fields,
        policy=settings.policy,
        defaults=settings.search,
        close_client=True,  # nothing else holds the client
    )


def rerankers(settings: Settings) -> list[Reranker]:
    """Make the configured rerankers, best first; none for ``type = "none"``."""
    built: list[Reranker] = []
    for n, section in enumerate(settings.chain):
        with _at(f"rerankers.{n}" if settings.rerankers else "reranker"):
            one = component("rerankers", section)
        if one is not None:
            built.append(one)
    return built


def reranker(settings: Settings) -> Reranker | None:
    """Make the configured rerankers and return the first one, or None."""
    return next(iter(rerankers(settings)), None)


def embedder(settings: Settings) -> Embedder | None:
    """Make the configured embedder; None for ``type = "none"``."""
    with _at("embedder"):
        built: Embedder | None = component("embedders", settings.embedder)
    return built


def component(kind: registry.Kind, section: Section | PluginSettings) -> Any:
    """Make what one section, and the sections in it, describe; None for ``type = "none"``."""
    options = {key: _option(kind, key, value) for key, value in section}
    name = options.pop("type")
    return None if name == "none" else registry.find(kind, name)(**options)


def _option(kind: registry.Kind, key: str, value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {name: _option(kind, key, inner) for name, inner in value.items()}
    if isinstance(value, Section | PluginSettings):
        with _at(key):
            return component(kind, value)
    return value


@contextmanager
def _at(path: str) -> Iterator[None]:
    """Raise the errors of the block with the section that they are about."""
    try:
        yield
    except MissingDependencyError:
        raise
    except ConfigurationError as error:
        raise error.within(path) from error
