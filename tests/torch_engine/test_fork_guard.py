"""Forks and exits while a model loads or computes: nothing hangs, nothing is half loaded."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from tests.torch_engine.test_packing import DOCUMENTS, QUERY
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
Checkpoint = Callable[[str], Path]
# Forks while the first call's thread loads a model, and exits while another one computes.
SCRIPT = """
import os, threading, time
from vecdb_rerank import CrossEncoderReranker, Deadline, FlagEmbeddingReranker, RerankError
from vecdb_rerank.torch_engine import fork_guard

def score(reranker, documents=("a document", "another")):
    return reranker.score("a query", documents, deadline=Deadline())

for kind in (CrossEncoderReranker, FlagEmbeddingReranker):
    reranker = kind({folder!r}, device="cpu")
    first = threading.Thread(target=score, args=[reranker])
    first.start()
    while not fork_guard._loading_threads:
        time.sleep(0.001)
    if (child := os.fork()) == 0:
        try:
            score(reranker)
        except RerankError as error:
            print(kind.__name__, error, flush=True)
            os._exit(0)
        os._exit(1)
    first.join()
    assert os.waitpid(child, 0)[1] == 0
    assert None not in score(reranker).raw

def compute():
    try:
        score(CrossEncoderReranker({folder!r}, device="cpu"), ["a document " * 60] * 20_000)
    except RerankError:
        pass
threading.Thread(target=compute, daemon=True).start()
time.sleep(0.3)
print("end")
"""


def raw(reranker: Any, documents: list[str]) -> list[float]:
    scores = reranker.score(QUERY, documents, deadline=Deadline())
    return [float(x) for x in scores.raw if x is not None]


def in_child(reranker: Any, connection: Connection) -> None:
    connection.send(raw(reranker, DOCUMENTS))


def scores_of_child(reranker: Any) -> Any:
    """Return the scores of ``DOCUMENTS`` from a forked child."""
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe()
    child = context.Process(target=in_child, args=(reranker, theirs))
    child.start()
    try:
        assert mine.poll(60), "the child hangs"
        return mine.recv()
    finally:
        child.kill()
        child.join()


def test_a_child_of_a_loading_process_raises_and_the_parent_exits_cleanly(
    checkpoint: Checkpoint,
) -> None:
    code = SCRIPT.format(folder=str(checkpoint("xlm-roberta")))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    cross_encoder, flag_embedding, end = done.stdout.splitlines()
    assert cross_encoder.startswith("CrossEncoderReranker this process was forked")
    assert flag_embedding.startswith("FlagEmbeddingReranker this process was forked")
    assert end == "end"
    assert "Traceback" not in done.stderr


def test_a_child_of_a_thread_that_scored_before_scores(checkpoint: Checkpoint) -> None:
    reranker = CrossEncoderReranker(str(checkpoint("xlm-roberta")), device="cpu", max_length=91)
    expected = raw(reranker, DOCUMENTS)
    assert scores_of_child(reranker) == pytest.approx(expected, abs=1e-5)
