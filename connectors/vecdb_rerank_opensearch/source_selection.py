"""Which source fields a search brings: the ones asked for, and those of the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from vecdb_rerank_opensearch.layout import BM25_TEXT, Layout


@dataclass(frozen=True, slots=True)
class Forced:
    """What hits bring under ``fields`` for the reranker's sake.

    ``paths`` with all below them, but for what matches one of the patterns ``kept``, which the
    caller asked for.
    """

    paths: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        """Whether the field of that name is none of the caller's."""
        return any(name == path or name.startswith(f"{path}.") for path in self.paths) and not any(
            fnmatchcase(name, pattern) for pattern in self.kept
        )


NOTHING = Forced()


@dataclass(frozen=True, slots=True)
class Projection:
    """The parts of a body that bring the text to rerank, and what to take out again."""

    parts: Mapping[str, Any]
    injected_fields: Forced = NOTHING


def project(shape: Mapping[str, Any], paths: Sequence[str], layout: Layout) -> Projection:
    """Have the fields ``paths`` come too, without touching what the caller's ``shape`` selects.

    By default a hit brings its whole source but for what only the index needs. Where the caller
    narrows it, the text is asked for through ``fields`` instead.
    """
    source = shape.get("_source")
    if source is True:
        return Projection({})
    if source is None:
        hidden = [layout.dense_vector, BM25_TEXT]
        return Projection({"_source": {"excludes": hidden}})
    return bringing(paths, shape)


def bringing(paths: Sequence[str], shape: Mapping[str, Any]) -> Projection:
    """Have the fields ``paths`` come under a hit's ``fields``, beside the caller's own."""
    fields = _listed(shape.get("fields"))
    values = _names(_listed(shape.get("docvalue_fields")))
    asked = (*_names(fields), *values)
    missing = tuple(p for p in paths if not any(fnmatchcase(p, pattern) for pattern in asked))
    if not missing:
        return Projection({})
    kept = (
        *asked,
        *_names(_listed(shape.get("stored_fields"))),
        *(shape.get("script_fields") or {}),
        *_listed((shape.get("collapse") or {}).get("field")),
    )
    wanted = [f"{path}{rest}" for path in missing for rest in ("", ".*")]
    # The server takes the last entry for a field: the caller's, with the caller's format.
    return Projection({"fields": [*wanted, *fields]}, Forced(missing, kept))


def replaced(paths: Sequence[str], shape: Mapping[str, Any]) -> str | None:
    """The first of the caller's doc values that the fields ``paths`` would be given instead of."""
    values = _names(_listed(shape.get("docvalue_fields")))
    return next((v for v in values if any(v.startswith(f"{path}.") for path in paths)), None)


def _names(fields: Sequence[Any]) -> list[str]:
    return [str(f.get("field") if isinstance(f, Mapping) else f) for f in fields]


def _listed(given: Any) -> list[Any]:
    """One field, or a list of them, or nothing, as a list."""
    return list(given) if isinstance(given, list | tuple) else [given] if given else []
