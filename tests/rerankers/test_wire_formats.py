"""The wire formats: what is sent, and what counts as an answer."""

from __future__ import annotations

import datetime as dt
import json
import math
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rerankers.recorded import ARN, DOCUMENTS, INSTRUCTION, QUERY, RECORDED
from vecdb_rerank import ConfigurationError, HttpReranker, WireFormat
from vecdb_rerank.errors import RerankError
from vecdb_rerank.http.request_limits import estimated_tokens
from vecdb_rerank.rerankers.wire_formats import FORMATS, FormatName
from vecdb_rerank.rerankers.wire_reply import scores
from vecdb_rerank.rerankers.wire_request import (
    ScoreRequest,
    endpoint,
    predicted_units,
    request_body,
    root,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
SENT_BY_SDKS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "sdk_requests.json").read_text()
)
# What an SDK sends and we do not, or the other way round: defaults of the service.
DEFAULTS = {"voyage": {"top_k", "truncation", "return_documents"}}


def sent(name: FormatName, instruction: str = "", model: str | None = None) -> dict[str, object]:
    wire = FORMATS[name]
    model = model or RECORDED[name].model
    return request_body(ScoreRequest(model, QUERY, DOCUMENTS, wire.scale, instruction), wire)


def test_every_row_has_its_name_and_its_record() -> None:
    assert set(get_args(FormatName)) == {*FORMATS, "custom"}
    assert RECORDED.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_the_request_is_the_documented_one(name: FormatName) -> None:
    assert sent(name) == RECORDED[name].sent


@pytest.mark.parametrize("name", FORMATS)
def test_an_instruction_goes_where_the_service_reads_it(name: FormatName) -> None:
    instructed = RECORDED[name].instructed
    assert FORMATS[name].takes_instruction == (instructed is not None)
    if instructed is not None:
        assert sent(name, INSTRUCTION) == {**RECORDED[name].sent, **instructed}


@pytest.mark.parametrize("name", SENT_BY_SDKS)
def test_the_request_is_that_of_the_sdk(name: str) -> None:
    """`record_sdks.py` called the SDKs and kept their requests."""
    theirs = SENT_BY_SDKS[name]
    spoken: Any = "vllm" if name == "contextual" else name
    wire = FORMATS[spoken]
    instruction = INSTRUCTION if INSTRUCTION in json.dumps(theirs["body"]) else ""
    model = ARN if name == "bedrock" else theirs["body"]["model"]
    ours = sent(spoken, instruction, model)
    optional = DEFAULTS.get(name, set())
    assert {key: value for key, value in ours.items() if key not in optional} == {
        key: value for key, value in theirs["body"].items() if key not in optional
    }
    assert theirs["path"].endswith(wire.path)
    headers = {name.lower(): value for name, value in wire.headers.items()}
    if "authorization" in theirs["headers"] or "api-key" in theirs["headers"]:
        headers[wire.auth_header.lower()] = f"{wire.auth_prefix}KEY"
    assert headers == theirs["headers"]


@pytest.mark.parametrize("name", FORMATS)
def test_the_answer_is_read_in_the_order_of_the_documents(name: FormatName) -> None:
    recorded = RECORDED[name]
    assert scores(recorded.answer, 3, FORMATS[name], FORMATS[name].scale) == recorded.scores


@pytest.mark.parametrize("name", FORMATS)
def test_the_results_stand_where_the_format_says(name: FormatName) -> None:
    with pytest.raises(RerankError, match="has no list of"):
        scores({"elsewhere": RECORDED[name].answer}, 3, FORMATS[name], "relevance")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("count", [2, 4])
def test_an_answer_about_other_documents_is_an_error(name: FormatName, count: int) -> None:
    with pytest.raises(RerankError):
        scores(RECORDED[name].answer, count, FORMATS[name], FORMATS[name].scale)


@pytest.mark.parametrize("name", ["jina", "deepinfra"])
@pytest.mark.parametrize("score", [float("inf"), float("-inf"), 10**400, True, None, "0.5", [1]])
def test_a_score_that_is_no_finite_number_is_an_error(name: FormatName, score: Any) -> None:
    answer = {"results": [{"index": 0, "relevance_score": score}], "scores": [score]}
    with pytest.raises(RerankError, match="no finite"):
        scores(answer, 1, FORMATS[name], "logits")


@pytest.mark.parametrize("index", [-1, 3, 10**30])
def test_an_index_out_of_range_is_an_error(index: int) -> None:
    with pytest.raises(RerankError, match="for 3 documents"):
        scores({"results": [{"index": index, "relevance_score": 1}]}, 3, FORMATS["jina"], "logits")


@pytest.mark.parametrize("index", [True, 1.0, "1", None])
def test_an_index_that_is_no_whole_number_is_an_error(index: Any) -> None:
    with pytest.raises(RerankError, match="has no index"):
        scores({"results": [{"index": index, "relevance_score": 1}]}, 3, FORMATS["jina"], "logits")


@pytest.mark.parametrize("found", ["x", "-1", "1.0", "\u0663", "1" * 5_000, True, None, -1, "9"])
def test_an_id_of_no_document_is_an_error(found: Any) -> None:
    answer = {"records": [{"id": found, "score": 0.5}]}
    with pytest.raises(RerankError):
        scores(answer, 1, FORMATS["vertex"], "relevance")


def test_an_id_may_come_back_as_a_number() -> None:
    answer = {"records": [{"id": 1, "score": 0.5}, {"id": "0", "score": 0.25}]}
    assert scores(answer, 2, FORMATS["vertex"], "relevance") == [0.25, 0.5]


@pytest.mark.parametrize("score", [-0.1, 1.1, 7.7])
def test_a_relevance_out_of_range_names_the_setting(score: float) -> None:
    entries = [{"index": 0, "relevance_score": score}]
    with pytest.raises(RerankError, match="scale='logits'"):
        scores({"results": entries}, 1, FORMATS["cohere"], "relevance")
    assert scores({"results": entries}, 1, FORMATS["cohere"], "logits") == [score]


@pytest.mark.parametrize("name", ["cohere", "sglang", "deepinfra", "dashscope", "vertex"])
@given(body=JSON)
def test_whatever_comes_is_scores_or_an_error(name: FormatName, body: Any) -> None:
    try:
        found = scores(body, 2, FORMATS[name], FORMATS[name].scale)
    except RerankError:
        return
    assert len(found) == 2
    assert all(map(math.isfinite, found))


@given(st.lists(st.text(), min_size=1, max_size=3), st.text())
def test_texts_are_sent_as_they_are_whatever_they_hold(documents: list[str], query: str) -> None:
    documents.append("{query} {instruction} {model}")
    for name in ("deepinfra", "vertex", "dashscope"):
        wire = FORMATS[name]
        body: Any = request_body(ScoreRequest("m", query, documents, wire.scale, "{query}"), wire)
        if name == "deepinfra":
            assert (body["documents"], set(body["queries"])) == (documents, {query})
            assert body["instruction"] == "{query}"
        elif name == "vertex":
            assert [record["content"] for record in body["records"]] == documents
        else:
            assert body["input"] == {"query": query, "documents": documents}


def test_a_long_document_is_cut_at_the_limit_of_the_service() -> None:
    request = ScoreRequest(ARN, QUERY, ["x" * 40_000], "relevance")
    body: Any = request_body(request, FORMATS["bedrock"])
    assert len(body["sources"][0]["inlineDocumentSource"]["textDocument"]["text"]) == 32_000


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
        ("http://h/v1/models", "/v1/models/rerank", "http://h/v1/models/rerank"),
        ("http://h/providers/cohere", "/providers/cohere/v2/rerank", None),
        ("http://h/providers/cohere/v2/rerank", "/providers/cohere/v2/rerank", None),
        ("http://h", "", "http://h"),
        ("http://h/score?key=1", "", "http://h/score?key=1"),
        ("http://h/v1/inference", "/v1/inference/{model}", "http://h/v1/inference/org/m-1.5%20b"),
        ("http://h", "/v1/{model_with_underscores}/r", "http://h/v1/org/m-1_5%20b/r"),
    ],
)
def test_paths_are_never_doubled(url: str, path: str, address: str | None) -> None:
    expected = address or "http://h/providers/cohere/v2/rerank"
    assert endpoint(url, path, "org/m-1.5 b") == expected


@pytest.mark.parametrize("end", ["", "/", "/v2", "/v1/", "/rerank", "/v2/rerank", "/v2/rerank/"])
def test_the_root_of_a_service_has_no_version(end: str) -> None:
    assert root(f"https://h/cohere{end}") == "https://h/cohere"


CUSTOM: dict[str, Any] = {"body": {"q": "{query}", "docs": "{documents}"}, "score": "s"}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"body": {}}, "custom.body"),
        ({"body": {"q": "{query}"}}, "custom.body"),
        ({"body": ["{query}", "{documents}"]}, "custom.body"),
        ({"id": "id"}, "custom.id"),
        ({"scale": "percent"}, "custom.scale"),
        ({"max_documents": 0}, "custom.max_documents"),
        ({"results": ["data"]}, "custom.results"),
        ({"results": None}, "custom.results"),
        ({"body": {"q": "{query}", "doc": "{document}"}}, "custom.body"),
        ({"body": {"q": "{query}", "docs": ["{document}", "x"]}}, "custom.body"),
        ({"body": {**CUSTOM["body"], "since": dt.date(2026, 1, 1)}}, "custom.body"),
        ({"score": ""}, "custom.index"),
        ({"path": "score"}, "custom.path"),
        ({"path": "/score/{query}"}, "custom.path"),
        ({"instructed_query": "{instruction}"}, "custom.instructed_query"),
        ({"headers": {"X": 1}}, "custom.headers"),
        ({"headers": {"X": "\u00e9"}}, "custom.headers"),
        ({"auth_header": "X Y"}, "custom.auth_header"),
        ({"auth_prefix": 5}, "custom.auth_prefix"),
        ({"signing": "azure"}, "custom.signing"),
        ({"unit": "page"}, "custom.unit"),
        ({"listwise": "yes"}, "custom.listwise"),
        ({"listwise_models": "m"}, "custom.listwise_models"),
        ({"scores": "data"}, "scores"),
    ],
)
def test_a_custom_format_that_cannot_work_is_refused(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpReranker("http://h", format="custom", custom={**CUSTOM, **change})
    assert caught.value.key.endswith(key)


def test_documents_stand_in_nested_lists() -> None:
    bodies: list[dict[str, object]] = [
        {"pairs": [["{query}", "{document}"]]},
        {"q": "{query}", "docs": [["{document}"]], "ids": ["{id}"]},
    ]
    asked = ScoreRequest(None, "q", ["a", "b"], "relevance")
    assert [request_body(asked, WireFormat(body=body)) for body in bodies] == [
        {"pairs": [["q", "a"], ["q", "b"]]},
        {"q": "q", "docs": [["a"], ["b"]], "ids": ["0", "1"]},
    ]


def test_listwise_models_may_be_a_list() -> None:
    custom = {**CUSTOM, "listwise_models": ["jina-reranker-v3"]}
    assert HttpReranker(
        "http://h", format="custom", custom=custom, model="jina-reranker-v3"
    ).listwise


def test_a_custom_format_is_described_only_under_its_name() -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpReranker("http://h", format="custom")
    assert caught.value.key == "custom"
    with pytest.raises(ConfigurationError) as caught:
        HttpReranker("http://h", format="tei", custom=CUSTOM)
    assert caught.value.key == "custom"


def test_a_custom_format_needs_a_model_only_if_it_names_one() -> None:
    assert HttpReranker("http://h", format="custom", custom=WireFormat(**CUSTOM)).name == "http:h"
    with pytest.raises(ConfigurationError) as caught:
        HttpReranker("http://h", format="custom", custom={**CUSTOM, "path": "/{model}"})
    assert caught.value.key == "model"


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


def test_a_billed_query_has_up_to_100_documents_of_any_length() -> None:
    assert predicted_units(FORMATS["pinecone"], "q", ["x" * 9_000] * 100) == 1
    assert predicted_units(FORMATS["vertex"], "q", ["d"] * 101) == 2


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
