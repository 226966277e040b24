"""What becomes of a call once its client is wrapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vecdb_rerank.scan.values import OPEN, Made, Unknown

Verdict = Literal["reranked", "passed_through", "refused", "unclear"]
ADVICE = "give rerank_query="


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict and its reason; ``unclear`` where the code does not say it in one place.

    ``missing`` tells that the call passes through for want of one query text alone.
    """

    verdict: Verdict
    reason: str
    missing: bool = False


def reranked(reason: str) -> Ruling:
    """The hits are reranked."""
    return Ruling("reranked", reason)


def passed(reason: str) -> Ruling:
    """The request and its answer stay as they are."""
    return Ruling("passed_through", reason)


def refused(reason: str) -> Ruling:
    """The call raises an error."""
    return Ruling("refused", reason)


def unclear(reason: str) -> Ruling:
    """It is decided at run time."""
    return Ruling("unclear", reason)


def missing(why: str = "no query text in the request") -> Ruling:
    """There is nothing, or no one thing, to rerank by."""
    return Ruling("passed_through", f"{why}: {ADVICE}", missing=True)


def switched(arguments: Mapping[Any, Any]) -> Ruling | None:
    """What the drop-in's own arguments decide alone: ``rerank=False``, or one of a wrong type."""
    rerank, text = arguments.get("rerank"), arguments.get("rerank_query")
    if rerank is False:
        return passed("rerank=False")
    if not isinstance(rerank, bool | Unknown | Made | None):
        return refused("rerank: neither True, False nor a Policy")
    if not isinstance(text, str | Unknown | Made | None):
        return refused("rerank_query: no text")
    return None


def each(arguments: Mapping[Any, Any], count: int) -> list[dict[str, Any]] | Ruling:
    """The drop-in's own arguments for each request of a batch: one for all, or a list."""
    found: list[dict[str, Any]] = [{} for _ in range(count)]
    for name in ("rerank", "rerank_query"):
        value = arguments.get(name)
        if isinstance(value, list) and len(value) != count:
            return refused(f"{name}: {len(value)} for {count} requests")
        for n, own in enumerate(found):
            own[name] = value[n] if isinstance(value, list) else value
    return found


def has_query(arguments: Mapping[Any, Any]) -> bool:
    """Whether the call brings its text with ``rerank_query=``."""
    return arguments.get("rerank_query") is not None


def by_texts(texts: Sequence[Any], where: str) -> Ruling:
    """The ruling on a request in which these query texts were found."""
    distinct = list(dict.fromkeys(map(repr, texts)))
    if len(distinct) > 1:
        return missing(f"{len(distinct)} different query texts in the request")
    return reranked(f"by the text in {where}") if distinct else missing()


def bound(names: Sequence[str], positional: Sequence[Any], named: Mapping[Any, Any]) -> Any:
    """Arguments by the name of their parameter."""
    return {**dict(zip(names, positional, strict=False)), **named}


def undecided(value: Any, what: str) -> Ruling:
    """The ruling on a request whose decisive part is not seen."""
    shown = value.source if isinstance(value, Unknown) else "**"
    if len(shown) > 40:
        shown = f"{shown[:39]}…"
    return unclear(f"{what} ({shown}) is decided at run time; without a text: {ADVICE}")


def hides(arguments: Mapping[Any, Any], value: Any) -> bool:
    """Whether ``value`` is missing from arguments that may hold more than is seen."""
    return value is None and OPEN in arguments
