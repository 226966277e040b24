"""Whether this process was forked while a model was being loaded.

A forked child has its parent's memory, but none of its other threads. Modules that one of them was
importing stay half imported and locked there: who imports them hangs. The parent cannot wait with
forking until they are done either, since what else prepares for a fork may hold locks that an
import needs.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vecdb_rerank.errors import RerankError

_under_way: list[int] = []  # threads that load
_torn = False


@contextmanager
def loading() -> Iterator[None]:
    """A block that imports model libraries and loads a model.

    Raises `RerankError` in a process that was forked while another thread was in such a block.
    """
    if _torn:
        raise RerankError(
            "the process was forked while a model was being loaded, and cannot load one any more: "
            "load it before the fork, or after"
        )
    me = threading.get_ident()
    _under_way.append(me)
    try:
        yield
    finally:
        _under_way.remove(me)


def _after_fork_in_child() -> None:
    global _torn
    me = threading.get_ident()
    _torn = _torn or any(thread != me for thread in _under_way)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
