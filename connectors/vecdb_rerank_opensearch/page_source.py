"""Bring the source of the hits of the page alone, in a second request: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vecdb_rerank_opensearch import source_selection

Hit = Mapping[str, Any]
# Parts of a search with which the source comes at once.
_AT_ONCE = ("highlight", "script_fields", "stored_fields", "version", "seq_no_primary_term")
_AT_ONCE_URL = (*_AT_ONCE, "explain", "filter_path", "search_pipeline")
_URL_SOURCE = ("_source", "_source_includes", "_source_excludes")
_WHOLE = (None, True, "true")
_OFF = (None, False, "false")


def reason_for_all(body: Mapping[str, object], url: Mapping[str, object]) -> str | None:
    """Return the part of a search with which the source comes at once, or None."""
    if (name := next((n for n in _URL_SOURCE if url.get(n) is not None), None)) is not None:
        return f"{name} in the URL"
    given = [n for n in (*_AT_ONCE, "explain") if body.get(n) not in _OFF]
    given += [n for n in _AT_ONCE_URL if url.get(n) not in _OFF]
    if given:
        return given[0]
    pipeline = body.get("search_pipeline")
    if isinstance(pipeline, str) or (
        isinstance(pipeline, Mapping) and pipeline.get("response_processors")
    ):
        return "search_pipeline"
    return "inner_hits" if _holds(body, "inner_hits") else None


def note(reason: str) -> dict[str, str]:
    """Return the note of an outcome whose request keeps ``payload="page"`` from acting."""
    return {"whole_payload": f"payload='page' is ignored: the request asks for {reason}"}


@dataclass(frozen=True, slots=True)
class PageSource:
    """The source as the caller selects it, and the selection of the first pass."""

    selection: object
    first: object

    @classmethod
    def of(
        cls, given: object, paths: Sequence[str], hidden: Sequence[str] = ()
    ) -> PageSource | None:
        """Return how the source comes in two parts; None if the caller wants none.

        ``given`` is the caller's ``_source``. The text comes with the source only if that is not
        narrowed; else through ``fields``. ``hidden`` is what a whole source lacks.
        """
        if given in (False, "false"):
            return None
        if given not in _WHOLE:
            return cls(given, False)
        excluded = {"excludes": list(hidden)} if hidden else {}
        includes = [*paths, *source_selection.holders(paths)]
        return cls(excluded or True, {"includes": includes, **excluded})

    def request(self, hits: Sequence[Hit]) -> dict[str, Any]:
        """Return the body of a search for the source of ``hits``."""
        ids = list(dict.fromkeys(hit["_id"] for hit in hits))
        indices = list(dict.fromkeys(hit["_index"] for hit in hits))
        only = [{"ids": {"values": ids}}, {"terms": {"_index": indices}}]
        return {
            "query": {"bool": {"filter": only}},
            "size": len(ids) * len(indices),
            "_source": self.selection,
            "track_total_hits": False,
        }


def filled(
    response: Mapping[str, Any], positions: Sequence[int], answer: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the response with the sources of ``answer`` in the hits at ``positions``.

    A hit that is gone keeps what it has.
    """
    found = {_key(hit): hit for hit in (answer.get("hits") or {}).get("hits") or []}
    hits = list(response["hits"]["hits"])
    for n in positions:
        later = found.get(_key(hits[n]), {})
        if "_source" in later:
            hits[n] = {**hits[n], "_source": later["_source"]}
    return {**response, "hits": {**response["hits"], "hits": hits}}


def _key(hit: Hit) -> tuple[object, ...]:
    return hit.get("_index"), hit["_id"], hit.get("_routing")


def _holds(value: object, name: str) -> bool:
    """Check whether a structure has a key ``name`` anywhere."""
    if isinstance(value, Mapping):
        return name in value or any(_holds(inner, name) for inner in value.values())
    return isinstance(value, list | tuple) and any(_holds(inner, name) for inner in value)
