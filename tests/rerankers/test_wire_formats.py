"""The wire formats: what is sent, and what counts as an answer."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.errors import RerankError
from vecdb_rerank.http.request_limits import estimated_tokens
from vecdb_rerank.rerankers.wire_formats import (
    FORMATS,
    FormatName,
    ScoreRequest,
    endpoint,
    predicted_units,
    request_body,
    root,
    scores,
)

TEXTS = ["a", "b", "c"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def sent(name: FormatName) -> dict[str, object]:
    return request_body(ScoreRequest("m", "q", TEXTS, FORMATS[name].scale), FORMATS[name])


def answer(name: FormatName, values: list[float]) -> Any:
    wire = FORMATS[name]
    results = [{wire.index: n, wire.score: value} for n, value in enumerate(values)][::-1]
    return {wire.results: results} if wire.results else results


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("cohere", {"model": "m", "query": "q", "documents": TEXTS}),
        (
            "cohere_v1",
            {"model": "m", "query": "q", "documents": TEXTS, "return_documents": False},
        ),
        ("jina", {"model": "m", "query": "q", "documents": TEXTS, "return_documents": False}),
        ("voyage", {"model": "m", "query": "q", "documents": TEXTS, "return_documents": False}),
        ("tei", {"query": "q", "texts": TEXTS, "raw_scores": True, "truncate": True}),
    ],
)
def test_what_is_sent(name: FormatName, body: dict[str, Any]) -> None:
    assert sent(name) == body


@pytest.mark.parametrize("name", FORMATS)
def test_scores_come_in_the_order_of_the_documents(name: FormatName) -> None:
    values = [0.2, 0.9, 0.1]
    assert scores(answer(name, values), 3, FORMATS[name], "relevance") == values


@pytest.mark.parametrize("name", FORMATS)
def test_the_results_stand_where_the_format_says(name: FormatName) -> None:
    wrong = {"elsewhere": answer(name, [0.5])}
    with pytest.raises(RerankError, match="has no list of"):
        scores(wrong, 1, FORMATS[name], "relevance")


@pytest.mark.parametrize("score", [float("inf"), float("-inf"), 10**400, True, None, "0.5", [1]])
def test_a_score_that_is_no_finite_number_is_an_error(score: Any) -> None:
    with pytest.raises(RerankError, match="no finite relevance_score"):
        scores({"results": [{"index": 0, "relevance_score": score}]}, 1, FORMATS["jina"], "logits")


@pytest.mark.parametrize("index", [-1, 3, 10**30])
def test_an_index_out_of_range_is_an_error(index: int) -> None:
    with pytest.raises(RerankError, match="for 3 documents"):
        scores({"results": [{"index": index, "relevance_score": 1}]}, 3, FORMATS["jina"], "logits")


@pytest.mark.parametrize("index", [True, 1.0, "1", None])
def test_an_index_that_is_no_whole_number_is_an_error(index: Any) -> None:
    with pytest.raises(RerankError, match="has no index"):
        scores({"results": [{"index": index, "relevance_score": 1}]}, 3, FORMATS["jina"], "logits")


@pytest.mark.parametrize("score", [-0.1, 1.1, 7.7])
def test_a_relevance_out_of_range_names_the_setting(score: float) -> None:
    entries = [{"index": 0, "relevance_score": score}]
    with pytest.raises(RerankError, match="scale='logits'"):
        scores({"results": entries}, 1, FORMATS["cohere"], "relevance")
    assert scores({"results": entries}, 1, FORMATS["cohere"], "logits") == [score]


@pytest.mark.parametrize("name", FORMATS)
@given(body=JSON)
def test_whatever_comes_is_scores_or_an_error(name: FormatName, body: Any) -> None:
    try:
        found = scores(body, 2, FORMATS[name], FORMATS[name].scale)
    except RerankError:
        return
    assert len(found) == 2
    assert all(map(math.isfinite, found))


@pytest.mark.parametrize(
    ("url", "path", "address"),
    [
        ("http://h", "/v2/rerank", "http://h/v2/rerank"),
        ("http://h/", "/v1/rerank", "http://h/v1/rerank"),
        ("http://h/v2", "/v2/rerank", "http://h/v2/rerank"),
        ("http://h/proxy/v1/", "/v1/rerank", "http://h/proxy/v1/rerank"),
        ("http://h/v1/rerank", "/v2/rerank", "http://h/v1/rerank"),
        ("http://h:8080", "/rerank", "http://h:8080/rerank"),
        ("http://h/v1?version=3", "/v1/rerank", "http://h/v1/rerank?version=3"),
        ("http://u:p@[::1]:80/", "/rerank", "http://u:p@[::1]:80/rerank"),
        ("http://h/score", "/score", "http://h/score"),
        ("http://h/v1", "/v1/score", "http://h/v1/score"),
    ],
)
def test_paths_are_never_doubled(url: str, path: str, address: str) -> None:
    assert endpoint(url, path) == address


@pytest.mark.parametrize("end", ["", "/", "/v2", "/v1/", "/rerank", "/v2/rerank", "/v2/rerank/"])
def test_the_root_of_a_service_has_no_version(end: str) -> None:
    assert root(f"https://h/cohere{end}") == "https://h/cohere"


def test_every_row_has_its_name_in_the_settings() -> None:
    assert set(get_args(FormatName)) == set(FORMATS)


@pytest.mark.parametrize(
    ("documents", "units"),
    [
        ([], 0),
        (["short"] * 100, 1),
        (["short"] * 101, 2),
        (["x" * 2_100] * 50, 1),  # 525 tokens each: two chunks
        (["x" * 2_100] * 51, 2),
        (["x" * 16_000] * 100, 9),  # 4,000 tokens, and the query's
    ],
)
def test_search_units_are_predicted_by_chunks(documents: list[str], units: float) -> None:
    assert predicted_units(FORMATS["cohere"], "what is it?", documents) == units


def test_tokens_are_predicted_with_the_query_for_each_document() -> None:
    assert predicted_units(FORMATS["voyage"], "x" * 40, ["x" * 400] * 10) == 1_100
    assert predicted_units(FORMATS["tei"], "q", ["d"]) == 0


@pytest.mark.parametrize(("text", "tokens"), [("abcd" * 10, 10), ("\u6f22" * 10, 10), ("", 0)])
def test_tokens_are_estimated_by_script(text: str, tokens: float) -> None:
    assert estimated_tokens(text) == tokens


@pytest.mark.parametrize(
    ("score", "clipped"), [(1.0000001, 1.0), (-1e-8, 0.0), (1.0078, 1.0), (0.3, 0.3)]
)
def test_rounding_errors_are_clipped(score: float, clipped: float) -> None:
    entries = {"results": [{"index": 0, "relevance_score": score}]}
    assert scores(entries, 1, FORMATS["cohere"], "relevance") == [clipped]
    assert scores(entries, 1, FORMATS["cohere"], "logits") == [score]
