"""Keys, passwords and secret parameters: sent, and in no error, cause, log or repr."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from typing import Any

import hpack
import pytest

from tests.faults import server as faults
from tests.faults.cases import APIS, CLIENTS, TEXTS, score
from tests.faults.server import Connection, FaultServer, Json, fault_server
from vecdb_rerank import HttpReranker, RerankError

KEY = "sk-live-Tr0ub4dor-and-3-Horses"
both_apis = pytest.mark.parametrize("api", APIS)


def everything_about(error: BaseException | None) -> str:
    """The texts of an error, of its causes, and of what they hold."""
    found = []
    while error is not None:
        found.append(f"{error} {error!r} {error.args} {vars(error)}")
        error = error.__cause__ or error.__context__
    return " ".join(found)


def echoing(monkeypatch: pytest.MonkeyPatch, echo: str, status: str = "401 Unauthorized") -> Any:
    def behave(_: FaultServer, connection: Connection, _body: Json) -> None:
        content = json.dumps({"error": {"message": f"the key {echo} is not known"}}).encode()
        faults._send(connection, content, status, f"X-Key: {echo}\r\n")

    monkeypatch.setitem(faults.BEHAVIOURS, "echo", behave)
    return fault_server("echo")


@both_apis
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("change", [str, str.upper, lambda key: key[:14], lambda key: key[-12:]])
def test_a_key_that_the_server_echoes_is_masked(
    change: Callable[[str], str],
    client: str,
    api: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO"), echoing(monkeypatch, change(KEY)) as server:
        one = CLIENTS[client](server.url, api_key=KEY, retries=0)
        with pytest.raises(RerankError, match="is not known") as caught:
            score(one, api=api)
    assert change(KEY) not in everything_about(caught.value) + caplog.text


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "500 Oops"])
def test_a_password_that_the_server_echoes_is_masked(
    status: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    password = "p@ss word"
    with caplog.at_level("DEBUG"), echoing(monkeypatch, password, status) as server:
        url = server.url.replace("//", "//user:p%40ss%20word@")
        with pytest.raises(RerankError, match="is not known") as caught:
            score(HttpReranker(url, model="m", retries=0))
        head = server.heads[0].lower()
    assert "authorization: basic " in head
    said = everything_about(caught.value)
    assert password not in said
    assert "p%40ss" not in said + caplog.text


def test_a_key_in_a_broken_response_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    def behave(_: FaultServer, connection: Connection, _body: Json) -> None:
        connection.sendall(f"HTTP/1.1 {KEY} what\r\n\r\n".encode())

    monkeypatch.setitem(faults.BEHAVIOURS, "broken", behave)
    with fault_server("broken") as server, pytest.raises(RerankError) as caught:
        score(HttpReranker(server.url, model="m", api_key=KEY, retries=0))
    assert KEY not in str(caught.value)
    assert KEY not in str(caught.value.__cause__)


NAMES = ["apikey", "code", "sig", "auth", "pwd", "X-Amz-Signature", "key", "api_key", "any"]


@both_apis
@pytest.mark.parametrize(
    ("name", "fault"),
    [*product(NAMES, ["ok", "401"]), ("key", "refused"), ("key", "drip")],
)
def test_parameters_of_a_url_are_sent_and_never_logged(
    name: str, fault: str, api: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"), fault_server(fault) as server:
        one = HttpReranker(f"{server.url}?v=1&{name}={KEY}", model="m", retries=0)
        try:
            said = repr(score(one, TEXTS, api, 0.4 if fault == "drip" else 5.0))
        except RerankError as error:
            said = everything_about(error)
    if fault != "refused":
        assert server.heads[0].startswith(f"POST /v2/rerank?v=1&{name}={KEY} ")
    assert KEY not in said + caplog.text + repr(one) + one.name


def test_the_headers_of_http2_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    HttpReranker("http://h", model="m", api_key=KEY, http2=True)
    with fault_server("ok") as server, caplog.at_level("DEBUG"):
        score(HttpReranker(server.url, model="m", api_key=KEY, http2=True), api="async")
        hpack.Encoder().encode([("authorization", f"Bearer {KEY}")])
    assert KEY not in caplog.text
