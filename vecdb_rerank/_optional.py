"""Import optional libraries: an error for a missing one names its extra.

An installed but broken library keeps its own traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from vecdb_rerank.errors import MissingDependencyError

# Components of the extra `http` that have names of their own.
_OVER_HTTP = {"llm", "openai", "tei", "voyage", "jina"}


def require(module: str, extra: str) -> Any:
    """Return the imported ``module``; `MissingDependencyError` names ``extra`` if it is missing."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise MissingDependencyError.for_extra(error.name, extra) from error


def require_installed(library: str, extra: str) -> None:
    """Raise `MissingDependencyError` that names ``extra`` if ``library`` is not installed.

    Does not import it: some libraries take seconds and are used later.
    """
    if find_spec(library) is None:
        raise MissingDependencyError.for_extra(library, extra)


@contextmanager
def importing(library: str, extra: str) -> Iterator[None]:
    """Raise `MissingDependencyError` that names ``extra`` if the block cannot import ``library``.

    For modules that import the library at their top; `require` is for functions.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != library:
            raise
        raise MissingDependencyError.for_extra(library, extra) from error


def missing(error: ModuleNotFoundError, name: str) -> MissingDependencyError | None:
    """Return the error that names the extra of the component ``name``; None for other libraries.

    This package's components import their client library at the top of their module. Errors of
    other packages' components stay as they are.
    """
    libraries = {
        "qdrant": ("qdrant_client",),
        "opensearch": ("opensearchpy",),
        "http": ("httpx", "httpcore"),
        "cohere": ("httpx", "httpcore", "cohere"),
    }
    extra = "http" if name in _OVER_HTTP else name
    root = (error.name or "").partition(".")[0]
    if root in libraries.get(extra, ()):
        return MissingDependencyError.for_extra(root, extra)
    return None
