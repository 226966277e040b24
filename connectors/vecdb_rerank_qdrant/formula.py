"""Read the formula of a query: pure functions over JSON-shaped mappings.

A formula makes a point's score from those of the prefetches and from its payload:
https://qdrant.tech/documentation/concepts/hybrid-queries/#score-boosting
This module imports no client library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

# Where the operations keep the expressions they work on: in themselves, or under these names.
_OPERATIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("sum", "mult", "max", "min"), ()),
    **dict.fromkeys(("neg", "abs", "sqrt", "exp", "log10", "ln", "acosh"), ()),
    "div": ("left", "right"),
    "pow": ("base", "exponent"),
    **dict.fromkeys(("lin_decay", "exp_decay", "gauss_decay"), ("x", "target")),
    "geo_distance": ("to",),
    "datetime_key": (),
}
# The parts of a filter, and what its conditions keep their key in.
_FILTER = ("must", "should", "must_not", "min_should")
_KEYS = ("is_empty", "is_null", "nested")
# A score on its own, or that of one of several prefetches.
_SCORE = re.compile(r"\$score(?:\[0*(\d+)\])?")
# The first key of a path into a payload.
_HEAD = re.compile(r'"([^"]*)"|([^.\[]+)')


def weighs_scores(formula: object) -> bool:
    """Check whether a formula is a sum of scores, each times a weight of at least 0.

    Such a formula is a fusion like any other.
    """
    if isinstance(formula, Mapping):
        parts = [formula.get(name) for name in ("sum", "mult") if formula.get(name) is not None]
        return bool(parts) and all(
            isinstance(part, list | tuple) and all(map(weighs_scores, part)) for part in parts
        )
    if isinstance(formula, str):
        return formula.startswith("$score")
    return isinstance(formula, int | float) and formula >= 0


def obstacle(formula: object) -> str | None:
    """Return why a formula over one prefetch cannot be evaluated for other scores."""
    scores = set()
    for kind, name in _parts(formula):
        if kind == "unknown":
            return f"formula: {name} cannot be evaluated from the payload"
        if kind == "score":
            scores.add(name)
    if not scores:
        return "formula: it holds no $score"
    others = sorted(scores - {"0"})
    return f"formula: it holds $score[{others[0]}], but there is one prefetch" if others else None


def holds_score(formula: object) -> bool:
    """Check whether a formula, or a part of one, reads a score."""
    return any(kind == "score" for kind, _ in _parts(formula))


def payload_keys(formula: object) -> tuple[str, ...]:
    """Return the keys of a payload that a formula reads, each once."""
    keys = (name for kind, name in _parts(formula) if kind == "path")
    return tuple(dict.fromkeys(filter(None, map(_head, keys))))


def _head(path: str) -> str:
    found = _HEAD.match(path)
    return (found[1] or found[2]) if found else ""


def _parts(formula: object) -> Iterator[tuple[str, str]]:
    """Yield what a formula reads: a ``score`` by number, a ``path``, or something ``unknown``."""
    if isinstance(formula, str):
        score = _SCORE.fullmatch(formula)
        yield ("path", formula) if score is None else ("score", score[1] or "0")
    elif not isinstance(formula, Mapping):
        if not isinstance(formula, int | float):
            yield "unknown", type(formula).__name__
    elif (name := next((n for n in _OPERATIONS if n in formula), None)) is not None:
        for operand in _operands(formula[name], _OPERATIONS[name]):
            yield from _parts(operand)
    elif "datetime" not in formula:  # a constant
        yield from _condition(formula)


def _operands(value: object, names: Sequence[str]) -> Sequence[object]:
    if names and isinstance(value, Mapping):
        return [value[name] for name in names if value.get(name) is not None]
    return value if isinstance(value, list | tuple) else [value]


def _condition(condition: object) -> Iterator[tuple[str, str]]:
    """Yield what a condition or filter reads; a formula counts it as 1 or 0."""
    if isinstance(condition, list | tuple):
        for one in condition:
            yield from _condition(one)
    elif not isinstance(condition, Mapping):
        yield "unknown", type(condition).__name__
    elif "key" in condition:
        yield "path", str(condition["key"])
    elif any(name in condition for name in _FILTER):
        for name in _FILTER:
            part = condition.get(name)
            if name == "min_should" and isinstance(part, Mapping):
                part = part.get("conditions")
            yield from _condition(part or ())
    elif (held := next((n for n in _KEYS if n in condition), None)) is not None:
        yield from _condition(condition[held])
    elif "has_id" not in condition:
        yield "unknown", ", ".join(condition) or "an empty condition"
