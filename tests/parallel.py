"""What the processes of one test run (``pytest -n 2``) share: servers, and turns on the machine."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def locked(path: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold a lock between processes: alone, or ``LOCK_SH`` beside others that share it."""
    with path.open("a") as file:
        fcntl.flock(file, how)
        try:
            yield
        finally:  # closing is not enough where a forked process has the file too
            fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Run beside the turns of other processes, or ``alone``."""
    how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with ExitStack() as mine:
        with locked(folder / "turn.next"):  # nobody overtakes one who waits to be alone
            mine.enter_context(locked(folder / "turn", how))
        yield


@contextmanager
def shared(
    folder: Path, name: str, start: Callable[[], AbstractContextManager[Any]]
) -> Iterator[Any]:
    """Yield the JSON value of ``start()``, which one process runs for all.

    The first that needs it starts it, and stops it when all have left.
    """
    value, door, users = (folder / f"{name}.{part}" for part in ("json", "door", "users"))

    def close() -> None:
        with locked(door), locked(users):
            value.unlink()

    with ExitStack() as mine:
        with locked(door):
            if not value.exists():
                value.write_text(json.dumps(mine.enter_context(start())))
                mine.callback(close)
            mine.enter_context(locked(users, fcntl.LOCK_SH))
        yield json.loads(value.read_text())
