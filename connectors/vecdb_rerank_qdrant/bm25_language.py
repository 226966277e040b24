"""In which language, and with which terms, a collection's BM25 vectors were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from qdrant_client.http import models

from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.request import UNSPACED, Language
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.client import Client

_SAMPLE = 16  # points; a dozen words distinguish languages
# Shares of terms: below the one, vectors were not made in a language; from the other on they were.
_OTHER, _SAME = 0.9, 0.95
Held = Sequence[tuple[str, frozenset[int]]]  # texts, and the terms of their stored vectors


def other_language(
    client: Client, collection: str, vector: str, bm25: Bm25, text_fields: TextFields
) -> Flow[Language | None]:
    """Return the language of which the BM25 vectors hold the stems, if it is another one.

    A query in the wrong language only finds the words that both languages stem alike.
    """
    return made_in((yield from _held(client, collection, vector, text_fields)), bm25)


def missing_terms(
    client: Client, collection: str, vector: str, bm25: Bm25, text_fields: TextFields
) -> Flow[str]:
    """Return what adding the documents again would make findable; empty if nothing.

    Vectors made by a server lack the pairs of characters of scripts without spaces, and the parts
    of identifiers.
    """
    held = yield from _held(client, collection, vector, text_fields)
    lacking = sum(not bm25.more_terms(text) <= terms for text, terms in held)
    if not lacking:
        return ""
    return (
        f"{lacking} of {len(held)} sampled documents hold text without spaces, or identifiers, "
        "that their vectors do not hold in parts: only whole ones are found"
    )


def _held(client: Client, collection: str, vector: str, text_fields: TextFields) -> Flow[Held]:
    points: list[models.Record]
    points, _ = yield Call(
        lambda: client.scroll(collection, limit=_SAMPLE, with_payload=True, with_vectors=[vector])
    )
    return [
        (text_fields.text(point.payload), frozenset(sparse.indices))
        for point in points
        if isinstance(point.vector, dict)
        and isinstance(sparse := point.vector.get(vector), models.SparseVector)
    ]


def language_of(held: Held, bm25: Bm25) -> Language | None:
    """Return the language of the terms that vectors hold; None if they are no BM25 terms.

    That of ``bm25`` is tried first.
    """
    return bm25.language if held and _share(held, bm25) >= _OTHER else made_in(held, bm25)


def made_in(held: Held, bm25: Bm25) -> Language | None:
    """Return the language that explains the terms of texts if that of ``bm25`` does not."""
    if not held or _share(held, bm25) >= _OTHER:
        return None
    shares: dict[Language, float] = {
        language: _share(held, replace(bm25, language=language))
        for language in get_args(Language)
        if language not in UNSPACED
    }
    best = max(shares, key=lambda language: shares[language])
    return best if shares[best] >= _SAME else None


def _share(held: Held, bm25: Bm25) -> float:
    """Return the share of terms that both vectors and texts have (0 to 1).

    Terms that are only made here count for neither: a vector may be a server's.
    """
    both = either = 0
    for text, terms in held:
        expected = bm25.server_terms(text)
        both += len(expected & terms)
        either += len(expected | (terms - bm25.more_terms(text)))
    return both / max(1, either)
