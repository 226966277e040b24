"""The message of an error, in whatever shape a service sends it, and what it must not repeat."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.http.server_messages import (
    embedded_status,
    find_message,
    mask,
    names_error,
    parse,
    presentable,
)

WHY = "the model is overloaded"
SHAPES: dict[str, object] = {
    "OpenAI": {"error": {"message": WHY, "type": "server_error", "param": None, "code": None}},
    "Azure": {"error": {"code": "Busy", "message": WHY, "innererror": {"code": "x"}}},
    "Azure API Management": {"statusCode": 429, "message": WHY},
    "FastAPI": {"detail": WHY},
    "FastAPI validation": {
        "detail": [{"type": "missing", "loc": ["body", "model"], "msg": WHY, "input": {"a": "b"}}]
    },
    "FastAPI nested": {"detail": {"error": {"message": WHY}}},
    "AWS": {"__type": "com.amazon#ThrottlingException", "message": WHY},
    "AWS capital": {"Message": WHY, "Type": "User"},
    "SageMaker": {"ErrorCode": "X", "Message": WHY, "OriginalMessage": "{}", "LogStreamArn": "arn"},
    "Lambda": {"errorMessage": WHY, "errorType": "RuntimeError", "stackTrace": ["at x"]},
    "TEI": {"error": WHY, "error_type": "overloaded"},
    "vLLM old": {"object": "error", "message": WHY, "type": "BadRequestError", "code": 400},
    "vLLM": {"error": {"message": WHY, "type": "BadRequestError", "param": None, "code": 400}},
    "LiteLLM": {"error": {"message": WHY, "type": None, "param": None, "code": "429"}},
    "llama.cpp": {"error": {"code": 503, "message": WHY, "type": "unavailable_error"}},
    "gRPC": {"code": 8, "message": WHY, "details": []},
    "Google": {"error": {"code": 429, "message": WHY, "status": "RESOURCE_EXHAUSTED"}},
    "Google stream": [{"error": {"code": 429, "message": WHY}}],
    "Cohere": {"id": "x", "message": WHY},
    "Spring": {"timestamp": 1, "status": 500, "error": "Internal Server Error", "message": WHY},
    "Spring empty": {"status": 500, "error": WHY, "message": ""},
    "problem details": {"type": "about:blank", "title": "Busy", "status": 429, "detail": WHY},
    "JSON:API": {"errors": [{"status": "429", "title": "Busy", "detail": WHY}]},
    "Cloudflare": {"success": False, "errors": [{"code": 7, "message": WHY}], "result": None},
    "OAuth": {"error": "invalid_token", "error_description": WHY},
    "Apigee": {"fault": {"faultstring": WHY, "detail": {"errorcode": "x"}}},
    "Hugging Face": {"error": [WHY], "warnings": ["careful"]},
    "OpenSearch": {"error": {"root_cause": [], "type": "x", "reason": WHY}, "status": 400},
    "Baidu": {"error_code": 17, "error_msg": WHY},
    "MiniMax": {"base_resp": {"status_code": 1004, "status_msg": WHY}},
    "errmsg": {"errcode": 1, "errmsg": WHY},
    "err": {"err": WHY},
    "exception": {"exception": WHY, "path": "/rerank"},
    "status": {"status": {"code": 5, "message": WHY}},
    "gateway": {"response": {"error": {"message": WHY}}},
    "text": WHY,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_message_is_found(shape: str) -> None:
    body = parse(json.dumps(SHAPES[shape]).encode())
    assert find_message(body) == WHY
    assert find_message(body, ("message",)) == WHY


@pytest.mark.parametrize(
    "body",
    [
        {"input": {"query": WHY}},
        {"documents": [WHY]},
        {"data": [{"text": WHY}], "id": WHY},
        [],
        None,
        7,
        {"error": {"code": 1}},
        {"error": True},
    ],
)
def test_other_fields_are_no_message(body: object) -> None:
    assert find_message(body) == ""


@pytest.mark.parametrize("control", ["\x1b]52;c;eA==\x07", "\x1b[2J", "\u202e", "\x9b2J", "\r"])
def test_control_characters_do_not_reach_a_terminal(control: str) -> None:
    assert find_message({"error": f"a{control}b"}).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["error", "message", "detail", "code", "x"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_without_an_error(body: object) -> None:
    assert isinstance(find_message(body), str)
    assert isinstance(names_error(body, has_results=False), bool)
    status = embedded_status(body)
    assert status is None or 400 <= status < 600


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"upstream connect error", "upstream connect error"),
        (b"<html>oops</html>", None),
        (b" \n<!DOCTYPE html>", None),
        (b"[" * 100_000, None),
        (b'{"cut": ', None),
        (b"", None),
        ('{"error": "x"}'.encode("utf-16"), {"error": "x"}),
        (b'"rate limited"', "rate limited"),
        (b'{"error": "\xe9"}', {"error": "\ufffd"}),
    ],
)
def test_a_body_is_json_or_a_text_or_a_page(body: bytes, text: object) -> None:
    assert parse(body) == text


@pytest.mark.parametrize(
    "echo",
    [
        "sk-proj-AbCdEfGhIjKlMnOp",
        "SK-PROJ-ABCDEFGHIJKLMNOP",
        "sk-proj-AbCdEfGh...",
        "...IjKlMnOp",
        '"sk-proj-AbCdEfGhIjKlMnOp",',
    ],
)
def test_a_key_is_masked_in_any_case_and_in_parts(echo: str) -> None:
    masked = mask(f"the key {echo} is unknown", ["sk-proj-AbCdEfGhIjKlMnOp"]).lower()
    assert "efgh" not in masked
    assert "ijkl" not in masked
    assert masked.startswith("the key ")
    assert masked.endswith(" is unknown")


def test_a_password_with_spaces_is_masked() -> None:
    assert "correct" not in mask("no: Correct Horse, sorry", ["correct horse"])


@given(
    st.text(alphabet="abc d", min_size=17, max_size=60),
    st.integers(0, 40),
    st.text(alphabet="xyz", max_size=30),
)
def test_a_piece_of_a_document_is_never_repeated(text: str, start: int, around: str) -> None:
    document = " ".join(text.split())
    piece = document[start : start + 16]
    shown = presentable(f"{around}{piece}{around}", (), [document])
    if len(document) > 16 and len(piece) == 16 and piece == piece.strip():
        assert shown == ""


def test_long_messages_and_documents_take_little_time() -> None:
    documents = ["some words of a document and others " * 1_000] * 100
    started = time.process_time()
    assert presentable("nothing of it 0123456789 " * 10_000, ["k" * 5_000], documents)
    assert time.process_time() - started < 2.0
