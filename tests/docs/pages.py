"""The pages and their code blocks; sybil finds the blocks.

The blocks of a page share a namespace and a folder, as if a reader typed them one after another. A
block in a language without a check is an error, so that no block is skipped silently.
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
    """A sybil parser that checks every fenced block by its language."""

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
    """Return the language of the block's fence."""
    return str(example.parsed.lexemes["language"])


def source(example: Example) -> str:
    """Return the text of a block."""
    return str(example.parsed.lexemes["source"])


def title(example: Example) -> str | None:
    """Return the file name in the block's title."""
    found = _TITLE.search(example.parsed.lexemes["info"])
    return found["name"] if found else None


def name(page: Path) -> str:
    """Return the id of a page's test."""
    return page.relative_to(ROOT).with_suffix("").as_posix()
