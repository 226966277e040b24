"""Long work says how far it is, on a terminal and in a pipe."""

from __future__ import annotations

import io

import pytest

from vecdb_rerank.cli import common
from vecdb_rerank.cli.terminal import SafeConsole


def lines(
    monkeypatch: pytest.MonkeyPatch, seconds: float, total: int | None = 3, what: str = "indexing"
) -> list[str]:
    """What three steps of work write to a standard error that is not a terminal."""
    stream = io.StringIO()
    console = SafeConsole()
    console.file = stream
    monkeypatch.setattr(common, "err", console)
    monkeypatch.setattr(common, "LINE_SECONDS", seconds)
    with common.progress() as shown:
        bars = common.Bars(shown)
        for done in range(1, 4):
            bars(what, done, total)
    return stream.getvalue().splitlines()


def test_a_pipe_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_, last = lines(monkeypatch, 0)
    assert first == "indexing: 1 of 3"
    assert last.startswith("indexing: 3 of 3, ")
    assert "/s, " in last
    assert "left" in last


def test_a_total_may_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, _ = lines(monkeypatch, 0, None)
    assert first == "indexing: 1"
    assert "/s" in second
    assert "left" not in second


def test_more_than_an_estimate_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(monkeypatch, 0, 2)[-1].startswith("indexing: 3 of 3")


def test_short_work_writes_nothing_to_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(monkeypatch, 60) == []


def test_names_of_work_do_not_act_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in "".join(lines(monkeypatch, 0, what="a\x1b[2J"))
