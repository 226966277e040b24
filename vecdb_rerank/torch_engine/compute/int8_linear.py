"""Linear layers with int8 products on a CPU.

Weights are quantized symmetrically per output channel, once; inputs per row, in each call. A row is
thus computed as it would be alone, whatever else is in the batch. The product is summed in int32;
then the scales are applied, in float32.

The inputs are unsigned with 128 as zero, which is what VNNI multiplies fastest. Without VNNI, two
products are added in 16 bits, so that inputs keep 7 bits, with 64 as zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from vecdb_rerank.torch_engine.compute.onednn_linear import find_linears

_ROWS = 256  # computed at once, so that what one step writes is still in the cache for the next
_TAIL = 32  # oneDNN generates a kernel for each number of rows: the last ones are a multiple
_MAGIC = 2.0**23  # added to a small number, it moves the rounded number to the lowest bits
_SMALLEST = 1e-30


class Int8Linear(nn.Module):
    """A `torch.nn.Linear` for inference in int8, or several with the same input as one.

    ``activation`` is applied to the result: its name in oneDNN, and the algorithm.
    """

    def __init__(self, *linears: nn.Linear, activation: tuple[str, str] = ("none", "")) -> None:
        super().__init__()
        weight = torch.cat([linear.weight.detach().float() for linear in linears])
        self.out_features, self.in_features = weight.shape
        biases = [
            torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach()
            for linear in linears
        ]
        self.bias = torch.cat(biases).float()
        self._levels = input_levels() or 63
        scales = weight.abs().amax(1).clamp_min(_SMALLEST) / 127
        whole = (weight / scales[:, None]).round().to(torch.int8)
        zero = self._levels + 1
        self._scales = scales / self._levels  # of an input whose largest number is 1
        self._shift = -zero * self._scales * whole.sum(1)  # takes the zero out of the product
        self._to_whole = torch.full((self.in_features,), _MAGIC + zero)
        self._weight = torch.ops.onednn.qlinear_prepack(whole, [_ROWS, self.in_features])
        self._zeros = torch.zeros(self.out_features, dtype=torch.int64)
        self._activation = activation

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """Map (..., in_features) to (..., out_features), and add ``add``, of that shape."""
        rows = x.reshape(-1, self.in_features).float()
        added = None if add is None else add.reshape(-1, self.out_features)
        if len(rows) <= _ROWS:
            y = self._compute(rows, added)
        else:
            y = rows.new_empty(len(rows), self.out_features)
            for some in row_blocks(len(rows)):
                y[some] = self._compute(rows[some], None if added is None else added[some])
        return y.view(*x.shape[:-1], -1).to(x.dtype)

    def _compute(self, x: Tensor, add: Tensor | None) -> Tensor:
        """Map (rows, in_features) to (rows, out_features)."""
        largest = torch.maximum(x.amax(1, keepdim=True), -x.amin(1, keepdim=True))
        largest.clamp_min_(_SMALLEST)
        shifted = torch.addcmul(self._to_whole, x, self._levels / largest)
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(shifted.view(torch.int32).to(torch.uint8), 1.0, 0),
            *(self._weight, self._scales, self._zeros, self._shift),
            *(1.0, 0, torch.float32, "none", [], ""),
        )
        torch.addcmul(self.bias, y, largest, out=y)
        if add is not None:
            y += add
        name, algorithm = self._activation
        if name == "gelu":
            torch.ops.aten.gelu_(y, approximate=algorithm)
        elif name == "relu":
            relu(y, inplace=True)
        return y


@torch.inference_mode()
def quantize_linears(body: nn.Module) -> int:
    """Replace the linear layers inside ``body``; return how many were replaced."""
    found = find_linears(body)
    for parent, name, child in found:
        setattr(parent, name, Int8Linear(child))
    return len(found)


def row_blocks(count: int) -> Iterator[slice]:
    """Yield slices that cover ``count`` rows; the last one may repeat rows of the one before."""
    whole = count - count % _ROWS
    for start in range(0, whole, _ROWS):
        yield slice(start, start + _ROWS)
    if whole < count:
        tail = -(-(count - whole) // _TAIL) * _TAIL
        yield slice(max(0, count - tail), count)


@cache
@torch.inference_mode()
def input_levels() -> int | None:
    """Return the largest quantized input whose products are exact here: 127, 63 or None.

    None is for a torch without these products.
    """
    for levels in (127, 63):
        x = torch.full((2, 256), 2 * levels + 1, dtype=torch.uint8)
        weight = torch.full((16, 256), 127, dtype=torch.int8)
        scales, zeros = torch.ones(16), torch.zeros(16, dtype=torch.int64)
        try:
            packed = torch.ops.onednn.qlinear_prepack(weight, [2, 256])
            product = torch.ops.onednn.qlinear_pointwise(
                *(x, 1.0, 0, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], "")
            )
        except (AttributeError, RuntimeError):
            return None
        if bool((product == 256 * 127 * (2 * levels + 1)).all()):
            return levels
    return None
