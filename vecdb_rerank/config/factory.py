"""From settings to a connector that is ready to search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from vecdb_rerank.config import registry
from vecdb_rerank.config.loading import load
from vecdb_rerank.config.settings import PluginSettings, Section, Settings
from vecdb_rerank.errors import ConfigurationError, MissingDependencyError
from vecdb_rerank.protocols import Embedder, Reranker


def connect(file: Path | str | None = None, **arguments: Any) -> Any:
    """The configured connector, with a synchronous client of its own.

    Settings come from ``file`` (default: ``vecdb_rerank.toml`` in this folder), the environment
    and ``arguments``, nested mappings such as ``backend={"type": "opensearch"}``. Raises
    `ConfigurationError` where a setting is wrong. Nothing is sent before the first search.
    """
    return build(load(file, **arguments).settings)


def connect_async(file: Path | str | None = None, **arguments: Any) -> Any:
    """Like `connect`, with an asynchronous client: every method of the connector is awaited."""
    return build(load(file, **arguments).settings, use_async=True)


def build(settings: Settings, *, use_async: bool = False) -> Any:
    """The connector that ``settings`` describe."""
    factory = registry.find("connectors", settings.backend.type)
    return factory(
        settings.backend,
        use_async=use_async,
        reranker=rerankers(settings) or None,
        embedder=embedder(settings),
        text_fields=settings.text_fields,
        policy=settings.policy,
        defaults=settings.search,
        close_client=True,  # nobody else has it
    )


def rerankers(settings: Settings) -> list[Reranker]:
    """The configured rerankers, best first; none for ``type = "none"``."""
    built: list[Reranker] = []
    for n, section in enumerate(settings.chain):
        with _at(f"rerankers.{n}") if settings.rerankers else nullcontext():
            one = component("rerankers", section)
        if one is not None:
            built.append(one)
    return built


def reranker(settings: Settings) -> Reranker | None:
    """The first of the configured rerankers; None where there is none."""
    return next(iter(rerankers(settings)), None)


def embedder(settings: Settings) -> Embedder | None:
    """The configured embedder; None for ``type = "none"``."""
    built: Embedder | None = component("embedders", settings.embedder)
    return built


def component(kind: registry.Kind, section: Section | PluginSettings) -> Any:
    """What one section describes, with those in it; None for ``type = "none"``."""
    options = {key: _option(kind, key, value) for key, value in section}
    name = options.pop("type")
    return None if name == "none" else registry.find(kind, name)(**options)


def _option(kind: registry.Kind, key: str, value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Section | PluginSettings):
        with _at(key):
            return component(kind, value)
    return value


@contextmanager
def _at(path: str) -> Iterator[None]:
    """An error of the block names the section it is about."""
    try:
        yield
    except MissingDependencyError:
        raise
    except ConfigurationError as error:
        raise error.within(path) from error
