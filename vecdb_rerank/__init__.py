"""Hybrid first pass, rerank, native results: for Qdrant and OpenSearch.

::

    import vecdb_rerank

    connector = vecdb_rerank.connect()
    response = connector.search("how do I undo the last commit?")

The public names are listed in ``__init__.pyi``, for type checkers too. Each is loaded on first
use, so importing this package loads no client or model library.
"""

from __future__ import annotations

import ast
from importlib import import_module
from typing import Any

_CONNECTORS = {
    name: package
    for package, names in {
        "vecdb_rerank_qdrant": "QdrantConnector RerankingQdrantClient",
        "vecdb_rerank_opensearch": "OpenSearchConnector RerankingOpenSearch",
    }.items()
    for plain in names.split()
    for name in (plain, f"Async{plain}")
}


def _read_stub() -> dict[str, str]:
    """Return the module of each public name."""
    stub = ast.parse(__loader__.get_data(f"{__file__}i"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


_MODULES = _read_stub()
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _CONNECTORS:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}; use: "
            f"from {_CONNECTORS[name]} import {name}"
        )
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(_MODULES[name])
    except ModuleNotFoundError as error:
        from vecdb_rerank._optional import missing

        if (known := missing(error, _MODULES[name].rpartition(".")[2])) is None:
            raise
        raise known from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return __all__
