"""FlagEmbedding: the library's scores, empty lists, threads, memory, errors."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import FlagEmbedding
import pytest
import torch
from FlagEmbedding.inference.reranker.decoder_only.models import (
    configuration_minicpm_reranker,
    modeling_minicpm_reranker,
)
from transformers import AutoTokenizer

from tests.torch_engine.checkpoints import last_logits, padded
from tests.torch_engine.test_packing import DOCUMENTS, QUERY
from vecdb_rerank.errors import ConfigurationError, RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.rerankers import flag_embedding
from vecdb_rerank.rerankers.flag_embedding import FlagEmbeddingReranker
from vecdb_rerank.torch_engine.checkpoints import licences
from vecdb_rerank.torch_engine.spec import GEMMA

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    # the library's __del__ fails after a failed __init__
    r"ignore:.*AbsReranker\.__del__:pytest.PytestUnraisableExceptionWarning",
)
Checkpoint = Callable[[str], Path]
SHORT = DOCUMENTS[:7]
PAIRS = [(QUERY, document) for document in SHORT]
CHECKPOINTS = {"encoder": "xlm-roberta", "llm": "gemma", "layerwise": "own-layerwise"}


@pytest.fixture(params=CHECKPOINTS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def reranker(kind: str, checkpoint: Checkpoint) -> FlagEmbeddingReranker:
    """Return a reranker with batches of three documents and a newly loaded model."""
    flag_embedding._load_once.cache_clear()
    return made(kind, checkpoint)


def made(kind: Any, checkpoint: Checkpoint, **options: Any) -> FlagEmbeddingReranker:
    given = {"device": "cpu", "batch_size": 3, "trust_remote_code": kind == "layerwise"} | options
    return FlagEmbeddingReranker(str(checkpoint(CHECKPOINTS[kind])), kind=kind, **given)


def numbers(reranker: FlagEmbeddingReranker, documents: list[str] = SHORT) -> list[float]:
    scores = reranker.score(QUERY, documents, deadline=Deadline())
    return [float(x) for x in scores.raw if x is not None]


def locked(reranker: FlagEmbeddingReranker) -> flag_embedding._LockedModel:
    return flag_embedding._load(reranker._spec, reranker._options, os.getpid())


def library(kind: str, folder: Path) -> Any:
    """Return the library's own reranker."""
    own = getattr(FlagEmbedding, flag_embedding._CLASSES[kind])
    options = {"use_fp16": True, "trust_remote_code": True} if kind == "layerwise" else {}
    return own(str(folder), devices="cpu", **options)


def watched(
    reranker: FlagEmbeddingReranker, fail: Callable[[list[int]], Exception | None]
) -> list[int]:
    """Return a list that records the size of each batch; ``fail`` returns the error to raise."""
    body = locked(reranker)._reranker.model.base_model
    whole, batches = body.forward, []

    def forward(input_ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        batches.append(len(input_ids))
        if (error := fail(batches)) is not None:
            raise error
        return whole(input_ids, *args, **kwargs)

    body.forward = forward
    return batches


def test_scores_are_the_librarys(
    kind: str, reranker: FlagEmbeddingReranker, checkpoint: Checkpoint
) -> None:
    expected = library(kind, checkpoint(CHECKPOINTS[kind])).compute_score(PAIRS)
    assert max(expected) - min(expected) > 0.05  # else any error would pass
    assert numbers(reranker) == pytest.approx(expected, abs=1e-5)
    assert reranker.name.startswith("flag_embedding:")


def test_an_encoder_gives_the_scores_of_its_padded_forward(checkpoint: Checkpoint) -> None:
    expected = padded(checkpoint("xlm-roberta"), QUERY, SHORT, 512)
    assert numbers(made("encoder", checkpoint)) == pytest.approx(expected, abs=1e-5)


def test_a_causal_model_gives_the_logit_of_yes(checkpoint: Checkpoint) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint("gemma"))

    def ids(text: str) -> list[int]:
        found: list[int] = tokenizer.encode(text, add_special_tokens=False)
        return found

    end = ids("\n") + ids(GEMMA.after.strip())
    start = ids("<s>") + ids(f"A: {QUERY}") + ids("\n")
    rows = [start + ids(f"B: {document}") + end for document in SHORT]
    expected = last_logits(checkpoint("gemma"), rows)[:, ids("Yes")[0]].tolist()
    assert numbers(made("llm", checkpoint)) == pytest.approx(expected, abs=1e-4)


def test_cutoff_layer_selects_the_scores(checkpoint: Checkpoint) -> None:
    own = library("layerwise", checkpoint("own-layerwise"))
    last = numbers(made("layerwise", checkpoint))
    for layer in (1, 3):
        expected = own.compute_score(PAIRS, cutoff_layers=[layer])
        found = numbers(made("layerwise", checkpoint, cutoff_layer=layer))
        assert found == pytest.approx(expected, abs=1e-5)
        assert (found == pytest.approx(last, abs=1e-3)) == (layer == 3)


def test_a_missing_layer_is_refused(checkpoint: Checkpoint) -> None:
    for layer in (0, 4):
        with pytest.raises(ConfigurationError, match=r"^cutoff_layer: "):
            numbers(made("layerwise", checkpoint, cutoff_layer=layer))


def test_no_documents_have_no_scores(reranker: FlagEmbeddingReranker) -> None:
    assert numbers(reranker, []) == []


def test_threads_get_the_same_scores(reranker: FlagEmbeddingReranker) -> None:
    expected = numbers(reranker)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: numbers(reranker), range(16)):
            assert found == pytest.approx(expected, abs=1e-6)


def test_a_batch_is_computed_once(reranker: FlagEmbeddingReranker) -> None:
    batches = watched(reranker, lambda _: None)
    numbers(reranker)
    assert batches == [3, 3, 1]


def test_out_of_memory_after_the_first_batch_is_survived(reranker: FlagEmbeddingReranker) -> None:
    expected = numbers(reranker)

    def fail(batches: list[int]) -> Exception | None:
        full = len(batches) > 1 and batches[-1] > 1
        return torch.OutOfMemoryError("CUDA out of memory") if full else None

    batches = watched(reranker, fail)
    assert numbers(reranker) == pytest.approx(expected, abs=1e-5)
    assert batches == [3, 3, 1, 1, 1, 1]
    assert numbers(reranker) == pytest.approx(expected, abs=1e-5)
    assert batches[6:] == [1] * 7  # the lower budget is kept


def test_a_document_that_does_not_fit_is_an_error(reranker: FlagEmbeddingReranker) -> None:
    watched(reranker, lambda _: torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RerankError, match="max_length"):
        numbers(reranker)


@pytest.mark.parametrize("error", [RuntimeError("shapes"), ValueError("shapes")])
def test_other_errors_are_not_taken_for_out_of_memory(
    error: Exception, reranker: FlagEmbeddingReranker
) -> None:
    batches = watched(reranker, lambda _: error)
    with pytest.raises(RerankError, match=f"{type(error).__name__}: shapes"):
        numbers(reranker)
    assert batches == [3]
    assert locked(reranker)._budget.tokens > 100


def test_past_the_deadline_documents_stay_unscored(reranker: FlagEmbeddingReranker) -> None:
    scores = reranker.score(QUERY, SHORT, deadline=Deadline.after(0))
    assert list(scores.raw) == [None] * len(SHORT)
    numbers(reranker)
    batches = watched(reranker, lambda _: time.sleep(0.2))
    scores = reranker.score(QUERY, SHORT, deadline=Deadline.after(0.1))
    assert [raw is not None for raw in scores.raw] == [True] * 3 + [False] * 4
    assert batches == [3]


def test_a_call_does_not_wait_longer_than_its_deadline(reranker: FlagEmbeddingReranker) -> None:
    numbers(reranker)
    with flag_embedding._computing:
        scores = reranker.score(QUERY, SHORT, deadline=Deadline.after(0.05))
    assert list(scores.raw) == [None] * len(SHORT)


def test_the_library_draws_nothing(
    reranker: FlagEmbeddingReranker, capfd: pytest.CaptureFixture[str]
) -> None:
    locked(reranker)
    capfd.readouterr()
    numbers(reranker)
    assert capfd.readouterr() == ("", "")


def test_several_devices_are_no_processes(
    kind: str,
    reranker: FlagEmbeddingReranker,
    checkpoint: Checkpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = numbers(reranker)
    own = getattr(FlagEmbedding, flag_embedding._CLASSES[kind])
    monkeypatch.setattr(own, "get_target_devices", staticmethod(lambda d: d or ["cpu"] * 2))
    several = made(kind, checkpoint, device=None)
    assert numbers(several) == pytest.approx(expected, abs=1e-6)
    assert locked(several)._reranker.pool is None


# -- what does not load


def test_minicpm_is_refused_as_the_library_cannot_run_it(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    configure = configuration_minicpm_reranker.LayerWiseMiniCPMConfig
    config = configure(vocab_size=100, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    with pytest.raises(KeyError, match="type"):  # when this passes, remove the refusal
        modeling_minicpm_reranker.LayerWiseMiniCPMForCausalLM(config)
    folder = shutil.copytree(checkpoint("gemma"), tmp_path / "minicpm")
    (folder / "config.json").write_text(json.dumps({"model_type": "minicpm"}))
    for trusted in (False, True):
        given = FlagEmbeddingReranker(str(folder), kind="layerwise", trust_remote_code=trusted)
        with pytest.raises(ConfigurationError, match=r"^model: .*MiniCPM"):
            numbers(given)


def test_code_that_comes_with_a_model_is_refused_unless_asked_for(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigurationError, match=r"^trust_remote_code: "):
        numbers(made("layerwise", checkpoint, trust_remote_code=False))


@pytest.mark.parametrize("model_type", ["xlm-roberta", "gemma"])
def test_a_broken_model_is_a_configuration_error(
    model_type: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = shutil.copytree(checkpoint(model_type), tmp_path / "broken")
    (folder / "model.safetensors").write_bytes(b"no weights")
    kind = {"xlm-roberta": "encoder", "gemma": "llm"}[model_type]
    with pytest.raises(ConfigurationError, match=r"^model: "):
        numbers(FlagEmbeddingReranker(str(folder), kind=kind))  # type: ignore[arg-type]


def test_a_non_commercial_licence_is_warned_of(
    checkpoint: Checkpoint,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(licences, "_warned", set())
    folder = shutil.copytree(checkpoint("xlm-roberta"), tmp_path / "model")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    numbers(FlagEmbeddingReranker(str(folder), device="cpu"))
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [text for text in warnings if "cc-by-nc-4.0" in text]


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^kind: "):
        FlagEmbeddingReranker("a/b", kind="other")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^cutoff_layer: "):
        FlagEmbeddingReranker("a/b", cutoff_layer=8)
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        numbers(FlagEmbeddingReranker(str(tmp_path)))
    with pytest.raises(ConfigurationError, match=r"^revision: "):
        numbers(FlagEmbeddingReranker("a/b", kind="layerwise", trust_remote_code=True))
