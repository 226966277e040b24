"""Measure the handbook's questions: how many a time allows, and the comparison of all orders."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from vecdb_rerank.demo.handbook import Question
from vecdb_rerank.demo.session import K
from vecdb_rerank.evaluation import runs
from vecdb_rerank.evaluation.connector import EvaluatedConnector, Progress
from vecdb_rerank.evaluation.yardstick import Yardstick, yardstick

SECONDS = 30.0
AT_LEAST = 60  # questions; on fewer, tuned fusion is chosen on halves that are too small
FIRST_PASSES = 1.2  # of a question's time: that of its BM25 and dense searches, besides the hybrid


def sample(questions: Sequence[Question], milliseconds: float) -> list[Question]:
    """Return as many questions as `SECONDS` allow, but `AT_LEAST`, in a fixed random order.

    ``milliseconds`` is the time of a reranked search.
    """
    affordable = int(SECONDS * 1000 / max(1.0, FIRST_PASSES * milliseconds))
    count = min(len(questions), max(AT_LEAST, affordable))
    return random.Random(0).sample(list(questions), count)


def measure(
    connector: EvaluatedConnector, questions: Sequence[Question], on_progress: Progress
) -> Yardstick:
    """Search every question with each first pass, rerank the hybrid one, and compare the orders.

    ``on_progress`` counts the reranked questions: the other searches take a tiny part of the time.
    """
    texts = {question.id: question.text for question in questions}
    done = itertools.count(1)

    def reranked() -> None:
        on_progress("reranking questions", next(done), len(texts))

    found: dict[str, runs.Run] = {}
    for mode in runs.MODES:
        found |= runs.run(
            connector,
            texts,
            modes=[mode],
            k=K,
            rerank=mode == "hybrid",
            on_progress=reranked if mode == "hybrid" else lambda: None,
        )
    return yardstick(found, {question.id: question.relevant for question in questions})
