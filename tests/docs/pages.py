"""The pages and their blocks, as a reader would use them; sybil finds the blocks.

A page's blocks share a namespace and a folder, as if they were typed one after another. What is
fenced as a language that has no check here is an error, so that no block is left out in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sybil import Document, Region
from sybil.example import Example
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_INFO = re.compile(r"(?P<language>\w*)[ \t]*(?P<info>[^\n]*)\n")
_TITLE = re.compile(r'title="(?P<name>[^"]+)"')
Check = Callable[[Example], None]


class Blocks:
    """A sybil parser: every fenced block, to be checked by its language."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._lexer = RawFencedCodeBlockLexer(_INFO)

    def __call__(self, document: Document) -> Iterator[Region]:
        for region in self._lexer(document):
            language = region.lexemes["language"]
            check = self._checks.get(language)
            yield Region(region.start, region.end, region, check or _unknown)


def _unknown(example: Example) -> None:
    known = "python, toml, sh, console, json, text"
    raise AssertionError(f"no check for blocks of {language(example)!r}: name one of {known}")


def language(example: Example) -> str:
    """What the block is fenced as."""
    return str(example.parsed.lexemes["language"])


def source(example: Example) -> str:
    """The text of a block."""
    return str(example.parsed.lexemes["source"])


def title(example: Example) -> str | None:
    """The file that the block says it is."""
    found = _TITLE.search(example.parsed.lexemes["info"])
    return found["name"] if found else None


def name(page: Path) -> str:
    """A page as it is called in a test's id."""
    return page.relative_to(ROOT).with_suffix("").as_posix()
