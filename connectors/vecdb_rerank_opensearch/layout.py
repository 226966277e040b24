"""Where an index keeps what is searched."""

from __future__ import annotations

from dataclasses import dataclass

from vecdb_rerank.request import Language

# The field for the text that BM25 searches: what `TextFields` makes of a payload.
BM25_TEXT = "bm25_text"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where an index keeps what is searched. ``bm25_fields`` may carry boosts (``title^2``).

    ``language`` is that of the texts of an index that is created.
    """

    index: str
    dense_vector: str = "dense"
    bm25_fields: tuple[str, ...] = (BM25_TEXT,)
    language: Language = "english"
