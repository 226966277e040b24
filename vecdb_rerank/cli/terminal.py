"""Write untrusted text: nothing in a document, an id or a server's message may act on a terminal.

Without this, a stored text could set the clipboard (OSC 52), clear the screen, or show its letters
in another order (bidirectional overrides).
"""

from __future__ import annotations

import json
import logging
import os
import re
from typing import IO, Any

from rich.console import Console
from rich.text import Text

# Control characters except tab and line feed, line separators, bidirectional controls, annotation
# and tag characters, and lone surrogates, which cannot be encoded.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
# Columns if the output is not a terminal: tables in a pipe or a file keep their values whole.
UNBOUNDED = 10_000


def printable(text: str) -> str:
    r"""Return ``text`` with characters that act on a terminal as escapes, such as ``\x1b``."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def as_json(value: object) -> str:
    """Return ``value`` as JSON in which characters that act on a terminal are escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return _UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text)


class SafeConsole(Console):
    """A console that makes every string `printable`: lines, table cells, titles.

    It is as wide as its terminal or ``COLUMNS``; without either it cuts nothing.
    """

    def __init__(
        self, stream: IO[str] | None = None, *, stderr: bool = False, width: int | None = None
    ) -> None:
        bounded = (stream is not None and stream.isatty()) or "COLUMNS" in os.environ
        if width is None and not bounded:
            width = UNBOUNDED
        super().__init__(width=width, stderr=stderr, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a string; rich passes every string that it prints through this method."""
        return super().render_str(printable(text), **options)

    def print_line(self, text: str, style: str = "") -> None:
        """Print ``text`` on one line, without markup or highlighting."""
        self.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


class SafeFormatter(logging.Formatter):
    """A formatter that makes log records `printable`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of ``record``."""
        return printable(super().format(record))
