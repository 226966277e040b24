"""Linear layers whose weights oneDNN has laid out once, for its own kernels.

On a CPU torch multiplies float32 by MKL, which leaves half of the speed of other makers' AVX-512
unused, and lays bfloat16 weights out anew in every call. What is computed stays the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_TOKENS = 2_048  # of a typical batch; the layout is made for it and right for any
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}


class PackedLinear(nn.Module):
    """What a `torch.nn.Linear` computes, for inference; several that read the same as one.

    ``activation`` is applied to the result: oneDNN's name of it and of its algorithm.
    """

    def __init__(self, *linears: nn.Linear, activation: tuple[str, str] = ("none", "")) -> None:
        super().__init__()
        weight = torch.cat([linear.weight.detach() for linear in linears])
        biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
        self.out_features, self.in_features = weight.shape
        self.bias = torch.cat(biases) if len(biases) == len(linears) else None
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _TOKENS)
        self._activation = activation

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """(..., in_features) to (..., out_features); ``add`` has that shape and is added."""
        product = torch.ops.mkldnn._linear_pointwise
        y: Tensor
        if add is None:
            attribute, algorithm = self._activation
            y = product(x, self._weight, self.bias, attribute, [], algorithm)
        else:
            y = product.binary(x, add, self._weight, self.bias, "add")
        return y


def can_pack() -> bool:
    """Whether this torch has oneDNN's products."""
    backend: Any = torch.backends.mkldnn
    return backend.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@torch.inference_mode()
def pack(body: nn.Module) -> int:
    """Replace the linear layers inside ``body`` where that is possible; how many were.

    Layers that others share weights with, subclasses, and formats that oneDNN does not multiply
    here stay as they are, and so do all of them where the first one does not give its results.
    """
    found = [
        (parent, name, child)
        for parent in body.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and child.weight.dtype in _TOLERANCE
    ]
    if not can_pack() or not found or not _is_right(found[0][2]):
        return 0
    for parent, name, child in found:
        setattr(parent, name, PackedLinear(child))
    return len(found)


def _is_right(linear: nn.Linear) -> bool:
    """Whether a packed layer gives what the layer gives."""
    x = torch.randn(1, 33, linear.in_features).to(linear.weight.dtype)
    try:
        return is_close(PackedLinear(linear)(x), linear(x))
    except RuntimeError:
        return False


def is_close(found: Tensor, expected: Tensor) -> bool:
    """Whether two results of one number format differ by no more than its rounding explains."""
    difference = (found - expected).float().abs().max()
    size = expected.float().abs().max().clamp(min=1e-6)
    return bool(difference / size < _TOLERANCE[expected.dtype])
