"""Evaluate the formula of a query for other scores than a point's own, as Qdrant does.

The values are those of the client's own evaluator for local mode. That takes about 0.1 ms for each
decay, so what does not depend on a score is evaluated once for a point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, get_args

import numpy as np
from pydantic import BaseModel
from qdrant_client.http import models
from qdrant_client.hybrid import formula as client
from qdrant_client.local.payload_filters import check_condition

from vecdb_rerank_qdrant import formula, plain

_CONDITIONS: tuple[Any, ...] = get_args(models.Condition)
_DECAYS: Mapping[type[BaseModel], str] = {
    models.LinDecayExpression: "lin_decay",
    models.ExpDecayExpression: "exp_decay",
    models.GaussDecayExpression: "gauss_decay",
}


class Evaluator:
    """A formula over one prefetch, for the points of one response."""

    def __init__(self, query: models.FormulaQuery, points: Sequence[models.ScoredPoint]) -> None:
        self._formula = _folded(query.formula)
        self._defaults = query.defaults or {}  # of payload values; all scores are known
        self._points = points
        self._scored: dict[int, bool] = {}  # by the expression's identity
        self._known: dict[tuple[int, int], float] = {}  # by position and expression

    def score(self, position: int, native: float) -> float:
        """Return the score of a point from its ``native`` one, in 32 bits as Qdrant does.

        Raises `ValueError` where the formula has no value.
        """
        try:
            score = self._value(self._formula, position, native)
            with np.errstate(over="ignore"):
                rounded = float(np.float32(score))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(str(error)) from error
        if not np.isfinite(rounded):
            raise ValueError(f"{score:g} is not a 32-bit number")
        return rounded

    def _value(self, expression: models.Expression, position: int, native: float) -> float:
        if type(expression) is models.SumExpression:
            return sum(self._value(part, position, native) for part in expression.sum)
        if type(expression) is models.MultExpression:
            product = 1.0
            for part in expression.mult:
                factor = self._value(part, position, native)
                if factor == 0:  # what follows need not have a value
                    return factor
                product *= factor
            return product
        if type(expression) is float:
            return expression
        if self._holds_score(expression):
            is_score = isinstance(expression, str)
            return native if is_score else self._client_value(expression, position, native)
        key = position, id(expression)
        if key not in self._known:
            self._known[key] = self._client_value(expression, position, native)
        return self._known[key]

    def _client_value(self, expression: models.Expression, position: int, native: float) -> float:
        point = self._points[position]
        payload = point.payload or {}
        # Which vectors a point has is not known: `formula.obstacle` lets no such condition through.
        if isinstance(expression, _CONDITIONS):
            return float(check_condition(expression, payload, point.id, {}))
        scores = [{point.id: native}]
        return client.evaluate_expression(expression, point.id, scores, payload, {}, self._defaults)

    def _holds_score(self, expression: models.Expression) -> bool:
        known = self._scored.get(id(expression))
        if known is None:
            known = self._scored[id(expression)] = formula.holds_score(plain.value(expression))
        return known


def _folded(expression: models.Expression) -> models.Expression:
    """Return an expression whose decays have their constant dates as numbers."""
    if isinstance(expression, models.SumExpression):
        return expression.model_copy(update={"sum": [_folded(part) for part in expression.sum]})
    if isinstance(expression, models.MultExpression):
        return expression.model_copy(update={"mult": [_folded(part) for part in expression.mult]})
    if not isinstance(expression, BaseModel) or type(expression) not in _DECAYS:
        return expression
    name = _DECAYS[type(expression)]
    decay = getattr(expression, name)
    if not isinstance(decay.target, models.DatetimeExpression):
        return expression
    with suppress(ValueError):  # the server says what is wrong with it
        target = client.evaluate_expression(decay.target, 0, [], {}, {}, {})
        return expression.model_copy(update={name: decay.model_copy(update={"target": target})})
    return expression
