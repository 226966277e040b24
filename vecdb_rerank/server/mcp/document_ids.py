"""Write ids of documents as text from which they can be read back: pure.

A language model passes text, and the integer 1 and the text "1" are two ids; so the text names the
type: ``int:1``, ``str:1``, ``str:6ba7b810-9dad-11d1-80b4-00c04fd430c8``.
"""

from __future__ import annotations

import re

from vecdb_rerank.model import HitId
from vecdb_rerank.server.errors import wrong

_TEXT, _NUMBER = "str:", "int:"
_DIGITS = re.compile(r"-?\d{1,20}", re.ASCII)
_MAX = 1_024  # characters; OpenSearch's longest id has 512 bytes


def written(id: HitId) -> str:
    """Return ``id`` as text that names its type."""
    return f"{_NUMBER if isinstance(id, int) else _TEXT}{id}"


def read(text: str) -> HitId:
    """Return the id that `written` gave as ``text``; raise `ApiError` for any other text."""
    if len(text) <= _MAX:
        if text.startswith(_TEXT) and len(text) > len(_TEXT):
            return text.removeprefix(_TEXT)
        if _DIGITS.fullmatch(text.removeprefix(_NUMBER)) and text.startswith(_NUMBER):
            return int(text.removeprefix(_NUMBER))
    raise wrong("id", "must be an id as search returns it, such as int:7 or str:notes.md")
