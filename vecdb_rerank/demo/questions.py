"""Questions to the demo's documents, with the entries that answer them.

They were written and judged by reading the docstrings, not from the results of a search.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources

__all__ = ["Question", "questions"]


@dataclass(frozen=True)
class Question:
    """What someone might ask, and the ids of the entries that help."""

    id: str
    text: str
    relevant: Mapping[str, int]
    """Grades by entry id: 2 for an answer, 1 for a further help. All others are 0."""


def questions() -> list[Question]:
    """The questions, in the order of the file that holds them."""
    return list(_read())


def _read() -> Iterator[Question]:
    file = resources.files(__package__).joinpath("questions.jsonl")
    for line in file.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        yield Question(fields["id"], fields["text"], fields["relevant"])
