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
    """What a `torch.nn.Linear` computes, for inference."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features, self.in_features = linear.weight.shape
        self.bias = linear.bias
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _TOKENS)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self.bias, "none", [], "")
        return y


@torch.inference_mode()
def pack(body: nn.Module) -> int:
    """Replace the linear layers inside ``body`` where that is possible; how many were.

    Layers that others share weights with, subclasses, and formats that oneDNN does not multiply
    here stay as they are, and so do all of them where the first one does not give its results.
    """
    backend: Any = torch.backends.mkldnn
    if not (backend.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return 0
    found = [
        (parent, name, child)
        for parent in body.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and child.weight.dtype in _TOLERANCE
    ]
    if not found or not _is_right(found[0][2]):
        return 0
    for parent, name, child in found:
        setattr(parent, name, PackedLinear(child))
    return len(found)


def _is_right(linear: nn.Linear) -> bool:
    """Whether a packed layer gives what the layer gives."""
    x: Any = torch.randn(1, 33, linear.in_features).to(linear.weight.dtype)
    try:
        difference = (PackedLinear(linear)(x) - linear(x)).float().abs().max()
    except RuntimeError:
        return False
    size = linear(x).float().abs().max().clamp(min=1e-6)
    return bool(difference / size < _TOLERANCE[linear.weight.dtype])
