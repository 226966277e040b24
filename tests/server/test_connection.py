"""Limits of a connection, and requests that two servers could read in different ways."""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.server.raw import answered, connected, head, rest, statuses
from tests.server.running import Running, serving

BODY = json.dumps({"query": "undo", "documents": ["undo it"]}).encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = f"Content-Length: {len(BODY)}"
GET = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
CLOSE = "Connection: close"


@pytest.fixture(scope="module")
def impatient(plugin: Path) -> Iterator[Running]:
    """A service that waits for a quarter of a second, and reads 10,000 bytes."""
    with serving({"patience": 0.25, "max_body_bytes": 10_000}) as found:
        yield found


def test_what_is_well_formed_is_answered(running: Running) -> None:
    for request in (
        head(LENGTH, CLOSE) + BODY,
        head("Transfer-Encoding: chunked", CLOSE) + CHUNKED,
        head(LENGTH, CLOSE, path="http://localhost/v1/rerank") + BODY,
        head(LENGTH, "Connection: close, Upgrade", "Upgrade: h2c") + BODY,  # as Java's client
        head("Transfer-Encoding: chunked", CLOSE) + CHUNKED[:-2] + b"Authorization: x\r\n\r\n",
        head("Transfer-Encoding: chunked", "Connection: close, Upgrade", "Upgrade: h2c") + CHUNKED,
    ):
        assert statuses(answered(running.url, request)) == [200]


def test_requests_in_a_row_are_answered_in_order(running: Running) -> None:
    requests = head(LENGTH) + BODY + GET + b"\r\n" + head(LENGTH, CLOSE) + BODY
    assert statuses(answered(running.url, requests)) == [200, 200, 200]
    upgrade = (
        GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + GET + b"Connection: close\r\n\r\n"
    )
    assert statuses(answered(running.url, upgrade)) == [200, 200]


SMUGGLED = {
    "both lengths": head(LENGTH, "Transfer-Encoding: chunked") + CHUNKED,
    "both lengths, the other way": head("Transfer-Encoding: chunked", LENGTH) + CHUNKED,
    "two lengths": head(LENGTH, "Content-Length: 1") + BODY,
    "one length twice": head(LENGTH, LENGTH) + BODY,
    "a list of lengths": head(f"{LENGTH}, {len(BODY)}") + BODY,
    "a length with a sign": head(f"Content-Length: +{len(BODY)}") + BODY,
    "another encoding": head("Transfer-Encoding: gzip, chunked") + CHUNKED,
    "an encoding like chunked": head("Transfer-Encoding: xchunked") + CHUNKED,
    "chunked twice": head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + CHUNKED,
    "space before the colon": head("Transfer-Encoding : chunked") + CHUNKED,
    "chunks in HTTP/1.0": head("Transfer-Encoding: chunked").replace(b"/1.1", b"/1.0") + CHUNKED,
    "bare CR": head("X: a\rContent-Length: 0") + BODY,
    "bare LF": head("X: a\nContent-Length: 0") + BODY,
    "a folded header": head("X: a", " b", LENGTH) + BODY,
    "NUL": head("X: a\0b", LENGTH) + BODY,
    "another host": head(LENGTH, path="http://other/v1/rerank") + BODY,
    "another scheme": head(LENGTH, path="file:///etc/passwd") + BODY,
    "two hosts": head("Host: other", LENGTH) + BODY,
    "no host": head(LENGTH, host=None) + BODY,
    "a proxy's method": b"CONNECT other:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a wrong size of a chunk": head("Transfer-Encoding: chunked") + b"zz\r\n",
    "a chunk without its end": head("Transfer-Encoding: chunked") + b"1\r\nab",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /v1/models\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
}


@pytest.mark.parametrize("request_", SMUGGLED.values(), ids=SMUGGLED)
def test_what_can_be_read_in_two_ways_is_refused(running: Running, request_: bytes) -> None:
    answer = answered(running.url, request_ + GET + b"\r\n")
    assert statuses(answer) == [400]
    assert b"connection: close" in answer


def test_a_connection_holds_few_requests(running: Running) -> None:
    found = statuses(answered(running.url, (head(LENGTH) + BODY) * 500))
    assert set(found) == {200}
    assert len(found) < 100


def test_a_wrong_request_does_not_answer_for_the_one_before(running: Running) -> None:
    right = head(LENGTH) + BODY
    assert statuses(answered(running.url, right + b"nonsense\r\n\r\n")) == [200]
    cut = head("Transfer-Encoding: chunked") + b"nonsense\r\n"
    assert statuses(answered(running.url, right * 3 + cut)) == [200, 200, 200]


@pytest.mark.parametrize(
    "sent",
    [
        GET + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
        GET + b"X: a\r\n" * 20_000 + b"\r\n",
        b"GET /" + b"a" * 70_000,
        head("Transfer-Encoding: chunked") + b"1;" + b"a" * 700_000,
    ],
    ids=["one header", "many headers", "target", "extension of a chunk"],
)
def test_a_long_head_is_refused(running: Running, sent: bytes) -> None:
    assert statuses(answered(running.url, sent)) == [431]


@pytest.mark.parametrize(
    "sent",
    [GET, GET[:9], head(LENGTH) + BODY[:-1], head("Transfer-Encoding: chunked") + CHUNKED[:-2]],
    ids=["head", "line", "body", "chunks"],
)
def test_what_stalls_is_ended(impatient: Running, sent: bytes) -> None:
    answer = answered(impatient.url, sent)
    assert statuses(answer) == [408]
    assert b"connection: close" in answer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head(LENGTH) + BODY[:-1], 408),
        (head("Transfer-Encoding: chunked") + CHUNKED[:-2], 408),
        (head("Transfer-Encoding: chunked") + CHUNKED[:-5] + b"nonsense\r\n", 400),
        (head(LENGTH, path="/rerank") + BODY[:-1], 408),
        (head(LENGTH, path="/mcp") + BODY[:-1], 408),
    ],
    ids=["body", "chunks", "wrong chunk", "body of TEI's path", "body of MCP"],
)
def test_a_body_that_does_not_come_right_is_logged_as_its_client_is_told(
    impatient: Running, caplog: pytest.LogCaptureFixture, sent: bytes, status: int
) -> None:
    caplog.set_level(logging.INFO, "vecdb_rerank.access")
    with_id = sent.replace(b"\r\n", b"\r\nX-Request-Id: mine\r\nAccept: */*\r\n", 1)
    answer = answered(impatient.url, with_id)
    assert statuses(answer) == [status]
    assert b"x-request-id: mine" in answer
    assert (b"error_type" in answer) is (b"POST /rerank" in sent)
    while not caplog.records:
        time.sleep(0.002)
    [line] = [json.loads(record.getMessage()) for record in caplog.records]
    assert (line["status"], line["request_id"]) == (status, "mine")


def test_a_client_that_goes_away_within_its_body_is_logged_as_gone(
    impatient: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vecdb_rerank.access")
    with connected(impatient.url) as connection:
        connection.sendall(head(LENGTH) + BODY[:-1])
    while not caplog.records:
        time.sleep(0.002)
    [line] = [json.loads(record.getMessage()) for record in caplog.records]
    assert line["status"] == 499


def test_dripping_a_head_does_not_prolong_it(impatient: Running) -> None:
    with connected(impatient.url) as connection:
        until = time.monotonic() + 5
        while time.monotonic() < until:
            try:
                connection.sendall(b"X")
            except OSError:
                break
            time.sleep(0.02)
        else:
            pytest.fail("the connection is still open")


def test_a_connection_without_a_request_is_closed(impatient: Running) -> None:
    assert answered(impatient.url) == b""


def test_a_client_that_does_not_read_is_left(impatient: Running) -> None:
    with connected(impatient.url) as connection:
        document = "x" * 9000
        body = json.dumps(
            {"query": "q", "documents": [document], "return_documents": True}
        ).encode()
        request = head(f"Content-Length: {len(body)}") + body
        with pytest.raises(OSError):
            for _ in range(10_000):
                connection.sendall(request)


@pytest.mark.parametrize("sent", [b"a" * 20_000, b""], ids=["sent", "announced"])
def test_a_long_body_is_refused(impatient: Running, sent: bytes) -> None:
    answer = answered(impatient.url, head("Content-Length: 20000", CLOSE) + sent)
    assert statuses(answer) == [413]
    assert b"connection: close" in answer


def test_the_limit_counts_decoded_bytes(impatient: Running) -> None:
    bomb = gzip.compress(b" " * 1_000_000 + BODY)
    answer = impatient.client.post(
        "/v1/rerank",
        content=bomb,
        headers={"content-encoding": "gzip", "content-type": "application/json"},
    )
    assert answer.status_code == 413


def test_connections_over_the_limit_are_refused(plugin: Path) -> None:
    with serving({"connections": 3}) as running, ExitStack() as stack:
        held = [stack.enter_context(connected(running.url)) for _ in range(3)]
        for connection in held:  # they are known once they are answered
            connection.sendall(GET + b"\r\n")
            assert statuses(connection.recv(65_536)) == [200]
        answer = answered(running.url, GET + b"\r\n")
        assert statuses(answer) == [503]
        assert b"connection: close" in answer
        held[0].sendall(GET + b"Connection: close\r\n\r\n")
        assert statuses(rest(held[0])) == [200]
        assert statuses(answered(running.url, GET + b"Connection: close\r\n\r\n")) == [200]
