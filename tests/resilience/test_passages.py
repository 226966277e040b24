"""Long documents in passages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank import OnnxReranker
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.model import Answer, Scores
from vecdb_rerank.outcome import observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.passages import HEAD, Passages
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.resilience.passages import spans, split
from vecdb_rerank.search.rerank_list import ListReranker
from vecdb_rerank.testing import CORPUS

QUERY = "why does bread rise?"
FILLER = "The harbour was quiet and the boats lay in the mud until noon. " * 120
SHORT = Passages(window=64, overlap=16, most=40)
ANSWER = "Bread rises because yeast turns sugar into gas that the dough holds."


def words(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]


@given(
    st.lists(st.sampled_from(["word", "Ä", "end.", "why?", "x y", "\n"]), max_size=200),
    st.integers(2, 40),
    st.integers(0, 20),
)
def test_passages_cover_the_text_in_order_and_fit_the_window(
    parts: list[str], window: int, overlap: int
) -> None:
    text = " ".join(parts)
    tokens = words(text)
    found = spans(text, tokens, window, min(overlap, window // 2))
    read = {n for low, high in found for n, (a, b) in enumerate(tokens) if low <= a and b <= high}
    assert read == set(range(len(tokens)))
    for low, high in found:
        assert sum(low <= a and b <= high for a, b in tokens) <= window
    assert [low for low, _ in found] == sorted({low for low, _ in found})


def test_a_passage_ends_with_a_sentence_where_one_ends_near() -> None:
    text = "one two three four five six seven. eight nine ten eleven twelve"
    first, second = spans(text, words(text), 10, 0)
    assert text[slice(*first)] == "one two three four five six seven."
    assert text[slice(*second)] == "eight nine ten eleven twelve"


def ask(texts: Sequence[str], rules: Passages, **options: Any) -> Answer:
    chain = Chain([OnnxReranker(**options)])
    return run(chain.ask(QUERY, texts, Deadline(), Policy(passages=rules)))


def scores(answer: Answer) -> Scores:
    assert answer.scores is not None
    return answer.scores


def relevance(answer: Answer) -> list[float]:
    return [value for value in scores(answer).relevance if value is not None]


def test_an_answer_at_the_end_of_a_long_document_is_found() -> None:
    texts = [FILLER + ANSWER, FILLER]
    beginning, whole = ask(texts, HEAD), ask(texts, SHORT)
    assert scores(beginning).truncated == 2
    assert scores(whole).truncated == 0
    assert relevance(beginning)[0] < 0.1
    assert relevance(whole)[0] > 0.7
    assert relevance(whole)[1] < 0.1
    span = scores(whole).passages[0]
    assert span is not None
    assert ANSWER in texts[0][slice(*span)]


def test_short_documents_are_read_as_they_are() -> None:
    texts = [str(d["text"]) for d in CORPUS[:8]]
    plain, parted = ask(texts, HEAD), ask(texts, Passages())
    assert relevance(parted) == relevance(plain)
    assert scores(parted).passages == [None] * 8


def test_what_lies_beyond_the_last_passage_is_counted() -> None:
    answer = ask([FILLER + ANSWER, "short"], Passages(most=2))
    assert scores(answer).truncated == 1
    assert relevance(answer)[0] < 0.1


def test_the_mean_of_the_passages_is_below_their_best() -> None:
    texts = [FILLER + ANSWER]
    best = relevance(ask(texts, SHORT))[0]
    mean = relevance(ask(texts, replace(SHORT, join="mean")))[0]
    assert 0 < mean < best


def test_the_window_bounds_a_passage_and_the_models_room_the_window() -> None:
    reranker = OnnxReranker(max_length=128)
    room = reranker.room(QUERY)
    assert 100 < room < 128
    for rules, window in ((Passages(window=50, overlap=5), 50), (Passages(window=500), room)):
        parts = split(reranker, QUERY, [FILLER], rules)
        assert all(len(reranker.token_offsets(piece)) <= window for piece in parts.pieces)
        assert len(parts.pieces) == 4


class Wordy:
    """A reranker that does not expose its tokens."""

    name = "wordy"

    def __init__(self) -> None:
        self.sent: list[str] = []

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.sent += documents
        return Scores.from_relevance([0.9 if "yeast" in text else 0.1 for text in documents])


def test_without_tokens_words_count_and_first_passages_are_sent_first() -> None:
    reranker = Wordy()
    texts = [FILLER + ANSWER, "short", FILLER]
    answer = run(
        Chain([reranker]).ask(QUERY, texts, Deadline(), Policy(passages=Passages(most=10)))
    )
    assert relevance(answer) == [0.9, 0.1, 0.1]
    assert reranker.sent[1] == "short"
    assert all(text.startswith("The harbour") for text in (reranker.sent[0], reranker.sent[2]))
    assert len(reranker.sent) > 6


def test_the_outcome_of_a_search_says_where_the_best_passage_is() -> None:
    texts = [FILLER + ANSWER, "short"]
    lists = ListReranker("test", OnnxReranker(), Policy(passages=SHORT))
    with observe() as outcomes:
        run(lists.steps(QUERY, texts, [None, None]))
    [(hit_id, span)] = outcomes[0].passages.items()
    assert hit_id == 0
    assert ANSWER in texts[0][slice(*span)]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"window": 4}, "window"),
        ({"window": 16, "overlap": 16}, "overlap"),
        ({"overlap": -1}, "overlap"),
        ({"most": 0}, "most"),
        ({"join": "sum"}, "join"),
    ],
)
def test_wrong_rules_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^policy\.passages\.{named}: "):
        Passages(**wrong)
