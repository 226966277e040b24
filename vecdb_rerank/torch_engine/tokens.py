"""Tokenize each document once: keep the token ids of documents in a cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.tokenization.pairs import PairEncoder, Template, Text
from vecdb_rerank.torch_engine.lru_cache import LruCache, digest

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_OBJECT_BYTES = 200  # of the array object and the dataclass


def _size(text: Text) -> int:
    return text.ids.nbytes + _OBJECT_BYTES


class CachedEncoder(PairEncoder):
    """A `PairEncoder` with a cache of ``cache_bytes`` for the ids of documents."""

    def __init__(
        self, tokenizer: Tokenizer, template: Template, max_length: int, cache_bytes: int
    ) -> None:
        super().__init__(tokenizer, template, max_length)
        self.cache: LruCache[Text] = LruCache(cache_bytes, _size)

    def documents(self, texts: Sequence[str], keys: Sequence[bytes] | None = None) -> list[Text]:
        """Return the token ids of documents; ``keys`` are their digests, if already known."""
        keys = [digest(text) for text in texts] if keys is None else keys
        found = self.cache.get(keys)
        missing = [n for n, text in enumerate(found) if text is None]
        if missing:
            new = super().documents([texts[n] for n in missing])
            self.cache.put((keys[n], text) for n, text in zip(missing, new, strict=True))
            for n, text in zip(missing, new, strict=True):
                found[n] = text
        return [text for text in found if text is not None]


class SingleEncoder(CachedEncoder):
    """Encodes texts alone, as the documents of pairs whose query is empty; caches no ids.

    Raises `ConfigurationError` for a template without ids: an empty text would have none.
    """

    def __init__(self, tokenizer: Tokenizer, template: Template, max_length: int) -> None:
        if not template.added:
            raise ConfigurationError(
                "model", "its tokenizer marks neither the beginning nor the end of a text"
            )
        super().__init__(tokenizer, template, max_length, 0)

    def query(self, text: str, instruction: str = "") -> Text:  # noqa: ARG002 - has no place
        """Return no ids: documents are encoded without the query."""
        return Text(np.array([], np.int32), 0)
