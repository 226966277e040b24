"""Products in int8: exact, close to float32, the same in any batch, and refused where wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.torch_engine.test_packing import DOCUMENTS, exact, logits
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.rerankers.late_interaction import LateInteractionReranker
from vecdb_rerank.torch_engine import hardware, products, runner
from vecdb_rerank.torch_engine.compute.int8_linear import Int8Linear, input_levels
from vecdb_rerank.torch_engine.int8_trial import agrees

Checkpoint = Callable[[str], Path]
pytestmark = pytest.mark.skipif(input_levels() is None, reason="torch has no int8 products here")


@pytest.mark.parametrize("levels", [127, 63])
@pytest.mark.parametrize("rows", [1, 33, 300, 600])
def test_products_of_whole_numbers_are_exact(
    levels: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if levels > (input_levels() or 0):
        pytest.skip("this CPU has no VNNI")
    monkeypatch.setattr(
        "vecdb_rerank.torch_engine.compute.int8_linear.input_levels", lambda: levels
    )
    random = np.random.default_rng(rows)
    x = random.integers(-levels, levels + 1, (rows, 100))
    weight = random.integers(-127, 128, (40, 100))
    x[:, 3], weight[:, 7] = levels, -127  # so that all scales are 1
    linear = nn.Linear(100, 40)
    linear.weight.data = torch.from_numpy(weight).float()
    linear.bias.data = torch.arange(40.0)
    with torch.inference_mode():
        found = Int8Linear(linear)(torch.from_numpy(x).float(), add=torch.ones(rows, 40))
    expected = x @ weight.T + np.arange(40) + 1
    assert found.numpy() == pytest.approx(expected, rel=2e-7, abs=0.5)


def test_rows_of_zeros_and_of_infinite_numbers_stay_apart() -> None:
    linear = nn.Linear(16, 8)
    x = torch.ones(3, 16)
    x[0], x[1, 0] = 0, torch.inf
    with torch.inference_mode():
        found = Int8Linear(linear)(x)
        assert found[0].numpy() == pytest.approx(linear(x)[0].numpy(), abs=1e-6)
        assert not found[1].isfinite().any()
        assert found[2].numpy() == pytest.approx(linear(x)[2].numpy(), abs=0.02)


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert", "qwen2"])
def test_scores_are_close_to_float32_in_any_batch(name: str, checkpoint: Checkpoint) -> None:
    """Fused and other layers."""
    expected = logits(exact(checkpoint(name)))
    reranker = exact(checkpoint(name), dtype="int8")
    found = logits(reranker)
    assert found != pytest.approx(expected, abs=1e-6)
    assert found == pytest.approx(expected, abs=0.2 * (max(expected) - min(expected)))
    alone = [logits(reranker, [document])[0] for document in DOCUMENTS]
    assert alone == pytest.approx(found, abs=1e-4)


def test_a_model_that_int8_changes_is_computed_in_float32(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runner, "agrees", lambda *_: False)
    folder = checkpoint("bert")
    found = logits(exact(folder, dtype="int8", token_cache_mb=3))  # a separate engine
    assert found == logits(exact(folder))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "float32" in caplog.text


def test_logits_agree_within_a_part_of_their_spread() -> None:
    expected = [5.0, -5.0, -4.9, 0.0]
    assert agrees(expected, [5.1, -5.0, -5.05, 0.1])
    assert not agrees(expected, [5.1, -5.0, -5.05, 2.5])
    assert not agrees(expected, [-x for x in expected])
    assert not agrees(expected, [5.0, -5.0, -4.9, float("nan")])


def test_int8_is_refused_where_it_cannot_be_computed(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint("own-classifier")
    own_code = exact(folder, dtype="int8", trust_remote_code=True)
    padded = exact(checkpoint("deberta-v2"), dtype="int8")
    for reranker in (own_code, padded):
        with pytest.raises(ConfigurationError) as caught:
            logits(reranker)
        assert caught.value.key == "dtype"
    monkeypatch.setattr("vecdb_rerank.torch_engine.checkpoints.loading.input_levels", lambda: None)
    with pytest.raises(ConfigurationError) as caught:
        logits(exact(checkpoint("bert"), dtype="int8", token_cache_mb=4))
    assert caught.value.key == "dtype"
    with pytest.raises(ConfigurationError) as caught:
        hardware.pick_dtype("int8", torch.device("cuda"))
    assert caught.value.key == "dtype"
    with pytest.raises(ConfigurationError) as caught:
        LateInteractionReranker(str(folder), dtype="int8")  # type: ignore[arg-type]
    assert caught.value.key == "dtype"
    with pytest.raises(ConfigurationError) as caught:
        exact(folder, dtype="int8", compile=True)
    assert caught.value.key == "compile"


def test_products_find_a_format_that_is_slow_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert min(products.product_rates().values()) > 0
    monkeypatch.setattr(
        products, "product_rates", lambda: {"float32": 100.0, "bfloat16": 60.0, "int8": 400.0}
    )
    for slow in ("float32", "bfloat16"):
        found = products.faster_dtype(slow, "cpu")
        assert found is not None
        assert found[0] == "int8"
    assert products.faster_dtype("int8", "cpu") is None
