"""Scores are smoothed over similar candidates."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.model import Candidate
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.ranking.blending import final_scores
from vecdb_rerank.ranking.similarity import similarity
from vecdb_rerank.ranking.smoothing import smooth_scores

WORDS = ("wing", "flow", "shock", "heat", "pipe", "valve", "wing's", "flows")
# Other hits of the first pass, each about something else: few documents are not smoothed.
FILLERS = [f"filler{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(50)]
texts_of = st.lists(st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=12)


@given(texts_of, st.data(), st.floats(0, 1), st.floats(0, 1))
def test_there_is_one_score_from_0_to_1_for_each_text(
    texts: list[str], data: st.DataObject, feedback: float, smoothing: float
) -> None:
    count = len(texts)
    scores = data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    found = smooth_scores(scores, texts, feedback=feedback, smoothing=smoothing)
    assert len(found) == count
    assert all(0 <= score <= 1 + 1e-12 for score in found)
    assert all(type(score) is float for score in found)
    assert found == smooth_scores(scores, texts, feedback=feedback, smoothing=smoothing)


@given(texts_of)
def test_similarity_is_a_cosine(texts: list[str]) -> None:
    cosines = similarity(tuple(texts))
    assert cosines.shape == (len(texts), len(texts))
    assert np.allclose(cosines, cosines.T)
    assert cosines.min(initial=0) >= 0
    assert cosines.max(initial=0) <= 1 + 1e-6  # float32


def test_a_document_similar_to_the_best_ones_gains() -> None:
    texts = [
        "supersonic flow over a swept wing",
        "shock waves in supersonic flow",
        "a valve in a pipe",
        "the swept wing in a supersonic flow with shock waves",
        "cooking with oil",
    ]
    scores = [0.9, 0.8, 0.5, 0.49, 0.1]
    texts, scores = [*texts, *FILLERS], [*scores, *[0.2] * len(FILLERS)]
    by_feedback = smooth_scores(scores, texts, feedback=0.3, smoothing=0)
    by_smoothing = smooth_scores(scores, texts, feedback=0, smoothing=0.4)
    for found in (by_feedback, by_smoothing):
        assert found[3] > found[2]


def test_inflected_words_match_in_other_languages_too() -> None:
    cosines = similarity(("Lieferbedingungen ändern", "die Lieferbedingung", "rote Autos", "blau"))
    assert cosines[0, 1] > 0.1
    assert cosines[0, 2] == 0


def test_text_without_spaces_is_compared_by_pairs_of_characters() -> None:
    cosines = similarity(("重排序模型很慢", "这个模型重排序", "今天天气好", "GPU天气"))
    assert cosines[0, 1] > 0.1
    assert cosines[0, 2] == cosines[1, 2] == 0
    assert cosines[2, 3] > 0


def test_characters_of_every_plane_are_read() -> None:
    cosines = similarity(("🙂🙂 Größe\0Höhe", "grösse HÖHE \U0001d4b3", "GRÖßE", ""))
    assert cosines[0, 1] > 0
    assert cosines[0, 2] > 0
    assert cosines[1, 2] == cosines[0, 3] == 0


@pytest.mark.parametrize("texts", [["", "", ""], ["a", "b", "c"], ["one word"] * 3])
def test_documents_without_common_words_keep_their_scores(texts: list[str]) -> None:
    scores = [0.5, 0.9, 0.1] * 20
    found = smooth_scores(scores, texts * 20, feedback=0.3, smoothing=0.4)
    assert found == pytest.approx(scores)


def test_five_documents_are_not_smoothed() -> None:
    texts = ["shock waves", "waves of shock", "pipes", "shock waves again", "waves"]
    scores = [0.5, 0.4, 0.9, 0.1, 0.2]
    assert smooth_scores(scores, texts, feedback=0.3, smoothing=0.4) == scores
    six = smooth_scores([*scores, 0.3], [*texts, "shock"], feedback=0.3, smoothing=0.4)
    assert six[:5] != pytest.approx(scores)


def test_candidates_that_are_not_compared_stay_below_the_others() -> None:
    scores = [1 - n / 1_000 for n in range(300)]
    texts = [f"document{n % 7} about topic{n % 3}" for n in range(300)]
    found = smooth_scores(scores[::-1], texts, feedback=0.25, smoothing=0.4)
    order = sorted(range(300), key=lambda n: -found[n])
    assert {299 - n for n in order[:56]} == set(range(56))
    assert order[56:] == list(range(243, -1, -1))


def candidates(texts: list[str]) -> list[Candidate]:
    return [Candidate(n, n, text, 1 / (60 + n)) for n, text in enumerate(texts)]


def test_neither_a_confident_reranker_nor_replace_is_smoothed() -> None:
    hits = candidates(["heat flow", "heat flow in pipes", "valves", *FILLERS])
    rest = [0.05] * len(FILLERS)
    for blend, best in ((Blend(), 0.97), (Blend("replace"), 0.3)):
        relevance = [0.2, 0.1, best, *rest]
        assert final_scores(hits, relevance, blend) == pytest.approx(relevance)


def test_feedback_and_smoothing_can_be_switched_off() -> None:
    hits = candidates(["heat flow", "heat flow in pipes", "pipes of steel", "valves", *FILLERS])
    relevance = [0.2, 0.5, 0.4, 0.3, *[0.1] * len(FILLERS)]
    plain = final_scores(hits, relevance, Blend(feedback=0, smoothing=0))
    corrected = final_scores(hits, relevance, Blend())
    assert plain != pytest.approx(corrected)
    first = [5 / (5 + n) for n in range(len(hits))]
    assert plain == pytest.approx([(r + f) / 2 for r, f in zip(relevance, first, strict=True)])
