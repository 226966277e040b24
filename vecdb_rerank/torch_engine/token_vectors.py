"""Token vectors for late interaction: the encoder, and MaxSim.

A document's vectors do not depend on the query, so they are kept; a query is encoded once a call.
Both go through the engine's queue, packed, as pairs of which one side is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.torch_engine.checkpoints import loading
from vecdb_rerank.torch_engine.checkpoints.colbert import Scheme, scheme
from vecdb_rerank.torch_engine.runner import Runner, computing
from vecdb_rerank.torch_engine.spec import Spec
from vecdb_rerank.torch_engine.tokens import Pair, Template, Text, Tokens

if TYPE_CHECKING:
    import numpy.typing as npt

    Vectors = npt.NDArray[Any]  # (tokens, width), float32 or float16

_EMPTY = np.array([], np.int32)


class Encoder(Runner):
    """A loaded encoder that makes vectors of texts: (tokens, width), of length 1 each."""

    tokens: Texts

    def _loaded(self, spec: Spec) -> loading.Loaded:
        loaded = loading.load(spec)
        self.scheme = scheme(loaded.folder)
        return loaded

    def _tokens(self, spec: Spec, loaded: loading.Loaded) -> Texts:
        return Texts(loaded, self.scheme, spec.max_length)

    def _forward(self, spec: Spec, loaded: loading.Loaded) -> TokenVectors:
        made = computing(spec, loaded, self.budget)
        documents, queries = made(self.tokens.template), made(self.tokens.whole)
        return TokenVectors(documents, queries, self.tokens, self.scheme, loaded)


class Texts(Tokens):
    """Token ids of documents and queries, with markers; the vectors are kept instead of ids."""

    def __init__(self, loaded: loading.Loaded, scheme: Scheme, max_length: int) -> None:
        own = loaded.template
        if not own.added:
            raise ConfigurationError("model", "its tokenizer marks neither begin nor end of a text")
        self._ids: Mapping[str, int] = loaded.tokenizer.get_vocab()
        marked = np.concatenate([own.before, self._marker(scheme.document_marker)])
        super().__init__(loaded.tokenizer, replace(own, before=marked), max_length, 0)
        self.whole = Template(_EMPTY, _EMPTY, _EMPTY)  # a query has all its ids itself
        self.skipped = [self._ids[word] for word in scheme.skipped if word in self._ids]
        self._before = np.concatenate([own.before, self._marker(scheme.query_marker)])
        self._after = own.after
        self._fill = scheme.query_length
        self._longest = scheme.query_length or max_length
        self.mask = loaded.mask
        if self._fill and self.mask is None:
            raise ConfigurationError("model", "its queries are filled up, but it has no mask token")

    def query(self, text: str) -> Text:  # noqa: ARG002 - `Tokens` has it
        """Nothing: documents are read by themselves."""
        return Text(_EMPTY, 0)

    def asked(self, text: str) -> Pair:
        """A query as a pair without a document."""
        room = self._longest - len(self._before) - len(self._after)
        ids = np.concatenate([self._before, self._encode([text])[0].ids[:room], self._after])
        filled = np.full(max(0, self._fill - len(ids)), self.mask, np.int32)
        ids = np.concatenate([ids, filled]).astype(np.int32)
        return Pair(ids, _EMPTY, len(ids), False)

    def _marker(self, marker: str | None) -> list[int]:
        if marker and marker not in self._ids:
            raise ConfigurationError("model", f"its tokenizer has no token {marker!r}")
        return [self._ids[marker]] if marker else []


class TokenVectors:
    """The vectors of pairs of which one side is empty."""

    def __init__(
        self, documents: Any, queries: Any, tokens: Texts, scheme: Scheme, loaded: loading.Loaded
    ) -> None:
        self._documents = documents
        self._queries = queries
        self._texts = tokens
        self._masks_seen = scheme.masks_seen
        self._projections = [
            (weight.to(loaded.device), None if bias is None else bias.to(loaded.device))
            for weight, bias in scheme.projections
        ]
        self._kept = np.float32 if loaded.dtype == torch.float32 else np.float16

    def tokens(self, pairs: Sequence[Pair]) -> int:
        """How many tokens will be computed for them."""
        documents = [pair for pair in pairs if not len(pair.query)]
        queries = sum(pair.length for pair in pairs if len(pair.query))
        return int(self._documents.tokens(documents)) + queries

    @torch.inference_mode()
    def __call__(self, pairs: Sequence[Pair]) -> list[Vectors]:
        """The vectors of each pair, on the CPU."""
        documents = [pair for pair in pairs if not len(pair.query)]
        rows = iter(self._documents.rows(documents) if documents else ())
        return [
            self._query(pair) if len(pair.query) else self._document(pair, next(rows))
            for pair in pairs
        ]

    def _query(self, pair: Pair) -> Vectors:
        last = int(np.flatnonzero(pair.query != self._texts.mask)[-1])
        seen = None if self._masks_seen else last + 1
        return self._vectors(self._queries.rows([pair], seen)[0])

    def _document(self, pair: Pair, rows: Tensor) -> Vectors:
        skipped = np.isin(self._texts.template.ids_of([pair]), self._texts.skipped)
        return self._vectors(rows)[~skipped]

    def _vectors(self, rows: Tensor) -> Vectors:
        rows = rows.float()
        for weight, bias in self._projections:
            rows = linear(rows, weight, bias)
        vectors: Vectors = normalize(rows, dim=-1).cpu().numpy().astype(self._kept)
        return vectors


def max_sim(query: Vectors, documents: Sequence[Vectors]) -> list[float]:
    """For each document: the sum over the query's vectors of the best product with one of its."""
    starts = np.cumsum([0, *map(len, documents[:-1])])
    products = np.concatenate(documents).astype(np.float32) @ query.astype(np.float32).T
    sums: list[float] = np.maximum.reduceat(products, starts).sum(1).tolist()
    return sums
