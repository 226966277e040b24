"""Packed attention: windows, causality, grouped heads, number formats, blocks, the CUDA kernel."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import varlen
from torch.nn.functional import scaled_dot_product_attention

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.torch_engine.compute import attention, bf16_attention, layout
from vecdb_rerank.torch_engine.compute.attention import packed_attention
from vecdb_rerank.torch_engine.compute.layout import Layout
from vecdb_rerank.torch_engine.compute.onednn_linear import PackedLinear, pack_linears

LENGTHS = [1, 3, 3, 3, 17, 40, 40, 133]


class Layer(nn.Module):
    def __init__(self, is_causal: bool) -> None:
        super().__init__()
        self.is_causal = is_causal


def tensors(heads: int, groups: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    total = sum(LENGTHS)
    return tuple(torch.randn(1, n, total, 16).to(dtype) for n in (heads, groups, groups))


def one_by_one(
    q: Tensor, k: Tensor, v: Tensor, causal: bool, window: int | None, scale: float | None = None
) -> Tensor:
    """Attend in each document alone, with an explicit mask, in float32."""
    found, start = [], 0
    for length in LENGTHS:
        place = torch.arange(length)
        distance = place[:, None] - place[None, :]
        seen = distance >= 0 if causal else torch.ones(length, length, dtype=torch.bool)
        if window is not None:
            seen = seen & (distance.abs() < window)
        q_, k_, v_ = (x[:, :, start : start + length].float() for x in (q, k, v))
        out = scaled_dot_product_attention(q_, k_, v_, seen, scale=scale, enable_gqa=True)
        found.append(out.transpose(1, 2))
        start += length
    return torch.cat(found, 1)


CASES = [
    (heads, groups, causal, window)
    for heads, groups in ((4, 4), (4, 2))
    for causal in (False, True)
    for window in (None, 2, 9, 500)
]


@pytest.mark.parametrize("block", [8, 512])
@pytest.mark.parametrize(("heads", "groups", "causal", "window"), CASES)
def test_each_document_attends_to_itself_alone(
    heads: int,
    groups: int,
    causal: bool,
    window: int | None,
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layout, "_BLOCK", block)
    q, k, v = tensors(heads, groups)
    packed = Layout(LENGTHS, q.device)
    found, weights = packed_attention(
        Layer(causal), q, k, v, None, packed=packed, sliding_window=window
    )
    assert weights is None
    torch.testing.assert_close(found, one_by_one(q, k, v, causal, window), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("heads", "groups", "causal", "window"), CASES)
def test_rows_that_only_fill_tiles_are_not_attended_to(
    heads: int, groups: int, causal: bool, window: int | None, dtype: torch.dtype
) -> None:
    q, k, v = tensors(heads, groups, dtype)
    packed = Layout(LENGTHS, q.device, tiles=True)
    assert packed.rows % 16 == 0
    assert all(room % 16 == 0 for room in packed.heights)
    rows = torch.from_numpy(packed.scatter(np.arange(sum(LENGTHS)), fill=-1))
    filled = []
    for x in (q, k, v):
        more = torch.cat([x, torch.full_like(x[:, :, :1], 1e4)], 2)  # would outweigh all tokens
        filled.append(more[:, :, rows])
    found, _ = packed_attention(
        Layer(causal), filled[0], filled[1], filled[2], None, packed=packed, sliding_window=window
    )
    assert found.isfinite().all()
    expected = one_by_one(q, k, v, causal, window)
    error = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(
        torch.cat(packed.split(found[0])).float()[None], expected, atol=error, rtol=error
    )


@pytest.mark.parametrize("block", [64, 5_000, 1 << 20])
@pytest.mark.parametrize("scale", [None, 0.5])
def test_bfloat16_is_computed_in_blocks(
    block: int, scale: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bf16_attention, "_BLOCK", block)
    q, k, v = tensors(4, 4, torch.bfloat16)
    layout = Layout(LENGTHS, q.device)
    found, _ = packed_attention(Layer(False), q, k, v, None, packed=layout, scaling=scale)
    assert found.dtype == torch.bfloat16
    expected = one_by_one(q, k, v, False, None, scale)
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(("heads", "groups", "causal", "window"), CASES)
def test_the_cuda_kernel_gets_the_right_arguments(
    heads: int, groups: int, causal: bool, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check the arguments with a stand-in of the same signature, because the kernel needs a GPU."""
    signature = inspect.signature(varlen.varlen_attn)

    def stand_in(*args: Any, **kwargs: Any) -> Tensor:
        given = signature.bind(*args, **kwargs).arguments
        assert given["max_q"] == given["max_k"] == max(LENGTHS)
        assert given["cu_seq_q"].dtype == torch.int32
        assert given["cu_seq_q"].diff().tolist() == LENGTHS
        assert given.get("enable_gqa", False) == (heads != groups)
        left, right = given["window_size"]
        q, k, v = (given[name].transpose(0, 1)[None] for name in ("query", "key", "value"))
        assert right in (left, 0)
        asked = None if left == -1 else left + 1
        return one_by_one(q, k, v, right == 0, asked, given["scale"])[0]

    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    q, k, v = tensors(heads, groups)
    layout = Layout(LENGTHS, q.device)
    inside = None if window is None else window - 1
    by_token = [x[0].transpose(0, 1) for x in (q, k, v)]
    found = attention._on_cuda(by_token[0], by_token[1], by_token[2], layout, None, inside, causal)[
        None
    ]
    torch.testing.assert_close(found, one_by_one(q, k, v, causal, window), atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("heads", "groups", "causal", "window"), CASES)
def test_the_gpu_agrees(heads: int, groups: int, causal: bool, window: int | None) -> None:
    q, k, v = (x.cuda() for x in tensors(heads, groups, torch.bfloat16))
    layout = Layout(LENGTHS, q.device)
    found, _ = packed_attention(Layer(causal), q, k, v, None, packed=layout, sliding_window=window)
    expected = one_by_one(q.cpu(), k.cpu(), v.cpu(), causal, window)
    torch.testing.assert_close(found.float().cpu(), expected, atol=0.05, rtol=0.05)


def test_unsupported_options_are_refused() -> None:
    q, k, v = tensors(2, 2)
    layout = Layout(LENGTHS, q.device)
    refused: list[dict[str, Any]] = [{}, {"packed": layout, "softcap": 30.0}]
    for options in refused:
        with pytest.raises(ConfigurationError, match="packed attention"):
            packed_attention(Layer(False), q, k, v, None, **options)
    with pytest.raises(ConfigurationError, match="packed attention"):
        packed_attention(Layer(False), q, k, v, torch.ones(1), packed=layout)


# -- the linear layers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_packed_layers_compute_the_same(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(24, 40, bias=bias), nn.GELU(), nn.Linear(40, 8, bias=bias))
    body.to(dtype).requires_grad_(False)
    x = torch.randn(1, 37, 24).to(dtype)
    expected = body(x)
    assert pack_linears(body) in (0, 2)  # 0 where oneDNN does not multiply this format here
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(body(x), expected, atol=tolerance, rtol=tolerance)


def test_only_plain_layers_are_packed() -> None:
    class Own(nn.Linear):
        pass

    body = nn.ModuleList([Own(4, 4), nn.Linear(4, 4).to(torch.float16), nn.Linear(4, 4)])
    body.requires_grad_(False)
    assert pack_linears(body) == 1
    assert [type(layer) for layer in body] == [Own, nn.Linear, PackedLinear]
