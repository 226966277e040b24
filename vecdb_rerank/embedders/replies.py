"""Vectors in the response of a service, none of which is trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vecdb_rerank.embedders.formats import EmbedFormat
from vecdb_rerank.errors import EmbedderError
from vecdb_rerank.http.server_messages import value_at

Array = npt.NDArray[np.float64]
_MOST = float(np.finfo(np.float32).max)  # what databases store


def vectors(answer: object, count: int, wire: EmbedFormat) -> Array:
    """Return the vectors in a response, shape (count, dimension), in the order of the texts.

    Raise `EmbedderError` unless each of ``count`` texts has exactly one vector, all are of one
    length, and every number is finite in 32 bits.
    """
    results = value_at(answer, wire.results) if wire.results else answer
    if not isinstance(results, list):
        raise EmbedderError(f"the response has no list of {'.'.join(wire.results) or 'vectors'}")
    if len(results) != count:
        raise EmbedderError(f"the response has {len(results)} vectors for {count} texts")
    rows = results
    if wire.vector is not None:
        rows = [value_at(result, (wire.vector,)) for result in results]
    if wire.index is not None:
        rows = _in_order(rows, [value_at(result, (wire.index,)) for result in results])
    if not all(isinstance(row, list) and row for row in rows):
        raise EmbedderError("a result of the response has no vector")
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise EmbedderError(f"the response has vectors of {min(lengths)} to {max(lengths)} numbers")
    try:
        found = np.array(rows)
    except ValueError:  # a list in some of the places
        found = np.empty(0)
    if found.ndim != 2 or found.dtype.kind not in "fiu" or not (np.abs(found) <= _MOST).all():
        raise EmbedderError("a vector of the response holds something else than finite numbers")
    return found.astype(np.float64)


def _in_order(rows: Sequence[object], indices: Sequence[object]) -> list[object]:
    """Return ``rows`` by their ``indices``, which must be those of the texts, each once."""
    found: dict[int, object] = {}
    for index, row in zip(indices, rows, strict=True):
        if not isinstance(index, int) or isinstance(index, bool):
            raise EmbedderError("a result of the response has no index")
        if not 0 <= index < len(rows):
            raise EmbedderError(f"the response has index {index} for {len(rows)} texts")
        if index in found:
            raise EmbedderError(f"the response has index {index} twice")
        found[index] = row
    return [found[n] for n in range(len(rows))]
