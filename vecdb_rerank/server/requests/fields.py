"""Read the fields of a JSON body: each is checked, and named in the error if it is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from vecdb_rerank._checks import json_kind
from vecdb_rerank.registry import nearest
from vecdb_rerank.server.errors import ApiError, wrong

W = TypeVar("W", bound=str)
Body = Mapping[str, object]


def check_names(body: Body, known: Collection[str]) -> None:
    """Raise `ApiError` for a field that is not ``known``."""
    for name in body:
        if name not in known:
            raise wrong(name, f"is unknown; {nearest(name, sorted(known))}")


def text(body: Body, name: str, most: int | None = None) -> str:
    """Return a required text with characters other than spaces, of at most ``most`` characters."""
    value = body.get(name)
    if value is None:
        raise wrong(name, "is missing; it must be a string")
    if not isinstance(value, str):
        raise wrong(name, f"must be a string, got {json_kind(value)}")
    if not value.strip():
        raise wrong(name, "must not be empty")
    if most is not None and len(value) > most:
        raise wrong(name, f"must be at most {most:,} characters, got {len(value):,}")
    return value


def optional_text(body: Body, name: str) -> str | None:
    """Return a text; None if it is missing, null or empty."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong(name, f"must be a string, got {json_kind(value)}")
    return value or None


def flag(body: Body, name: str, default: bool = False) -> bool:
    """Return true or false; ``default`` if it is missing or null."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong(name, f"must be true or false, got {json_kind(value)}")
    return value


def count(body: Body, name: str, least: int = 0, most: int | None = None) -> int | None:
    """Return a whole number from ``least`` to ``most``; None if it is missing or null."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) is int and least <= value and (most is None or value <= most):
        return value
    allowed = f"from {least}" if most is None else f"from {least} to {most}"
    raise wrong(name, f"must be a whole number {allowed}, got {json_kind(value)}")


def items(body: Body, name: str, most: int) -> list[object]:
    """Return a required list of at most ``most`` items, and at least one."""
    value = body.get(name)
    if value is None:
        raise wrong(name, "is missing; it must be a list")
    if not isinstance(value, list):
        raise wrong(name, f"must be a list, got {json_kind(value)}")
    if not value:
        raise ApiError(400, "must not be empty", field=name, tei_type="Empty")
    if len(value) > most:
        raise ApiError(413, f"must hold at most {most}, got {len(value)}", field=name)
    return value


def texts(body: Body, name: str, most: int) -> list[str]:
    """Return a required list of strings."""
    found = items(body, name, most)
    for n, value in enumerate(found):
        if type(value) is not str:
            raise wrong(f"{name}.{n}", f"must be a string, got {json_kind(value)}")
    return found  # type: ignore[return-value]


def names(body: Body, name: str) -> list[str]:
    """Return a list of names; empty if it is missing or null."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise wrong(name, "must be a list of strings")
    return value


def one_of(body: Body, name: str, words: Sequence[W]) -> W | None:
    """Return one of several words, in any case of letters; None if it is missing or null."""
    value = body.get(name)
    if value is None:
        return None
    for word in words:
        if isinstance(value, str) and value.lower() == word:
            return word
    raise wrong(name, f"must be one of: {', '.join(words)}")
