"""Formulas over one prefetch, generated, each with what it says in Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from qdrant_client.http import models

from tests.dropin.qdrant.collection import WORDS
from tests.dropin.qdrant.generated import branch, filters, params

Payload = dict[str, Any]
Value = Callable[[float, Payload], float]


@dataclass(frozen=True)
class Term:
    """An expression, its value for a score and a payload, and the defaults that it needs."""

    expression: Any
    value: Value
    defaults: dict[str, float]

    def __repr__(self) -> str:
        return repr(self.expression)


def term(expression: Any, value: Value, *parts: Term) -> Term:
    defaults = {name: default for part in parts for name, default in part.defaults.items()}
    return Term(expression, value, defaults)


SCORE = Term("$score", lambda score, _: score, {})
FIRST = Term("$score[0]", lambda score, _: score, {})
N = Term("meta.n", lambda _, payload: payload["meta"]["n"], {})
LISTED = Term("meta.deep.b[]", lambda _, payload: payload["meta"]["deep"]["b"][0], {})
SOMETIMES = Term("sometimes", lambda _, payload: payload.get("sometimes", 7.0), {"sometimes": 7.0})
constants = st.sampled_from((0.0, 0.1, 0.5, 1.0, 3.0)).map(
    lambda number: Term(number, lambda *_: number, {})
)


def is_topic(word: str) -> Term:
    condition = models.FieldCondition(key="topic", match=models.MatchValue(value=word))
    return Term(condition, lambda _, payload: float(payload["topic"] == word), {})


def is_low(most: int) -> Term:
    low = models.FieldCondition(key="meta.n", range=models.Range(lt=most))
    unlike = models.FieldCondition(key="sometimes", is_empty=True)
    condition = models.Filter(must=[low], must_not=[unlike])
    return Term(
        condition,
        lambda _, payload: float(payload["meta"]["n"] < most and "sometimes" in payload),
        {},
    )


leaves = st.one_of(
    st.sampled_from((SCORE, FIRST, N, LISTED, SOMETIMES)),
    constants,
    st.sampled_from(WORDS[:7]).map(is_topic),
    st.integers(0, 130).map(is_low),
)


def added(parts: list[Term]) -> Term:
    expression = models.SumExpression(sum=[part.expression for part in parts])
    return term(expression, lambda s, p: sum(part.value(s, p) for part in parts), *parts)


def multiplied(parts: list[Term]) -> Term:
    expression = models.MultExpression(mult=[part.expression for part in parts])
    return term(expression, lambda s, p: math.prod(part.value(s, p) for part in parts), *parts)


def negative(part: Term) -> Term:
    return term(models.NegExpression(neg=part.expression), lambda s, p: -part.value(s, p), part)


def root(part: Term) -> Term:
    inner = models.AbsExpression(abs=part.expression)
    expression = models.SqrtExpression(sqrt=inner)
    return term(expression, lambda s, p: math.sqrt(abs(part.value(s, p))), part)


def fading(part: Term) -> Term:
    """1 at 20, half as much 30 from there."""
    how = models.DecayParamsExpression(x=part.expression, target=20.0, scale=30.0, midpoint=0.5)
    return term(
        models.ExpDecayExpression(exp_decay=how),
        lambda s, p: math.exp(math.log(0.5) / 30 * abs(part.value(s, p) - 20)),
        part,
    )


def divided(part: Term) -> Term:
    params = models.DivParams(left=part.expression, right=4.0)
    return term(models.DivExpression(div=params), lambda s, p: part.value(s, p) / 4, part)


terms = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(added),
        st.lists(inner, min_size=1, max_size=2).map(multiplied),
        inner.map(negative),
        inner.map(root),
        inner.map(fading),
        inner.map(divided),
    ),
    max_leaves=6,
)
# A payload value is added, not only multiplied; the score counts as it is, negated or decayed.
formulas = st.tuples(terms, st.sampled_from((SCORE, negative(SCORE), fading(SCORE))), terms).map(
    lambda three: added([three[1], multiplied([three[0], N]), multiplied([three[2], SCORE])])
)


@dataclass(frozen=True)
class Composed:
    """A query with a formula: its arguments, and what the formula says."""

    arguments: dict[str, Any]
    value: Value


@st.composite
def composed(draw: Any) -> Composed:
    formula = draw(formulas)
    arguments = {
        "query": models.FormulaQuery(formula=formula.expression, defaults=formula.defaults),
        "prefetch": draw(st.one_of(branch(), st.lists(branch(), min_size=1, max_size=1))),
        "query_filter": draw(filters),
        "search_params": draw(params),
        "limit": draw(st.integers(1, 60)),
        "offset": draw(st.one_of(st.none(), st.integers(0, 30))),
        "with_payload": draw(st.sampled_from((True, False, ["title"], ["meta.n"]))),
        "with_vectors": draw(st.booleans()),
    }
    return Composed(arguments, formula.value)
