"""Limit the tokens of a batch to the memory: a first estimate, lowered by out-of-memory errors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from vecdb_rerank._optional import require
from vecdb_rerank.errors import RerankError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

T = TypeVar("T")
R = TypeVar("R")
_HIDDEN_SIZE = 1_024  # for a model whose config does not state it
_HEADS = 16
_SHARE = 0.5  # of the free memory; allocators fragment, and other processes need some


def bytes_per_token(config: PreTrainedConfig, dtype: torch.dtype, row: int = 0) -> int:
    """Return an upper bound of the bytes that a token needs while a layer runs.

    That is the residual stream twice, queries, keys, values and attention output, and the inner
    layer before and after its activation (twice as wide if gated). Padded attention adds the
    weights of each head with the ``row`` tokens of its row, seven times (measured on DeBERTa-v2,
    which needs most); packed attention does not.
    """
    text = config.get_text_config()
    hidden = getattr(text, "hidden_size", None) or _HIDDEN_SIZE
    inner = getattr(text, "intermediate_size", None) or 4 * hidden
    weights = 7 * getattr(text, "num_attention_heads", _HEADS) * row
    return int((6 * hidden + 3 * inner + weights) * dtype.itemsize)


def first_budget(free: int | None, per_token: int, limit: int) -> int:
    """Return how many tokens fit into half of ``free`` bytes, from 1 to ``limit``."""
    if free is None:
        return limit
    return max(1, min(limit, int(free * _SHARE) // per_token))


class TokenBudget:
    """The number of tokens per batch; lowered for good when a batch does not fit into memory."""

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._lock = threading.Lock()

    @property
    def tokens(self) -> int:
        """Tokens per batch; a longer pair is a batch alone."""
        return self._tokens

    def lower(self, tokens: int) -> None:
        """Lower the budget to ``tokens``, at least 1."""
        with self._lock:
            self._tokens = max(1, min(self._tokens, tokens))

    def after_fork_in_child(self) -> None:
        """Replace the lock, which a thread of the parent may hold."""
        self._lock = threading.Lock()


def run_within(
    budget: TokenBudget,
    run: Callable[[Sequence[T]], list[R]],
    items: Sequence[T],
    size: Callable[[Sequence[T]], int],
) -> list[R]:
    """Call ``run`` on ``items``, in halves if they do not fit into memory together.

    Only torch's own out-of-memory error counts; other errors are raised unchanged. Raises
    `RerankError` if a single item does not fit.
    """
    torch = require("torch", "torch")
    found: list[R] = []
    count = len(items)
    while len(found) < len(items):
        part = items[len(found) : len(found) + count]
        try:
            found += run(part)
        except torch.OutOfMemoryError as error:
            budget.lower(size(part) // 2)
            if len(part) == 1:
                raise RerankError(
                    f"one pair of {size(part)} tokens does not fit into the memory of the device: "
                    "lower max_length or free memory"
                ) from error
            count = len(part) // 2
            torch.cuda.empty_cache()  # does nothing if CUDA was never used
    return found
