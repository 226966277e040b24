"""What counts as an answer of a language model."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.errors import RerankError
from vecdb_rerank.rerankers.chat.answers import Permutation, grade, permutation, reply, yes_logit
from vecdb_rerank.rerankers.chat.listwise import windows

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "text",
    [
        '{"ranking": [3, 1, 2]}',
        'Of course! Here it is:\n```json\n{"ranking": [3, 1, 2]}\n```\nAnything else?',
        "[3, 1, 2]",
        '["3", "1", "2"]',
        '{"ranking": [{"number": 3}, {"number": 1}, {"number": 2}]}',
        '[{"rank": 1, "number": 3}, {"rank": 2, "number": 1}, {"rank": 3, "number": 2}]',
        '{"ranking": [3.0, 1.0, 2.0]}',
        "1. Document 3\n2. Document 1\n3. Document 2",
        '{"order": ["[3]", "[1]", "[2]"]}',
        "[3] > [1] > [2]",
        "3 > 1 > 2",
        "The best is 3, then 1, and then 2.",
        'First {"ranking": [1]} came to mind, but it is {"ranking": [3, 1, 2]}',
    ],
)
def test_the_forms_of_a_permutation(text: str) -> None:
    assert permutation(text, 3) == Permutation([2, 0, 1])


@pytest.mark.parametrize(
    ("text", "order", "missing", "doubled", "unknown"),
    [
        ('{"ranking": [3]}', [2, 0, 1], 2, 0, 0),
        ('{"ranking": [3, 3, 1, 2, 3]}', [2, 0, 1], 0, 2, 0),
        ('{"ranking": [0, 3, 99, -1, 1, 2]}', [2, 0, 1], 0, 0, 3),
        ('{"ranking": [2, 7, 2]}', [1, 0, 2], 2, 1, 1),
        ("[2] > [9] > [2]", [1, 0, 2], 2, 1, 1),
    ],
)
def test_what_is_wrong_with_a_permutation_is_repaired_and_counted(
    text: str, order: list[int], missing: int, doubled: int, unknown: int
) -> None:
    found = permutation(text, 3)
    assert found == Permutation(order, missing, doubled, unknown)
    assert found.is_repaired


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot help with that.",
        "I read 2 documents of the 50 that you sent.",  # prose that names two of ten
        '{"ranking": []}',
        '{"ranking": "none"}',
        '{"ranking": [11, 12]}',
        "[" * 100_000,
        '{"a":' * 5_000,
        "1. " * 20_000 + " " * 40_000,
        "1." + " " * 60_000,
        "\n" * 60_000,
    ],
)
def test_what_holds_no_order_is_none(text: str) -> None:
    assert permutation(text, 10) is None


@given(order=st.permutations(range(1, 21)))
def test_every_permutation_is_read_as_it_is(order: list[int]) -> None:
    indices = [n - 1 for n in order]
    for text in (json.dumps({"ranking": order}), " > ".join(f"[{n}]" for n in order)):
        assert permutation(text, 20) == Permutation(indices)


@given(text=st.text() | JSON.map(json.dumps), count=st.integers(1, 12))
def test_whatever_comes_is_a_permutation_or_none(text: str, count: int) -> None:
    found = permutation(text, count)
    assert found is None or sorted(found.order) == list(range(count))


@given(body=JSON)
def test_whatever_comes_is_a_reply_or_an_error(body: Any) -> None:
    for given_body in (body, {"choices": [body]}, {"choices": [{"message": {}, "logprobs": body}]}):
        try:
            found = reply(given_body)
        except RerankError:
            continue
        assert isinstance(found.text, str)


def test_thoughts_are_no_answer() -> None:
    message = {"content": '<think>\n{"ranking": [1, 2]}?</think>\n{"ranking": [2, 1]}'}
    assert permutation(reply({"choices": [{"message": message}]}).text, 2) == Permutation([1, 0])
    unfinished = {"content": "<think>first [1, 2], or rather"}
    assert reply({"choices": [{"message": unfinished}]}).text == ""


def test_a_message_in_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "[2, "}, {"type": "text", "text": "1]"}, {"type": "other"}]
    assert reply({"choices": [{"message": {"content": parts}}]}).text == "[2, 1]"


def test_the_logit_of_yes_adds_up_its_spellings() -> None:
    half, quarter = math.log(0.5), math.log(0.25)
    assert yes_logit([("Yes", quarter), (" yes", quarter), ("\u2581no", half)]) == pytest.approx(0)
    assert yes_logit([("yes", -0.1), ("maybe", -5.0)]) == pytest.approx(4.9)
    assert yes_logit([("No", -0.1), ("maybe", -5.0)]) == pytest.approx(-4.9)
    assert yes_logit([("maybe", -0.1), ("<think>", -3.0)]) is None


@pytest.mark.parametrize("chance", [0.5, 0.7, 0.99])
def test_a_token_alone_leaves_the_other_one_the_rest(chance: float) -> None:
    logit = math.log(chance / (1 - chance))
    assert yes_logit([("yes", math.log(chance))]) == pytest.approx(logit)
    assert yes_logit([("no", math.log(chance))]) == pytest.approx(-logit)


@pytest.mark.parametrize("least", [-math.inf, -9_999.0, -(10**400)])
def test_a_probability_of_zero_is_one(least: float) -> None:
    listed = [{"token": "yes", "logprob": 0.0}, {"token": "no", "logprob": least}]
    first = {**listed[0], "top_logprobs": listed}
    body = {"choices": [{"message": {"content": "yes"}, "logprobs": {"content": [first]}}]}
    alternatives = reply(body).alternatives
    assert alternatives is not None
    found = yes_logit(alternatives)
    assert found is not None
    assert 100 < found < math.inf


@pytest.mark.parametrize("count", [-1, 10**400, 1e300, 5.5, "5", True, None])
def test_a_count_of_tokens_that_cannot_be_is_none(count: Any) -> None:
    body = {"choices": [{"message": {"content": ""}}], "usage": {"prompt_tokens": count}}
    assert reply(body).prompt_tokens is None


@pytest.mark.parametrize(
    ("text", "relevance"),
    [
        ('{"grade": 4}', 1.0),
        ('{"grade": "3"}', 0.75),
        ('{"grade": 3.0}', 0.75),
        ("Grade: 2", 0.5),
        ("0", 0.0),
        ('```json\n{"grade": 1}\n```', 0.25),
        ('{"grade": 5}', None),
        ('{"grade": 2.5}', None),
        ("between 1 and 3", None),
        ("", None),
    ],
)
def test_grades(text: str, relevance: float | None) -> None:
    assert grade(text) == relevance


@given(count=st.integers(1, 200), size=st.integers(2, 30), stride=st.integers(1, 30))
def test_windows_reach_all_documents_and_end_at_the_front(
    count: int, size: int, stride: int
) -> None:
    stride = min(stride, size)
    found = windows(count, size, stride)
    assert {n for part in found for n in part} == set(range(count))
    assert found[-1] == range(min(size, count))
    assert all(len(part) == min(size, count) for part in found)
    starts = [part.start for part in found]
    assert starts == sorted(starts, reverse=True)
    assert all(b.stop >= a.start for a, b in pairwise(found))


def test_the_windows_of_the_paper() -> None:
    assert windows(50, 20, 10) == [range(30, 50), range(20, 40), range(10, 30), range(20)]
    assert windows(45, 20, 10)[-1] == range(20)
    assert windows(7, 20, 10) == [range(7)]
