"""Connectors built from settings: their parts, and what reaches the server."""

from __future__ import annotations

import base64
import gc
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from vecdb_rerank.config import factory
from vecdb_rerank.config.loading import load
from vecdb_rerank.embedders.onnx import OnnxEmbedder
from vecdb_rerank.errors import ConfigurationError, DatabaseError, FirstPassError, IngestError
from vecdb_rerank.outcome import observe
from vecdb_rerank.rerankers.onnx import OnnxReranker
from vecdb_rerank.search.store import Finding
from vecdb_rerank.testing import CORPUS, QUERIES

BARE: dict[str, Any] = {"reranker": {"type": "none"}, "embedder": {"type": "none"}}
SECRET = "s3cr3t"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def connect() -> Iterator[Callable[..., Any]]:
    """`factory.connect`, closed in the end."""
    made: list[Any] = []

    def connect(**arguments: Any) -> Any:
        made.append(factory.connect(**arguments))
        return made[-1]

    yield connect
    for connector in made:
        connector.close()


# -- embedded


def test_an_embedded_qdrant_in_memory_indexes_and_searches(connect: Callable[..., Any]) -> None:
    connector = connect(backend={"path": ":memory:"})
    assert connector.create() is True
    assert connector.create() is False
    assert connector.add(CORPUS[:10]).added == 10
    with observe() as outcomes:
        response = connector.search(QUERIES["bread"], limit=3)
    assert outcomes[0].status == "reranked"
    assert len(response.points) == 3
    assert connector.candidates(response)[0].doc_id == "bread-0"


async def test_an_asynchronous_connector_does_the_same() -> None:
    connector = factory.connect_async(backend={"path": ":memory:"})
    try:
        assert await connector.create() is True
        assert (await connector.add(CORPUS[:10])).added == 10
        response = await connector.search(QUERIES["bread"], limit=3)
        assert connector.candidates(response)[0].doc_id == "bread-0"
    finally:
        await connector.close()


async def test_a_with_block_closes_the_connector(tmp_path: Path) -> None:
    where = {"path": tmp_path / "index"}
    for _ in range(2):  # the folder can be opened by one client at a time
        with factory.connect(backend=where, **BARE) as connector:
            assert connector.check()
        async with factory.connect_async(backend=where, **BARE) as asynchronous:
            assert await asynchronous.check()


def test_a_small_k_needs_no_limit() -> None:
    given: dict[str, Any] = {
        "backend": {"path": ":memory:"},
        "reranker": {"type": "none"},
        "search": {"k": 5},
    }
    with factory.connect(**given) as connector:
        connector.create()
        connector.add(CORPUS[:10])
        assert len(connector.search(QUERIES["bread"]).points) == 5
        assert len(connector.search(QUERIES["bread"], k=50).points) == 10


def test_an_embedded_qdrant_in_a_folder_is_there_again_the_next_time(tmp_path: Path) -> None:
    for created in (True, False):
        connector = factory.connect(backend={"path": tmp_path / "index"}, reranker={"type": "none"})
        try:
            assert connector.create() is created
            assert connector.add(CORPUS[:2]).added == 2
            assert "2 points" in [finding.detail for finding in connector.check()]
        finally:
            connector.close()


# Qdrant's client leaves its lock file open when it fails to lock it.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_folder_that_is_open_already_is_an_error_that_names_it(tmp_path: Path) -> None:
    where = {"path": tmp_path / "index"}
    connector = factory.connect(backend=where, **BARE)
    try:
        with pytest.raises(DatabaseError, match=r"index.*stop"):
            factory.connect(backend=where, **BARE)
    finally:
        connector.close()
    gc.collect()


def test_a_path_that_is_no_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DatabaseError, match=r"notes\.txt"):
        factory.connect(backend={"path": tmp_path / "notes.txt"}, **BARE)


def test_settings_reach_the_connector(connect: Callable[..., Any]) -> None:
    connector = connect(
        backend={"path": ":memory:"},
        search={"k": 20, "limit": 5, "mode": "dense"},
        policy={"deadline": 3, "on_error": "raise"},
        text_fields={"fields": ["headline"]},
        reranker={"max_length": 128},
        embedder={"max_length": 64},
    )
    assert (connector.defaults.k, connector.defaults.limit) == (20, 5)
    assert connector.defaults.mode == "dense"
    assert (connector.pipeline.policy.deadline, connector.pipeline.policy.on_error) == (3, "raise")
    assert connector.pipeline.text_fields.fields == ("headline",)
    assert isinstance(connector.pipeline.chain.rerankers[0], OnnxReranker)
    assert isinstance(connector.pipeline.embedder, OnnxEmbedder)
    assert connector.pipeline.embedder.name.endswith(":64")


def test_none_is_no_reranker_and_no_embedder(connect: Callable[..., Any]) -> None:
    connector = connect(backend={"path": ":memory:"}, **BARE)
    assert connector.pipeline.chain is None
    assert connector.pipeline.embedder is None
    with pytest.raises(ConfigurationError, match="dense_vector") as caught:
        connector.create()
    assert caught.value.key == "embedder"
    settings = load(**BARE).settings
    assert factory.reranker(settings) is None
    assert factory.embedder(settings) is None


def test_without_a_reranker_hits_stay_in_first_pass_order(connect: Callable[..., Any]) -> None:
    connector = connect(backend={"path": ":memory:"}, reranker={"type": "none"})
    connector.create()
    connector.add(CORPUS[:5])
    with observe() as outcomes:
        connector.search(QUERIES["bread"])
    assert (outcomes[0].status, outcomes[0].reason) == ("skipped", "no reranker")


def test_a_wrong_setting_is_an_error_before_anything_is_built() -> None:
    with pytest.raises(ConfigurationError) as caught:
        factory.connect(bakend={})
    assert caught.value.key == "bakend"
    with pytest.raises(ConfigurationError) as caught:
        factory.connect(backend={"path": ":memory:"}, reranker={"model": "/no/such/folder"})
    assert caught.value.key == "reranker.model"


# -- servers


def serve(server: HTTPServer) -> HTTPServer:
    """What Qdrant or OpenSearch answer when asked whether all is well."""
    plugins = [{"component": "opensearch-knn"}, {"component": "opensearch-neural-search"}]

    def root(request: Request) -> Response:
        opensearch = "opensearch" in request.headers["User-Agent"]
        version: Any = {"number": "2.19.1"} if opensearch else "1.19.0"
        answer = {"title": "qdrant", "version": version}
        return Response(json.dumps(answer), content_type="application/json")

    server.expect_request("/").respond_with_handler(root)
    server.expect_request("/collections/documents/exists").respond_with_json(
        {"result": {"exists": False}, "status": "ok", "time": 0.0}
    )
    server.expect_request("/_cat/plugins").respond_with_json(plugins)
    server.expect_request("/documents", method="HEAD").respond_with_data(status=404)
    return server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> Path:
    """What a client has to trust."""
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def tls_server(authority: trustme.CA) -> Iterator[HTTPServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    with HTTPServer(host="127.0.0.1", ssl_context=context) as server:
        yield server


@pytest.fixture
def secure(tls_server: HTTPServer) -> HTTPServer:
    """A server over TLS, with a certificate of an unknown authority."""
    tls_server.clear()
    return serve(tls_server)


def connection(findings: list[Finding]) -> Finding:
    return next(finding for finding in findings if finding.subject == "connection")


def headers(server: HTTPServer, name: str) -> set[str | None]:
    return {request.headers.get(name) for request, _ in server.log}


def test_the_api_key_reaches_qdrant(
    secure: HTTPServer, certificate: Path, connect: Callable[..., Any]
) -> None:
    connector = connect(
        backend={"url": secure.url_for("/"), "api_key": SECRET, "verify": certificate}, **BARE
    )
    assert secure.log == []  # nothing is sent before the first search
    assert connection(connector.check()).ok
    assert headers(secure, "Api-Key") == {SECRET}


async def test_the_api_key_reaches_qdrant_from_an_asynchronous_client(
    secure: HTTPServer, certificate: Path
) -> None:
    connector = factory.connect_async(
        backend={"url": secure.url_for("/"), "api_key": SECRET, "verify": certificate}, **BARE
    )
    try:
        assert connection(await connector.check()).ok
    finally:
        await connector.close()
    assert headers(secure, "Api-Key") == {SECRET}


def test_user_and_password_reach_opensearch(
    secure: HTTPServer, certificate: Path, connect: Callable[..., Any]
) -> None:
    connector = connect(
        backend={
            "type": "opensearch",
            "url": secure.url_for("/"),
            "user": "admin",
            "password": SECRET,
            "verify": certificate,
        },
        **BARE,
    )
    assert secure.log == []
    assert connection(connector.check()).ok
    expected = base64.b64encode(f"admin:{SECRET}".encode()).decode()
    assert headers(secure, "Authorization") == {f"Basic {expected}"}


async def test_user_and_password_reach_opensearch_from_an_asynchronous_client(
    secure: HTTPServer, certificate: Path
) -> None:
    connector = factory.connect_async(
        backend={
            "type": "opensearch",
            "url": secure.url_for("/"),
            "user": "admin",
            "password": SECRET,
            "verify": certificate,
        },
        **BARE,
    )
    try:
        assert connection(await connector.check()).ok
    finally:
        await connector.close()
    expected = base64.b64encode(f"admin:{SECRET}".encode()).decode()
    assert headers(secure, "Authorization") == {f"Basic {expected}"}


@pytest.mark.parametrize("kind", ["qdrant", "opensearch"])
def test_a_certificate_that_nobody_signed_is_refused(
    kind: str, secure: HTTPServer, connect: Callable[..., Any]
) -> None:
    connector = connect(backend={"type": kind, "url": secure.url_for("/")}, **BARE)
    found = connection(connector.check())
    assert not found.ok
    assert "certificate" in found.detail.lower()


def test_qdrants_certificate_is_not_looked_at_where_the_settings_say_so(
    secure: HTTPServer, connect: Callable[..., Any]
) -> None:
    connector = connect(backend={"url": secure.url_for("/"), "verify": False}, **BARE)
    assert connection(connector.check()).ok


# Its client warns of it, on purpose: when it is made, and with every request.
@pytest.mark.filterwarnings("ignore:.*verify_certs=False:UserWarning")
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_opensearchs_certificate_is_not_looked_at_where_the_settings_say_so(
    secure: HTTPServer, connect: Callable[..., Any]
) -> None:
    backend = {"type": "opensearch", "url": secure.url_for("/"), "verify": False}
    assert connection(connect(backend=backend, **BARE).check()).ok


@pytest.mark.parametrize("kind", ["qdrant", "opensearch"])
def test_a_missing_certificate_file_is_an_error_that_names_the_setting(kind: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        factory.connect(
            backend={"type": kind, "url": "https://127.0.0.1:1", "verify": "/no/such/file.pem"}
        )
    assert caught.value.key == "backend.verify"


@pytest.fixture
def stuck(httpserver: HTTPServer) -> Iterator[HTTPServer]:
    """A server that answers nothing until the test is over."""
    over = threading.Event()

    def wait(_: Request) -> Response:
        over.wait(20)
        return Response("{}", content_type="application/json")

    httpserver.expect_request("/").respond_with_handler(wait)
    yield httpserver
    over.set()


@pytest.mark.parametrize("kind", ["qdrant", "opensearch"])
@pytest.mark.parametrize("form", ["LOCALHOST:{}", "//localhost:{}"])
def test_a_url_needs_no_scheme(
    httpserver: HTTPServer, connect: Callable[..., Any], kind: str, form: str
) -> None:
    connector = connect(backend={"type": kind, "url": form.format(httpserver.port)}, **BARE)
    connector.check()
    assert httpserver.log


@pytest.mark.parametrize(("kind", "timeout"), [("qdrant", 1.0), ("opensearch", 0.2)])
def test_the_clients_timeout_is_that_of_the_settings(
    kind: str, timeout: float, stuck: HTTPServer, connect: Callable[..., Any]
) -> None:
    backend = {"type": kind, "url": stuck.url_for("/"), "timeout": timeout}
    found = connection(connect(backend=backend, **BARE).check())
    assert not found.ok
    assert "time" in found.detail


def test_the_options_of_a_qdrant_client_without_a_server_are_all_local() -> None:
    from vecdb_rerank_qdrant.from_settings import client_options

    for path, expected in ((None, ".vecdb_rerank/qdrant"), ("folder", "folder")):
        settings: Any = load(backend={"path": path} if path else {}).settings.backend
        assert client_options(settings)["path"] == expected


@pytest.fixture
def busy(httpserver: HTTPServer) -> HTTPServer:
    """A server that answers every request with busy."""
    httpserver.expect_request("/documents/_search").respond_with_json({}, status=503)
    httpserver.expect_request("/_bulk").respond_with_json({}, status=503)
    httpserver.expect_request("/").respond_with_json({}, status=503)
    return httpserver


def test_an_opensearch_client_from_settings_does_not_try_again(
    busy: HTTPServer, connect: Callable[..., Any]
) -> None:
    connector = connect(backend={"type": "opensearch", "url": busy.url_for("/")}, **BARE)
    with pytest.raises(FirstPassError):
        connector.search("anything", mode="bm25")
    assert len(busy.log) == 1
    assert not connection(connector.check()).ok
    assert len(busy.log) == 2


async def test_nor_does_an_asynchronous_one(busy: HTTPServer) -> None:
    connector = factory.connect_async(
        backend={"type": "opensearch", "url": busy.url_for("/")}, **BARE
    )
    try:
        with pytest.raises(FirstPassError):
            await connector.search("anything", mode="bm25")
    finally:
        await connector.close()
    assert len(busy.log) == 1


def test_writing_is_tried_again_by_this_package_alone(
    httpserver: HTTPServer, connect: Callable[..., Any]
) -> None:
    answers = iter([503, 503])

    def bulk(_: Request) -> Response:
        status = next(answers, 200)
        body = {"items": [{"index": {"status": 201}}]} if status == 200 else {}
        return Response(json.dumps(body), status=status, content_type="application/json")

    httpserver.expect_request("/documents", method="HEAD").respond_with_json({})
    httpserver.expect_request("/documents/_bulk").respond_with_handler(bulk)
    httpserver.expect_request("/documents/_refresh").respond_with_json({})
    backend = {"type": "opensearch", "url": httpserver.url_for("/")}
    connector = connect(backend=backend, reranker={"type": "none"})
    report = connector.add([{"id": 1, "text": "one"}])
    assert (report.added, report.retries) == (1, 2)
    assert [request.path for request, _ in httpserver.log].count("/documents/_bulk") == 3


def test_a_server_that_stays_busy_ends_the_writing(
    httpserver: HTTPServer, connect: Callable[..., Any]
) -> None:
    httpserver.expect_request("/documents", method="HEAD").respond_with_json({})
    httpserver.expect_request("/documents/_bulk").respond_with_json({}, status=503)
    backend = {"type": "opensearch", "url": httpserver.url_for("/")}
    connector = connect(backend=backend, reranker={"type": "none"})
    with pytest.raises(IngestError):
        connector.add([{"id": 1, "text": "one"}], give_up_after=0.3)


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ({"type": "cohere", "api_key": "k", "max_tokens_per_doc": 9}, "cohere:rerank-v3.5"),
        ({"type": "http", "url": ["http://h", "http://i"], "format": "tei"}, "http:h"),
        ({"type": "http", "url": "http://h", "model": "m", "extra_body": {"a": 1}}, "http:h/m"),
    ],
)
def test_remote_rerankers_are_built_from_settings(
    connect: Callable[..., Any], section: dict[str, Any], name: str
) -> None:
    connector = connect(reranker=section)
    assert connector.pipeline.chain.rerankers[0].name == name


def test_a_chain_is_built_from_settings(connect: Callable[..., Any]) -> None:
    sections = [{"type": "cohere", "api_key": "k"}, {"type": "none"}, {"type": "onnx"}]
    names = [one.name for one in connect(rerankers=sections).pipeline.chain.rerankers]
    assert names[0] == "cohere:rerank-v3.5"
    assert names[1].startswith("onnx:")
    assert len(names) == 2


def test_a_missing_key_is_told_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CO_API_KEY", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        factory.connect(reranker={"type": "cohere"})
    assert caught.value.key == "reranker.api_key"
