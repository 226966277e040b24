"""Encode queries and documents, and join them to pairs that fit the model.

A pair is built from the token ids of its parts and the model's own template. Its ids are those
that the tokenizer gives for the pair itself, except that a query which is too long keeps its
beginning and its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vecdb_rerank.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy.typing as npt
    from tokenizers import Tokenizer

    Ids: TypeAlias = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Text:
    """The token ids of a text; a document's are cut at the model's limit.

    ``total`` is the number of tokens of the whole text.
    """

    ids: Ids
    total: int


@dataclass(frozen=True, slots=True)
class Pair:
    """The token ids of a query and a document, cut to fit together.

    ``length`` includes the template's tokens. ``truncated`` and ``query_truncated`` say whether
    tokens of the document or of the query were left out.
    """

    query: Ids
    document: Ids
    length: int
    truncated: bool
    query_truncated: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """The ids before, between and after query and document, and their token types.

    ``query`` and ``document`` are formats: a text replaces their ``{}`` before it is tokenized.
    ``{instruction}`` in ``query`` is replaced by a call's instruction, or by ``instruction``.
    ``query_type`` and ``document_type`` are the token types of the text's own ids.
    """

    before: Ids
    between: Ids
    after: Ids
    query: str = "{}"
    document: str = "{}"
    instruction: str = ""
    types: tuple[Ids, Ids, Ids] | None = None
    query_type: int = 0
    document_type: int = 0

    def asked(self, query: str, instruction: str = "") -> str:
        """Return the text of a query in its format."""
        parts = self.query.partition("{}")
        given = instruction or self.instruction
        before, after = (part.replace("{instruction}", given) for part in (parts[0], parts[2]))
        return f"{before}{query}{after}"

    @property
    def added(self) -> int:
        """The number of ids that the template adds to a pair."""
        return len(self.before) + len(self.between) + len(self.after)

    def types_of(self, pairs: Sequence[Pair]) -> Ids:
        """Return the token types of ``pairs``, concatenated."""
        before, between, after = self.types or (self.before * 0, self.between * 0, self.after * 0)
        parts = []
        for pair in pairs:
            query = np.full(len(pair.query), self.query_type, np.int32)
            document = np.full(len(pair.document), self.document_type, np.int32)
            parts += [before, query, between, document, after]
        return np.concatenate(parts)

    def ids_of(self, pairs: Sequence[Pair]) -> Ids:
        """Return the token ids of ``pairs``, concatenated."""
        parts = []
        for pair in pairs:
            parts += [self.before, pair.query, self.between, pair.document, self.after]
        return np.concatenate(parts)


def split_limit(query: int, document: int, limit: int) -> tuple[int, int]:
    """Return how many tokens of a query and of a document are kept, at most ``limit`` together.

    Each keeps at least half of ``limit``, and what the other one does not need. This is the
    ``longest_first`` strategy of the ``tokenizers`` library, but for an odd limit, whose last token
    always goes to the document.
    """
    query = min(query, max(limit // 2, limit - document))
    return query, min(document, limit - query)


def keep_ends(ids: Ids, limit: int) -> Ids:
    """Return the first and the last of ``ids``, half of ``limit`` each; one more of the last.

    A long query often ends with its question.
    """
    if len(ids) <= limit:
        return ids
    first = limit // 2
    return np.concatenate([ids[:first], ids[len(ids) - (limit - first) :]])


def pair_template(tokenizer: Tokenizer, *, typed: bool) -> Template:
    """Return the template of the tokenizer's own pairs.

    ``typed``: whether the model reads token types. Turns off the padding and truncation of
    the tokenizer's file. Raises `ConfigurationError` if the tokenizer cannot encode pairs.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    pair = tokenizer.encode("a", "b")
    sequences = pair.sequence_ids
    if 0 not in sequences or 1 not in sequences:
        raise ConfigurationError("model", "its tokenizer has no tokens for the letters a and b")
    query, document = sequences.index(0), sequences.index(1)
    query_end = query + sequences.count(0)
    document_end = document + sequences.count(1)
    if not query < query_end <= document < document_end:
        raise ConfigurationError("model", "its tokenizer puts the document before the query")
    ids = np.array(pair.ids, np.int32)
    types = np.array(pair.type_ids, np.int32)
    parts = (slice(0, query), slice(query_end, document), slice(document_end, None))
    before, between, after = (ids[part] for part in parts)
    if not typed:
        return Template(before, between, after)
    return Template(
        before,
        between,
        after,
        types=(types[parts[0]], types[parts[1]], types[parts[2]]),
        query_type=int(types[query]),
        document_type=int(types[document]),
    )


def single_template(tokenizer: Tokenizer) -> Template:
    """Return the template of one text, as the document of a pair with an empty query.

    Turns off the padding and truncation of the tokenizer's file.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    encoded = tokenizer.encode("a")
    if 0 not in encoded.sequence_ids:
        raise ConfigurationError("model", "its tokenizer has no token for the letter a")
    start = encoded.sequence_ids.index(0)
    end = start + encoded.sequence_ids.count(0)
    ids = np.array(encoded.ids, np.int32)
    return Template(ids[:start], ids[:0], ids[end:])


class PairEncoder:
    """Encodes queries and documents with a tokenizer and the template of a model.

    The tokenizer must neither pad nor truncate, nor parse special tokens
    (`special_tokens.disable_special_tokens`). Safe for threads.
    """

    def __init__(self, tokenizer: Tokenizer, template: Template, max_length: int) -> None:
        self.template = template
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._limit = max_length - template.added
        if self._limit < 2:
            raise ConfigurationError(
                "max_length",
                f"must be at least {template.added + 2}, the {template.added} tokens of the "
                f"model's template and 2 of text; got {max_length}",
            )

    def query(self, text: str, instruction: str = "") -> Text:
        """Return all token ids of a query."""
        (ids,) = self._encode([self.template.asked(text, instruction)])
        return Text(np.array(ids, np.int32), len(ids))

    def documents(self, texts: Sequence[str]) -> list[Text]:
        """Return the token ids of documents, of each as many as the model can read."""
        encoded = self._encode([self.template.document.replace("{}", text) for text in texts])
        return [Text(np.array(ids[: self._max_length], np.int32), len(ids)) for ids in encoded]

    def document_limit(self, query: str, instruction: str = "") -> int:
        """Return how many tokens of a long document the model reads together with ``query``."""
        return split_limit(self.query(query, instruction).total, self._max_length, self._limit)[1]

    def offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Return the span of characters of ``text`` that each token stands for."""
        return self._tokenizer.encode(text, add_special_tokens=False).offsets

    def pairs(self, query: Text, documents: Sequence[Text]) -> list[Pair]:
        """Join ``query`` with each document, cut to the model's limit."""
        return [self._pair(query, document) for document in documents]

    def _pair(self, query: Text, document: Text) -> Pair:
        kept, read = split_limit(query.total, document.total, self._limit)
        return Pair(
            keep_ends(query.ids, kept),
            document.ids[:read],
            kept + read + self.template.added,
            read < document.total,
            kept < query.total,
        )

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if len(texts) == 1:  # no batch: it would use threads, which do not survive a fork
            return [self._tokenizer.encode(texts[0], add_special_tokens=False).ids]
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]
