"""The process: what operators see, signals, and its end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.server.raw import connected, head, rest, statuses
from tests.server.spawned import Spawned, spawned
from vecdb_rerank.config.loading import check
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.server.process import workers
from vecdb_rerank.server.service import Service

KEY = "a-key-of-the-tests"
BODY = {"query": "undo a commit", "documents": ["one banana", "undo it"]}
REMOTE = {"type": "http", "url": "http://127.0.0.1:9", "model": "m"}
SETTINGS = f"""
[reranker]
type = "words"
[[serve.models]]
name = "first"
[[serve.keys]]
key = "{KEY}"
name = "team"
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("process") / "settings.toml"
    found.write_text(SETTINGS)
    return found


@pytest.fixture(scope="module")
def process(file: Path, plugin: Path) -> Iterator[Spawned]:
    with spawned(file, plugin, "--drain-delay=0.2") as found:
        found.wait_for("models are loaded")
        yield found


def rerank(process: Spawned, **headers: str) -> httpx.Response:
    all_headers = {"authorization": f"Bearer {KEY}", **headers}
    return httpx.post(f"{process.url()}/v1/rerank?secret=1", json=BODY, headers=all_headers)


def test_it_is_alive_and_ready(process: Spawned) -> None:
    assert httpx.get(f"{process.admin}/healthz").json() == {"status": "ok"}
    assert process.ready().status_code == 200


def test_web_pages_do_not_read_metrics(process: Spawned) -> None:
    answer = httpx.get(f"{process.admin}/metrics", headers={"host": "evil.example"})
    assert answer.status_code == 421
    for origin, status in ((process.admin, 200), (process.url(), 403), ("null", 403)):
        answer = httpx.get(f"{process.admin}/metrics", headers={"origin": origin})
        assert answer.status_code == status
    with connected(process.admin) as connection:  # as HAProxy checks
        connection.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert statuses(rest(connection)) == [200]


def test_requests_are_logged_without_what_they_hold(process: Spawned) -> None:
    assert rerank(process, **{"x-request-id": "one"}).status_code == 200
    line = process.wait_for_access("one")
    assert line["ms"]
    assert {name: line[name] for name in ("method", "route", "status", "caller")} == {
        "method": "POST",
        "route": "/v1/rerank",
        "status": 200,
        "caller": "team",
    }
    assert all(text not in str(line) for text in ("undo", "secret", KEY))
    httpx.get(f"{process.url()}/a-text", headers={"x-request-id": "two"})
    assert process.wait_for_access("two")["route"] == "other"


def test_metrics_have_labels_of_the_settings_alone(process: Spawned) -> None:
    httpx.post(f"{process.url()}/a-text", json={**BODY, "model": "a-model"})
    with connected(process.url()) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert statuses(rest(connection)) == [400]
    page = httpx.get(f"{process.admin}/metrics").text
    assert 'vecdb_rerank_http_requests_total{caller="team",route="/v1/rerank",status="200"}' in page
    assert 'vecdb_rerank_searches_total{backend="rerank-api",reranker="words"' in page
    assert 'route="other"' in page
    assert 'vecdb_rerank_http_refused_total{status="400"} 1.0' in page
    assert "a-text" not in page
    assert "a-model" not in page


def test_sighup_reads_the_settings_again(process: Spawned, file: Path) -> None:
    def models() -> list[str]:
        headers = {"authorization": f"Bearer {KEY}"}
        listed = httpx.get(f"{process.url()}/v1/models", headers=headers).json()["data"]
        return [model["id"] for model in listed]

    file.write_text(SETTINGS.replace("first", "second"))
    process.send(signal.SIGHUP)
    process.wait_for("were read again")
    assert models() == ["second"]
    file.write_text(SETTINGS.replace("[reranker]", "[rerankr]"))
    process.send(signal.SIGHUP)
    process.wait_for("stay in force.*rerankr")
    assert models() == ["second"]


def test_sighup_needs_keys_by_the_address_that_it_listens_on(tmp_path: Path, plugin: Path) -> None:
    def settings(serve: str) -> str:
        return f'[reranker]\ntype = "words"\n[serve]\n{serve}\n'

    file = tmp_path / "settings.toml"
    file.write_text(settings(f'host = "127.1"\nkeys = ["{KEY}"]'))  # no name of loopback
    with spawned(file, plugin) as process:
        port = process.wait_for(r"listening on 127.1:(\d+)")[1]
        process.wait_for("models are loaded")
        file.write_text(settings('host = "127.0.0.1"'))
        process.send(signal.SIGHUP)
        process.wait_for(r"serve\.host changes with a restart")
        process.wait_for(r"stay in force.*serve\.keys")
        assert httpx.get(f"http://127.0.0.1:{port}/v1/models").status_code == 401


def test_sigterm_ends_it_when_all_is_answered(process: Spawned) -> None:
    url, admin = process.url(), process.admin
    with connected(url) as connection, httpx.Client() as client:
        connection.sendall(head(f"Authorization: Bearer {KEY}", "Content-Length: 40"))
        process.send(signal.SIGTERM)
        process.wait_for("ending in")
        assert client.get(f"{admin}/readyz").status_code == 503
        during = client.post(f"{url}/v1/rerank", json=BODY, headers={"x-api-key": KEY})
        assert (during.status_code, during.headers["connection"]) == (200, "close")
        connection.sendall(b'{"query": "undo", "documents": ["undo"]}')
        assert statuses(rest(connection)) == [200]
    assert process.process.wait(10) == 0


def test_it_starts_without_its_database(tmp_path: Path, plugin: Path) -> None:
    file = tmp_path / "settings.toml"
    backend = '[backend]\ntype = "qdrant"\nurl = "http://127.0.0.1:9"\n'
    file.write_text(backend + '[reranker]\ntype = "words"\n')
    with spawned(file, plugin) as process:
        process.wait_for("models are loaded")
        unready = process.ready()
        assert unready.status_code == 503
        assert "database" in unready.json()
        answer = httpx.post(f"{process.url()}/v1/rerank", json=BODY)
        assert answer.status_code == 200


def test_workers_share_the_port_and_end_together(tmp_path: Path, plugin: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[reranker]\n" + "".join(f'{k} = "{v}"\n' for k, v in REMOTE.items()))
    with spawned(file, plugin, "--workers=2", "--drain-delay=0") as process:
        process.wait_for("models are loaded", count=2)
        for _ in range(4):
            assert httpx.get(f"{process.url()}/health").status_code == 200
        process.send(signal.SIGTERM)
        assert process.process.wait(10) == 0


@pytest.mark.parametrize(
    "settings",
    [{"reranker": {"type": "words"}}, {"reranker": REMOTE, "backend": {"path": ":memory:"}}],
    ids=["reranker", "embedder"],
)
def test_what_runs_in_the_process_wants_no_workers(settings: dict[str, object]) -> None:
    checked = check(**settings)
    with pytest.raises(ConfigurationError) as caught:
        workers.check(checked, Service(checked).models)
    assert caught.value.key == "serve.workers"
