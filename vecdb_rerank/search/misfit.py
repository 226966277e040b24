"""What a collection or index lacks for a search, and the settings that help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vecdb_rerank.errors import SchemaError
from vecdb_rerank.request import NONE
from vecdb_rerank.search.store import Finding

ADOPT = "or let `vecdb-rerank adopt` write the configuration"
OTHER_EMBEDDER = (
    "configure the embedder that made the vectors, or its embedder.dimensions, set search.mode to "
    "bm25, or index it anew"
)


@dataclass(frozen=True, slots=True)
class Misfit:
    """One thing that is wrong, and what to do about it."""

    detail: str
    fix: str


def error(subject: str, problems: Sequence[Misfit]) -> SchemaError:
    """Return the error for ``subject``, a collection or index."""
    found = finding(subject, problems)
    return SchemaError(f"{subject} does not fit: {found.detail}. To correct it, {found.fix}")


def finding(subject: str, problems: Sequence[Misfit]) -> Finding:
    """Return all problems as one finding of a check."""
    details = _once(problem.detail for problem in problems)
    fixes = _once(problem.fix for problem in problems)
    return Finding(subject, "error", "; ".join(details), "; ".join(fixes))


def instead(setting: str, names: Sequence[str]) -> str:
    """Return the fix for a ``setting`` that names a vector if these are the ones that fit."""
    if len(names) > 1:
        return f"set backend.{setting} to one of them, {ADOPT}"
    return f'set backend.{setting} = "{names[0] if names else NONE}", {ADOPT}'


def read_as(language: str) -> str:
    """Return the fix for texts that are indexed in another language than ``language``."""
    return (
        f'if its texts are {language}, index them with backend.language = "{language}" into '
        "another collection (--collection NAME)"
    )


def _once(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))
