"""The engines of this process, one for each spec; they are closed when the interpreter exits."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TypeAlias, TypeVar, cast

from vecdb_rerank.torch_engine.embedding import EmbeddingEngine
from vecdb_rerank.torch_engine.engine import LogitEngine
from vecdb_rerank.torch_engine.late_interaction import LateInteractionEngine
from vecdb_rerank.torch_engine.spec import EmbeddingSpec, Spec

AnyEngine: TypeAlias = LogitEngine | LateInteractionEngine
E = TypeVar("E", LogitEngine, LateInteractionEngine, EmbeddingEngine)
_engines: dict[Spec, AnyEngine | EmbeddingEngine] = {}
_lock = threading.Lock()


def get_engine(spec: Spec) -> AnyEngine:
    """Return the reranking engine for ``spec``, which loads its model on first use.

    A closed engine, or one whose model failed to load, is replaced.
    """
    if spec.encoder_only:
        return _get(spec, LateInteractionEngine)
    return _get(spec, LogitEngine)


def get_embedding_engine(spec: EmbeddingSpec) -> EmbeddingEngine:
    """Do the same for an embedding engine."""
    return _get(spec, EmbeddingEngine)


def _get(spec: Spec, kind: type[E]) -> E:
    with _lock:
        engine = _engines.get(spec)
        if engine is None or not engine.usable:
            engine = _engines[spec] = kind(spec)
        return cast("E", engine)  # the class of the spec decides


def shutdown() -> None:
    """Close all engines: finish the running batches and fail the calls that wait."""
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.close()


def _before_fork() -> None:
    _lock.acquire()
    for engine in _engines.values():
        engine.before_fork()


def _after_fork_in_parent() -> None:
    for engine in _engines.values():
        engine.after_fork_in_parent()
    _lock.release()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for engine in _engines.values():
        engine.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
atexit.register(shutdown)
