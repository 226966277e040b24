"""Threads take the place of processes: each opens the lock files itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.parallel import shared, turn


class Server:
    def __init__(self) -> None:
        self.starts = 0
        self.runs = False

    @contextmanager
    def __call__(self) -> Iterator[list[int]]:
        assert not self.runs
        self.starts, self.runs = self.starts + 1, True
        yield [self.starts]
        self.runs = False


def use(folder: Path, server: Server) -> list[int]:
    with shared(folder, "server", server) as value:
        return list(value)


@pytest.mark.parametrize("longest", ["the one that started it", "another"])
def test_a_server_starts_once_and_stops_when_all_have_left(tmp_path: Path, longest: str) -> None:
    server, started, leave = Server(), threading.Event(), threading.Event()
    both = threading.Barrier(2, timeout=10)

    def start_it() -> None:
        with shared(tmp_path, "server", server):
            started.set()
            both.wait()
            if longest == "the one that started it":
                assert leave.wait(10)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(start_it)
        assert started.wait(10)
        with shared(tmp_path, "server", server) as value:
            both.wait()
            assert value == [1]
            assert server.runs
        leave.set()
        first.result(10)
    assert not server.runs
    assert use(tmp_path, server) == [2]


def test_a_server_that_does_not_start_is_tried_by_the_next(tmp_path: Path) -> None:
    @contextmanager
    def broken() -> Iterator[None]:
        raise OSError("no server")
        yield

    for _ in range(2):
        with pytest.raises(OSError, match="no server"), shared(tmp_path, "server", broken):
            pass
    assert use(tmp_path, Server()) == [1]


def test_one_alone_waits_for_all(tmp_path: Path) -> None:
    order: list[str] = []

    def take(name: str, *, alone: bool) -> None:
        with turn(tmp_path, alone=alone):
            order.append(name)

    with ThreadPoolExecutor() as pool:
        with turn(tmp_path, alone=False):
            take("beside", alone=False)
            waiting = pool.submit(take, "alone", alone=True)
            with pytest.raises(TimeoutError):
                waiting.result(0.05)
        waiting.result(10)
    assert order == ["beside", "alone"]
