"""FlagEmbedding behind its fence: nothing, threads, memory, errors."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.checkpoints import padded
from tests.engine.test_packing import DOCUMENTS, QUERY
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.errors import ConfigurationError, RerankError
from vecdb_rerank.rerankers import flag_embedding
from vecdb_rerank.rerankers.flag_embedding import FlagEmbeddingReranker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
SHORT = DOCUMENTS[:7]


@pytest.fixture
def reranker(checkpoint: Callable[[str], Path]) -> FlagEmbeddingReranker:
    flag_embedding._loaded.cache_clear()
    return FlagEmbeddingReranker(str(checkpoint("xlm-roberta")), device="cpu", batch_size=3)


def numbers(reranker: FlagEmbeddingReranker, documents: list[str] = SHORT) -> list[float]:
    scores = reranker.score(QUERY, documents, deadline=Deadline())
    return [float(x) for x in scores.raw if x is not None]


def forward_of(reranker: FlagEmbeddingReranker) -> Any:
    numbers(reranker, SHORT[:1])
    fenced = flag_embedding._load(reranker._spec, reranker._options, os.getpid())
    return fenced._model.model


def test_scores_are_the_models(
    reranker: FlagEmbeddingReranker, checkpoint: Callable[[str], Path]
) -> None:
    expected = padded(checkpoint("xlm-roberta"), QUERY, SHORT, 512)
    assert numbers(reranker) == pytest.approx(expected, abs=1e-5)
    assert reranker.name.startswith("flag_embedding:")


def test_no_documents_have_no_scores(reranker: FlagEmbeddingReranker) -> None:
    assert numbers(reranker, []) == []


def test_threads_get_the_same_scores(reranker: FlagEmbeddingReranker) -> None:
    expected = numbers(reranker)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: numbers(reranker), range(16)):
            assert found == pytest.approx(expected, abs=1e-6)


def test_out_of_memory_in_any_batch_is_survived(reranker: FlagEmbeddingReranker) -> None:
    expected = numbers(reranker)
    model = forward_of(reranker)
    whole, calls = model.forward, []

    def limited(*args: Any, **kwargs: Any) -> Any:
        calls.append(len(kwargs["input_ids"]))
        if len(calls) > 2 and calls[-1] > 1:  # not on the first batch
            raise flag_embedding._NoMemory("CUDA out of memory")
        return whole(*args, **kwargs)

    model.forward = limited
    assert numbers(reranker) == pytest.approx(expected, abs=1e-5)
    assert max(calls) == 3
    assert set(calls[-4:]) == {1}


def test_torchs_own_error_is_told_from_others(reranker: FlagEmbeddingReranker) -> None:
    def raises(error: Exception) -> Any:
        def forward(**_: Any) -> Any:
            raise error

        return forward

    model = forward_of(reranker)
    model.forward = flag_embedding._Fenced._fence(raises(RuntimeError("shapes do not match")))
    with pytest.raises(RerankError, match="the model failed: shapes do not match"):
        numbers(reranker)
    model.forward = flag_embedding._Fenced._fence(raises(torch.OutOfMemoryError("no memory")))
    with pytest.raises(RerankError, match="no memory for one pair"):
        numbers(reranker)


def test_past_the_deadline_documents_stay_unscored(reranker: FlagEmbeddingReranker) -> None:
    scores = reranker.score(QUERY, SHORT, deadline=Deadline.after(0))
    assert list(scores.raw) == [None] * len(SHORT)


def test_wrong_arguments_are_named(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="kind: 'other' is none of encoder"):
        FlagEmbeddingReranker("a/b", kind="other")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="cutoff_layer: only for"):
        FlagEmbeddingReranker("a/b", cutoff_layer=8)
    with pytest.raises(ConfigurationError, match=r"holds no config\.json"):
        numbers(FlagEmbeddingReranker(str(tmp_path)))
