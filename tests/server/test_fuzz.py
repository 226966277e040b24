"""Nonsense in all shapes: nothing breaks, hangs, or is let through.

Every case is made from its number alone. ``VECDB_RERANK_TEST_FUZZ=20`` runs twenty times as many.
"""

from __future__ import annotations

import json
import logging
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from more_itertools import chunked

from tests.server.raw import connected, head, rest, statuses
from tests.server.running import Running, serving
from tests.server.test_connection import BODY, CHUNKED, GET, LENGTH, SMUGGLED
from tests.server.test_front import POSTS

FACTOR = int(os.environ.get("VECDB_RERANK_TEST_FUZZ", "1"))
KEYS = {name: f"the-key-of-caller-{name}" for name in "ab"}
NAMES = """query documents texts model top_n return_documents rank_fields max_tokens_per_doc
text_1 text_2 queries truncate raw_scores truncation_side filter limit offset mode k explain
jsonrpc id method params instruction truncate_prompt_tokens max_chunks_per_doc""".split()
# 5xx of what is not configured here: a database, and its embedder.
ALLOWED = {*range(200, 500), 502, 503, 504}


@pytest.fixture(scope="module")
def closed(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with keys, little patience and few connections."""
    keys = [{"key": key, "name": name} for name, key in KEYS.items()]
    serve = {"keys": keys, "patience": 0.5, "connections": 150, "max_body_bytes": 100_000}
    backend = {"type": "qdrant", "path": str(tmp_path_factory.mktemp("fuzz") / "empty")}
    with serving(serve, backend=backend) as found:
        yield found


@pytest.fixture(autouse=True)
def no_error_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail for whatever is logged with a traceback."""
    yield
    for when in ("setup", "call"):
        for record in caplog.get_records(when):
            assert record.levelno < logging.ERROR, record.getMessage()


def each(count: int) -> Iterator[random.Random]:
    for number in range(count * FACTOR):
        yield random.Random(number)


def value(chance: random.Random, depth: int = 0) -> object:
    """Return something that JSON can hold."""
    makers: list[Callable[[], object]] = [
        lambda: None,
        lambda: chance.random() < 0.5,
        lambda: chance.choice([0, -1, 1, 2**31, 2**63, 1e308, 0.5]),
        lambda: chance.choice(["", "text", "\0", "é" * 500, "left", "default", "\ud83d\ude00"]),
        lambda: [value(chance, depth + 1) for _ in range(chance.randrange(4))],
        lambda: {chance.choice(NAMES): value(chance, depth + 1) for _ in range(3)},
        lambda: ["one text", "another"],
        lambda: {"text": "one", "number": 1},
    ]
    return chance.choice(makers[:4] if depth > 4 else makers)()


def content(chance: random.Random) -> bytes:
    """Return a body: JSON with some known fields, or not quite JSON."""
    body = {name: value(chance) for name in chance.sample(NAMES, 6)}
    if chance.random() < 0.5:
        body |= {"query": "undo", "documents": ["undo it"], "texts": ["undo it"]}
    whole = json.dumps(body).encode()
    spoiled = [
        whole[: chance.randrange(len(whole))],
        b"[" * 5000,
        b'{"query": ' * 5000,
        whole.replace(b'"', b"'"),
        b"\xff\xfe" + whole,
        b'{"query": NaN}',
        b'{"query": 1e999, "documents": ["\\ud800"]}',
    ]
    return whole if chance.random() < 0.8 else chance.choice(spoiled)


def test_bodies(closed: Running) -> None:
    headers = {"authorization": f"Bearer {KEYS['a']}", "content-type": "application/json"}
    for chance in each(150):
        body, path = content(chance), chance.choice(POSTS)
        answer = closed.client.post(path, content=body, headers=headers)
        assert answer.status_code in ALLOWED, (path, body)
        assert "Traceback" not in answer.text
        if answer.status_code >= 400:
            json.loads(answer.content)


def mutated(chance: random.Random, data: bytes) -> bytes:
    """Return ``data`` with some bytes changed, left out, doubled or put in."""
    for _ in range(chance.randrange(1, 3)):
        at, size = chance.randrange(len(data) + 1), chance.randrange(1, 9)
        piece = chance.choice(
            [b"", b"\r\n", b"\r", b"\n", b"\0", b":", b" ", b"\xff", b"0", data[:size]]
        )
        data = data[:at] + piece + data[at + chance.choice([0, 0, 1, size]) :]
    return data


def test_bytes_without_a_key(closed: Running) -> None:
    calls = len(closed.words.calls)
    key = f"Authorization: Bearer {KEYS['a'][:-1]}"
    seeds = [head(key, LENGTH) + BODY, head(key, "Transfer-Encoding: chunked") + CHUNKED]
    seeds += [*seeds * 20, *SMUGGLED.values()]
    last = GET + b"Connection: close\r\n\r\n"
    for cases in chunked(each(240), 60):
        with ExitStack() as stack:
            sent = []
            for chance in cases:
                data = mutated(chance, chance.choice(seeds)) + chance.choice([b"", seeds[0]])
                connection = stack.enter_context(connected(closed.url))
                with suppress(OSError):  # the server may have closed it already
                    for part in (data[:40], data[40:] + last):
                        connection.sendall(part)
                sent.append((connection, data))
            found = [(statuses(rest(connection)), data) for connection, data in sent]
        for codes, data in found:
            assert codes, data
            assert all(400 <= code < 500 for code in codes), data
    assert len(closed.words.calls) == calls


def test_slow_clients_do_not_keep_others_out(closed: Running) -> None:
    """More connections than allowed, each with a part of a request; they are all ended."""
    own = {"authorization": f"Bearer {KEYS['a']}"}
    with ExitStack() as stack:
        held = [stack.enter_context(connected(closed.url)) for _ in range(200)]
        for number, connection in enumerate(held):
            with suppress(OSError):
                connection.sendall((head(LENGTH) + BODY)[: number % (len(head(LENGTH)) + 20) + 1])
        found = [statuses(rest(connection)) for connection in held]
        assert all(one in ([], [408], [401], [503]) for one in found), found
        assert [503] in found
        with httpx.Client(base_url=closed.url, headers=own) as client:
            answer = client.post(
                "/v1/rerank", content=BODY, headers={"content-type": "application/json"}
            )
        assert answer.status_code == 200


def test_callers_see_their_own_alone(closed: Running) -> None:
    """Requests of two callers at once, on connections that are used again."""
    wrong: list[object] = []

    def call(name: str) -> None:
        with httpx.Client(base_url=closed.url, headers={"x-api-key": KEYS[name]}) as client:
            for number in range(20 * FACTOR):
                ours = f"{name}-{number}"
                body = {"query": ours, "documents": [f"{ours} {n}" for n in range(3)]}
                answer = client.post(
                    "/v1/rerank",
                    json={**body, "return_documents": True},
                    headers={"x-request-id": ours},
                )
                if answer.headers["x-request-id"] != ours or any(
                    not one["document"]["text"].startswith(f"{ours} ")
                    for one in answer.json()["results"]
                ):
                    wrong.append(answer.text)

    threads = [threading.Thread(target=call, args=(name,)) for name in "abab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
