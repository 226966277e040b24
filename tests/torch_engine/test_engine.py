"""One engine per process and model: shared, on time, safe under forks, closed cleanly."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.search.test_reading import searched, window
from tests.torch_engine.test_packing import DOCUMENTS, QUERY, exact, logits
from vecdb_rerank.errors import RerankError
from vecdb_rerank.evaluation import metrics
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.effort import Effort
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker
from vecdb_rerank.rerankers.onnx import OnnxReranker
from vecdb_rerank.resilience.guarded import GuardedReranker
from vecdb_rerank.torch_engine.engine import Call
from vecdb_rerank.torch_engine.spec import Spec

Checkpoint = Callable[[str], Path]
LONG = [f"{n} {'the tool reads lists of files and class objects ' * 12}" for n in range(300)]


def test_real_weights_rank_as_the_bundled_model_does(real: Path) -> None:
    texts = [
        "Berlin had 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
        "Berlin is well known for its museums.",
        "The capital of France is Paris, a city on the Seine.",
        "Preheat the oven to 200 degrees and butter the dish.",
    ]
    query = "how many people live in Berlin?"
    found = exact(real, max_length=512).score(query, texts, deadline=Deadline())
    expected = OnnxReranker().score(query, texts, deadline=Deadline())
    assert [x for x in found.raw if x is not None] == pytest.approx(
        [x for x in expected.raw if x is not None], abs=1.0
    )
    ranked = {"q": [str(n) for n in sorted(range(4), key=lambda n: -(found.raw[n] or 0))]}
    assert metrics.quality(ranked, {"q": {"0": 1}}, 4)["ndcg@10"] == 1.0


def test_all_rerankers_with_the_same_arguments_share_one_model(checkpoint: Checkpoint) -> None:
    one, other = exact(checkpoint("bert")), exact(checkpoint("bert"))
    assert one.engine is other.engine
    assert exact(checkpoint("bert"), max_length=64).engine is not one.engine


def test_concurrent_first_calls_load_once(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vecdb_rerank.torch_engine.checkpoints import loading

    loads, load = [], loading.load

    def counted(spec: Spec) -> loading.Loaded:
        loads.append(spec)
        return load(spec)

    monkeypatch.setattr(loading, "load", counted)
    rerankers = [exact(checkpoint("bert"), max_length=100) for _ in range(16)]
    assert not rerankers[0].ready
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda reranker: logits(reranker, DOCUMENTS[:3]), rerankers))
    assert len(loads) == 1
    assert all(scores == pytest.approx(found[0], abs=1e-5) for scores in found)
    assert rerankers[0].ready


def test_warmup_makes_it_ready(checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint("bert"), max_length=90)
    assert not reranker.ready
    assert reranker.warmup()
    assert reranker.ready
    assert not exact(checkpoint("bert"), max_length=91).warmup(deadline=Deadline.after(0))


def test_a_search_does_not_wait_for_a_model_that_loads(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vecdb_rerank.torch_engine.checkpoints import loading

    go, load = threading.Event(), loading.load

    def held(spec: Spec) -> loading.Loaded:
        assert go.wait(10)
        return load(spec)

    monkeypatch.setattr(loading, "load", held)
    reranker = exact(checkpoint("bert"), max_length=92)
    scores = reranker.score(QUERY, DOCUMENTS, deadline=Deadline.after(0.05))
    assert list(scores.raw) == [None] * len(DOCUMENTS)
    go.set()
    assert len(logits(reranker)) == len(DOCUMENTS)


def test_sixty_four_threads_get_their_own_scores(checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint("bert"))
    expected = {n: logits(reranker, [document])[0] for n, document in enumerate(DOCUMENTS)}

    def ask(seed: int) -> list[tuple[int, float]]:
        mine = [(seed + step) % len(DOCUMENTS) for step in range(1 + seed % 9)]
        return list(zip(mine, logits(reranker, [DOCUMENTS[n] for n in mine]), strict=True))

    with ThreadPoolExecutor(64) as pool:
        for answers in pool.map(ask, range(256)):
            for n, score in answers:
                assert score == pytest.approx(expected[n], abs=1e-5)


def test_a_short_call_is_not_held_up_by_a_long_one(checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint("bert"), batch_tokens=512)
    logits(reranker)
    ended: dict[str, float] = {}

    def ask(name: str, documents: list[str]) -> None:
        logits(reranker, documents)
        ended[name] = time.monotonic()

    long = threading.Thread(target=ask, args=("long", LONG * 4))
    long.start()
    time.sleep(0.05)
    ask("short", DOCUMENTS[:5])
    long.join()
    assert ended["short"] < ended["long"]


def test_the_deadline_leaves_the_last_ones_unscored(checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint("modernbert"), batch_tokens=256)
    logits(reranker)
    started = time.monotonic()
    scores = reranker.score(QUERY, LONG * 30, deadline=Deadline.after(0.5))
    assert time.monotonic() - started < 3
    scored = [raw is not None for raw in scores.raw]
    assert any(scored)
    assert not scored[-1]
    assert scored[0]


def test_a_cancelled_task_is_computed_no_further(checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint("bert"), batch_tokens=256)
    logits(reranker)
    computed = []
    queue: Any = reranker.engine._queue
    run = queue._run

    def counted(pairs: list[object]) -> list[float]:
        computed.append(len(pairs))
        found: list[float] = run(pairs)
        return found

    queue._run = counted

    async def search() -> None:
        task = asyncio.ensure_future(
            run_async(reranker.steps(QUERY, LONG * 20, deadline=Deadline()))
        )
        while not computed:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(search())
    time.sleep(0.1)
    after = sum(computed)
    time.sleep(0.2)
    assert sum(computed) == after < len(LONG) * 20
    queue._run = run


def test_an_asynchronous_search_gets_the_same_scores(checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint("bert"))
    scores = asyncio.run(run_async(reranker.steps(QUERY, DOCUMENTS, deadline=Deadline())))
    assert scores.raw == pytest.approx(logits(reranker), abs=1e-5)


# -- the score cache


def test_a_pair_that_comes_again_is_not_computed_again(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    reranker = exact(checkpoint("bert"), score_cache_mb=1)
    first = reranker.score(QUERY, DOCUMENTS, deadline=Deadline())
    queue: Any = reranker.engine._queue

    def never(_: object) -> list[float]:
        raise AssertionError("computed again")

    monkeypatch.setattr(queue, "_run", never)
    again = reranker.score(QUERY, DOCUMENTS[::-1], deadline=Deadline())
    assert list(again.raw) == list(first.raw)[::-1]
    assert again.truncated == first.truncated > 0
    with pytest.raises(AssertionError, match="computed again"):
        reranker.score(f"{QUERY}?", DOCUMENTS, deadline=Deadline())


def test_the_score_cache_is_bounded(checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint("bert"), score_cache_mb=0.003)
    documents = [f"a document {n}" for n in range(100)]
    assert logits(reranker, documents) == pytest.approx(logits(reranker, documents), abs=1e-5)
    assert 0 < reranker.engine.cache.used <= 3_000


# -- processes


def _in_child(reranker: CrossEncoderReranker, connection: object) -> None:
    connection.send(logits(reranker))  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_forked_children_score_while_the_parent_goes_on(checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint("bert"))
    expected = logits(reranker)
    context = multiprocessing.get_context("fork")
    with ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(logits, reranker, LONG) for _ in range(2)]
        children = []
        for _ in range(3):
            mine, theirs = context.Pipe()
            child = context.Process(target=_in_child, args=(reranker, theirs))
            child.start()
            children.append((child, mine))
        for child, mine in children:
            assert mine.poll(60), "the child hangs"
            assert mine.recv() == pytest.approx(expected, abs=1e-5)
            child.join(30)
            assert child.exitcode == 0
        for future in busy:
            assert len(future.result()) == len(LONG)
    assert logits(reranker) == pytest.approx(expected, abs=1e-5)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_child_of_a_process_that_had_not_loaded_loads_itself(checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint("bert"), max_length=93)
    assert not reranker.ready
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    child = context.Process(target=_in_child, args=(reranker, theirs))
    child.start()
    assert mine.poll(60), "the child hangs"
    assert len(mine.recv()) == len(DOCUMENTS)
    child.join(30)
    assert child.exitcode == 0


def test_after_a_shutdown_calls_begin_anew(checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint("bert"), max_length=94)
    expected = logits(reranker)
    closed = reranker.engine
    closed.close()
    with pytest.raises(RerankError, match="shut down"):
        closed.score(Call(QUERY, DOCUMENTS, Deadline()))
    assert logits(reranker) == expected
    assert reranker.engine is not closed


def test_nothing_is_logged_or_shown_of_texts(
    checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    reranker = exact(checkpoint("bert"), max_length=95)
    reranker.score("a secret query", ["a secret document"], deadline=Deadline())
    assert "secret" not in caplog.text + repr(reranker) + reranker.name
    assert capfd.readouterr() == ("", "")


def test_scores_are_plain_numbers_in_any_text(checkpoint: Checkpoint) -> None:
    awkward = ["", " ", "\ud800 lone", "\x00", "日本語"]
    scores = exact(checkpoint("xlm-roberta")).score("\udfff?", awkward, deadline=Deadline())
    json.dumps([scores.raw, scores.relevance])
    assert None not in scores.raw


def test_a_search_sends_it_all_documents_whatever_it_took_before(checkpoint: Checkpoint) -> None:
    guard = GuardedReranker(exact(checkpoint("bert")))
    for _ in range(10):
        guard._latency.record(len(DOCUMENTS), 60.0)  # a slow first call
    scores = run(guard.ask(QUERY, DOCUMENTS, Deadline.after(30), Policy()))
    assert None not in scores.raw
    assert len(scores.raw) == len(DOCUMENTS)


def test_a_search_on_a_cpu_ends_its_reading_between_batches(checkpoint: Checkpoint) -> None:
    candidates, _ = window(0)
    reranker = exact(checkpoint("bert"))
    _, outcome = searched(reranker, candidates, effort=Effort(tolerance=0.5))
    assert 0 < outcome.scored < len({c.text for c in candidates if c.text})
    assert outcome.stopped == "settled"
