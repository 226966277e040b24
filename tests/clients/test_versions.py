"""The documentation names the versions that ``make test-clients`` installs."""

from __future__ import annotations

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
ROW = re.compile(r"^\| (?:Python|TypeScript) `([^`]+)`[^|]*\| ([\d.]+) \|", re.M)


def installed() -> set[tuple[str, str]]:
    """Names and versions in all manifests."""
    found = set()
    for file in (*HERE.glob("python/*.txt"), HERE.parents[1] / "constraints.txt"):
        found |= set(re.findall(r"^([\w.-]+)==([\d.]+)", file.read_text(), re.M))
    for file in HERE.glob("*/package.json"):
        found |= set(json.loads(file.read_bytes())["dependencies"].items())
    return found


def test_documented_versions_are_those_of_the_manifests() -> None:
    documented = set(ROW.findall((HERE.parents[1] / "docs/server.md").read_text()))
    assert documented <= installed()
    assert len(documented) == 13
