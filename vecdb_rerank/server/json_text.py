"""Write JSON, fast: pure."""

from __future__ import annotations

import json

import orjson

from vecdb_rerank.text_fields import valid_unicode


def dumps(value: object) -> bytes:
    """Return ``value`` as JSON in UTF-8; a value that JSON has no type for as its ``str()``.

    Stored documents may hold what orjson refuses: integers of more than 64 bits, and lone
    surrogates, which become ``?``.
    """
    try:
        return orjson.dumps(value, default=str)
    except TypeError:
        return valid_unicode(json.dumps(value, ensure_ascii=False, default=str)).encode()
