"""Out of memory: the batch is halved and retried, the budget lowered; other errors are raised."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from transformers import BertConfig

from tests.torch_engine.test_packing import DOCUMENTS, exact, logits, runner_of
from vecdb_rerank.errors import RerankError
from vecdb_rerank.torch_engine.memory import TokenBudget, bytes_per_token, first_budget, run_within


class Device:
    """A device with memory for ``fits`` items."""

    def __init__(self, fits: int) -> None:
        self.fits = fits
        self.batches: list[int] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(len(items))
        if len(items) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [item * 2 for item in items]


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    device, budget = Device(3), TokenBudget(16)
    assert run_within(budget, device, list(range(16)), len) == [2 * n for n in range(16)]
    assert budget.tokens == 2
    assert device.batches == [16, 8, 4, *[2] * 8]


def test_the_limit_is_remembered_and_learned_again_when_less_is_free() -> None:
    device, budget = Device(8), TokenBudget(16)
    run_within(budget, device, list(range(16)), len)
    assert budget.tokens == 8
    device.fits = 2  # not only on the first batch
    run_within(budget, device, list(range(8)), len)
    assert budget.tokens == 2


def test_a_single_item_that_does_not_fit_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(RerankError, match="max_length"):
        run_within(TokenBudget(16), Device(0), [1, 2], len)


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), MemoryError(), ValueError()])
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    calls = []

    def fails(items: Sequence[int]) -> list[int]:
        calls.append(len(items))
        raise error

    budget = TokenBudget(16)
    with pytest.raises(type(error)):
        run_within(budget, fails, [1, 2, 3], len)
    assert (calls, budget.tokens) == ([3], 16)


def test_the_first_budget_fits_into_half_of_what_is_free() -> None:
    config = BertConfig(hidden_size=1_024, intermediate_size=4_096)
    each = bytes_per_token(config, torch.bfloat16)
    assert 20_000 < each < 60_000
    assert first_budget(each * 1_000, each, 10**6) == 500
    assert first_budget(10**15, each, 65_536) == 65_536
    assert first_budget(0, each, 65_536) == 1
    assert first_budget(None, each, 8_192) == 8_192
    assert bytes_per_token(config, torch.float32) == 2 * each
    assert bytes_per_token(config, torch.bfloat16, row=512) > each


def test_an_engine_scores_all_and_remembers_what_fits(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = logits(exact(checkpoint("bert")))
    reranker = exact(checkpoint("bert"), token_cache_mb=1)  # a separate engine
    runner = runner_of(reranker)
    forward = runner.forward
    before = runner.budget.tokens

    def limited(pairs: Sequence[object]) -> list[float]:
        if forward.tokens(pairs) > 200:
            raise torch.OutOfMemoryError("CUDA out of memory")
        found: list[float] = forward(pairs)
        return found

    limited.tokens = forward.tokens  # type: ignore[attr-defined]
    monkeypatch.setattr(runner, "forward", limited)
    assert logits(reranker) == pytest.approx(expected, abs=1e-5)
    assert 50 <= runner.budget.tokens <= 200 < before


_LONG = """
import json, os, resource, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])  # at most two workers
from vecdb_rerank import CrossEncoderReranker, Deadline

def megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

peaks, complete = [], []
documents = [f"{n} " + "the tool reads lists of files " * 2000 for n in range(4)]
reranker = CrossEncoderReranker(
    sys.argv[1], dtype="bfloat16", device="cpu", max_length=8192, score_cache_mb=0
)
reranker.score("warm up", ["short"], deadline=Deadline())
peaks.append(megabytes())
for some in (documents[:2], documents[2:]):
    scores = reranker.score("how are files read", some, deadline=Deadline())
    complete.append(None not in scores.raw and scores.truncated == len(some))
    peaks.append(megabytes())
print(json.dumps({"peaks": peaks, "complete": complete}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the memory as Linux has it")
def test_long_documents_take_the_memory_of_a_few(checkpoint: Callable[[str], Path]) -> None:
    """All attention weights of one document would take 268 MB: 8,192 tokens, two heads."""
    done = subprocess.run(
        [sys.executable, "-c", _LONG, str(checkpoint("long-xlm-roberta"))],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["complete"] == [True] * 2
    start, two, four = found["peaks"]
    assert two - start < 200
    assert four - two < 40


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_card_with_little_memory_scores_all(checkpoint: Callable[[str], Path]) -> None:
    reranker = exact(checkpoint("bert"), device="cuda", max_length=512)
    documents = [f"{n} {'a statement of files ' * 200}" for n in range(1_000)]
    torch.cuda.set_per_process_memory_fraction(0.01)
    try:
        assert len(logits(reranker, documents)) == 1_000
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(DOCUMENTS) == len(logits(reranker))
