"""Checks of settings and arguments: each raises a `ConfigurationError` that names the key."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping

from vecdb_rerank.errors import ConfigurationError


def one_of(key: str, value: object, allowed: Iterable[str]) -> None:
    """Check that ``value`` is one of the ``allowed`` words."""
    words = tuple(allowed)
    if value not in words:
        raise ConfigurationError(key, f"must be one of: {', '.join(words)}; got {value!r}")


def in_range(key: str, value: float, low: float, high: float) -> None:
    """Check that ``value`` is a number from ``low`` to ``high``."""
    if not _is_number(value) or not low <= value <= high:
        raise ConfigurationError(key, f"must be from {low:g} to {high:g}, got {value!r}")


def integer_in_range(key: str, value: int, low: int, high: int) -> None:
    """Check that ``value`` is an integer from ``low`` to ``high``."""
    if not isinstance(value, int) or not low <= value <= high:
        raise ConfigurationError(key, f"must be an integer from {low} to {high}, got {value!r}")


def at_least(key: str, value: float, least: float) -> None:
    """Check that ``value`` is a finite number of ``least`` or more."""
    if not _is_number(value) or not math.isfinite(value) or value < least:
        raise ConfigurationError(key, f"must be at least {least:g}, got {value!r}")


def above(key: str, value: float, bound: float, unit: str = "") -> None:
    """Check that ``value`` is a finite number above ``bound``."""
    if not _is_number(value) or not math.isfinite(value) or value <= bound:
        what = f" number of {unit}" if unit else " number"
        raise ConfigurationError(key, f"must be a{what} above {bound:g}, got {value!r}")


def finite(key: str, value: float) -> None:
    """Check that ``value`` is a finite number."""
    if not _is_number(value) or not math.isfinite(value):
        raise ConfigurationError(key, f"must be a finite number, got {value!r}")


def is_bool(key: str, value: object) -> None:
    """Check that ``value`` is True or False: any non-empty text would count as true."""
    if not isinstance(value, bool):
        raise ConfigurationError(key, f"must be True or False, got {value!r}")


def is_mapping(key: str, value: object) -> None:
    """Check that ``value`` is a mapping."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(key, f"must be a mapping by reranker name, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
