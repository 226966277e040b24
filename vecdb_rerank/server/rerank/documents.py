"""The texts that a reranker reads, from the documents of a request: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.resilience.passages import words
from vecdb_rerank.text_fields import as_text, lookup

Document = str | Mapping[str, object]
Side = Literal["left", "right"]
# Special tokens around a query and a document.
_SPECIAL = 3


@dataclass(frozen=True, slots=True)
class Cut:
    """How much of texts is read, in tokens; None for as much as the reranker takes.

    ``together`` limits the query with each document. ``side`` is where a document is cut.
    """

    document: int | None = None
    query: int | None = None
    together: int | None = None
    side: Side = "right"

    @property
    def changes(self) -> bool:
        """Whether anything is cut that the reranker would not cut itself."""
        return self != NOT_CUT


NOT_CUT = Cut()


def text_of(document: Document, fields: Sequence[str], most: int, side: Side = "right") -> str:
    """Return the text of a document: of an object its ``fields``, by default ``text``.

    Several fields, or an object without a ``text``, are written as YAML, in their order. What goes
    beyond ``most`` characters is cut at this ``side``.
    """
    text = document if isinstance(document, str) else _of_object(document, fields, most)
    return text[:most] if side == "right" else text[-most:]


def _of_object(document: Mapping[str, object], fields: Sequence[str], most: int) -> str:
    names = fields or (["text"] if isinstance(document.get("text"), str) else [])
    if len(names) == 1:
        return as_text(lookup(document, names[0]), most)
    found = {name: lookup(document, name) for name in names} if names else document
    known = {name: value for name, value in found.items() if value is not None}
    return as_text(known, most) if known else ""


def shown(document: Document, text: str) -> dict[str, object]:
    """Return a document as answers hold it: an object with its ``text``."""
    if isinstance(document, str):
        return {"text": document}
    return {**document, "text": document.get("text", text)}


def cut_texts(
    reranker: BaseReranker, query: str, texts: Sequence[str], cut: Cut
) -> tuple[str, Sequence[str]]:
    """Return the query and the texts as far as they are to be read; see `Cut`."""
    if cut.query is not None:
        query = _cut(reranker, query, cut.query, "right")
    limits = [cut.document]
    if cut.together is not None:
        limits.append(max(1, cut.together - len(_tokens(reranker, query)) - _SPECIAL))
    if cut.side == "left":
        limits.append(reranker.room(query))
    known = [limit for limit in limits if limit is not None]
    if not known:
        return query, texts
    return query, [_cut(reranker, text, min(known), cut.side) for text in texts]


def _cut(reranker: BaseReranker, text: str, tokens: int, side: Side) -> str:
    if text.isascii() and len(text) <= tokens:  # a token has at least one character
        return text
    found = _tokens(reranker, text)
    if len(found) <= tokens:
        return text
    return text[: found[tokens - 1][1]] if side == "right" else text[found[-tokens][0] :]


def _tokens(reranker: BaseReranker, text: str) -> Sequence[tuple[int, int]]:
    """Return the spans of the reranker's tokens; of words if it does not tell."""
    own = reranker.token_offsets(text)
    return words(text) if own is None else own
