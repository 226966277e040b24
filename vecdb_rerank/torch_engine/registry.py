"""The engines of this process, one for each spec; they are closed when the interpreter exits."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TypeAlias

from vecdb_rerank.torch_engine.engine import LogitEngine
from vecdb_rerank.torch_engine.late_interaction import LateInteractionEngine
from vecdb_rerank.torch_engine.spec import Spec

AnyEngine: TypeAlias = LogitEngine | LateInteractionEngine
_engines: dict[Spec, AnyEngine] = {}
_lock = threading.Lock()


def get_engine(spec: Spec) -> AnyEngine:
    """Return the engine for ``spec``, which loads its model on first use.

    A closed engine, or one whose model failed to load, is replaced.
    """
    with _lock:
        engine = _engines.get(spec)
        if engine is None or not engine.usable:
            kind = LateInteractionEngine if spec.encoder_only else LogitEngine
            engine = _engines[spec] = kind(spec)
        return engine


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
