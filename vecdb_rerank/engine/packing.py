"""Pairs to logits: packed where the architecture is known to allow it, else padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vecdb_rerank.engine.architectures import Architecture, pooled
from vecdb_rerank.engine.attention import Layout
from vecdb_rerank.engine.memory import Budget
from vecdb_rerank.engine.tokens import Pair, Template

if TYPE_CHECKING:
    import numpy.typing as npt

Head = Callable[[Any, Tensor], Tensor]


class Forward(Protocol):
    """Computes the logits of pairs, one number each, in their order."""

    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        """The logits of ``pairs``."""
        ...

    def tokens(self, pairs: Sequence[Pair]) -> int:
        """How many tokens will be computed for them, padding included."""
        ...


def by_length(pairs: Sequence[Pair]) -> list[int]:
    """The places of ``pairs``, shortest first."""
    return sorted(range(len(pairs)), key=lambda n: pairs[n].length)


class Packed:
    """All pairs in one sequence; attention stays within each."""

    def __init__(
        self,
        model: Any,
        template: Template,
        architecture: Architecture,
        head: Head | None = None,
        *,
        body: Callable[..., Any] | None = None,
    ) -> None:
        self.model = model
        self._body = model.base_model if body is None else body
        self._template = template
        self._offset = architecture.offset(model.config)
        self._pooling = architecture.pooling(model.config) if head is None else "last"
        self._head = head or architecture.head
        self._typed = template.types is not None

    def tokens(self, pairs: Sequence[Pair]) -> int:
        """The sum of their lengths."""
        return sum(pair.length for pair in pairs)

    @torch.inference_mode()
    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        """The logits of ``pairs``, in their order."""
        order = by_length(pairs)
        ordered = [pairs[n] for n in order]
        device = self.model.device
        layout = Layout([pair.length for pair in ordered], device)
        inputs = {"input_ids": self._template.ids_of(ordered), "position_ids": self._places(layout)}
        if self._typed:
            inputs["token_type_ids"] = self._template.types_of(ordered)
        sent = {name: _row(ids, device) for name, ids in inputs.items()}
        hidden = self._body(**sent, packed=layout).last_hidden_state[0]
        logits = self._head(self.model, pooled(hidden, layout, self._pooling).float())
        return in_place(single(logits), order)

    def _places(self, layout: Layout) -> npt.NDArray[np.int32]:
        """Position ids, which begin anew with each document."""
        lengths = np.array(layout.lengths)
        starts = np.repeat(lengths.cumsum() - lengths, lengths)
        return (np.arange(lengths.sum()) - starts + self._offset).astype(np.int32)


class Padded:
    """Pairs of similar length in rows of one length, as the model's own forward takes them."""

    def __init__(
        self, model: Any, template: Template, budget: Budget, head: Head | None = None
    ) -> None:
        self.model = model
        self._template = template
        self._budget = budget
        self._head = head
        self._pad = model.config.pad_token_id or 0
        self._typed = template.types is not None

    def tokens(self, pairs: Sequence[Pair]) -> int:
        """So many as their rows have with padding."""
        return sum(len(rows) * rows[-1].length for rows in self._batches(pairs))

    @torch.inference_mode()
    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        """The logits of ``pairs``, in their order."""
        logits = [single(self._logits(batch)) for batch in self._batches(pairs)]
        return in_place(torch.cat(logits), by_length(pairs))

    def _batches(self, pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
        """Sorted by length, each at most the budget's tokens with padding, or one pair."""
        batch: list[Pair] = []
        for n in by_length(pairs):
            if batch and (len(batch) + 1) * pairs[n].length > self._budget.tokens:
                yield batch
                batch = []
            batch.append(pairs[n])
        if batch:
            yield batch

    def _logits(self, pairs: Sequence[Pair]) -> Tensor:
        device = self.model.device
        lengths = [pair.length for pair in pairs]
        longest = max(lengths)
        there = np.arange(longest) < np.array(lengths)[:, None]
        inputs = {"input_ids": self._template.ids_of(pairs)}
        if self._typed:
            inputs["token_type_ids"] = self._template.types_of(pairs)
        rows = {}
        for name, values in inputs.items():
            rows[name] = np.full(there.shape, self._pad if name == "input_ids" else 0, np.int64)
            rows[name][there] = values
        sent = {name: torch.from_numpy(values).to(device) for name, values in rows.items()}
        sent["attention_mask"] = torch.from_numpy(there.astype(np.int64)).to(device)
        if self._head is None:
            logits: Tensor = self.model(**sent).logits
            return logits
        hidden = self.model.base_model(**sent).last_hidden_state
        last = torch.tensor(lengths, device=device) - 1
        return self._head(self.model, hidden[torch.arange(len(pairs), device=device), last].float())


def single(logits: Tensor) -> Tensor:
    """One number a pair, float32: the only logit, or the log odds of (no, yes)."""
    logits = logits.float()
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def in_place(sorted_logits: Tensor, order: Sequence[int]) -> list[float]:
    """The numbers back in the order in which the pairs came."""
    found = [0.0] * len(order)
    for n, logit in zip(order, sorted_logits.tolist(), strict=True):
        found[n] = logit
    return found


def _row(ids: npt.NDArray[np.int32], device: torch.device) -> Tensor:
    return torch.from_numpy(ids).to(device, torch.int64)[None]
