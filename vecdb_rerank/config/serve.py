"""The settings of ``vecdb-rerank serve`` but for its models: address, keys and limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from vecdb_rerank.config.origins import normal as normal_origin
from vecdb_rerank.config.section import Section
from vecdb_rerank.config.serve_mcp import McpSettings
from vecdb_rerank.config.serve_process import ProcessSettings
from vecdb_rerank.request import MAX_K


def _strong(key: SecretStr) -> SecretStr:
    text = key.get_secret_value()
    if len(text) < 16 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be at least 16 printable ASCII characters without spaces")
    return key


class KeySettings(Section):
    """A key of the service, and what its holder may use."""

    key: Annotated[SecretStr, AfterValidator(_strong)]
    """The key that a caller sends as ``Authorization: Bearer KEY``; at least 16 characters."""
    name: str = Field("", max_length=64)
    """What logs call the caller; by default ``key-N``, by its place in the list."""
    models: tuple[str, ...] = ()
    """The names of the models that it may use; by default all. Requests without a name use the
    default model if it is listed, else the first one."""
    collection: str | None = Field(None, min_length=1)
    """The collection that it searches instead of ``backend.collection``."""
    filter: dict[str, object] | None = None
    """A filter, in the database's own JSON, that all its searches must match as well."""
    rate: float | None = Field(None, gt=0)
    """Requests per second, with bursts of up to a second's worth; by default unlimited."""


def _key(given: object) -> object:
    return {"key": given} if isinstance(given, str) else given


def _keys(given: object) -> object:
    return [_key(one) for one in given] if isinstance(given, list | tuple) else given


Keys = Annotated[tuple[KeySettings, ...], BeforeValidator(_keys)]


def _prefix(given: str) -> str:
    path = given.rstrip("/")
    if path and (not path.startswith("/") or not path.isascii() or "//" in path):
        raise ValueError("must be a path, such as /rerank-service")
    return path


class ServerSettings(ProcessSettings):
    """The service of ``vecdb-rerank serve``."""

    host: str = Field("127.0.0.1", min_length=1)
    """The address to listen on. Any but loopback needs keys."""
    port: int = Field(8000, ge=0, le=65_535)
    """The port to listen on; 0 chooses a free one."""
    url_prefix: Annotated[str, AfterValidator(_prefix)] = ""
    """A path before all routes, such as ``/search``."""
    document: Literal["object", "string"] = "object"
    """How a returned document is written: ``{"text": …}``, or the text alone for Infinity's
    clients."""
    keys: Keys = ()
    """The keys of callers; a string in the list is a key with all rights."""
    keys_file: Path | None = None
    """A TOML file of ``[[keys]]``, read again when it changes."""
    anonymous: bool = False
    """Serve without keys on an address other than loopback."""
    hosts: tuple[str, ...] = ()
    """Names by which callers may address the service (``Host``); ``*`` is any. By default any if
    there are keys, else ``host`` and the names of loopback."""
    origins: tuple[Annotated[str, AfterValidator(normal_origin)], ...] = ()
    """Origins of web pages that may call the service, beside its own: ``SCHEME://HOST`` or
    ``SCHEME://HOST:PORT``, without wildcards."""
    max_deadline: float = Field(60.0, gt=0)
    """Seconds that a caller may ask for; without a header, ``policy.deadline`` holds."""
    running: int = Field(64, ge=1)
    """Requests that are worked on at once."""
    queue: int = Field(256, ge=0)
    """Requests that wait for their turn; further ones are refused with 429."""
    max_body_bytes: int = Field(16 * 1024 * 1024, ge=1)
    """Bytes of a request's body, decompressed."""
    max_documents: int = Field(10_000, ge=1)
    """Documents in one request."""
    max_k: int = Field(200, ge=1, le=MAX_K)
    """The highest ``k`` and ``limit`` that a search may ask for."""
    mcp: McpSettings = Field(default_factory=McpSettings)
    """The tools for agents, at ``/mcp``."""


def checked_keys(given: Mapping[str, object]) -> tuple[KeySettings, ...]:
    """Return the keys of a parsed ``keys_file``; raise pydantic's `ValidationError`."""
    return _KeysFile.model_validate(given).keys


class _KeysFile(Section):
    keys: Keys = ()
