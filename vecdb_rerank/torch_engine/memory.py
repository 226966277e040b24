"""How many tokens fit into memory at once: a first guess, and what out-of-memory teaches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from vecdb_rerank._optional import require
from vecdb_rerank.errors import RerankError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
R = TypeVar("R")
_WIDTH = 1_024  # where a model's own code does not say it
_SHARE = 0.5  # of the free memory: allocators fragment, and others live there too


def bytes_per_token(config: Any, dtype: torch.dtype, row: int = 0) -> int:
    """What a token takes at the most while a layer runs, in bytes.

    Counted are the residual stream twice, queries, keys, values and their result, and the inner
    layer before and after its activation (twice as wide where it is gated): all that a layer
    holds at once. Attention in one piece, as the padded path may have it, adds the weights of
    each head with the ``row`` tokens of its row, seven times over (measured on DeBERTa-v2, whose
    attention is the largest); packed attention does not.
    """
    text = config.get_text_config()
    hidden = getattr(text, "hidden_size", None) or _WIDTH
    inner = getattr(text, "intermediate_size", None) or 4 * hidden
    weights = 7 * getattr(text, "num_attention_heads", 16) * row
    return int((6 * hidden + 3 * inner + weights) * dtype.itemsize)


def first_budget(free: int | None, per_token: int, most: int) -> int:
    """Tokens for the first batch: what half of the ``free`` bytes hold, ``most`` at the most."""
    if free is None:
        return most
    return max(1, min(most, int(free * _SHARE) // per_token))


class Budget:
    """The tokens that one batch may have; halved when a batch did not fit, for good."""

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._lock = threading.Lock()

    @property
    def tokens(self) -> int:
        """Tokens per batch; a single longer pair is a batch of its own."""
        return self._tokens

    def lower(self, tokens: int) -> None:
        """Remember that no more than ``tokens`` fit."""
        with self._lock:
            self._tokens = max(1, min(self._tokens, tokens))

    def after_fork(self) -> None:
        """In a forked child: a lock of its own."""
        self._lock = threading.Lock()


def within(
    budget: Budget,
    run: Callable[[Sequence[T]], list[R]],
    items: Sequence[T],
    size: Callable[[Sequence[T]], int],
) -> list[R]:
    """``run`` on ``items``; in halves where the device has no memory for all of them at once.

    Only torch's own out-of-memory error counts as that; any other is raised as it came. Raises
    `RerankError` where a single item does not fit.
    """
    torch = require("torch", "torch")
    found: list[R] = []
    at_once = len(items)
    while len(found) < len(items):
        part = items[len(found) : len(found) + at_once]
        try:
            found += run(part)
        except torch.OutOfMemoryError as error:
            budget.lower(size(part) // 2)
            if len(part) == 1:
                raise RerankError(
                    f"the device has no memory for one pair of {size(part)} tokens: "
                    "lower max_length, or free memory"
                ) from error
            at_once = len(part) // 2
            torch.cuda.empty_cache()  # a no-op where CUDA was never used
    return found
