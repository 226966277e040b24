"""How queries and documents are worded for a model that treats them differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vecdb_rerank._checks import check_type
from vecdb_rerank.embedders.formats import EmbedFormat, Side
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.http.request_limits import shortened
from vecdb_rerank.text_fields import valid_unicode

_BLANK = "."  # in place of an empty text, which services refuse


@dataclass(frozen=True, slots=True)
class Wording:
    """What is written before a text, and what it is called in a request, by `Side`."""

    wire: EmbedFormat
    prefixes: Mapping[Side, str]
    kinds: Mapping[Side, str]

    @classmethod
    def of(
        cls,
        wire: EmbedFormat,
        query_prefix: str,
        document_prefix: str,
        query_kind: str | None,
        document_kind: str | None,
    ) -> Wording:
        """Return the wording of these options; kinds that are None are the service's own.

        Raise `ConfigurationError` for a kind that the service has no field for.
        """
        check_type("query_prefix", query_prefix, str)
        check_type("document_prefix", document_prefix, str)
        for name, kind in (("query_kind", query_kind), ("document_kind", document_kind)):
            check_type(name, kind, str)
            if kind and wire.kind is None:
                instead = name.replace("kind", "prefix")
                raise ConfigurationError(name, f"this API has no field for it; use {instead}")
        return cls(
            wire,
            {"query": query_prefix, "document": document_prefix},
            {
                "query": wire.query_kind if query_kind is None else query_kind,
                "document": wire.document_kind if document_kind is None else document_kind,
            },
        )

    def text(self, side: Side, text: str) -> str:
        """Return what is sent of ``text``: never nothing, and no more than the service takes."""
        sent = valid_unicode(self.prefixes[side] + (text if text.strip() else _BLANK))
        most = self.wire.text_tokens
        return sent if most is None else shortened(sent, most)

    @property
    def name(self) -> str:
        """What differs from the service's own wording, or ""."""
        usual = {"query": self.wire.query_kind, "document": self.wire.document_kind}
        return ":".join(
            f"{side}={kind}{self.prefixes[side]!r}"
            for side, kind in self.kinds.items()
            if self.prefixes[side] or kind != usual[side]
        )
