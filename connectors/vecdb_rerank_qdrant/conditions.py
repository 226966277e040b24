"""Find the points that match the filters of boosts, in Python: pure functions.

The client has an evaluator of filters, that of its local mode. It reads the payload that came with
the first pass, so boosts cost the server nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from qdrant_client.http import models
from qdrant_client.local.payload_filters import (
    check_condition,
    check_filter,
    check_match,
    check_range,
)

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank_qdrant.queries import native_filter

_CLAUSES = ("must", "should", "must_not")
# Matches that depend on the value alone, and not on how the server splits a text into words.
_MATCHES = {"value", "any", "except_", "prefix", "substring"}
_PLAIN = re.compile(r"[\w-]+")  # a key of the payload itself
_NOT_IN_KEY = re.compile(r'\[\d*\]|"')


Check = Callable[[dict[str, object], models.ExtendedPointId], bool]  # of a payload and a point's id


@dataclass(frozen=True, slots=True)
class Conditions:
    """The filters of the boosts of a policy, and the payload ``fields`` that they read."""

    checks: tuple[Check, ...] = ()
    fields: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Conditions:
        """Return the conditions for native filters by their settings' keys.

        Raises `ConfigurationError` that names the clause which cannot be evaluated here.
        """
        checks, fields = [], dict[str, None]()
        for key, one in given.items():
            try:
                native = native_filter(one)
            except ConfigurationError as error:
                raise error.within(key.removesuffix(".filter")) from None
            assert native is not None  # a boost has a filter
            fields |= dict.fromkeys(_fields(native, key))
            checks.append(_check(native))
        return cls(tuple(checks), tuple(fields))

    def matching(self, points: Sequence[models.ScoredPoint]) -> list[set[int]]:
        """Return for each filter the places of the points that match it."""
        return [{n for n, one in enumerate(points) if _holds(c, one)} for c in self.checks]


def _holds(check: Check, point: models.ScoredPoint) -> bool:
    try:
        return check(point.payload or {}, point.id)
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError):
        return False  # a payload may hold anything


def _check(given: models.Filter) -> Check:
    """Return the function that checks a filter: fast for a list of plain conditions."""
    must = given.must if isinstance(given.must, list) else [given.must]
    if given.should or given.must_not or given.min_should or None in must:
        return lambda payload, point_id: check_filter(given, payload, point_id, {})
    checks = [_check_of(condition) for condition in must if condition is not None]
    if len(checks) == 1:
        return checks[0]
    return lambda payload, point_id: all(check(payload, point_id) for check in checks)


def _check_of(condition: models.Condition) -> Check:
    """Return the function that checks one condition.

    The client's evaluator parses the key for each payload, which takes most of its time.
    """

    def whole(payload: dict[str, object], point_id: models.ExtendedPointId) -> bool:
        return check_condition(condition, payload, point_id, {})

    if not isinstance(condition, models.FieldCondition) or not _PLAIN.fullmatch(condition.key):
        return whole
    key, match, within = condition.key, condition.match, condition.range
    if match is None and not isinstance(within, models.Range):
        return whole

    def plain(payload: dict[str, object], point_id: models.ExtendedPointId) -> bool:
        value = payload.get(key)
        if value is None:
            return False
        if isinstance(value, list):
            return whole(payload, point_id)
        if match is not None:
            return check_match(match, value)
        return check_range(cast("models.Range", within), value)

    return plain


def _fields(given: models.Filter, key: str) -> Iterator[str]:
    """Yield the fields that a filter reads; raise for a clause that needs more."""
    for clause in _CLAUSES:
        conditions = getattr(given, clause)
        listed = conditions if isinstance(conditions, list) else [conditions]
        for n, condition in enumerate(listed):
            if condition is not None:
                yield from _fields_of(condition, f"{key}.{clause}.{n}")
    if given.min_should is not None:
        for n, condition in enumerate(given.min_should.conditions):
            yield from _fields_of(condition, f"{key}.min_should.conditions.{n}")


def _fields_of(condition: object, key: str) -> Iterator[str]:
    if isinstance(condition, models.Filter):
        yield from _fields(condition, key)
    elif isinstance(condition, models.NestedCondition):
        list(_fields(condition.nested.filter, f"{key}.nested.filter"))  # raises, if it has to
        yield _dotted(condition.nested.key)
    elif isinstance(condition, models.IsEmptyCondition):
        yield _dotted(condition.is_empty.key)
    elif isinstance(condition, models.IsNullCondition):
        yield _dotted(condition.is_null.key)
    elif isinstance(condition, models.FieldCondition):
        if condition.match is not None:
            for name in set(type(condition.match).model_fields) - _MATCHES:
                raise ConfigurationError(
                    f"{key}.match.{name}",
                    "cannot be evaluated for a boost: it depends on the server's text index; "
                    "match a keyword with value or any instead",
                )
        yield _dotted(condition.key)
    elif not isinstance(condition, models.HasIdCondition):
        [name, *_] = getattr(type(condition), "model_fields", {"": None})
        raise ConfigurationError(f"{key}.{name}", "cannot be evaluated for a boost")


def _dotted(key: str) -> str:
    """Return a key of Qdrant as a dotted path: without quotes, and without ``[]`` for lists."""
    return _NOT_IN_KEY.sub("", key)
