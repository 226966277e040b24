"""Draw what a command prints as an SVG picture."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vecdb_rerank.cli.terminal import SafeConsole

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = 90
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # they come from a remote server


def draw(lines: Sequence[RenderableType], title: str, file: Path) -> None:
    """Write ``lines`` to ``file`` as they look in a terminal; the picture loads no font."""
    console = SafeConsole(width=COLUMNS)
    console.file = io.StringIO()
    console.record = True
    console.print(*lines, sep="\n")
    picture = console.export_svg(title=title, unique_id="v")
    file.write_text(_FONTS.sub("", picture), encoding="utf-8")
