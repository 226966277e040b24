"""What the tools for agents return: results of bounded size, as JSON; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vecdb_rerank.model import Candidate, Span
from vecdb_rerank.server.json_text import dumps
from vecdb_rerank.server.mcp import document_ids
from vecdb_rerank.text_fields import as_text, lookup

if TYPE_CHECKING:
    from vecdb_rerank.config.serve_mcp import McpSettings
    from vecdb_rerank.outcome import Outcome
    from vecdb_rerank.server.search.searching import Document, Found

_TITLE = 200  # characters
_URL = 2_000  # characters
_METADATA = 10_000  # bytes of JSON
_CUT = "…"


def search_result(found: Found, settings: McpSettings) -> str:
    """Return the hits of a search as ``{"results": [{id, title, url, text, score, relevance}]}``.

    ``text`` is the best passage of the document, if it is known, else its beginning; ``relevance``
    (0 to 1) is null for hits that no reranker read.
    """
    results = list(_results(found.candidates, found.outcome, settings))
    return dumps({"results": results}).decode()


def document_result(document: Document, settings: McpSettings, text_paths: Sequence[str]) -> str:
    """Return a document as ``{id, title, text, url, metadata}``.

    ``metadata`` holds the other fields of the payload, as far as there is room for them.
    """
    payload = document.payload
    shown = {settings.title_field, settings.url_field, *text_paths}
    text = document.text
    if len(text) > settings.document_chars:
        text = (
            f"{text[: settings.document_chars]}{_CUT}\n"
            f"[the document has {len(text):,} characters; the rest is left out]"
        )
    found = {
        "id": document_ids.written(document.id),
        "title": _title(payload, document.text, settings),
        "text": text,
        "url": _url(payload, settings),
        "metadata": _metadata({k: v for k, v in payload.items() if k not in shown}),
    }
    return dumps(found).decode()


def _results(
    candidates: Sequence[Candidate], outcome: Outcome, settings: McpSettings
) -> Iterator[dict[str, object]]:
    for hit in candidates:
        yield {
            "id": document_ids.written(hit.id),
            "title": _title(hit.payload, hit.text, settings),
            "url": _url(hit.payload, settings),
            "text": _snippet(hit.text, outcome.passages.get(hit.id), settings.result_chars),
            "score": hit.score,
            "relevance": outcome.relevance.get(hit.id),
        }


def _snippet(text: str, passage: Span | None, most: int) -> str:
    start, end = passage or (0, len(text))
    end = min(end, start + most)
    before, after = _CUT if start > 0 else "", _CUT if end < len(text) else ""
    return f"{before}{text[start:end].strip()}{after}"


def _title(payload: Mapping[str, object], text: str, settings: McpSettings) -> str:
    """Return the document's title; the beginning of its text if it has none."""
    title = as_text(lookup(payload, settings.title_field), _TITLE)
    return " ".join((title or text[: 2 * _TITLE].strip().partition("\n")[0])[:_TITLE].split())


def _url(payload: Mapping[str, object], settings: McpSettings) -> str:
    """Return the document's address, which is never opened here; empty if it has none."""
    value = lookup(payload, settings.url_field)
    return value if isinstance(value, str) and len(value) <= _URL else ""


def _metadata(payload: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    left = _METADATA
    for name, value in payload.items():
        left_after = left - len(dumps([name, value]))
        if left_after >= 0:
            found[name], left = value, left_after
    return found
