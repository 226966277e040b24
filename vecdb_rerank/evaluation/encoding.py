"""Write ids so that TREC files and spreadsheets can hold them, and read them again."""

from __future__ import annotations

from urllib.parse import quote, unquote

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the start of a formula
_GUARD = "'"


def encoded(text: str) -> str:
    """Return ``text`` without white space: an id with some is percent-encoded.

    So is an id that `decoded` would change.
    """
    if not _has_space(text) and decoded(text) == text:
        return text
    return "".join(quote(c) if c.isspace() or c == "%" else c for c in text)


def decoded(text: str) -> str:
    """Return what `encoded` was given; other ids stay as they are."""
    found = unquote(text)
    return found if _has_space(found) or "%25" in text else text


def _has_space(text: str) -> bool:
    return any(character.isspace() for character in text)


def guarded(text: str) -> str:
    """Return ``text`` so that a spreadsheet does not run it as a formula: after an apostrophe."""
    return f"{_GUARD}{text}" if text.startswith(_FORMULA) else text


def without_guard(text: str) -> str:
    """Return what `guarded` was given."""
    return text[1:] if text.startswith(tuple(_GUARD + each for each in _FORMULA)) else text
