"""Write JSON, fast, and look at how deep it is: pure."""

from __future__ import annotations

import json

import orjson

from vecdb_rerank.text_fields import valid_unicode

MAX_DEPTH = 64
"""Levels of objects and lists that a caller's JSON may have: walking more exhausts the stack."""


def is_deep(value: object, most: int = MAX_DEPTH) -> bool:
    """Return whether objects and lists are nested in each other more than ``most`` levels."""
    level: list[object] = [value]
    for _ in range(most + 1):
        level = [inner for one in level for inner in _inside(one)]
        if not level:
            return False
    return True


def _inside(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def dumps(value: object) -> bytes:
    """Return ``value`` as JSON in UTF-8; a value that JSON has no type for as its ``str()``.

    Stored documents may hold what orjson refuses: integers of more than 64 bits, and lone
    surrogates, which become ``?``.
    """
    try:
        return orjson.dumps(value, default=str)
    except TypeError:
        return valid_unicode(json.dumps(value, ensure_ascii=False, default=str)).encode()
