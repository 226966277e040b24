"""Compute token vectors for late interaction, and MaxSim.

The vectors of a document do not depend on the query and are cached. The query is encoded once per
call. Both pass through the engine's queue as pairs with one empty side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear, normalize

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.tokenization.pairs import Pair, PairEncoder, Template, keep_ends
from vecdb_rerank.tokenization.special_tokens import disable_special_tokens
from vecdb_rerank.torch_engine.checkpoints import loading
from vecdb_rerank.torch_engine.checkpoints.colbert import ColbertConfig, read_colbert_config
from vecdb_rerank.torch_engine.compute.forward import PackedForward, PaddedForward
from vecdb_rerank.torch_engine.runner import Runner, make_forward
from vecdb_rerank.torch_engine.spec import Spec
from vecdb_rerank.torch_engine.tokens import SingleEncoder

if TYPE_CHECKING:
    import numpy.typing as npt

    Vectors: TypeAlias = npt.NDArray[np.floating]  # (tokens, width), float32 or float16

_EMPTY = np.array([], np.int32)


class VectorRunner(Runner["Vectors"]):
    """A loaded encoder that computes unit vectors of a text's tokens, shape (tokens, width)."""

    encoder: TextEncoder

    def __init__(self, spec: Spec) -> None:
        loaded = loading.load(spec)
        super().__init__(spec, loaded)
        config = read_colbert_config(loaded.folder)
        self.encoder = TextEncoder(loaded, config, spec.max_length)
        forward = make_forward(spec, loaded, self.budget, first_only=False)
        documents, queries = forward(self.encoder.template), forward(self.encoder.whole)
        self.forward = VectorForward(documents, queries, self.encoder, config, loaded)


class TextEncoder(SingleEncoder):
    """Token ids of documents and of queries, with their markers.

    Ids are not cached, because the vectors are.
    """

    def __init__(self, loaded: loading.Loaded, config: ColbertConfig, max_length: int) -> None:
        template = loaded.template
        self._vocabulary = loaded.tokenizer.get_vocab()
        query_marker = self._marker(config.query_marker)
        document_marker = self._marker(config.document_marker)
        disable_special_tokens(loaded.tokenizer, [*query_marker, *document_marker])
        before = np.concatenate([template.before, document_marker]).astype(np.int32)
        super().__init__(loaded.tokenizer, replace(template, before=before), max_length)
        self.whole = Template(_EMPTY, _EMPTY, _EMPTY)  # for queries, which have all their ids
        self.skipped = [self._vocabulary[w] for w in config.skipped if w in self._vocabulary]
        self._before = np.concatenate([template.before, query_marker]).astype(np.int32)
        self._after = template.after
        self._query_length = config.query_length
        self._query_limit = (
            (config.query_length or max_length) - len(self._before) - len(self._after)
        )
        self.mask = loaded.mask
        if self._query_length and self.mask is None:
            raise ConfigurationError(
                "model", "its queries are filled with mask tokens, but it has no mask token"
            )

    def query_pair(self, text: str) -> Pair:
        """Return a query as a pair without a document, cut or filled to the query length."""
        query = PairEncoder.query(self, text)
        parts = [self._before, keep_ends(query.ids, self._query_limit), self._after]
        missing = max(0, self._query_length - sum(map(len, parts)))
        ids = np.concatenate([*parts, np.full(missing, self.mask or 0)]).astype(np.int32)
        return Pair(ids, _EMPTY, len(ids), False, query.total > self._query_limit)

    def _marker(self, marker: str | None) -> list[int]:
        if marker and marker not in self._vocabulary:
            raise ConfigurationError("model", f"its tokenizer has no token {marker!r}")
        return [self._vocabulary[marker]] if marker else []


class VectorForward:
    """Computes the token vectors of pairs with one empty side."""

    def __init__(
        self,
        documents: PackedForward | PaddedForward,
        queries: PackedForward | PaddedForward,
        encoder: TextEncoder,
        config: ColbertConfig,
        loaded: loading.Loaded,
    ) -> None:
        self._documents = documents
        self._queries = queries
        self._encoder = encoder
        self._attend_to_masks = config.attend_to_masks
        self._projections = [
            (weight.to(loaded.device), None if bias is None else bias.to(loaded.device))
            for weight, bias in config.projections
        ]
        self._dtype = np.float32 if loaded.dtype == torch.float32 else np.float16

    def tokens(self, pairs: Sequence[Pair]) -> int:
        """Return how many tokens are computed for ``pairs``."""
        documents = [pair for pair in pairs if not len(pair.query)]
        queries = sum(pair.length for pair in pairs if len(pair.query))
        return self._documents.tokens(documents) + queries

    @torch.inference_mode()
    def __call__(self, pairs: Sequence[Pair]) -> list[Vectors]:
        """Return the vectors of each pair, on the CPU."""
        documents = [pair for pair in pairs if not len(pair.query)]
        rows = iter(self._documents.hidden_states(documents) if documents else ())
        return [
            self._query(pair) if len(pair.query) else self._document(pair, next(rows))
            for pair in pairs
        ]

    def _query(self, pair: Pair) -> Vectors:
        last = int(np.flatnonzero(pair.query != self._encoder.mask)[-1])
        visible = None if self._attend_to_masks else last + 1
        return self._vectors(self._queries.hidden_states([pair], visible)[0])

    def _document(self, pair: Pair, rows: Tensor) -> Vectors:
        skipped = np.isin(self._encoder.template.ids_of([pair]), self._encoder.skipped)
        return self._vectors(rows)[~skipped]

    def _vectors(self, rows: Tensor) -> Vectors:
        rows = rows.float()
        for weight, bias in self._projections:
            rows = linear(rows, weight, bias)
        vectors: Vectors = normalize(rows, dim=-1).cpu().numpy().astype(self._dtype)
        return vectors


def max_sim(query: Vectors, documents: Sequence[Vectors]) -> list[float]:
    """Return the sum of MaxSim of each document.

    That is, summed over the query's vectors, the largest dot product with one of the document's.
    """
    starts = np.cumsum([0, *map(len, documents[:-1])])
    products = np.concatenate(documents).astype(np.float32) @ query.astype(np.float32).T
    sums: list[float] = np.maximum.reduceat(products, starts).sum(1).tolist()
    return sums
