"""The demo's documents: a developer's handbook in short passages, with judged questions.

Passages, questions and judgments were written by reading, not from the results of a search.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["paraphrase", "negation", "exact", "structured", "vague", "nothing"]
_DATA = resources.files(__package__).joinpath("data")


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of 40 to 120 words about one thing."""

    id: str
    topic: str
    title: str
    text: str

    def document(self) -> dict[str, str]:
        """Return the document to index."""
        return {"_id": self.id, "topic": self.topic, "title": self.title, "text": self.text}


@dataclass(frozen=True, slots=True)
class Question:
    """What someone might ask.

    ``relevant`` holds grades by passage id: 2 if it answers the question, 1 if it helps. Questions
    of the kind ``nothing`` have none. Nothing is chosen or shown by those that are ``held_out``.
    """

    id: str
    text: str
    kind: Kind
    relevant: Mapping[str, int]
    held_out: bool


@cache
def passages() -> tuple[Passage, ...]:
    """Return all passages."""
    return tuple(
        Passage(line["_id"], line["topic"], line["title"], line["text"])
        for line in _lines("passages.jsonl")
    )


@cache
def questions() -> tuple[Question, ...]:
    """Return all questions, those without an answer and those held out included."""
    return tuple(Question(**line) for line in _lines("questions.jsonl"))


def answered(*, held_out: bool) -> list[Question]:
    """Return the questions that a passage answers, of the held-out third or of the others."""
    return [q for q in questions() if q.relevant and q.held_out == held_out]


def vectors() -> NDArray[np.float16]:
    """Return the passages' vectors by the bundled embedder, shape (passages, 384)."""
    with resources.as_file(_DATA.joinpath("vectors.npy")) as file:
        found: NDArray[np.float16] = np.load(file)
    return found


def _lines(name: str) -> Iterator[dict[str, Any]]:
    for line in _DATA.joinpath(name).read_text(encoding="utf-8").splitlines():
        yield json.loads(line)
