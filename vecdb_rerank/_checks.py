"""Checks of settings and arguments: each raises a `ConfigurationError` that names the key."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Collection, Iterable, Mapping, Set
from difflib import get_close_matches

from vecdb_rerank.errors import ConfigurationError


def check_names(given: Mapping[str, object], known: Collection[str], where: str = "") -> None:
    """Check that all keys of ``given`` are among ``known``."""
    for name in given:
        if name not in known:
            close = get_close_matches(str(name), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
            key = f"{where}.{name}" if where else str(name)
            raise ConfigurationError(key, f"unknown option; {hint}")


def one_of(key: str, value: object, allowed: Iterable[str]) -> None:
    """Check that ``value`` is one of the ``allowed`` words."""
    words = tuple(allowed)
    if not isinstance(value, str) or value not in words:
        raise ConfigurationError(key, f"must be one of: {', '.join(words)}; got {shown(value)}")


def in_range(key: str, value: float, low: float, high: float) -> None:
    """Check that ``value`` is a number from ``low`` to ``high``."""
    if not _is_number(value) or not low <= value <= high:
        raise ConfigurationError(key, f"must be from {low:g} to {high:g}, got {shown(value)}")


def integer(key: str, value: object, low: int, high: int | None = None) -> int:
    """Return an integer from ``low`` to ``high``, numpy's included, as an int."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        plain = int(value)
        if low <= plain and (high is None or plain <= high):
            return plain
    allowed = f"from {low} to {high}" if high is not None else f"of at least {low}"
    raise ConfigurationError(key, f"must be an integer {allowed}, got {shown(value)}")


def at_least(key: str, value: float, least: float) -> None:
    """Check that ``value`` is a finite number of ``least`` or more."""
    if not _is_number(value) or not math.isfinite(value) or value < least:
        raise ConfigurationError(key, f"must be at least {least:g}, got {shown(value)}")


def above(key: str, value: float, bound: float, unit: str = "") -> None:
    """Check that ``value`` is a finite number above ``bound``."""
    if not _is_number(value) or not math.isfinite(value) or value <= bound:
        what = f" number of {unit}" if unit else " number"
        raise ConfigurationError(key, f"must be a{what} above {bound:g}, got {shown(value)}")


def finite(key: str, value: float) -> None:
    """Check that ``value`` is a finite number."""
    if not _is_number(value) or not math.isfinite(value):
        raise ConfigurationError(key, f"must be a finite number, got {shown(value)}")


def number(key: str, value: float) -> None:
    """Check that ``value`` is a number, possibly infinite."""
    if not _is_number(value) or math.isnan(value):
        raise ConfigurationError(key, f"must be a number, got {shown(value)}")


def is_text(key: str, value: object, what: str = "") -> None:
    """Check that ``value`` is a str with text in it; ``what`` describes it in the message."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(key, f"must be {what or 'a non-empty str'}, got {shown(value)}")


def is_callable(key: str, value: object) -> None:
    """Check that ``value`` can be called."""
    if not callable(value):
        raise ConfigurationError(key, f"must be a function, got {shown(value)}")


def shown(value: object) -> str:
    """Return ``value`` for a message: what is short as it is, anything else by its type."""
    if isinstance(value, str | int | float | bool | None):
        text = repr(value)
        return text if len(text) <= 80 else f"{text[:79]}…"
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


_JSON_KINDS = {str: "a string", bool: "true or false", list: "a list", dict: "an object"}


def json_kind(value: object) -> str:
    """Return what ``value`` is in JSON, for messages to callers whose texts must not be repeated.

    Numbers and null are named as they are, anything else by its type.
    """
    if value is None:
        return "null"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value!r:.20}"
    return _JSON_KINDS.get(type(value), "an object")


def is_bool(key: str, value: object) -> None:
    """Check that ``value`` is True or False: any non-empty text would count as true."""
    if not isinstance(value, bool):
        raise ConfigurationError(key, f"must be True or False, got {shown(value)}")


def is_mapping(key: str, value: object, keys: str = "reranker name") -> None:
    """Check that ``value`` is a mapping; ``keys`` says what its keys are."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(key, f"must be a mapping by {keys}, got {shown(value)}")


def check_type(key: str, value: object, *kinds: type) -> None:
    """Check that ``value`` is None or one of ``kinds``."""
    if value is not None and not isinstance(value, kinds):
        expected = " or ".join(dict.fromkeys(kind.__name__ for kind in kinds))
        raise ConfigurationError(key, f"must be a {expected}, got {shown(value)}")


def checked_body(
    body: object, argument: str = "extra_body", *, own: Set[str] = frozenset()
) -> dict[str, object]:
    """Return ``body`` if JSON can represent it and no key is in ``own``.

    ``own`` are the keys that each request sets itself. Raise `ConfigurationError` otherwise.
    """
    if not isinstance(body, Mapping):
        raise ConfigurationError(argument, f"must be a mapping, got {shown(body)}")
    try:
        json.dumps(dict(body), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ConfigurationError(argument, f"is not JSON: {error}") from error
    if taken := sorted(own & body.keys()):
        raise ConfigurationError(
            argument, f"must not set {taken[0]!r}, which each request sets itself; remove it"
        )
    return dict(body)


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
