"""Type checkers over a user's code, and over everything that the packages export."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_exports import EXPORTS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
USER = HERE / "user.py"
BASEDPYRIGHT = Path(sys.executable).with_name("basedpyright")
# A checker reads every library that is installed, which takes a while the first time.
pytestmark = pytest.mark.timeout(600)


def expected() -> set[int]:
    """Return the lines of `USER` that must be refused, from 1."""
    lines = USER.read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# expect error")}


def run(*command: str | Path) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def mypy() -> set[int]:
    # Strict, and with the project's own cache: see pyproject.toml.
    output = run(sys.executable, "-m", "mypy", "--no-pretty", USER)
    found = re.findall(rf"^{re.escape(str(USER.relative_to(ROOT)))}:(\d+): error", output, re.M)
    return {int(line) for line in found}


def basedpyright(*options: str | Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(
        run(BASEDPYRIGHT, "--pythonpath", sys.executable, "--outputjson", *options)
    )
    return report


def pyright() -> set[int]:
    report = basedpyright("--project", HERE)
    errors = [one for one in report["generalDiagnostics"] if one["severity"] == "error"]
    return {one["range"]["start"]["line"] + 1 for one in errors}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_wrong_calls_and_no_others_are_refused(checker: Any) -> None:
    assert checker() == expected()


@pytest.mark.parametrize(
    "package", ["vecdb_rerank", "vecdb_rerank_qdrant", "vecdb_rerank_opensearch"]
)
def test_every_export_has_a_complete_type(package: str) -> None:
    report = basedpyright("--verifytypes", package, "--ignoreexternal")
    public = tuple(
        start
        for module, names in EXPORTS.items()
        for name in names.split()
        for start in (f"{module}.{name}.", home(getattr(importlib.import_module(module), name)))
    )
    incomplete = {
        symbol["name"]: [one["message"] for one in symbol["diagnostics"]]
        for symbol in report["typeCompleteness"]["symbols"]
        if f"{symbol['name']}.".startswith(public)
        and not (symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"])
    }
    assert incomplete == {}


def home(value: Any) -> str:
    """Return where a public class or function is defined, as the checker calls it."""
    return f"{getattr(value, '__module__', '-')}.{getattr(value, '__qualname__', '-')}."
