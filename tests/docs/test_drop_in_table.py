"""The table of the drop-in clients names a test for each of its rows."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
TABLE = (TESTS.parent / "docs" / "drop_in.md").read_text()
KNOWN = {
    name
    for path in TESTS.rglob("test_*.py")
    for name in [path.name, *re.findall(r"def (test_\w+)", path.read_text())]
}


def test_every_test_of_the_table_is_there() -> None:
    named = re.findall(r"`(test_\w+(?:\.py)?)`", TABLE)
    assert len(named) > 20
    assert [name for name in named if name not in KNOWN] == []
