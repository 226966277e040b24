"""The contributors' page of the drop-in clients names a test for each row of its tables."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "drop_in_tests.md").read_text()
KNOWN = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in [path.name, *re.findall(r"def (test_\w+)", path.read_text())]
}


def test_every_test_of_the_page_exists() -> None:
    named = re.findall(r"`(test_\w+(?:\.py)?)`", PAGE)
    assert len(named) > 20
    assert [name for name in named if name not in KNOWN] == []


def test_every_row_of_the_guide_for_qdrant_has_a_test() -> None:
    guide = (ROOT / "docs" / "drop_in.md").read_text()
    table = guide.partition("| call, field |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.+?) \| .+ \|$", table, re.MULTILINE)[1:]
    assert len(rows) > 20
    tested = re.findall(r"^\| (.+?) \| .*`test_", PAGE, re.MULTILINE)
    assert [row for row in rows if row not in tested and row != "**query_points**"] == []
