"""Running the command in this process."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from vecdb_rerank.cli import common, main
from vecdb_rerank.cli.terminal import SafeConsole
from vecdb_rerank.config.loading import DEFAULT_FILE
from vecdb_rerank.config.settings import ENV_PREFIX

SECRET = "s3cr3t-that-nobody-may-see"
FILE = '[backend]\npath = "index"\n'


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder with a configuration, without the user's settings; tables are wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in list(os.environ):
        if name.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(name)
    Path(DEFAULT_FILE).write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(common, "out", SafeConsole(width=200))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run the command in this process, by the console script's own entry point."""

    def run(*arguments: str, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "argv", ["vecdb-rerank", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
            sys.exit(0)  # as the console script does
        code = ended.value.code
        return Ended(code if isinstance(code, int) else 0, *capfd.readouterr())

    return run


def assert_one_line(ended: Ended) -> str:
    """The error of a command that failed as it should."""
    assert ended.code == 1, ended
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert ended.err.endswith("\n")
    assert ended.out == ""
    assert SECRET not in ended.err
    return ended.err.removeprefix("error: ").rstrip()
