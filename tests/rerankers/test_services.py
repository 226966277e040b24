"""The http reranker against servers that answer as the documentation of services shows."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.rerankers.recorded import DOCUMENTS, INSTRUCTION, KEY, QUERY, RECORDED, SCORES
from vecdb_rerank import ConfigurationError, Deadline, HttpReranker, RerankError
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import Scores
from vecdb_rerank.rerankers.wire_formats import FORMATS, FormatName

APIS = ("sync", "async")
AUTH = {"api_key": KEY}


def score(
    reranker: HttpReranker, api: str = "sync", documents: list[str] = DOCUMENTS, seconds: float = 5
) -> Scores:
    def flow() -> Flow[Scores]:
        try:
            return (yield from reranker.steps(QUERY, documents, deadline=Deadline.after(seconds)))
        finally:
            yield from reranker.closing()

    return run(flow()) if api == "sync" else asyncio.run(run_async(flow()))


def client(name: FormatName, server: HTTPServer, **options: Any) -> HttpReranker:
    recorded = RECORDED[name]
    given = {"model": recorded.model, "retries": 0, **AUTH, **options}
    return HttpReranker(server.url_for(recorded.base), format=name, **given)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", FORMATS)
def test_a_service_is_asked_and_read_as_documented(
    name: FormatName, api: str, httpserver: HTTPServer
) -> None:
    recorded = RECORDED[name]
    httpserver.expect_request(
        recorded.path,
        "POST",
        json=recorded.sent,
        headers={**FORMATS[name].headers, recorded.header[0]: recorded.header[1]},
    ).respond_with_json(recorded.answer)
    found = score(client(name, httpserver), api)
    assert list(found.raw) == recorded.scores
    assert all(relevance is not None and 0 < relevance < 1 for relevance in found.relevance)
    assert found.billed == recorded.billed


@pytest.mark.parametrize("name", FORMATS)
def test_the_reason_of_the_service_is_given(name: FormatName, httpserver: HTTPServer) -> None:
    [(status, body)] = RECORDED[name].errors.items()
    httpserver.expect_request(RECORDED[name].path).respond_with_json(body, status)
    with pytest.raises(RerankError, match=f"answered {status}") as caught:
        score(client(name, httpserver))
    reason = str(caught.value).rpartition(": ")[2]
    assert reason
    assert reason in json.dumps(body)


@pytest.mark.parametrize(
    "name", [name for name, recorded in RECORDED.items() if recorded.instructed]
)
def test_an_instruction_is_sent(name: FormatName, httpserver: HTTPServer) -> None:
    recorded = RECORDED[name]
    body = {**recorded.sent, **(recorded.instructed or {})}
    httpserver.expect_request(recorded.path, json=body).respond_with_json(recorded.answer)
    configured = client(name, httpserver, instruction=INSTRUCTION)
    assert list(score(configured).raw) == recorded.scores
    called = client(name, httpserver, instruction="another").with_instruction(INSTRUCTION)
    assert list(score(called).raw) == recorded.scores


@pytest.mark.parametrize(
    "name", [name for name, recorded in RECORDED.items() if recorded.instructed is None]
)
def test_an_instruction_without_a_place_is_refused(
    name: FormatName, httpserver: HTTPServer
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        client(name, httpserver, instruction=INSTRUCTION)
    assert caught.value.key == "instruction"
    plain = client(name, httpserver)
    with pytest.raises(ConfigurationError):
        plain.with_instruction(INSTRUCTION)
    assert plain.with_instruction("").name == plain.name


def test_an_instruction_that_an_error_repeats_is_not_shown(httpserver: HTTPServer) -> None:
    body = {"error": {"message": f"cannot do: {INSTRUCTION}"}}
    httpserver.expect_request("/v1/rerank").respond_with_json(body, 400)
    with pytest.raises(RerankError) as caught:
        score(client("vllm", httpserver, instruction=INSTRUCTION))
    assert "official" not in str(caught.value)


# -- addresses, headers, parameters


def test_an_endpoint_is_used_as_it_is(httpserver: HTTPServer) -> None:
    recorded = RECORDED["cohere"]
    httpserver.expect_request("/gateway/x", query_string="v=1").respond_with_json(recorded.answer)
    reranker = HttpReranker(endpoint=httpserver.url_for("/gateway/x?v=1"), model="m")
    assert list(score(reranker).raw) == SCORES


@pytest.mark.parametrize("api", APIS)
def test_headers_and_parameters_are_sent_and_never_shown(
    api: str, httpserver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = {"X-Gateway": "gateway-secret-1", "Authorization": "Basic basic-secret-2"}
    params = {"api-version": "2024-05-01", "code": "param secret&3", "sig": "s/g=+&/=?"}

    def refuse(request: Request) -> Response:
        assert {name: request.headers[name] for name in secrets} == secrets
        assert request.args.to_dict() == {"kept": "1", **params}
        said = " ".join([*secrets.values(), *params.values(), request.query_string.decode()])
        return Response(json.dumps({"message": f"no: {said}"}), 403)

    httpserver.expect_request("/v2/rerank").respond_with_handler(refuse)
    reranker = HttpReranker(
        httpserver.url_for("/?kept=1"), model="m", headers=secrets, query_params=params, retries=0
    )
    with pytest.raises(RerankError, match="answered 403") as caught:
        score(reranker, api)
    httpserver.check()
    logged = [r.getMessage() for r in caplog.records if r.name != "werkzeug"]  # the server's own
    shown = f"{caught.value} {reranker!r} {reranker._messages!r} {logged}"
    hidden = ("gateway-secret", "basic-secret", "param secret", "param+secret", "param%20", "s%2Fg")
    assert not [secret for secret in hidden if secret in shown]


def test_the_query_of_a_url_may_hold_any_letter(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/v2/rerank").respond_with_json(RECORDED["cohere"].answer)
    url = httpserver.url_for("/") + "?clé=é%2Fà&b=1%202"
    score(HttpReranker(url, model="m", query_params={"ü": "ö &"}))
    assert httpserver.log[0][0].args.to_dict() == {"clé": "é/à", "b": "1 2", "ü": "ö &"}


def test_headers_of_ones_own_replace_others_in_whatever_case(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/rerank").respond_with_json(RECORDED["pinecone"].answer)
    httpserver.expect_request("/v2/rerank").respond_with_json(RECORDED["cohere"].answer)
    score(client("pinecone", httpserver, headers={"x-pinecone-api-version": "2025-10"}))
    url = httpserver.url_for("/").replace("//", "//user:password@", 1)
    score(HttpReranker(url, model="m", headers={"authorization": "Bearer of-the-gateway"}))
    (pinecone, _), (cohere, _) = httpserver.log
    assert pinecone.headers["X-Pinecone-Api-Version"] == "2025-10"
    assert cohere.headers["Authorization"] == "Bearer of-the-gateway"


def test_headers_of_a_custom_format_are_secret(httpserver: HTTPServer) -> None:
    def refuse(request: Request) -> Response:
        return Response(json.dumps({"message": f"no: {request.headers['X-Gateway']}"}), 403)

    httpserver.expect_request("/").respond_with_handler(refuse)
    custom = {
        "body": {"q": "{query}", "docs": "{documents}"},
        "headers": {"X-Gateway": "gateway-secret-1"},
    }
    reranker = HttpReranker(httpserver.url_for("/"), format="custom", custom=custom)
    with pytest.raises(RerankError, match="403") as caught:
        score(reranker)
    assert "gateway-secret" not in f"{caught.value} {reranker!r} {reranker._messages!r}"


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "url"),
        ({"url": "http://h", "endpoint": "http://h"}, "url"),
        ({"endpoint": "h"}, "endpoint"),
        ({"endpoint": []}, "endpoint"),
        ({"url": "http://h", "headers": {"X Y": "1"}}, "headers"),
        ({"url": "http://h", "headers": {"Host": "h"}}, "headers"),
        ({"url": "http://h", "headers": {"X": "a\r\nY: b"}}, "headers"),
        ({"url": "http://h", "headers": {"X": 1}}, "headers"),
        ({"url": "http://h", "headers": ["X"]}, "headers"),
        ({"url": "http://h", "headers": {"authorization": "x"}, **AUTH}, "headers"),
        ({"url": "http://h", "query_params": {"v": 1}}, "query_params"),
        ({"url": "http://h", "extra_body": {"x": math.nan}}, "extra_body"),
        ({"url": "http://h", "extra_body": {"documents": ["other"]}}, "extra_body"),
        ({"url": "http://h", "listwise": "yes"}, "listwise"),
        ({"url": "http://h", "instruction": 1}, "instruction"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpReranker(model="m", **options)
    assert caught.value.key == key


# -- custom formats


@pytest.mark.parametrize(
    ("custom", "answer"),
    [
        (
            {"path": "/rank", "results": "out.scores", "index": "", "score": ""},
            {"out": {"scores": SCORES}},
        ),
        (
            {"path": "/rank", "results": "hits", "index": "doc.n", "score": "s"},
            {"hits": [{"doc": {"n": n}, "s": SCORES[n]} for n in (2, 0, 1)]},
        ),
        (
            {"path": "/rank", "results": "", "index": None, "id": "id", "score": "s"},
            [{"id": str(n), "s": SCORES[n]} for n in (2, 0, 1)],
        ),
    ],
    ids=["in order", "by index", "by id"],
)
def test_a_format_of_your_own(custom: dict[str, Any], answer: Any, httpserver: HTTPServer) -> None:
    body = {
        "input": {"q": "{query}", "docs": [{"id": "{id}", "text": "{document}"}]},
        "task": "Prefer: {instruction}",
        "top": "{count}",
    }
    sent = {
        "input": {
            "q": QUERY,
            "docs": [{"id": str(n), "text": text} for n, text in enumerate(DOCUMENTS)],
        },
        "task": f"Prefer: {INSTRUCTION}",
        "top": 3,
    }
    httpserver.expect_request("/rank", json=sent).respond_with_json(answer)
    reranker = HttpReranker(
        httpserver.url_for("/"),
        format="custom",
        custom={**custom, "body": body},
        instruction=INSTRUCTION,
    )
    assert list(score(reranker).raw) == SCORES


# -- listwise models


@pytest.mark.parametrize(
    ("options", "listwise"),
    [
        ({"format": "jina", "model": "jina-reranker-v3"}, True),
        ({"format": "jina", "model": "jina-reranker-v3.5"}, True),
        ({"format": "jina", "model": "jina-reranker-v3", "listwise": False}, False),
        ({"format": "jina", "model": "jina-reranker-m0"}, False),
        ({"format": "vllm", "model": "jina-reranker-v3"}, False),
        ({"format": "vllm", "model": "m", "listwise": True}, True),
    ],
)
def test_models_that_read_all_documents_together_are_listwise(
    options: dict[str, Any], listwise: bool
) -> None:
    assert HttpReranker("http://h", **options).listwise == listwise


# -- clouds


def pages(size: int) -> Callable[[Request], Response]:
    """The answer to Bedrock's Rerank, in pages of ``size`` results."""
    whole = RECORDED["bedrock"].answer["results"]

    def answer(request: Request) -> Response:
        start = int((request.json or {}).get("nextToken", "0"))
        body = {"results": whole[start : start + size]}
        if start + size < len(whole):
            body["nextToken"] = str(start + size)
        return Response(json.dumps(body), content_type="application/json")

    return answer


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_pages_of_results_are_fetched(size: int, api: str, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/rerank").respond_with_handler(pages(size))
    assert list(score(client("bedrock", httpserver), api).raw) == SCORES
    assert len(httpserver.log) == -(-3 // size)


def test_pages_without_an_end_are_an_error(httpserver: HTTPServer) -> None:
    body = {"results": RECORDED["bedrock"].answer["results"][:1], "nextToken": "again"}
    httpserver.expect_request("/rerank").respond_with_json(body)
    with pytest.raises(RerankError, match="twice"):
        score(client("bedrock", httpserver))
    assert len(httpserver.log) == 3
    httpserver.clear()
    empty = {"results": [], "nextToken": "again"}
    httpserver.expect_request("/rerank").respond_with_json(empty)
    with pytest.raises(RerankError):
        score(client("bedrock", httpserver))
    assert len(httpserver.log) <= 4


@pytest.mark.parametrize("api", APIS)
def test_bedrock_is_signed_with_the_credentials_of_the_cloud(
    api: str, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature is checked as the service does: by signing the request again."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    wrong: list[str] = []

    def answer(request: Request) -> Response:
        again = AWSRequest(
            "POST", request.url, {"Content-Type": request.content_type}, request.data
        )
        again.context["timestamp"] = request.headers["X-Amz-Date"]
        signer = SigV4Auth(Credentials("AKID", "aws-secret", "session"), "bedrock", "us-west-2")
        signer._modify_request_before_signing(again)
        again.headers.replace_header("X-Amz-Date", request.headers["X-Amz-Date"])
        canonical = signer.canonical_request(again)
        text = signer.string_to_sign(again, canonical)
        signature = signer.signature(text, again)
        if not request.headers["Authorization"].endswith(f"Signature={signature}"):
            wrong.append(request.headers["Authorization"])
        return Response(json.dumps(RECORDED["bedrock"].answer), content_type="application/json")

    httpserver.expect_request("/rerank").respond_with_handler(answer)
    reranker = client("bedrock", httpserver, api_key=None, query_params={"a b": "c d"})
    assert list(score(reranker, api).raw) == SCORES
    assert not wrong


def test_bedrock_needs_credentials_and_the_arn_of_a_model(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(RerankError, match="credentials"):
        score(client("bedrock", httpserver, api_key=None))
    assert not httpserver.log
    httpserver.expect_request("/rerank").respond_with_json(RECORDED["bedrock"].answer)
    of_gateway = {"authorization": "Bearer of-the-gateway"}  # needs no credentials
    score(client("bedrock", httpserver, api_key=None, headers=of_gateway))
    assert httpserver.log[0][0].headers["Authorization"] == "Bearer of-the-gateway"
    with pytest.raises(ConfigurationError) as caught:
        client("bedrock", httpserver, api_key=None, model="amazon.rerank-v1:0")
    assert caught.value.key == "model"


@pytest.fixture
def google(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> list[dict[str, Any]]:
    """A service account whose tokens come from the test server; the requests for them."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "client_email": "someone@p.iam.gserviceaccount.com",
        "private_key": pem.decode(),
        "private_key_id": "1",
        "project_id": "p",
        "token_uri": httpserver.url_for("/token"),
    }
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "billed")
    tokens: list[dict[str, Any]] = []

    def token(request: Request) -> Response:
        tokens.append(dict(request.form))
        body = {"access_token": f"token-{len(tokens)}", "expires_in": 3600, "token_type": "Bearer"}
        return Response(json.dumps(body), content_type="application/json")

    httpserver.expect_request("/token", "POST").respond_with_handler(token)
    return tokens


def sent_to(httpserver: HTTPServer, path: str) -> list[Request]:
    return [request for request, _ in httpserver.log if request.path == path]


@pytest.mark.parametrize("api", APIS)
def test_vertex_gets_a_token_once_and_the_project_to_bill(
    api: str, httpserver: HTTPServer, google: list[dict[str, Any]]
) -> None:
    recorded = RECORDED["vertex"]
    httpserver.expect_request(recorded.path).respond_with_json(recorded.answer)
    reranker = client("vertex", httpserver, api_key=None)
    for _ in range(2):
        assert list(score(reranker, api).raw) == SCORES
    assert len(google) == 1
    for request in sent_to(httpserver, recorded.path):
        assert request.headers["Authorization"] == "Bearer token-1"
        assert request.headers["X-Goog-User-Project"] == "billed"


def test_a_token_is_renewed_off_the_search_path(
    httpserver: HTTPServer, google: list[dict[str, Any]]
) -> None:
    recorded = RECORDED["vertex"]
    httpserver.expect_request(recorded.path).respond_with_json(recorded.answer)
    reranker: Any = client("vertex", httpserver, api_key=None)
    score(reranker)
    soon = dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(seconds=100)
    reranker._signer._credentials.expiry = soon
    score(reranker)
    assert sent_to(httpserver, recorded.path)[-1].headers["Authorization"] == "Bearer token-1"
    for _ in range(500):
        if len(google) == 2 and reranker._signer._credentials.token == "token-2":
            break
        score(reranker)
    assert reranker._signer._credentials.token == "token-2"


def test_a_token_that_an_error_repeats_is_not_shown(
    httpserver: HTTPServer,
    google: list[dict[str, Any]],
) -> None:
    body = {"error": {"code": 401, "message": "the token token-1 is not valid"}}
    httpserver.expect_request(RECORDED["vertex"].path).respond_with_json(body, 401)
    with pytest.raises(RerankError, match="is not valid") as caught:
        score(client("vertex", httpserver, api_key=None))
    assert "token-1" not in str(caught.value)


def test_no_token_is_an_error_without_secrets(
    httpserver: HTTPServer, google: list[dict[str, Any]]
) -> None:
    httpserver.clear()
    httpserver.expect_request("/token").respond_with_json({"error": "invalid_grant"}, 400)
    with pytest.raises(RerankError, match="Google credentials"):
        score(client("vertex", httpserver, api_key=None))
    assert not google
