"""Check shell commands: what they name must exist, and cheap commands run."""

from __future__ import annotations

import ast
import io
import itertools
import json
import os
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer.main
from typer.testing import CliRunner

from tests.compose import Compose
from tests.docs.pages import ROOT
from tests.torch_engine import checkpoints
from vecdb_rerank.cli.app import app
from vecdb_rerank.config.loading import load

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
_ASSIGNMENT = re.compile(r"[A-Z_0-9]+=")
# They take long, need a server, or delete what the user has.
_PARSED_ONLY = {"adopt", "cache", "demo", "doctor", "judgments", "mcp", "serve"}
# Options that name a collection or files of the reader's own.
_OF_THE_READER = ("collection", "qrels", "run")
# Short measurements are enough here; the last of two equal options counts.
_SHORTENED = {"bench": ["--seconds", "0", "--k", "2"]}
# The judgments below give every metric of an evaluation something to count.
_TEXTS = {
    "d1": "git reset --soft HEAD~1 undoes the last commit and keeps the files",
    "d2": "git revert makes a new commit that undoes one that was pushed",
    "d3": "git branch -m renames a branch",
    "d4": "git stash puts changes aside",
}


_NUMBER = re.compile(r"\d+\.\d+")


def check_session(block: str) -> None:
    """Run the programs shown after ``$`` and compare their output."""
    for shown in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = shown.partition("\n")
        check(command)
        name, *arguments = shlex.split(command)
        assert name == "python", f"no check for a session with {name!r}"
        printed = io.StringIO()
        with mock.patch.object(sys, "argv", arguments), redirect_stdout(printed):
            runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
        assert _words(printed.getvalue()) == [
            # Scores depend on the processor.
            pytest.approx(word, abs=0.02) if isinstance(word, float) else word
            for word in _words(output)
        ]


def _words(text: str) -> list[str | float]:
    return [float(word) if _NUMBER.fullmatch(word) else word for word in text.split()]


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
    """Parse a command of ours; run it if it needs no service and no key."""
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
    served = context.params.get("backend") == "opensearch"
    if any(context.params.get(each) for each in _OF_THE_READER):
        return
    missing = any(not file.exists() for file in _read(context.params))
    if name in _PARSED_ONLY or paid or served or missing:
        return
    if name == "search" and not Path(".vecdb_rerank").exists():
        return
    with _embedded():
        _run([*arguments, *_SHORTENED.get(name, [])])


def _read(parameters: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files that a command reads."""
    for name in ("files", "snapshots", "queries_file"):
        given = parameters.get(name) or ()
        yield from map(Path, given if isinstance(given, list | tuple) else (given,))


@contextmanager
def _embedded() -> Iterator[None]:
    """Replace the page's server by an embedded Qdrant in the page's folder."""
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
    """Write a small judged collection in the BEIR layout."""
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
    folders = arguments[1:3] if arguments[1] == "--find-links" else []
    for wanted in arguments[1 + len(folders) :]:
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
    """Check that a program or a module of this repository exists."""
    if arguments[0] == "-m":
        assert (ROOT / arguments[1].replace(".", "/")).with_suffix(".py").is_file()
    else:
        [program] = [word for word in arguments[:1] if word.endswith(".py")]
        assert list(ROOT.rglob(program)), f"there is no {program}"
        if program.endswith("train.py"):
            _train(program, *arguments[1:])


def _train(program: str, *arguments: str) -> None:
    """Check the arguments and write a model with random weights in place of a trained one.

    tests/integration/test_examples.py runs the program.
    """
    tree = ast.parse((ROOT / program).read_text())
    [main] = [f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == "main"]
    known = {f"--{argument.arg.replace('_', '-')}" for argument in main.args.args}
    given = {word for word in arguments if word.startswith("--")}
    assert given <= known, f"{program} does not take {given - known}"
    required = len(main.args.args) - len(main.args.defaults)
    assert len(arguments) - 2 * len(given) == required
    checkpoints.bert(Path(arguments[2]) / "model")


def _pytest(arguments: list[str]) -> None:
    """Check that the tests exist."""
    paths = [word for word in arguments if word.startswith("tests")]
    for path in paths:
        assert (ROOT / path.partition("::")[0]).exists(), f"there is no {path}"


def _nothing(_: list[str]) -> None:
    """Accept a command that is not ours."""


_COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "vecdb-rerank": _ours,
    "make": _make,
    "pip": _pip,
    "docker": _docker,
    "python": _python,
    "pytest": _pytest,
    "git": _nothing,
    "cd": _nothing,
    "curl": _nothing,
    "source": _nothing,
    "lint-imports": _nothing,
}
