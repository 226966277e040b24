"""Forks beside the models: a child computes, or says that it cannot; it never hangs."""

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
# Forks as soon as the first call's thread is importing torch.
WHILE_LOADING = """
import os, sys, threading, time
from vecdb_rerank import Deadline, RerankError, {kind}

reranker = {kind}({folder!r}, device="cpu")
score = lambda: reranker.score("a query", ["a document", "another"], deadline=Deadline())
first = threading.Thread(target=score)
first.start()
while "torch" not in sys.modules:
    time.sleep(0.001)
if (child := os.fork()) == 0:
    try:
        score()
    except RerankError as error:
        print(error, flush=True)
        os._exit(0)
    os._exit(1)
first.join()
assert os.waitpid(child, 0)[1] == 0
assert None not in score().raw
"""


def raw(reranker: Any, documents: list[str]) -> list[float]:
    scores = reranker.score(QUERY, documents, deadline=Deadline())
    return [float(x) for x in scores.raw if x is not None]


def in_child(reranker: Any, connection: Connection) -> None:
    connection.send(raw(reranker, DOCUMENTS))


def of_child(reranker: Any) -> Any:
    """The scores of ``DOCUMENTS`` that a forked child gives."""
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


@pytest.mark.parametrize("kind", ["CrossEncoderReranker", "FlagEmbeddingReranker"])
def test_a_child_of_a_process_that_was_loading_says_so(kind: str, checkpoint: Checkpoint) -> None:
    code = WHILE_LOADING.format(kind=kind, folder=str(checkpoint("xlm-roberta")))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "forked while a model was being loaded" in done.stdout


def test_a_child_scores_where_the_thread_that_forks_had_scored(checkpoint: Checkpoint) -> None:
    reranker = CrossEncoderReranker(str(checkpoint("xlm-roberta")), device="cpu", max_length=91)
    expected = raw(reranker, DOCUMENTS)
    assert of_child(reranker) == pytest.approx(expected, abs=1e-5)
