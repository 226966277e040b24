"""Refuse to load a model in a process that was forked while its parent was loading one.

A forked child has its parent's memory but none of its other threads. A module that such a thread
was importing stays half imported and locked, and importing it in the child hangs. The parent cannot
delay the fork until loading ends, because other fork hooks may hold locks that the import needs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vecdb_rerank.errors import RerankError

_loading_threads: list[int] = []
_forked_while_loading = False


@contextmanager
def loading() -> Iterator[None]:
    """Mark a block that imports model libraries and loads a model.

    Raises `RerankError` in a process that was forked while another thread was in such a block.
    """
    if _forked_while_loading:
        raise RerankError(
            "this process was forked while a model was being loaded and cannot load one: "
            "load the model before or after the fork"
        )
    thread = threading.get_ident()
    _loading_threads.append(thread)
    try:
        yield
    finally:
        _loading_threads.remove(thread)


def _after_fork_in_child() -> None:
    global _forked_while_loading
    thread = threading.get_ident()
    others = any(other != thread for other in _loading_threads)
    _forked_while_loading = _forked_while_loading or others


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
