"""What every client gets, and how it says what it received."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

URL, KEY, _file, INFINITY_URL = sys.argv[1:]
_question = json.loads(Path(_file).read_bytes())
QUERY: str = _question["query"]
DOCUMENTS: list[str] = _question["documents"]


def ranked(package: str, call: str, results: Iterable[tuple[int, float]]) -> None:
    """Report results, best first: the place of a document in the request, and its score."""
    _report(package, call, ranked=list(results))


def by_text(package: str, call: str, results: Iterable[tuple[str, float | None]]) -> None:
    """Report results of a client that returns documents instead of places."""
    ranked(package, call, [(DOCUMENTS.index(text), score) for text, score in results])


def refused(package: str, call: str, status: int | None) -> None:
    """Report the status of an error that the client raised."""
    _report(package, call, status=status)


def _report(package: str, call: str, **found: object) -> None:
    print(json.dumps({"client": f"{package} {version(package)}", "call": call, **found}))
