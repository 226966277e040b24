"""The cohere reranker: what it sends, and ready clients of the SDK."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import Any

import cohere
import pytest

from tests.faults.cases import APIS, COUNT, SECRET, TEXTS, score, search
from tests.faults.server import fault_server
from vecdb_rerank import CohereReranker, ConfigurationError, Deadline
from vecdb_rerank.flow.drivers import run_async

both_apis = pytest.mark.parametrize("api", APIS)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CO_API_KEY", "CO_API_URL", "COHERE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@both_apis
def test_the_request_is_that_of_the_api(api: str) -> None:
    with fault_server("ok") as server:
        one = CohereReranker(api_key=SECRET, base_url=server.url, max_tokens_per_doc=512)
        search(one, api, 3.0)
    assert server.requests == [
        {
            "model": "rerank-v3.5",
            "query": "number five",
            "documents": TEXTS,
            "max_tokens_per_doc": 512,
        }
    ]
    assert server.heads[0].startswith("POST /v2/rerank ")
    assert f"authorization: bearer {SECRET}" in server.heads[0].lower()


@pytest.mark.parametrize("end", ["", "/", "/v2", "/v2/", "/v2/rerank", "/v1"])
@pytest.mark.parametrize("start", ["", "/providers/cohere"])
def test_the_path_is_never_doubled(start: str, end: str) -> None:
    with fault_server("ok") as server:
        one = CohereReranker(api_key=SECRET, base_url=f"{server.url}{start}{end}")
        score(one)
    assert server.heads[0].startswith(f"POST {start}/v2/rerank ")


def test_key_and_address_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with fault_server("ok") as server:
        monkeypatch.setenv("CO_API_KEY", SECRET)
        monkeypatch.setenv("CO_API_URL", server.url)
        score(CohereReranker())
    assert f"authorization: bearer {SECRET}" in server.heads[0].lower()


def test_an_argument_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with fault_server("ok") as server:
        monkeypatch.setenv("CO_API_KEY", "another")
        monkeypatch.setenv("CO_API_URL", "http://127.0.0.1:1")
        one = CohereReranker(api_key=SECRET, base_url=server.url)
        score(one)
    assert f"authorization: bearer {SECRET}" in server.heads[0].lower()


@both_apis
def test_more_than_a_thousand_documents_are_split_and_merged(api: str) -> None:
    texts = [f"document {n}" for n in range(2_050)]
    with fault_server("ok") as server:
        one = CohereReranker(api_key=SECRET, base_url=server.url)
        scores = score(one, texts, api, 20)
    sent: list[Any] = [body["documents"] for body in server.requests]
    assert [len(batch) for batch in sent] == [1_000, 1_000, 50]
    assert list(chain.from_iterable(sent)) == texts
    assert None not in scores.raw
    assert len(scores.raw) == 2_050


@pytest.mark.parametrize("fault", ["ok", "429", "503 HTML", "hang before headers", "NaN"])
@both_apis
def test_a_ready_synchronous_client_serves_both(api: str, fault: str) -> None:
    with fault_server(fault) as server, cohere.ClientV2("k", base_url=server.url) as client:
        found = search(CohereReranker(client=client, retries=1), api, 0.5)
        assert found.seconds < 1.0
        assert sorted(found.ids) == list(range(COUNT))
        assert found.outcome.status == ("reranked" if fault == "ok" else "fell_back")
        assert len(server.requests) == (2 if fault in ("429", "503 HTML") else 1)


@pytest.mark.parametrize("fault", ["ok", "429", "hang before headers"])
def test_a_ready_asynchronous_client_serves_asynchronous_searches(fault: str) -> None:
    async def main(url: str) -> Any:
        async with cohere.AsyncClientV2("k", base_url=url) as client:
            one = CohereReranker(client=client, retries=1)
            return await run_async(one.steps("q", TEXTS, deadline=Deadline.after(0.5)))

    with fault_server(fault) as server:
        if fault == "ok":
            assert None not in asyncio.run(main(server.url)).raw
        else:
            with pytest.raises(Exception, match=r"answered 429|in time"):
                asyncio.run(main(server.url))


def test_a_ready_asynchronous_client_does_not_serve_synchronous_ones() -> None:
    one = CohereReranker(client=cohere.AsyncClientV2("k"))
    with pytest.raises(ConfigurationError, match=r"^client: "):
        one.score("q", TEXTS, deadline=Deadline.after(1))


def test_what_a_ready_client_raises_of_its_own_is_an_error_in_one_line() -> None:
    class Signing:
        def rerank(self, **_: Any) -> Any:
            raise LookupError("no credentials: secret\nof somebody")

    found = search(CohereReranker(client=Signing()), "sync", 1.0)
    assert found.outcome.reason == "Cohere (Signing) failed with LookupError"
    assert isinstance(found.outcome.error, Exception)
    assert isinstance(found.outcome.error.__cause__, LookupError)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"api_key": None}, "api_key"),
        ({"api_key": " "}, "api_key"),
        ({"api_key": "a b"}, "api_key"),
        ({"base_url": "api.cohere.com"}, "base_url"),
        ({"base_url": f"https://user:{SECRET}@h"}, "base_url"),
        ({"model": ""}, "model"),
        ({"max_tokens_per_doc": 0}, "max_tokens_per_doc"),
        ({"batch_size": 1_001}, "batch_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"retries": -1}, "retries"),
        ({"verify": "no-such-file.pem"}, "verify"),
        ({"client": object()}, "client"),
        ({"client": cohere.ClientV2("k")}, "api_key"),
    ],
)
def test_a_wrong_argument_is_named(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}: ") as caught:
        CohereReranker(**{"api_key": "k", **wrong})
    assert SECRET not in str(caught.value)
