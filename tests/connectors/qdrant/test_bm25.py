"""BM25 as sparse vectors, computed here as a Qdrant server does."""

from __future__ import annotations

from typing import Any

import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank_qdrant.bm25 import STOP_WORDS, Bm25


def vector(bm25: Bm25, text: str) -> dict[int, float]:
    sparse = bm25.document(text)
    return dict(zip(sparse.indices, sparse.values, strict=True))


def term(word: str) -> int:
    return abs(mmh3.hash(word))


def test_a_terms_weight_is_the_formula_of_bm25() -> None:
    bm25 = Bm25(k=1.2, b=0.75, avg_len=4.0)
    found = vector(bm25, "red fox, red fox, red hen")  # 6 terms
    norm = 1.2 * (1 - 0.75 + 0.75 * 6 / 4)
    assert found == {
        term("red"): pytest.approx(3 * 2.2 / (3 + norm)),
        term("fox"): pytest.approx(2 * 2.2 / (2 + norm)),
        term("hen"): pytest.approx(1 * 2.2 / (1 + norm)),
    }


def test_weights_by_hand_with_the_defaults() -> None:
    (weight,) = vector(Bm25(), "fox").values()
    # 2.2 / (1 + 1.2 * (0.25 + 0.75 / 256)), worked out on paper
    assert weight == pytest.approx(1.687_743_5, abs=1e-6)


def test_length_does_not_count_without_b() -> None:
    bm25 = Bm25(b=0.0)
    assert vector(bm25, "fox")[term("fox")] == vector(bm25, "fox and hens")[term("fox")] == 1.0


def test_repetition_does_not_count_without_k() -> None:
    assert set(vector(Bm25(k=0.0), "fox fox hen").values()) == {1.0}


def test_a_query_has_each_of_its_terms_once_with_weight_one() -> None:
    sparse = Bm25().query("The fox, a FOX and the hens")
    assert sorted(sparse.indices) == sorted([term("fox"), term("hen")])
    assert sparse.values == [1.0, 1.0]


def test_terms_are_murmur_hashes_without_their_sign() -> None:
    # Known values of MurmurHash3 x86 32 with seed 0; the second is negative as a signed number.
    assert Bm25().query("test").indices == [abs(0xBA6BD213 - 2**32)]
    assert Bm25().query("hello").indices == [0x248BFA47]


def test_words_are_stemmed_and_lower_cased() -> None:
    assert vector(Bm25(), "Running RUNS run").keys() == {term("run")}
    assert vector(Bm25(), "connection connected") == vector(Bm25(), "connect connecting")


def test_stop_words_leave_no_trace() -> None:
    assert vector(Bm25(), "the fox is on the run") == vector(Bm25(), "fox run")
    assert vector(Bm25(), "THE The tHe") == {}
    assert {"the", "and", "not"} <= STOP_WORDS


@pytest.mark.parametrize("text", ["", "   \n", "?!...", "the and of", "\N{PILE OF POO}"])
def test_a_text_without_terms_is_an_empty_vector(text: str) -> None:
    for sparse in (Bm25().document(text), Bm25().query(text)):
        assert (sparse.indices, sparse.values) == ([], [])


def test_apostrophes_and_punctuation_part_words() -> None:
    assert vector(Bm25(), "don't e-mail foo_bar") == vector(Bm25(), "don t e mail foo bar")


def test_words_of_other_scripts_are_terms() -> None:
    assert set(Bm25().query("Äpfel ПРИВЕТ 日本語 42").indices) == {
        term("日本"),
        term("本語"),
        term("äpfel"),
        term("привет"),
        term("日本語"),
        term("42"),
    }


@given(st.text())
def test_any_text_makes_a_valid_sparse_vector(text: str) -> None:
    for sparse in (Bm25().document(text), Bm25().query(text)):
        assert sparse.indices == sorted(set(sparse.indices))
        assert all(0 <= index < 2**32 for index in sparse.indices)
        assert all(value > 0 for value in sparse.values)
        assert len(sparse.indices) == len(sparse.values)


@given(st.text())
def test_a_query_has_only_terms_of_the_document_with_its_text(text: str) -> None:
    assert set(Bm25().query(text).indices) <= set(Bm25().document(text).indices)


# -- terms that a server does not make


def found(query: str, text: str) -> bool:
    return bool(set(Bm25().query(query).indices) & set(Bm25().document(text).indices))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("検索", "全文検索エンジンを作る"),
        ("数据库", "这是一个向量数据库的例子"),
        ("猫", "黒猫が好き"),
        ("ค้นหา", "ระบบค้นหาข้อความ"),
        ("데이터베이스를", "데이터베이스"),
        ("ｶﾀｶﾅ", "カタカナ"),
        ("java", "Java言語"),
        ("user", "call getUser() first"),
        ("getUser", "the get_user function"),
        ("RFC 9110", "see RFC9110"),
        ("HTTP server", "class HTTPServer"),
    ],
)
def test_parts_of_words_are_found(query: str, text: str) -> None:
    assert found(query, text)


def test_names_with_symbols_are_told_apart() -> None:
    def score(query: str, text: str) -> float:
        held = vector(Bm25(), text)
        return sum(held.get(index, 0.0) for index in Bm25().query(query).indices)

    for name, other in (("C++", "C#"), ("C#", "C++"), ("c++", "C")):
        assert score(name, f"written in {name}.") > score(name, f"written in {other}.")


@given(st.text())
def test_more_terms_change_no_weight_of_the_servers(text: str) -> None:
    bm25 = Bm25()
    held = vector(bm25, text)
    assert bm25.server_terms(text) <= held.keys()
    assert held.keys() == bm25.server_terms(text) | bm25.more_terms(text)


@pytest.mark.parametrize("wrong", [{"k": -0.1}, {"b": 1.1}, {"b": -0.1}, {"avg_len": 0.0}])
def test_wrong_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as error:
        Bm25(**wrong)
    assert error.value.key == f"bm25.{next(iter(wrong))}"


def test_a_language_without_a_stemmer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^language: .*klingon"):
        Bm25(language="klingon")  # type: ignore[arg-type]  # what a user might do
