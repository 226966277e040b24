"""The table of docs/drop_in.md that lists how a wrapped call may differ from the raw one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

DOCS = Path(__file__).parents[2] / "docs" / "drop_in.md"
# Every call that is reranked has these; the tests compare all else.
ALWAYS = {"scores"}


def documented(database: Literal["Qdrant", "OpenSearch"]) -> set[str]:
    """The exceptions of one database."""
    table = DOCS.read_text(encoding="utf-8").partition("| exception | database |")[2]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.MULTILINE)
    assert rows
    return {name for name, which in rows if which in ("both", database)} - ALWAYS
