"""Bodies of requests to ``/mcp``: read, bounded and refused as on the other routes."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.server.running import serving

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
PROTOCOLS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "2025-11-25": ({"mcp-protocol-version": "2025-11-25"}, LIST),
    "2026-07-28": (
        {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"},
        {**LIST, "params": {"_meta": MODERN}},
    ),
}
MOST = 10_000


@pytest.fixture(scope="module")
def small(plugin: None) -> Iterator[httpx.Client]:
    """A client of a service that reads few bytes."""
    with serving({"max_body_bytes": MOST}) as running:
        yield running.client


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def post(
    client: httpx.Client, protocol: str, content: bytes | None = None, **more: str
) -> httpx.Response:
    headers, message = PROTOCOLS[protocol]
    kind = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    body = json.dumps(message).encode() if content is None else content
    return client.post("/mcp", content=body, headers={**kind, **headers, **more})


def changed(protocol: str, **fields: object) -> bytes:
    return json.dumps({**PROTOCOLS[protocol][1], **fields}).encode()


def error(response: httpx.Response) -> tuple[int, object]:
    """The status and the field of an error in the shape of the service."""
    body = response.json()
    assert body["message"] == body["detail"] == body["error"]["message"]
    assert body["id"] == response.headers["x-request-id"]
    return response.status_code, body["error"]["param"]


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_a_body_may_be_compressed(small: httpx.Client, protocol: str, encoding: str) -> None:
    body = changed(protocol)
    if encoding == "gzip":
        body = gzip.compress(body)
    elif encoding == "deflate":
        body = zlib.compress(body)
    response = post(small, protocol, body, **{"content-encoding": encoding})
    assert response.status_code == 200
    assert '"search"' in response.text
    assert '"fetch"' in response.text


def test_decoded_bytes_are_bounded(small: httpx.Client, protocol: str) -> None:
    long = changed(protocol, more="x" * MOST)
    assert error(post(small, protocol, long)) == (413, None)
    packed = gzip.compress(long)
    assert len(packed) < MOST
    packed_long = post(small, protocol, packed, **{"content-encoding": "gzip"})
    assert error(packed_long) == (413, None)
    assert error(post(small, protocol, b"{}", **{"content-encoding": "gzip"}))[0] == 415


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"", (400, None)),
        (b"{", (400, None)),
        (b'{"jsonrpc": "2.0", "id": NaN, "method": "tools/list"}', (400, None)),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"y": -Infinity}}', (400, None)),
        (b"[]", (422, None)),
        (b"{}", (422, "jsonrpc")),
        ({"jsonrpc": "1.0"}, (422, "jsonrpc")),
        ({"method": None}, (422, "method")),
        ({"method": 1}, (422, "method")),
        ({"params": []}, (422, "params")),
        ({"id": None}, (422, "id")),
        ({"id": 1.5}, (422, "id")),
        ({"id": True}, (422, "id")),
        ({"id": {}}, (422, "id")),
        ({"method": None, "result": {}}, (422, "method")),
    ],
    ids=str,
)
def test_what_is_no_message_is_refused(
    small: httpx.Client, protocol: str, given: bytes | dict[str, object], expected: object
) -> None:
    body = given if isinstance(given, bytes) else changed(protocol, **given)
    assert error(post(small, protocol, body)) == expected


def test_an_answer_that_the_client_does_not_take_is_not_begun(
    small: httpx.Client, protocol: str
) -> None:
    assert error(post(small, protocol, accept="text/html")) == (406, "accept")


def test_errors_of_the_protocol_are_its_own(small: httpx.Client, protocol: str) -> None:
    response = post(
        small, protocol, changed(protocol, method="nothing"), **{"mcp-method": "nothing"}
    )
    assert '"id":1' in response.text
    assert '"code":-32601' in response.text


def test_a_notification_is_accepted(small: httpx.Client, protocol: str) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert post(small, protocol, json.dumps(note).encode()).status_code == 202
