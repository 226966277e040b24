"""Responses in a wire format: a score for each document, or an error that says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

from vecdb_rerank.errors import RerankError
from vecdb_rerank.http.server_messages import value_at
from vecdb_rerank.model import clip_relevance
from vecdb_rerank.rerankers.wire_format import Scale, WireFormat
from vecdb_rerank.rerankers.wire_request import ScoreRequest


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one request: a score for each document, and the units billed for it."""

    scores: list[float]
    billed: float


def reply(answer: object, request: ScoreRequest, wire: WireFormat) -> Reply:
    """Return the scores and billed units of a response; without a price, 0 units are billed.

    Raise `RerankError` unless each document has exactly one valid score.
    """
    found = scores(answer, len(request.documents), wire, request.scale)
    billed = at(answer, wire.usage) if wire.usage else None
    return Reply(found, float(billed) if _is_finite(billed) and billed >= 0 else 0.0)


def scores(answer: object, count: int, wire: WireFormat, scale: Scale) -> list[float]:
    """Return the scores of a response by document.

    Raise `RerankError` unless each of ``count`` documents has exactly one valid score.
    """
    found: dict[int, float] = {}
    for index, score in _results(answer, wire):
        if not 0 <= index < count:
            raise RerankError(f"the response has index {index} for {count} documents")
        if index in found:
            raise RerankError(f"the response has index {index} twice")
        found[index] = _on_scale(score, scale, wire.score or "score")
    if len(found) != count:
        raise RerankError(f"the response has {len(found)} scores for {count} documents")
    return [found[index] for index in range(count)]


def results(answer: object, wire: WireFormat) -> list[object]:
    """Return the list of results of a response; raise `RerankError` if there is none."""
    entries = at(answer, wire.results)
    if not isinstance(entries, list):
        raise RerankError(f"the response has no list of {wire.results or 'results'}")
    return entries


def has_results(answer: object, wire: WireFormat) -> bool:
    """Return whether a response has a list of results."""
    return isinstance(at(answer, wire.results), list)


def page(answer: object, earlier: list[object], wire: WireFormat) -> str | None:
    """Add the results of one page to ``earlier``; return the token of the next page, if any."""
    token = at(answer, wire.next_page) if wire.next_page else None
    found = results(answer, wire)
    earlier += found
    return token if isinstance(token, str) and token and found else None


def _results(answer: object, wire: WireFormat) -> Iterator[tuple[int, float]]:
    """Yield the index of the document and the score of each result."""
    for place, entry in enumerate(results(answer, wire)):
        index, score = _index(place, entry, wire), at(entry, wire.score)
        if not _is_finite(score):
            raise RerankError(f"a result of the response has no finite {wire.score or 'score'}")
        yield index, float(score)


def _index(place: int, entry: object, wire: WireFormat) -> int:
    """Return the index of the document that a result, the ``place``-th one, is about."""
    if wire.id is not None:
        given = at(entry, wire.id)
        text = str(given) if isinstance(given, str | int) and not isinstance(given, bool) else ""
        if text.isascii() and text.isdecimal() and len(text) < 10:
            return int(text)
        raise RerankError(f"a result of the response has no {wire.id} of this request")
    if wire.index is None:
        return place
    index = at(entry, wire.index)
    if not isinstance(index, int) or isinstance(index, bool):
        raise RerankError(f"a result of the response has no {wire.index}")
    return index


def at(body: object, place: str) -> object:
    """Return the value at a place such as ``output.results``; ``""`` is the whole."""
    return value_at(body, place.split(".")) if place else body


def _on_scale(score: float, scale: Scale, name: str) -> float:
    """Return ``score``, rounding errors clipped; raise `RerankError` if it is off the scale."""
    if scale == "logits":
        return score
    if (clipped := clip_relevance(score)) is not None:
        return clipped
    raise RerankError(
        f"the response has a {name} of {score:g}, which is not in 0 to 1 (set scale='logits' if "
        "the server answers with logits; percentages have to be divided by 100)"
    )


def _is_finite(value: object) -> TypeGuard[int | float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int with hundreds of digits
        return False
