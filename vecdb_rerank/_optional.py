"""Importing optional libraries: missing ones name their extra, broken ones keep their traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from vecdb_rerank.errors import MissingDependencyError


def require(module: str, extra: str) -> Any:
    """Import ``module``; `MissingDependencyError` names ``extra`` when it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise MissingDependencyError.for_extra(error.name, extra) from error


def require_installed(library: str, extra: str) -> None:
    """`MissingDependencyError` names ``extra`` where ``library`` is not installed.

    Imports nothing: for libraries that take seconds and are used later.
    """
    if find_spec(library) is None:
        raise MissingDependencyError.for_extra(library, extra)


@contextmanager
def importing(library: str, extra: str) -> Iterator[None]:
    """A block of imports: `MissingDependencyError` names ``extra`` where ``library`` is missing.

    For modules that cannot be without the library; `require` is for functions.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != library:
            raise
        raise MissingDependencyError.for_extra(library, extra) from error


def missing(error: ModuleNotFoundError, name: str) -> MissingDependencyError | None:
    """The error that names the extra of what is called ``name`` here; None where it is another's.

    Our own import their client library at the top; others' errors stay as they are.
    """
    libraries = {
        "qdrant": ("qdrant_client",),
        "opensearch": ("opensearchpy",),
        "http": ("httpx", "httpcore"),
        "cohere": ("httpx", "httpcore", "cohere"),
    }
    root = (error.name or "").partition(".")[0]
    if root in libraries.get(name, ()):
        return MissingDependencyError.for_extra(root, name)
    return None
