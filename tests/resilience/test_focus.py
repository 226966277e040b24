"""Of long documents, the sentences with the query's words are read."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank import OnnxReranker
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.model import Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.effort import Effort
from vecdb_rerank.policy.passages import HEAD, Passages
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.resilience.focus import Focus
from vecdb_rerank.search.rerank_list import ListReranker

QUERY = "why does bread rise?"
TITLE = "Notes of a baker."
FILLER = "The harbour was quiet and the boats lay in the mud until noon. " * 40
ANSWER = "Bread rises because yeast turns sugar into gas that the dough holds."
FOCUS = Passages("focus", window=48)


def read(query: str, texts: Sequence[str], rules: Passages = FOCUS) -> list[str]:
    """Return what is read of each text, with words as tokens."""
    return Focus(query, texts).select(BaseReranker(), query, texts, rules).pieces


def ask(texts: Sequence[str], rules: Passages) -> Scores:
    answer = run(Chain([OnnxReranker()]).ask(QUERY, texts, Deadline(), Policy(passages=rules)))
    assert answer.scores is not None
    return answer.scores


def test_an_answer_far_down_is_read_for_the_price_of_a_short_document() -> None:
    texts = [TITLE + " " + FILLER + ANSWER + " " + FILLER, FILLER, "short"]
    found = ask(texts, FOCUS)
    beginning = ask(texts, HEAD)
    assert found.relevance[0] is not None
    assert beginning.relevance[0] is not None
    assert found.relevance[0] > 0.5 > beginning.relevance[0]
    assert found.truncated == 2
    span, other, short = found.passages
    assert span is not None
    assert ANSWER in texts[0][slice(*span)]
    assert other is not None
    assert short is None
    reranker = OnnxReranker()
    pieces = Focus(QUERY, texts).select(reranker, QUERY, texts, FOCUS).pieces
    assert all(len(reranker.token_offsets(piece)) <= 48 for piece in pieces)


def test_the_first_sentence_leads_and_the_order_of_the_text_is_kept() -> None:
    [piece] = read("yeast sugar harbour", [f"{TITLE} {ANSWER} {FILLER}"])
    assert piece.startswith(f"{TITLE} {ANSWER} The harbour")


def test_without_a_word_of_the_query_the_beginning_is_read() -> None:
    text = f"{TITLE} {FILLER}{ANSWER}"
    [piece] = read("quantum computers", [text])
    assert text.startswith(piece)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("vibrations of wings", "A wing vibrates in the flow."),
        ("Häuser in der Stadt", "Das HÄUSER-Amt steht in den Städten."),
        ("東京の天気", "今日は東京で雨が降った。"),
    ],
)
def test_other_forms_cases_and_scripts_are_found(query: str, sentence: str) -> None:
    [piece] = read(query, [f"{TITLE} {FILLER}{sentence} {FILLER}"])
    assert sentence in piece


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"steps": [{"name": f"bread {n}", "minutes": n} for n in range(60)]}, indent=1),
        "\n".join(f"bread | {n} | rise" for n in range(100)),
        "\n".join(f"def bread_{n}(x):\n    return rise(x, {n})" for n in range(60)),
        "bread rise " * 200,
    ],
    ids=["json", "table", "code", "words"],
)
def test_what_is_not_prose_is_read_as_it_is(text: str) -> None:
    assert read(QUERY, [text]) == [text]


@given(
    st.lists(
        st.sampled_from(["word", "Ä", "bread.", "why?", "rise! ", "\n", "日本。"]), max_size=150
    ),
    st.text(max_size=20),
    st.integers(8, 60),
)
def test_what_is_read_is_in_the_text_in_order_and_fits(
    parts: list[str], query: str, window: int
) -> None:
    text = " ".join(parts)
    rules = Passages("focus", window=window)
    focused = Focus(query, [text]).select(BaseReranker(), query, [text], rules)
    [spans] = focused.spans
    if spans is None:
        assert focused.pieces == [text]
        return
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    assert len(focused.pieces[0].split()) <= window


def test_a_score_does_not_depend_on_how_many_candidates_are_read() -> None:
    texts = [f"{TITLE} {n} {FILLER}{ANSWER if n % 3 else ''} {FILLER}" for n in range(12)]
    found = []
    for effort in ("full", Effort(pairs=12, tolerance=0.0)):
        lists = ListReranker("test", OnnxReranker(), Policy(passages=FOCUS, effort=effort))
        found.append(run(lists.steps(QUERY, texts, [None] * len(texts))))
    assert found[0] == found[1]


def test_wrong_rules_are_refused_by_name() -> None:
    for key, wrong in (
        ("policy.passages.mode", {"mode": "middle"}),
        ("policy.passages.window", {"mode": "head", "window": 64}),
        ("policy.passages.window", {"mode": "focus", "window": 2}),
    ):
        with pytest.raises(ConfigurationError) as caught:
            Passages(**wrong)
        assert caught.value.key == key
