"""Measure the speed of matrix products on this CPU, to find a slow choice of number format."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

import torch

from vecdb_rerank.torch_engine import hardware
from vecdb_rerank.torch_engine.compute.int8_linear import input_levels

_ROWS, _WIDTH, _INNER = 1_024, 1_024, 4_096
_ROUNDS = 5
_BETTER = 1.3  # times as fast, to be worth a note
_INT8_SHARE = 0.5  # of the speed of an int8 product, because its inputs are quantized in each call


@torch.inference_mode()
def product_rates() -> dict[str, float]:
    """Return 10⁹ operations per second of a product in float32, bfloat16 and int8, where it runs.

    The best of five, with the threads of the caller.
    """
    found = {}
    for name, prepare in _PRODUCTS.items():
        try:
            product = prepare()
            seconds = min(_seconds(product) for _ in range(_ROUNDS))
        except (AttributeError, RuntimeError):
            continue
        found[name] = 2 * _ROWS * _WIDTH * _INNER / seconds / 1e9
    return found


def faster_dtype(dtype: str, device: str) -> tuple[str, str] | None:
    """Return the format that is clearly faster than a reranker's ``dtype`` here, and why; or None.

    Only CPUs are measured.
    """
    found = hardware.pick_device(device)
    if found.type != "cpu":
        return None
    chosen = str(hardware.pick_dtype(dtype, found)).removeprefix("torch.")
    rates = product_rates()
    speeds = {n: rate * (_INT8_SHARE if n == "int8" else 1) for n, rate in rates.items()}
    best = max(speeds, key=speeds.__getitem__)
    if chosen not in speeds or speeds[best] < _BETTER * speeds[chosen]:
        return None
    return (
        best,
        f"products take {rates[best]:,.0f} GOP/s in {best}, {rates[chosen]:,.0f} in {chosen}",
    )


def _float(dtype: torch.dtype) -> Callable[[], object]:
    x = torch.randn(_ROWS, _WIDTH).to(dtype)
    weight = torch.randn(_INNER, _WIDTH).to(dtype)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)
    return partial(torch.ops.mkldnn._linear_pointwise, x, packed, None, "none", [], "")


def _int8() -> Callable[[], object]:
    if input_levels() is None:
        raise RuntimeError
    x = torch.randint(0, 128, (_ROWS, _WIDTH), dtype=torch.uint8)
    weight = torch.randint(-127, 128, (_INNER, _WIDTH), dtype=torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(weight, [_ROWS, _WIDTH])
    scales, zeros = torch.ones(_INNER), torch.zeros(_INNER, dtype=torch.int64)
    after: tuple[object, ...] = (packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], "")
    return partial(torch.ops.onednn.qlinear_pointwise, x, 1.0, 0, *after)


_PRODUCTS: Mapping[str, Callable[[], Callable[[], object]]] = {
    "float32": partial(_float, torch.float32),
    "bfloat16": partial(_float, torch.bfloat16),
    "int8": _int8,
}


def _seconds(product: Callable[[], object]) -> float:
    started = time.perf_counter()
    product()
    return time.perf_counter() - started
