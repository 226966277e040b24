"""Find out which parts of an answer ``filter_path`` lets through: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def first_missing(filter_path: object, paths: Sequence[str]) -> str | None:
    """Return the first of the dotted ``paths`` that an answer lacks; None if it has them all.

    ``filter_path`` is a list of patterns or their comma-separated form: ``*`` stands for one
    level or a part of its name, ``**`` for any number of levels, a leading ``-`` takes away.
    """
    given = filter_path.split(",") if isinstance(filter_path, str) else filter_path
    patterns = [str(p) for p in given] if isinstance(given, list | tuple) else []
    kept = [_levels(p) for p in patterns if p and not p.startswith("-")]
    taken = [_levels(p[1:]) for p in patterns if p.startswith("-")]
    for path in paths:
        levels = path.split(".")
        if kept and not any(_holds(pattern, levels) for pattern in kept):
            return path
        if any(_touches(pattern, levels) for pattern in taken):
            return path
    return None


def _levels(pattern: str) -> list[str]:
    return pattern.strip().split(".")


def _holds(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Check whether the pattern stands for the path or for something around it."""
    if not pattern:
        return True
    if pattern[0] == "**":
        return any(_holds(pattern[1:], path[n:]) for n in range(len(path) + 1))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _holds(pattern[1:], path[1:])


def _touches(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Check whether the pattern stands for the path, or for something around it or inside."""
    if not pattern or not path:
        return True
    if pattern[0] == "**":
        return any(_touches(pattern[1:], path[n:]) for n in range(len(path)))
    return fnmatchcase(path[0], pattern[0]) and _touches(pattern[1:], path[1:])
