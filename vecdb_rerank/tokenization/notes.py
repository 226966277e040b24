"""Notes about what a reranker could not read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

TRUNCATED_QUERY: Mapping[str, str] = {
    "truncated_query": "the query is longer than the reranker can read: "
    "its first and last tokens were read, the middle was left out"
}


def query_notes(truncated: Iterable[bool]) -> Mapping[str, str]:
    """Return the note ``truncated_query`` if the query was truncated for any document."""
    return TRUNCATED_QUERY if any(truncated) else {}
