"""Forward passes from pairs to logits: packed for known architectures, padded for others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from vecdb_rerank.tokenization.pairs import Pair, Template
from vecdb_rerank.torch_engine.compute.architectures import Architecture, Head, pool
from vecdb_rerank.torch_engine.compute.layout import Layout
from vecdb_rerank.torch_engine.memory import TokenBudget

if TYPE_CHECKING:
    import numpy.typing as npt

T = TypeVar("T")
R = TypeVar("R")


class Forward(Protocol[R]):
    """Computes a logit, or the vectors, of each pair."""

    def __call__(self, pairs: Sequence[Pair]) -> list[R]:
        """Return the results of ``pairs``, in order."""
        ...

    def tokens(self, pairs: Sequence[Pair]) -> int:
        """Return how many tokens are computed for ``pairs``, padding included."""
        ...


def sort_by_length(pairs: Sequence[Pair]) -> list[int]:
    """Return the indices of ``pairs``, shortest first."""
    return sorted(range(len(pairs)), key=lambda n: pairs[n].length)


class PackedForward:
    """Computes all pairs as one sequence, with attention inside each pair only."""

    def __init__(
        self,
        model: PreTrainedModel,
        template: Template,
        architecture: Architecture,
        head: Head | None = None,
        *,
        body: nn.Module | None = None,
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
        """Return the sum of the pairs' lengths."""
        return sum(pair.length for pair in pairs)

    @torch.inference_mode()
    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        """Return the logits of ``pairs``, in order."""
        order = sort_by_length(pairs)
        hidden, layout = self._hidden([pairs[n] for n in order])
        logits = self._head(self.model, pool(hidden, layout, self._pooling).float())
        return restore_order(to_logit(logits).tolist(), order)

    @torch.inference_mode()
    def hidden_states(self, pairs: Sequence[Pair], visible: int | None = None) -> list[Tensor]:
        """Return each pair's last hidden state, (length, width); ``visible`` as in `Layout`."""
        order = sort_by_length(pairs)
        hidden, layout = self._hidden([pairs[n] for n in order], visible)
        return restore_order(layout.split(hidden), order)

    def _hidden(self, pairs: Sequence[Pair], visible: int | None = None) -> tuple[Tensor, Layout]:
        """Return the last hidden state of all ``pairs``, (tokens, width), and their layout."""
        device = self.model.device
        layout = Layout([pair.length for pair in pairs], device, visible, self._tiles)
        inputs: dict[str, npt.NDArray[np.integer]] = {
            "input_ids": layout.scatter(self._template.ids_of(pairs)),
            "position_ids": layout.scatter(
                layout.token_positions + self._offset, fill=self._offset
            ),
        }
        if self._typed:
            inputs["token_type_ids"] = layout.scatter(self._template.types_of(pairs))
        sent = {name: _row(ids, device) for name, ids in inputs.items()}
        return self._body(**sent, packed=layout).last_hidden_state[0], layout


class PaddedForward:
    """Computes pairs of similar length in padded batches, with the model's own forward."""

    def __init__(
        self,
        model: PreTrainedModel,
        template: Template,
        budget: TokenBudget,
        head: Head | None = None,
    ) -> None:
        self.model = model
        self._template = template
        self._budget = budget
        self._head = head
        self._pad = model.config.pad_token_id or 0
        self._typed = template.types is not None

    def tokens(self, pairs: Sequence[Pair]) -> int:
        """Return the number of tokens of the padded batches."""
        return sum(len(rows) * rows[-1].length for rows in self._batches(pairs))

    @torch.inference_mode()
    def __call__(self, pairs: Sequence[Pair]) -> list[float]:
        """Return the logits of ``pairs``, in order."""
        logits = [to_logit(self._logits(batch)) for batch in self._batches(pairs)]
        return restore_order(torch.cat(logits).tolist(), sort_by_length(pairs))

    @torch.inference_mode()
    def hidden_states(self, pairs: Sequence[Pair], visible: int | None = None) -> list[Tensor]:
        """Return each pair's last hidden state, (length, width); ``visible`` as in `Layout`."""
        found = []
        for batch in self._batches(pairs):
            hidden = self.model.base_model(**self._inputs(batch, visible)).last_hidden_state
            found += [rows[: pair.length] for rows, pair in zip(hidden, batch, strict=True)]
        return restore_order(found, sort_by_length(pairs))

    def _batches(self, pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
        """Yield batches sorted by length, each within the budget including padding, or one pair."""
        batch: list[Pair] = []
        for n in sort_by_length(pairs):
            if batch and (len(batch) + 1) * pairs[n].length > self._budget.tokens:
                yield batch
                batch = []
            batch.append(pairs[n])
        if batch:
            yield batch

    def _logits(self, pairs: Sequence[Pair]) -> Tensor:
        inputs = self._inputs(pairs)
        if self._head is None:
            logits: Tensor = self.model(**inputs).logits
            return logits
        hidden = self.model.base_model(**inputs).last_hidden_state
        last = torch.tensor([pair.length for pair in pairs], device=hidden.device) - 1
        rows = torch.arange(len(pairs), device=hidden.device)
        return self._head(self.model, hidden[rows, last].float())

    def _inputs(self, pairs: Sequence[Pair], visible: int | None = None) -> dict[str, Tensor]:
        """Return the arguments of the model's forward."""
        device = self.model.device
        lengths = [pair.length for pair in pairs]
        longest = max(lengths)
        is_token = np.arange(longest) < np.array(lengths)[:, None]
        inputs = {"input_ids": self._template.ids_of(pairs)}
        if self._typed:
            inputs["token_type_ids"] = self._template.types_of(pairs)
        rows = {}
        for name, values in inputs.items():
            rows[name] = np.full(is_token.shape, self._pad if name == "input_ids" else 0, np.int64)
            rows[name][is_token] = values
        sent = {name: torch.from_numpy(values).to(device) for name, values in rows.items()}
        read = is_token if visible is None else is_token & (np.arange(longest) < visible)
        sent["attention_mask"] = torch.from_numpy(read.astype(np.int64)).to(device)
        return sent


def to_logit(logits: Tensor) -> Tensor:
    """Return one float32 per pair: the only logit, or the log odds of (no, yes)."""
    logits = logits.float()
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def restore_order(sorted_values: Sequence[T], order: Sequence[int]) -> list[T]:
    """Return the values in the order of the pairs before sorting."""
    found = dict(zip(order, sorted_values, strict=True))
    return [found[n] for n in range(len(order))]


def _row(ids: npt.NDArray[np.integer], device: torch.device) -> Tensor:
    return torch.from_numpy(ids).to(device, torch.int64)[None]
