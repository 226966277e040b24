"""Read the fields of a JSON body: each is checked, and named in the error if it is wrong."""

from __future__ import annotations

from collections.abc import Mapping

from vecdb_rerank.server.errors import ApiError, wrong

Body = Mapping[str, object]


def text(body: Body, name: str) -> str:
    """Return a required text with characters other than spaces."""
    value = body.get(name)
    if value is None:
        raise wrong(name, "is missing; it must be a string")
    if not isinstance(value, str):
        raise wrong(name, f"must be a string, got {kind(value)}")
    if not value.strip():
        raise wrong(name, "must not be empty")
    return value


def optional_text(body: Body, name: str) -> str | None:
    """Return a text; None if it is missing, null or empty."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong(name, f"must be a string, got {kind(value)}")
    return value or None


def flag(body: Body, name: str, default: bool = False) -> bool:
    """Return true or false; ``default`` if it is missing or null."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise wrong(name, f"must be true or false, got {kind(value)}")
    return value


def count(body: Body, name: str, least: int = 0) -> int | None:
    """Return a whole number from ``least``; None if it is missing or null."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise wrong(name, f"must be a whole number from {least}, got {kind(value)}")
    return value


def items(body: Body, name: str, most: int) -> list[object]:
    """Return a required list of at most ``most`` items, and at least one."""
    value = body.get(name)
    if value is None:
        raise wrong(name, "is missing; it must be a list")
    if not isinstance(value, list):
        raise wrong(name, f"must be a list, got {kind(value)}")
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
            raise wrong(f"{name}.{n}", f"must be a string, got {kind(value)}")
    return found  # type: ignore[return-value]


def names(body: Body, name: str) -> list[str]:
    """Return a list of names; empty if it is missing or null."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise wrong(name, "must be a list of strings")
    return value


def one_of(body: Body, name: str, default: str, *others: str) -> str:
    """Return one of several words, in lower case; ``default`` if it is missing or null."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or value.lower() not in (default, *others):
        raise wrong(name, f"must be one of: {', '.join((default, *others))}")
    return value.lower()


_KINDS = {str: "a string", bool: "true or false", int: "a number", float: "a number"}


def kind(value: object) -> str:
    """Return what ``value`` is in JSON, for messages; never the value, which may be a text."""
    if value is None:
        return "null"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value!r:.20}"
    return _KINDS.get(type(value), "a list" if isinstance(value, list) else "an object")
