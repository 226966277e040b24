"""Read single tensors of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from safetensors import safe_open
from torch import Tensor


def read_tensor(folder: Path, name: str) -> Tensor | None:
    """Return a tensor of the *.safetensors in ``folder`` in float32, or None."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as opened:
            if name in opened.keys():  # noqa: SIM118 - it is not a dict
                tensor: Tensor = opened.get_tensor(name)
                return tensor.float()
    return None
