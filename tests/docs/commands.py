"""Lines of a shell, checked as far as they can be: what they name is there, what is cheap runs."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import typer.main
from typer.testing import CliRunner

from tests.compose import Compose
from tests.docs.pages import ROOT
from tests.torch_engine import checkpoints
from vecdb_rerank.cli import app
from vecdb_rerank.config.loading import load

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
_ASSIGNMENT = re.compile(r"[A-Z_0-9]+=")
# These need a question answered by a model per document of a large corpus, or a server.
_PARSED_ONLY = {"demo", "doctor"}
# Judged so that every figure of an evaluation has something to count.
_TEXTS = {
    "d1": "git reset --soft HEAD~1 undoes the last commit and keeps the files",
    "d2": "git revert makes a new commit that undoes one that was pushed",
    "d3": "git branch -m renames a branch",
    "d4": "git stash puts changes aside",
}


def check_session(block: str) -> None:
    """Run the programs that a terminal shows after ``$``; they say what stands there."""
    for shown in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = shown.partition("\n")
        check(command)
        name, *arguments = shlex.split(command)
        assert name == "python", f"no check for a session with {name!r}"
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == output.strip()


def check(block: str) -> None:
    """Check every command of a block."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            command, words = words[:end], words[end + 1 :]
            environment = {}
            while command and _ASSIGNMENT.match(command[0]):
                key, _, value = command.pop(0).partition("=")
                environment[key] = value
            _one(command, environment)


def _one(command: list[str], environment: Mapping[str, str]) -> None:
    known = _COMMANDS.get(command[0])
    assert known is not None, f"no check for the command {command[0]!r}"
    with mock.patch.dict(os.environ, environment):
        known(command[1:])


def _ours(arguments: list[str]) -> None:
    """Parsed in any case; run where it needs no service and no key."""
    group: Any = typer.main.get_command(app)
    if not arguments or arguments[0].startswith("-"):
        _run(arguments)
        return
    name, *rest = arguments
    command = group.commands[name]
    context = command.make_context(name, list(rest))
    folder = context.params.get("folder")
    if folder is not None and not Path(folder).exists():
        _judged(Path(folder))
    if name == "scan":
        Path(rest[0]).mkdir(exist_ok=True)
    paid = load().settings.reranker.type in ("cohere", "http")
    file = context.params.get("file")
    served = context.params.get("backend") == "opensearch"
    if name in _PARSED_ONLY or paid or served or (file is not None and not Path(file).exists()):
        return
    if name == "search" and not Path(".vecdb_rerank").exists():
        return
    with _embedded():
        _run(arguments)


@contextmanager
def _embedded() -> Iterator[None]:
    """The settings of the page without its server: an embedded Qdrant in its folder."""
    if load().settings.backend.type == "qdrant" and getattr(load().settings.backend, "url", None):
        aside = Path("vecdb_rerank.toml").rename("aside.toml")
        try:
            yield
        finally:
            aside.rename("vecdb_rerank.toml")
    else:
        yield


def _run(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output


def _judged(folder: Path) -> None:
    """A small collection in the layout that an evaluation reads."""
    folder.mkdir(parents=True)
    lines = [json.dumps({"_id": key, "title": "git", "text": text}) for key, text in _TEXTS.items()]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    queries = {"q1": "undo the last commit", "q2": "rename a branch"}
    asked = [json.dumps({"_id": key, "text": text}) for key, text in queries.items()]
    (folder / "queries.jsonl").write_text("\n".join(asked))
    judged = ["query-id\tcorpus-id\tscore", "q1\td1\t2", "q1\td2\t1", "q2\td3\t1"]
    (folder / "qrels.tsv").write_text("\n".join(judged))


def _make(arguments: list[str]) -> None:
    for target in arguments:
        assert "=" in target or target in _TARGETS, f"there is no target {target!r}"


def _pip(arguments: list[str]) -> None:
    assert arguments[0] == "install"
    for wanted in arguments[1:]:
        found = re.fullmatch(r"vecdb-rerank(?:\[([\w,-]+)\])?", wanted)
        assert found, f"{wanted!r} is not this package"
        for extra in (found[1] or "").split(","):
            assert not extra or extra in _PROJECT["optional-dependencies"]


def _docker(arguments: list[str]) -> None:
    profiles = {p for s in Compose.load({}).services.values() for p in s["profiles"]}
    for flag, value in itertools.pairwise(arguments):
        if flag == "-f":
            assert (ROOT / value).is_file()
        if flag == "--profile":
            assert value in profiles
    assert arguments[0] in ("compose", "build", "run")


def _python(arguments: list[str]) -> None:
    """A program or a module of this repository."""
    if arguments[0] == "-m":
        assert (ROOT / arguments[1].replace(".", "/")).with_suffix(".py").is_file()
    else:
        [program] = [word for word in arguments[:1] if word.endswith(".py")]
        assert list(ROOT.rglob(program)), f"there is no {program}"
        if program.endswith("train.py"):
            _train(program, *arguments[1:])


def _train(program: str, collection: str, base: str, *more: str) -> None:
    """Run it, on a small collection, from a small model with random weights."""
    _judged(Path(collection))
    checkpoints.bert(Path(base))
    command = [sys.executable, "-W", "error", str(ROOT / program), collection, base, *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def _pytest(arguments: list[str]) -> None:
    """Tests of this repository."""
    paths = [word for word in arguments if word.startswith("tests")]
    for path in paths:
        assert (ROOT / path.partition("::")[0]).exists(), f"there is no {path}"


def _nothing(_: list[str]) -> None:
    """Not ours: git, cd."""


_COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "vecdb-rerank": _ours,
    "make": _make,
    "pip": _pip,
    "docker": _docker,
    "python": _python,
    "pytest": _pytest,
    "git": _nothing,
    "cd": _nothing,
}
