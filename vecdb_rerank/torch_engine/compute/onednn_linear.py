"""Linear layers with weights in the memory layout of oneDNN's kernels.

On a CPU torch multiplies float32 with MKL, which uses half of the AVX-512 speed of processors that
are not Intel's, and it reorders bfloat16 weights in every call. The results stay the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_TOKENS = 2_048  # of a typical batch, for which the layout is optimized
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}


class PackedLinear(nn.Module):
    """A `torch.nn.Linear` for inference, or several with the same input as one.

    ``activation`` is applied to the result: its name in oneDNN, and the algorithm.
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
        """Map (..., in_features) to (..., out_features), and add ``add``, of that shape."""
        product = torch.ops.mkldnn._linear_pointwise
        y: Tensor
        if add is None:
            attribute, algorithm = self._activation
            y = product(x, self._weight, self.bias, attribute, [], algorithm)
        else:
            y = product.binary(x, add, self._weight, self.bias, "add")
        return y


def has_onednn() -> bool:
    """Check whether this torch was built with oneDNN."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def find_linears(body: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    """Return the linear layers inside ``body``: their parents, names, and themselves.

    Subclasses and number formats that oneDNN does not support are left out.
    """
    return [
        (parent, name, child)
        for parent in body.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and child.weight.dtype in _TOLERANCE
    ]


@torch.inference_mode()
def pack_linears(body: nn.Module) -> int:
    """Replace the linear layers inside ``body``; return how many were replaced.

    They all stay unchanged if the first one gives another result.
    """
    found = find_linears(body)
    if not has_onednn() or not found or not _is_exact(found[0][2]):
        return 0
    for parent, name, child in found:
        setattr(parent, name, PackedLinear(child))
    return len(found)


def _is_exact(linear: nn.Linear) -> bool:
    """Check whether a packed layer gives the result of ``linear``."""
    x = torch.randn(1, 33, linear.in_features).to(linear.weight.dtype)
    try:
        return is_close(PackedLinear(linear)(x), linear(x))
    except RuntimeError:
        return False


def is_close(found: Tensor, expected: Tensor) -> bool:
    """Check whether two results differ by no more than the rounding of their number format."""
    difference = (found - expected).float().abs().max()
    size = expected.float().abs().max().clamp(min=1e-6)
    return bool(difference / size < _TOLERANCE.get(expected.dtype, 0.0))
