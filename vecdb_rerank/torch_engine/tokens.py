"""Texts to token ids, each text once: the query once per call, documents from a cache.

A pair is put together from the ids of its parts by the model's own template. The ids are those
that the tokenizer gives for the pair itself, truncation included (``longest_first``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.torch_engine.lru_cache import LruCache, digest

if TYPE_CHECKING:
    import numpy.typing as npt
    from tokenizers import Tokenizer

    Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Text:
    """The ids of a text, at most as many as the model reads, and how many it has in all."""

    ids: Ids
    total: int


@dataclass(frozen=True, slots=True)
class Pair:
    """The ids of a query and a document, cut to fit together; ``length`` with the template's."""

    query: Ids
    document: Ids
    length: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Template:
    """What stands before, between and after query and document, as ids and token types.

    ``query`` and ``document`` are what a text is put into (``{}``) before it is tokenized;
    ``query_type`` and ``document_type`` are the token types of their ids.
    """

    before: Ids
    between: Ids
    after: Ids
    query: str = "{}"
    document: str = "{}"
    types: tuple[Ids, Ids, Ids] | None = None
    query_type: int = 0
    document_type: int = 0
    cuts_query: bool = True  # longest_first; else the document alone, as long as it has half

    @property
    def added(self) -> int:
        """How many ids the template itself takes."""
        return len(self.before) + len(self.between) + len(self.after)

    def cut(self, query: int, document: int, room: int) -> tuple[int, int]:
        """How many ids of each are kept where there is ``room`` for so many."""
        if self.cuts_query:
            return longest_first(query, document, room)
        query = min(query, room if not document else max(room // 2, room - document))
        return query, min(document, room - query)

    def types_of(self, pairs: Sequence[Pair]) -> Ids:
        """The token types of the pairs, one after another."""
        before, between, after = self.types or (self.before * 0, self.between * 0, self.after * 0)
        parts = []
        for pair in pairs:
            query = np.full(len(pair.query), self.query_type, np.int32)
            document = np.full(len(pair.document), self.document_type, np.int32)
            parts += [before, query, between, document, after]
        return np.concatenate(parts)

    def ids_of(self, pairs: Sequence[Pair]) -> Ids:
        """The ids of the pairs, one after another."""
        parts = []
        for pair in pairs:
            parts += [self.before, pair.query, self.between, pair.document, self.after]
        return np.concatenate(parts)


def longest_first(query: int, document: int, room: int) -> tuple[int, int]:
    """How many ids of each are kept, as the ``tokenizers`` library does it.

    The shorter one stays whole where it takes at most half of the room; else both get half, and
    an odd id goes to the longer one.
    """
    if query + document <= room:
        return query, document
    short, long = sorted((query, document))
    if short <= room // 2:
        short, long = short, room - short
    else:
        short, long = room // 2, room - room // 2
    return (long, short) if query > document else (short, long)


def pair_template(tokenizer: Tokenizer, *, typed: bool) -> Template:
    """The template of the tokenizer's own pairs; ``typed`` where the model reads token types.

    Padding and truncation that its file asks for are switched off, for good.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    pair = tokenizer.encode("a", "b")
    owner = pair.sequence_ids
    if 0 not in owner or 1 not in owner:
        raise ConfigurationError("model", "its tokenizer has no ids for the letters a and b")
    query, document = owner.index(0), owner.index(1)
    query_end = query + owner.count(0)
    document_end = document + owner.count(1)
    if not query < query_end <= document < document_end:
        raise ConfigurationError("model", "its tokenizer puts the document before the query")
    ids = np.array(pair.ids, np.int32)
    types = np.array(pair.type_ids, np.int32)
    cuts = (slice(0, query), slice(query_end, document), slice(document_end, None))
    before, between, after = (ids[cut] for cut in cuts)
    if not typed:
        return Template(before, between, after)
    return Template(
        before,
        between,
        after,
        types=(types[cuts[0]], types[cuts[1]], types[cuts[2]]),
        query_type=int(types[query]),
        document_type=int(types[document]),
    )


def single_template(tokenizer: Tokenizer) -> Template:
    """The template of a text by itself, as the document of a pair without a query."""
    encoded = tokenizer.encode("a")
    if 0 not in encoded.sequence_ids:
        raise ConfigurationError("model", "its tokenizer has no id for the letter a")
    start = encoded.sequence_ids.index(0)
    end = start + encoded.sequence_ids.count(0)
    ids = np.array(encoded.ids, np.int32)
    return Template(ids[:start], ids[:0], ids[end:])


def _size(text: Text) -> int:
    return text.ids.nbytes + 200  # the array object and the dataclass


class Tokens:
    """A tokenizer, the template, and the cache of document ids.

    The tokenizer neither pads nor truncates, and nothing of it is changed from here on, so
    threads may use it at once.
    """

    def __init__(
        self, tokenizer: Tokenizer, template: Template, max_length: int, cache_bytes: int
    ) -> None:
        self.template = template
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._room = max_length - template.added
        if self._room < 2:
            raise ConfigurationError(
                "max_length",
                f"{max_length} leaves no room beside the {template.added} tokens of "
                "the model's template",
            )
        self.cache: LruCache[Text] = LruCache(cache_bytes, _size)

    def query(self, text: str) -> Text:
        """The ids of a query."""
        return self._encode([self.template.query.replace("{}", text)])[0]

    def documents(self, texts: Sequence[str], keys: Sequence[bytes] | None = None) -> list[Text]:
        """The ids of documents; ``keys`` are their digests, where the caller has them already."""
        keys = [digest(text) for text in texts] if keys is None else keys
        found = self.cache.get(keys)
        missing = [n for n, text in enumerate(found) if text is None]
        if missing:
            into = self.template.document
            new = self._encode([into.replace("{}", texts[n]) for n in missing])
            self.cache.put((keys[n], text) for n, text in zip(missing, new, strict=True))
            for n, text in zip(missing, new, strict=True):
                found[n] = text
        return [text for text in found if text is not None]

    def room(self, query: str) -> int:
        """How many ids of a long document are read beside ``query``."""
        return self.template.cut(self.query(query).total, self._max_length, self._room)[1]

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """The characters of ``text`` that each of its ids stands for."""
        found: Sequence[tuple[int, int]]
        found = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return found

    def pairs(self, query: Text, documents: Sequence[Text]) -> list[Pair]:
        """Each document with the query, cut to ``max_length`` ids together."""
        return [self._pair(query, document) for document in documents]

    def _pair(self, query: Text, document: Text) -> Pair:
        kept, read = self.template.cut(query.total, document.total, self._room)
        return Pair(
            query.ids[:kept],
            document.ids[:read],
            kept + read + self.template.added,
            read < document.total,
        )

    def _encode(self, texts: Sequence[str]) -> list[Text]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [self._text(encoding.ids) for encoding in encodings]

    def _text(self, ids: list[int]) -> Text:
        return Text(np.array(ids[: self._max_length], np.int32), len(ids))
