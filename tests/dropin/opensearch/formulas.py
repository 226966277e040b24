"""Composed queries, generated, each with what it says in Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from tests.dropin.opensearch.generated import filters, lexical

Source = Mapping[str, Any]
# The final score for a native score and a document; a `constant_score` is what it adds.
Value = Callable[[float, str, Source], float]
OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "multiply": lambda a, b: a * b,
    "sum": lambda a, b: a + b,
    "avg": lambda a, b: (a + b) / 2,
    "min": min,
    "max": max,
}
MODIFIERS: dict[str, Callable[[float], float]] = {
    "none": lambda x: x,
    "sqrt": math.sqrt,
    "log1p": lambda x: math.log10(x + 1),
    "square": lambda x: x * x,
}


@dataclass(frozen=True)
class Composed:
    """A query over a native one, and what it makes of that one's score."""

    query: dict[str, Any]
    native: dict[str, Any]
    value: Value = field(repr=False)
    rescore: dict[str, Any] | None = None

    @property
    def body(self) -> dict[str, Any]:
        return {"query": self.query, **({"rescore": self.rescore} if self.rescore else {})}


@dataclass(frozen=True)
class Function:
    """A function of a `function_score`: its value and weight, if the document passes."""

    clause: dict[str, Any]
    value: Callable[[Source], float]
    passes: Callable[[Source], bool]
    weight: float = 1.0


@st.composite
def functions(draw: st.DrawFn) -> Function:
    clause: dict[str, Any] = {}
    factor, modifier = draw(st.sampled_from((0.5, 1, 3))), draw(st.sampled_from([*MODIFIERS]))
    if by_field := draw(st.booleans()):
        how = {"field": "meta.n", "factor": factor, "modifier": modifier}
        clause["field_value_factor"] = how
    weight = draw(st.sampled_from((0.5, 2, 7)))
    if draw(st.booleans()) or not clause:
        clause["weight"] = weight
    else:
        weight = 1.0
    lang = draw(st.sampled_from(("en", "de", None)))
    if lang is not None:
        clause["filter"] = {"term": {"lang": lang}}

    def value(source: Source) -> float:
        return MODIFIERS[modifier](factor * source["meta"]["n"]) if by_field else 1.0

    return Function(clause, value, lambda source: lang in (None, source["lang"]), weight)


def joined(mode: str, own: list[Function], source: Source) -> float:
    """The value of the functions that a document passes; 1 if there is none.

    OpenSearch does not divide by the weight of a single function without a filter.
    """
    passing = [f for f in own if f.passes(source)]
    values = [f.weight * f.value(source) for f in passing]
    alone = len(own) == 1 and "filter" not in own[0].clause
    if not values:
        return 1.0
    return {
        "multiply": math.prod(values),
        "sum": sum(values),
        "avg": sum(values) / (1 if alone else sum(f.weight for f in passing)),
        "first": values[0],
        "max": max(values),
        "min": min(values),
    }[mode]


@st.composite
def function_score(draw: st.DrawFn, below: Any) -> Composed:
    inner = draw(below)
    own = draw(st.lists(functions(), min_size=1, max_size=3))
    score_mode = draw(st.sampled_from(("multiply", "sum", "avg", "first", "max", "min")))
    boost_mode = draw(st.sampled_from([*OPERATIONS]))
    most = draw(st.sampled_from((2.0, 40.0, 1e9)))
    boost = draw(st.sampled_from((0.5, 1.0, 4.0)))
    query = {
        "query": inner.query,
        "functions": [f.clause for f in own],
        "score_mode": score_mode,
        "boost_mode": boost_mode,
        "max_boost": most,
        "boost": boost,
    }

    def value(native: float, doc_id: str, source: Source) -> float:
        # The boost counts for the inner query, so only for what is in it.
        below = inner.value(native, doc_id, source) * boost
        return OPERATIONS[boost_mode](below, min(most, joined(score_mode, own, source)))

    return Composed({"function_score": query}, inner.native, value)


@st.composite
def boosting(draw: st.DrawFn, below: Any) -> Composed:
    inner, lang = draw(below), draw(st.sampled_from(("en", "de")))
    factor = draw(st.sampled_from((0.1, 0.5, 0.9)))
    query = {
        "positive": inner.query,
        "negative": {"term": {"lang": lang}},
        "negative_boost": factor,
    }
    return Composed(
        {"boosting": query},
        inner.native,
        lambda native, doc_id, source: (
            inner.value(native, doc_id, source) * (factor if source["lang"] == lang else 1)
        ),
    )


@st.composite
def pinned(draw: st.DrawFn, below: Any) -> Composed:
    """Ids that are put first, and hits of a year that are boosted."""
    inner = draw(below)
    ids = draw(st.lists(st.integers(0, 39).map(str), min_size=1, max_size=4))
    first, year = draw(st.sampled_from((0.3, 50.0))), draw(st.integers(2000, 2006))
    boost = draw(st.sampled_from((1.0, 2.0)))
    shoulds = [
        {"constant_score": {"filter": {"ids": {"values": ids}}, "boost": first}},
        {"range": {"year": {"gte": year, "boost": 0.4}}},
    ]
    query: dict[str, Any] = {"must": [inner.query], "should": shoulds, "boost": boost}
    if (chosen := draw(st.none() | filters)) is not None:
        query["filter"] = chosen

    def value(native: float, doc_id: str, source: Source) -> float:
        added = (first if doc_id in ids else 0) + (0.4 if source["year"] >= year else 0)
        return boost * (inner.value(native, doc_id, source) + added)

    return Composed({"bool": query}, inner.native, value)


@st.composite
def rescored(draw: st.DrawFn, below: Any) -> Composed:
    """A second score for the hits of a year; `constant_score` so that Python knows it."""
    inner = draw(below)
    year, second = draw(st.integers(2000, 2006)), draw(st.sampled_from((0.5, 3.0)))
    weight, second_weight = draw(st.sampled_from((0.2, 1.0))), draw(st.sampled_from((1.0, 2.0)))
    mode = draw(st.sampled_from(("total", "multiply", "avg", "max", "min")))
    again = {"constant_score": {"filter": {"term": {"year": year}}, "boost": second}}
    rescore = {
        "window_size": draw(st.sampled_from((10, 20, 100))),
        "query": {
            "rescore_query": again,
            "query_weight": weight,
            "rescore_query_weight": second_weight,
            "score_mode": mode,
        },
    }

    def value(native: float, doc_id: str, source: Source) -> float:
        own = inner.value(native, doc_id, source) * weight
        operation = OPERATIONS["sum" if mode == "total" else mode]
        return operation(own, second * second_weight) if source["year"] == year else own

    return Composed(inner.query, inner.native, value, rescore)


plain = lexical.filter(lambda query: "more_like_this" not in query).map(
    lambda query: Composed(query, query, lambda native, *_: native)
)
one = st.one_of(function_score(plain), boosting(plain), pinned(plain))
two = st.one_of(one, function_score(boosting(plain)), boosting(pinned(plain)))
composed = st.one_of(one, two, rescored(plain), rescored(one))
