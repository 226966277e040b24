"""Choose the source fields that a search fetches: those requested, and those of the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from vecdb_rerank.model import DOC_ID
from vecdb_rerank.request import Extras
from vecdb_rerank_opensearch.layout import BM25_TEXT, Layout


@dataclass(frozen=True, slots=True)
class Forced:
    """The fields that hits bring under ``fields`` for the reranker only.

    Those are ``paths`` and all below them, except what matches one of the patterns ``kept``: the
    caller asked for it.
    """

    paths: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        """Check whether the caller did not ask for the field of that name."""
        return any(name == path or name.startswith(f"{path}.") for path in self.paths) and not any(
            fnmatchcase(name, pattern) for pattern in self.kept
        )


NOTHING = Forced()


@dataclass(frozen=True, slots=True)
class Projection:
    """The parts of a body that bring the text to rerank, and what to take out again."""

    parts: Mapping[str, Any]
    injected_fields: Forced = NOTHING


def project(shape: Mapping[str, object], paths: Sequence[str], layout: Layout) -> Projection:
    """Bring the fields ``paths`` too, and leave what the caller's ``shape`` selects alone.

    By default a hit brings its whole source, except what only the index needs. If the caller
    narrows the source, the text comes through ``fields`` instead.
    """
    source = shape.get("_source")
    if source is True:
        return Projection({})
    if source is None:
        return Projection({"_source": {"excludes": list(hidden(layout))}})
    return bringing(paths, shape)


def fields_of(extras: Extras) -> tuple[str, ...]:
    """Return the fields that stages read; OpenSearch keeps no ids in a field."""
    return tuple(field for field in extras.fields if field != DOC_ID)


def hidden(layout: Layout) -> tuple[str, ...]:
    """Return what only the index needs of a source."""
    return tuple(filter(None, (layout.dense_vector, BM25_TEXT)))


def bringing(paths: Sequence[str], shape: Mapping[str, object]) -> Projection:
    """Bring the fields ``paths`` under a hit's ``fields``, beside the caller's own."""
    fields = _listed(shape.get("fields"))
    values = _names(_listed(shape.get("docvalue_fields")))
    asked = (*_names(fields), *values)
    missing = _unasked(paths, asked)
    holding = _unasked(holders(paths), asked)
    if not (missing or holding):
        return Projection({})
    collapse = shape.get("collapse")
    kept = (
        *asked,
        *_names(_listed(shape.get("stored_fields"))),
        *_scripts(shape),
        *_names(_listed(collapse.get("field") if isinstance(collapse, Mapping) else None)),
    )
    wanted = [*(f"{path}{rest}" for path in missing for rest in ("", ".*")), *holding]
    # The server takes the last entry for a field: the caller's, with the caller's format.
    return Projection({"fields": [*wanted, *fields]}, Forced((*missing, *holding), kept))


def holders(paths: Sequence[str]) -> list[str]:
    """Return the fields in which a path may end: a string that holds JSON (`_node_content.text`).

    Asked for by their name, fields that are objects bring nothing.
    """
    parents = [path.split(".")[:n] for path in paths for n in range(1, path.count(".") + 1)]
    return [name for name in dict.fromkeys(map(".".join, parents)) if name not in paths]


def _unasked(names: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    return tuple(n for n in names if not any(fnmatchcase(n, pattern) for pattern in asked))


def replaced(paths: Sequence[str], shape: Mapping[str, object]) -> str | None:
    """Return the caller's field that would be overwritten if ``paths`` came under ``fields``."""
    values = _names(_listed(shape.get("docvalue_fields")))
    below = (f"docvalue_fields: {v}" for v in values if any(v.startswith(f"{p}.") for p in paths))
    same = (
        f"script_fields: {script}"
        for script in _scripts(shape)
        if any(script == path or script.startswith(f"{path}.") for path in paths)
        or script in holders(paths)
    )
    stored = (  # which fields are stored, and come by themselves, is not known
        f"stored_fields: {pattern}"
        for pattern in _names(_listed(shape.get("stored_fields")))
        if "*" in pattern and any(fnmatchcase(path, pattern) for path in paths)
    )
    return next(below, None) or next(same, None) or next(stored, None)


def _scripts(shape: Mapping[str, object]) -> list[str]:
    scripts = shape.get("script_fields")
    return list(scripts) if isinstance(scripts, Mapping) else []


def _names(fields: Sequence[object]) -> list[str]:
    return [str(f.get("field") if isinstance(f, Mapping) else f) for f in fields]


def _listed(given: object) -> list[object]:
    """Return one field, a list of fields, or nothing, as a list."""
    return list(given) if isinstance(given, list | tuple) else [given] if given else []
