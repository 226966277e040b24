"""Exact terms of a query keep their hits near the top."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.model import Candidate, RankedHit, Ranking
from vecdb_rerank.policy.exact_terms import ExactTerms
from vecdb_rerank.ranking.exact_terms import exact_terms, protect

CODES = ["ERR_4032", "utf8", "os.path.join", "readLine", "SCSI", "C++", "node.js", "0x1F", "a_b"]


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("what does ERR_4032 mean?", ["ERR_4032"]),
        ("os.path.join() or readLine", ["os.path.join", "readLine"]),
        ('fix "connection refused" on SCSI-2', ["connection refused", "SCSI-2"]),
        ("C++ templates, node.js and C#", ["C++", "node.js", "C#"]),
        ("std::vector in utf8", ["std::vector", "utf8"]),
        ("how do I undo the last commit?", []),
        ("the 3rd of 1990s, U.S. law, and/or e.g. this", []),
        ("HOW DO I UNDO THIS", []),
        ("ein Satz über Äpfel", []),
        ("", []),
    ],
)
def test_what_is_an_exact_term(query: str, terms: list[str]) -> None:
    assert exact_terms(query) == terms


# Each is repeated until it is long, then followed by what makes an expression go back.
RUNS = [
    "_",
    "a",
    "A",
    "1",
    "$",
    "#",
    ".",
    "::",
    "\\",
    "+",
    "(",
    '"',
    "“a",
    "a_",
    "_a",
    "aA",
    "a.",
    "1a",
]
ENDS = ["", "+a", "!", '"', ".", "_+", "\n"]


@pytest.mark.parametrize("run", RUNS)
def test_the_time_is_linear_in_the_length_of_the_query(run: str) -> None:
    started = time.process_time()
    for end in ENDS:
        exact_terms(run * 40_000 + end)
    # What is quadratic takes minutes.
    assert time.process_time() - started < 5


def test_the_time_is_linear_in_the_length_of_the_documents() -> None:
    texts = ["a" * 200_000, "a-" * 100_000, "xa-a" * 50_000] * 5
    query = " ".join(f'"{"a" * n}"' for n in range(60, 128)) + f' "{"a-" * 60}" "-{"a-" * 60}"'
    started = time.process_time()
    protect(ranking(texts), query, ExactTerms())
    assert time.process_time() - started < 5


def test_a_query_that_is_a_page_of_code_has_few_exact_terms() -> None:
    terms = exact_terms(" ".join(f"name_{n}" for n in range(10_000)))
    assert terms == [f"name_{n}" for n in range(64)]
    assert exact_terms("x_" * 100) == exact_terms(f'"{"x " * 100}"') == []


@pytest.mark.parametrize(
    ("text", "holds"),
    [("(utf8)", True), ("utf8", True), ("xutf8 utf8", True), ("utf8x", False), ("_utf8", False)],
)
def test_a_term_is_held_as_a_whole_word(text: str, holds: bool) -> None:
    found = protect(ranking(["x"] * 9 + [text]), "utf8", ExactTerms(floor=1))
    assert (order(found)[0] == 9) is holds


def ranking(texts: list[str]) -> Ranking:
    """Hits with these texts in final order."""
    return Ranking.of(
        RankedHit(Candidate(n, n, text, 1.0 / (n + 1)), 1.0 - n / 100, 0.0, 0.5)
        for n, text in enumerate(texts)
    )


def order(found: Ranking) -> list[Any]:
    return [hit.candidate.id for hit in found.hits]


def test_the_only_hit_that_names_an_error_code_cannot_be_buried() -> None:
    texts = ["about errors"] * 30
    texts[25] = "ERR_4032 means that the disk is full"
    protected = protect(ranking(texts), "what is err_4032?", ExactTerms())
    assert order(protected)[:4] == [0, 1, 25, 2]
    assert protected.hits[2].score == ranking(texts).hits[2].score


def test_further_hits_follow_below_each_other() -> None:
    texts = ["x"] * 40
    for n in (20, 30, 35):
        texts[n] = "it says utf8 here"
    assert order(protect(ranking(texts), "utf8", ExactTerms(floor=1, rare=0.1)))[:4] == [
        20,
        30,
        35,
        0,
    ]


def test_a_term_that_many_hits_hold_is_not_rare() -> None:
    texts = ["utf8"] * 20 + ["x"] * 20
    assert order(protect(ranking(texts), "utf8", ExactTerms())) == list(range(40))


def test_a_part_of_a_word_is_not_the_term() -> None:
    texts = ["x"] * 10 + ["XERR_40321"]
    assert order(protect(ranking(texts), "ERR_4032", ExactTerms())) == list(range(11))


def test_a_hit_that_is_high_already_stays() -> None:
    texts = ["ERR_4032"] + ["x"] * 10
    assert protect(ranking(texts), "ERR_4032", ExactTerms()) == ranking(texts)


def test_terms_of_the_user_are_exact_and_may_have_a_boost() -> None:
    texts = ["x"] * 10 + ["the mango cluster"]
    rules = ExactTerms(terms=("mango", "papaya"))
    assert order(protect(ranking(texts), "the Mango release", rules))[2] == 10
    assert order(protect(ranking(texts), "the release", rules)) == list(range(11))
    boosted = protect(ranking(texts), "mango", ExactTerms(terms=("mango",), boost=0.5, floor=10))
    assert boosted.hits[0].candidate.id == 10
    assert boosted.hits[0].score == 1.0
    assert boosted.max_score == boosted.hits[0].score


@given(
    st.lists(st.sampled_from([*CODES, "plain", "words only", ""]), max_size=60),
    st.lists(st.sampled_from([*CODES, "plain", "how"]), min_size=1, max_size=4),
    st.integers(1, 10),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_nothing_is_lost_and_scores_never_rise_down_the_list(
    texts: list[str], words: list[str], floor: int, rare: float, boost: float
) -> None:
    rules = ExactTerms(floor=floor, rare=rare, terms=("plain",), boost=boost)
    before, after = ranking(texts), protect(ranking(texts), " ".join(words), rules)
    assert sorted(order(after)) == order(before)
    scores = [hit.score for hit in after.hits]
    assert scores == sorted(scores, reverse=True)


@given(st.sampled_from(CODES), st.integers(0, 49), st.integers(1, 10))
def test_a_single_holder_is_never_below_the_floor(code: str, at: int, floor: int) -> None:
    texts = ["nothing of the kind"] * 50
    texts[at] = f"see {code}, please"
    found = order(protect(ranking(texts), f"what is {code}", ExactTerms(floor=floor)))
    assert found.index(at) == min(at, floor - 1)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"floor": 0}, "floor"),
        ({"rare": 1.5}, "rare"),
        ({"boost": -0.1}, "boost"),
        ({"terms": ("a", " ")}, "terms"),
    ],
)
def test_wrong_rules_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ExactTerms(**wrong)
    assert caught.value.key == f"policy.exact_terms.{named}"
