"""Pairs to logits: packed where the architecture is known to allow it, else padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from vecdb_rerank.torch_engine.compute.architectures import Architecture, pooled
from vecdb_rerank.torch_engine.compute.layout import Layout
from vecdb_rerank.torch_engine.memory import Budget
from vecdb_rerank.torch_engine.tokens import Pair, Template

if TYPE_CHECKING:
    import numpy.typing as npt

T = TypeVar("T")
Head = Callable[[Any, Tensor], Tensor]


class Forward(Protocol):
    """Computes the logits (or vectors) of pairs, one each, in their order."""

    def __call__(self, pairs: Sequence[Pair]) -> list[Any]:
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
        tiles: bool = False,
    ) -> None:
        self.model = model
        self._body = model.base_model if body is None else body
        self._template = template
        self._offset = architecture.offset(model.config)
        self._pooling = architecture.pooling(model.config) if head is None else "last"
        self._head = head or architecture.head
        self._typed = template.types is not None
        self._tiles = tiles

    def tokens(self, pairs: Sequence[Pair]) -> int:
        """The sum of their lengths."""
        return sum(pair.length for pair in pairs)

    @torch.inference_mode()
    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        """The logits of ``pairs``, in their order."""
        order = by_length(pairs)
        hidden, layout = self._hidden([pairs[n] for n in order])
        logits = self._head(self.model, pooled(hidden, layout, self._pooling).float())
        return in_place(single(logits).tolist(), order)

    @torch.inference_mode()
    def rows(self, pairs: Sequence[Pair], seen: int | None = None) -> list[Tensor]:
        """The last hidden state of each pair, (its length, width); ``seen`` as in `Layout`."""
        order = by_length(pairs)
        hidden, layout = self._hidden([pairs[n] for n in order], seen)
        return in_place(layout.split(hidden), order)

    def _hidden(self, pairs: Sequence[Pair], seen: int | None = None) -> tuple[Tensor, Layout]:
        """The last hidden state of all ``pairs``, (tokens, width), and where each lies in it."""
        device = self.model.device
        layout = Layout([pair.length for pair in pairs], device, seen, self._tiles)
        inputs: dict[str, npt.NDArray[Any]] = {
            "input_ids": layout.spread(self._template.ids_of(pairs)),
            "position_ids": layout.spread(layout.places + self._offset, fill=self._offset),
        }
        if self._typed:
            inputs["token_type_ids"] = layout.spread(self._template.types_of(pairs))
        sent = {name: _row(ids, device) for name, ids in inputs.items()}
        return self._body(**sent, packed=layout).last_hidden_state[0], layout


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
        return in_place(torch.cat(logits).tolist(), by_length(pairs))

    @torch.inference_mode()
    def rows(self, pairs: Sequence[Pair], seen: int | None = None) -> list[Tensor]:
        """The last hidden state of each pair, (its length, width); ``seen`` as in `Layout`."""
        found = []
        for batch in self._batches(pairs):
            hidden = self.model.base_model(**self._sent(batch, seen)).last_hidden_state
            found += [rows[: pair.length] for rows, pair in zip(hidden, batch, strict=True)]
        return in_place(found, by_length(pairs))

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
        sent = self._sent(pairs)
        if self._head is None:
            logits: Tensor = self.model(**sent).logits
            return logits
        hidden = self.model.base_model(**sent).last_hidden_state
        last = torch.tensor([pair.length for pair in pairs], device=hidden.device) - 1
        rows = torch.arange(len(pairs), device=hidden.device)
        return self._head(self.model, hidden[rows, last].float())

    def _sent(self, pairs: Sequence[Pair], seen: int | None = None) -> dict[str, Tensor]:
        """What the model's forward takes."""
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
        read = there if seen is None else there & (np.arange(longest) < seen)
        sent["attention_mask"] = torch.from_numpy(read.astype(np.int64)).to(device)
        return sent


def single(logits: Tensor) -> Tensor:
    """One number a pair, float32: the only logit, or the log odds of (no, yes)."""
    logits = logits.float()
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def in_place(sorted_values: Sequence[T], order: Sequence[int]) -> list[T]:
    """The values back in the order in which the pairs came."""
    found = dict(zip(order, sorted_values, strict=True))
    return [found[n] for n in range(len(order))]


def _row(ids: npt.NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(ids).to(device, torch.int64)[None]
