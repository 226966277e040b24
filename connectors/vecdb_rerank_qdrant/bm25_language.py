"""In which language the BM25 vectors of a collection were made, told by the vectors themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

from qdrant_client.http import models

from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.request import Language
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.layout import Layout

_SAMPLE = 16  # points; a dozen words tell languages apart
# Shares of terms: below the one vectors were not made in a language, from the other they were.
_OTHER, _SAME = 0.9, 0.95


def language_misfits(
    client: Any, layout: Layout, bm25: Bm25, text_fields: TextFields
) -> Flow[list[str]]:
    """That the vectors hold another language's stems, as one line; nothing where they do not.

    A query in the wrong one finds only the words that both stem alike, and nobody is told.
    """
    points, _ = yield Call(
        lambda: client.scroll(
            layout.collection, limit=_SAMPLE, with_payload=True, with_vectors=[layout.bm25_vector]
        )
    )
    held = [
        (text_fields.text(point.payload), frozenset(vector.indices))
        for point in points
        if isinstance(vector := (point.vector or {}).get(layout.bm25_vector), models.SparseVector)
    ]
    found = made_in(held, bm25)
    if found is None:
        return []
    return [f"{layout.bm25_vector!r} was made of {found} texts, language is {bm25.language!r}"]


def made_in(held: Sequence[tuple[str, frozenset[int]]], bm25: Bm25) -> Language | None:
    """The language that explains the terms of texts where that of ``bm25`` does not."""
    if not held or _share(held, bm25) >= _OTHER:
        return None
    shares: dict[Language, float] = {
        language: _share(held, replace(bm25, language=language)) for language in get_args(Language)
    }
    best = max(shares, key=lambda language: shares[language])
    return best if shares[best] >= _SAME else None


def _share(held: Sequence[tuple[str, frozenset[int]]], bm25: Bm25) -> float:
    """Of the terms that vectors or texts have, those that both have: 0 to 1."""
    both = either = 0
    for text, terms in held:
        expected = set(bm25.query(text).indices)
        both += len(expected & terms)
        either += len(expected | terms)
    return both / max(1, either)
