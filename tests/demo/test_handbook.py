"""The handbook's passages, questions and judgments fit together."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import get_args

import numpy as np
import pytest

from vecdb_rerank import OnnxEmbedder, TextFields
from vecdb_rerank.demo.handbook import Kind, answered, passages, questions, vectors

BY_ID = {passage.id: passage for passage in passages()}
MAX_RUN = 4  # words in a row that a question may share with its answer
MAX_SHARE = 0.6  # of a question's longer words that its answer may contain


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def runs(some: list[str]) -> set[tuple[str, ...]]:
    """All runs of more words than a question may share with its answer."""
    return {tuple(some[i : i + MAX_RUN + 1]) for i in range(len(some) - MAX_RUN)}


def test_passages_are_many_and_each_is_its_own() -> None:
    assert len(passages()) >= 600
    assert len(BY_ID) == len(passages())
    assert len({passage.title for passage in passages()}) == len(passages())
    assert len({passage.text for passage in passages()}) == len(passages())
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", passage.id) for passage in passages())
    assert min(Counter(passage.topic for passage in passages()).values()) >= 10


def test_passages_can_be_judged_by_looking() -> None:
    for passage in passages():
        assert 40 <= len(passage.text.split()) <= 120, passage.id
        assert passage.text.strip() == passage.text, passage.id


def test_questions_are_many_and_of_every_kind() -> None:
    assert len(questions()) >= 150
    assert len({question.id for question in questions()}) == len(questions())
    assert len({question.text.casefold() for question in questions()}) == len(questions())
    assert all(question.text.strip() == question.text != "" for question in questions())
    kinds = Counter(question.kind for question in questions())
    assert set(kinds) == set(get_args(Kind))
    assert min(kinds.values()) >= 10


def test_a_third_of_every_kind_is_held_out() -> None:
    held_out = [question for question in questions() if question.held_out]
    assert len(held_out) / len(questions()) == pytest.approx(1 / 3, abs=0.03)
    assert {question.kind for question in held_out} == set(get_args(Kind))
    assert len(answered(held_out=False)) + len(answered(held_out=True)) == sum(
        bool(question.relevant) for question in questions()
    )


def test_every_judged_passage_exists_and_every_question_has_an_answer_or_nothing() -> None:
    for question in questions():
        assert question.relevant.keys() <= BY_ID.keys(), question.id
        assert set(question.relevant.values()) <= {1, 2}, question.id
        assert (2 in question.relevant.values()) == (question.kind != "nothing"), question.id
        assert bool(question.relevant) == (question.kind != "nothing"), question.id


def test_no_paraphrase_copies_its_answer() -> None:
    for question in questions():
        if question.kind not in ("paraphrase", "negation"):
            continue  # a name or a number is asked for as it is written
        asked = words(question.text)
        long = [word for word in asked if len(word) > 3]
        for identifier, grade in question.relevant.items():
            if grade == 2:
                answer = words(f"{BY_ID[identifier].title} {BY_ID[identifier].text}")
                copied = sum(word in set(answer) for word in long)
                assert not runs(asked) & runs(answer), (question.id, identifier)
                assert copied <= MAX_SHARE * len(long), (question.id, identifier)


def test_the_vectors_are_those_of_the_bundled_embedder() -> None:
    """A changed passage needs a new vector: ``python -m benchmarks.handbook_vectors``."""
    kept = vectors().astype(np.float32)
    assert kept.shape == (len(passages()), 384)
    np.testing.assert_allclose(np.linalg.norm(kept, axis=1), 1, atol=1e-3)
    some = random.Random(0).sample(range(len(kept)), 12)
    texts = [TextFields().text(passages()[n].document()) for n in some]
    made = np.asarray(OnnxEmbedder().embed_documents(texts))
    # Quantized models differ a little from one processor to the next.
    assert (made * kept[some]).sum(axis=1).min() > 0.98
