"""What becomes of a call once its client is wrapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vecdb_rerank.scan.values import Open, Undecided, as_list, is_unknown, known_part
from vecdb_rerank.text_fields import TextFields

Verdict = Literal["reranked", "passed_through", "refused", "unclear"]
Arguments = Mapping[str, object]
ADVICE = "give rerank_query="


@dataclass(frozen=True, slots=True)
class Clients:
    """How the clients will be wrapped: the size of their window, and where their texts are."""

    k: int
    text_fields: TextFields


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict and its reason; ``unclear`` if it depends on run-time values.

    ``missing`` means that the call is passed through only because it lacks one query text.
    """

    verdict: Verdict
    reason: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What a request reader found; ``where`` its text is, and whether it ``is_past`` the window."""

    obstacle: str | None = None
    texts: Sequence[str] = ()
    where: str = ""
    is_past: bool = False


def passed(reason: str) -> Ruling:
    """Rule that the request and its answer stay as they are."""
    return Ruling("passed_through", reason)


def refused(reason: str) -> Ruling:
    """Rule that the call raises an error."""
    return Ruling("refused", reason)


def unclear(reason: str) -> Ruling:
    """Rule that it is decided at run time."""
    return Ruling("unclear", reason)


def undecided(source: str, *, has_query: bool = False) -> Ruling:
    """Rule that the value of an expression decides, which is not seen."""
    shown = source if len(source) <= 40 else f"{source[:39]}…"
    advice = "" if has_query else f"; without a text: {ADVICE}"
    return unclear(f"{shown} is decided at run time{advice}")


def ruling(arguments: Arguments, read: Callable[[], Reading], clients: Clients) -> Ruling:
    """Rule on one request, in the order in which a drop-in client decides."""
    try:
        if (wrong := _wrong(arguments)) is not None:
            return wrong
        if arguments.get("rerank") is False:
            return passed("rerank=False")
        return _by_reading(read(), has_query(arguments), clients)
    except Undecided as error:
        return undecided(error.source, has_query=has_query(arguments))


def _wrong(arguments: Arguments) -> Ruling | None:
    """Rule on the drop-in's own arguments, if one is of a wrong type."""
    rerank, text = arguments.get("rerank", True), arguments.get("rerank_query")
    instruction = arguments.get("instruction")
    if not isinstance(rerank, bool):
        return refused("rerank: expected True, False or a Policy")
    if not is_unknown(text) and not isinstance(text, str | None):
        return refused("rerank_query: expected a text")
    if not isinstance(instruction, str | None) and not is_unknown(instruction):
        return refused("instruction: expected a text")
    return None


def batch(
    arguments: Arguments, count: int, rule: Callable[[int, Arguments], Ruling]
) -> list[Ruling]:
    """Return ``rule(n, own)`` for each of ``count`` requests, or what is wrong with the call.

    ``own`` are the drop-in's own arguments for the request: one for all, or one of a list.
    """
    each: list[dict[str, object]] = [{} for _ in range(count)]
    try:
        for name in ("rerank", "rerank_query"):
            if name not in arguments:
                continue
            values = as_list(arguments[name])
            if values is None and (wrong := _wrong({name: arguments[name]})) is not None:
                return [wrong]
            if values is not None and len(values) != count:
                return [refused(f"{name}: {len(values)} values for {count} requests")]
            for n, own in enumerate(each):
                own[name] = arguments[name] if values is None else values[n]
    except Undecided as error:
        return [undecided(error.source)]
    found = [rule(n, own) for n, own in enumerate(each)]
    return next(([one] for one in found if one.verdict == "refused"), found)


def _by_reading(reading: Reading, is_given: bool, clients: Clients) -> Ruling:
    if reading.obstacle is not None:
        return passed(reading.obstacle)
    if not is_given and len(reading.texts) != 1:
        found = "no query text" if not reading.texts else "several query texts"
        return Ruling("passed_through", f"{found} in the request: {ADVICE}", missing=True)
    if reading.is_past:
        return passed(f"the page lies past the {clients.k} hits that are reranked")
    by = "rerank_query" if is_given else f"the text in {reading.where}"
    return Ruling("reranked", f"by {by}")


def has_query(arguments: Arguments) -> bool:
    """Check whether the call brings its text with ``rerank_query=``."""
    text = known_part(arguments).get("rerank_query")
    return is_unknown(text) or (isinstance(text, str) and bool(text.strip()))


def bound(names: Sequence[str], positional: Sequence[object], named: Arguments) -> Arguments:
    """Return the arguments by the name of their parameter."""
    known = {**dict(zip(names, positional, strict=False)), **known_part(named)}
    return Open(known) if isinstance(named, Open) else known


def without_unknown(arguments: Arguments, names: Sequence[str]) -> Arguments:
    """Return the arguments without numbers that are not literal: those are taken for ordinary."""
    known = known_part(arguments)
    kept = {n: v for n, v in known.items() if not (n in names and is_unknown(v))}
    return Open(kept) if isinstance(arguments, Open) else kept
