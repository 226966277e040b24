"""Embedders over HTTP: what is sent, what counts as an answer, and what a failure costs."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import cohere
import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qdrant_client import QdrantClient

from tests.embedders.embed_server import KINDS, answer, by_words, embeds, made, texts_of
from tests.scripted_server import Answer, Body, refused, scripted_server
from vecdb_rerank import (
    ConfigurationError,
    Deadline,
    EmbedderError,
    EmbedderTimeoutError,
    FirstPassError,
    FirstPassTimeoutError,
    IngestError,
    Policy,
    SchemaError,
    connect,
    observe,
)
from vecdb_rerank.embedders.formats import FORMATS
from vecdb_rerank.embedders.replies import vectors
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.testing import KeepingReranker
from vecdb_rerank_qdrant import AsyncQdrantConnector, QdrantConnector

all_kinds = pytest.mark.parametrize("kind", KINDS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)

# -- requests

BODIES: dict[str, tuple[str, Body, Body]] = {
    "openai": (
        "/v1/embeddings",
        {"model": "m", "input": ["t"], "dimensions": 4, "encoding_format": "float"},
        {},
    ),
    "cohere": (
        "/v2/embed",
        {
            "model": "m",
            "texts": ["t"],
            "output_dimension": 4,
            "embedding_types": ["float"],
            "truncate": "END",
            "input_type": "search_document",
        },
        {"input_type": "search_query"},
    ),
    "tei": ("/embed", {"inputs": ["t"], "dimensions": 4, "truncate": True}, {}),
    "voyage": (
        "/v1/embeddings",
        {
            "model": "m",
            "input": ["t"],
            "output_dimension": 4,
            "truncation": True,
            "input_type": "document",
        },
        {"input_type": "query"},
    ),
    "jina": (
        "/v1/embeddings",
        {
            "model": "m",
            "input": ["t"],
            "dimensions": 4,
            "embedding_type": "float",
            "truncate": True,
            "task": "retrieval.passage",
        },
        {"task": "retrieval.query"},
    ),
}


@all_kinds
def test_what_is_sent(kind: str) -> None:
    path, body, of_query = BODIES[kind]
    with scripted_server(embeds(kind, lambda *_: [1, 0, 0, 0])) as server:
        headers = {"X-Team": "search"}
        one = made(kind, server.url, api_key="k", headers=headers, dimensions=4)
        one.embed_documents(["t"])
        one.embed_query("t")
    assert server.requests == [body, {**body, **of_query}]
    assert server.paths == [path, path]
    assert server.heads[0]["authorization"] == "Bearer k"
    assert server.heads[0]["x-team"] == "search"


def test_the_sdk_of_cohere_sends_the_same() -> None:
    with scripted_server(embeds("cohere", by_words)) as server, httpx.Client() as client:
        cohere.ClientV2("k", base_url=server.url, httpx_client=client).embed(
            model="m",
            texts=["t"],
            input_type="search_document",
            embedding_types=["float"],
            output_dimension=64,
            truncate="END",
        )
        made("cohere", server.url, api_key="k", dimensions=64).embed_documents(["t"])
    theirs, ours = server.requests
    assert theirs == ours
    assert server.paths[0] == server.paths[1]
    assert server.heads[0]["authorization"] == server.heads[1]["authorization"]


@pytest.mark.parametrize("azure", [False, True])
def test_the_sdk_of_openai_sends_the_same(azure: bool) -> None:
    with scripted_server(embeds("openai", by_words)) as server:
        url = f"{server.url}/v1"
        client: Any = openai.OpenAI(api_key="k", base_url=url)
        if azure:
            client = openai.AzureOpenAI(
                api_key="k", api_version="2024-10-21", azure_endpoint=server.url
            )
            url = f"{server.url}/openai/deployments/m?api-version=2024-10-21"
        with client:
            client.embeddings.create(model="m", input=["t"], dimensions=64, encoding_format="float")
        made("openai", url, api_key="k", dimensions=64).embed_documents(["t"])
    theirs, ours = server.requests
    assert theirs == ours
    assert server.paths[0] == server.paths[1]
    header = "api-key" if azure else "authorization"
    assert server.heads[0][header] == server.heads[1][header]


def test_the_sdk_of_voyage_sends_the_same_but_for_the_form_of_the_numbers() -> None:
    sent = {  # by voyageai 0.5.0
        "input": ["t"],
        "model": "m",
        "input_type": "document",
        "truncation": True,
        "output_dtype": None,
        "output_dimension": 64,
        "encoding_format": "base64",
    }
    with scripted_server(embeds("voyage", by_words)) as server:
        made("voyage", f"{server.url}/v1", api_key="k", dimensions=64).embed_documents(["t"])
    [ours] = server.requests
    assert {key: sent[key] for key in ours} == ours
    assert sent.keys() - ours.keys() == {"output_dtype", "encoding_format"}
    assert server.paths == ["/v1/embeddings"]


def test_prefixes_and_kinds_of_ones_own() -> None:
    with scripted_server(embeds("tei", by_words)) as server:
        one = made(
            "tei",
            server.url,
            query_kind="query",
            query_prefix="query: ",
            document_prefix="passage: ",
            extra_body={"truncation_direction": "Left"},
        )
        one.embed_query("t")
        one.embed_documents(["t"])
    query, document = server.requests
    assert query["inputs"] == ["query: t"]
    assert query["prompt_name"] == "query"
    assert document["inputs"] == ["passage: t"]
    assert "prompt_name" not in document
    assert document["truncation_direction"] == "Left"
    with scripted_server(embeds("cohere", by_words)) as server:
        made("cohere", server.url, query_kind="").embed_query("t")
    assert "input_type" not in server.requests[0]


@all_kinds
def test_vectors_come_in_the_order_of_the_texts_whatever_the_batches(kind: str) -> None:
    texts = [f"text {'x' * n}" for n in range(25)]
    with scripted_server(embeds(kind, lambda text, _: [len(text), 1.0])) as server:
        one = made(kind, server.url, batch_size=10, normalize=False)
        assert [v[0] for v in one.embed_documents(texts)] == [len(text) for text in texts]
        assert [len(texts_of(kind, body)) for body in server.requests] == [10, 10, 5]
        assert one.dimension == 2
        few = made(kind, server.url, batch_tokens=20, normalize=False)
        assert [v[0] for v in few.embed_documents(texts)] == [len(text) for text in texts]
        sizes = [sum(len(t) for t in texts_of(kind, body)) / 4 for body in server.requests[3:]]
        assert max(sizes) <= 20


def test_vectors_are_scaled_to_length_1_unless_told_otherwise() -> None:
    with scripted_server(embeds("tei", lambda *_: [3, 4])) as server:
        assert made("tei", server.url).embed_query("t") == pytest.approx([0.6, 0.8])
        assert made("tei", server.url, normalize=False).embed_query("t") == [3.0, 4.0]
        [vector] = made("tei", server.url).embed_documents(["t"])
        assert all(type(x) is float for x in vector)


def test_a_lone_surrogate_is_replaced_in_a_prefix_too() -> None:
    with scripted_server(embeds("tei", by_words)) as server:
        made("tei", server.url, query_prefix="\ud800: ").embed_query("\udc00")
    assert server.requests[0]["inputs"] == ["?: ?"]


def test_headers_replace_the_user_of_a_url_in_whatever_case() -> None:
    with scripted_server(embeds("tei", by_words)) as server:
        url = server.url.replace("//", "//user:password@", 1)
        headers = {"authorization": "Bearer of-the-gateway"}
        made("tei", url, api_key=None, headers=headers).embed_query("t")
    assert server.heads[0]["authorization"] == "Bearer of-the-gateway"


def test_no_texts_need_no_request() -> None:
    assert made("tei", "http://127.0.0.1:9").embed_documents([]) == []


# -- answers


@pytest.mark.parametrize("kind", ["openai", "tei", "cohere"])
@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([[1.0, 2.0]], "1 vectors for 2"),
        ([[1.0], [1.0], [1.0]], "3 vectors for 2"),
        ([[1.0, 2.0], [1.0]], "1 to 2"),
        ([[1.0, 2.0], [1.0, float("nan")]], "finite"),
        ([[1.0, 2.0], [1.0, float("inf")]], "finite"),
        ([[1.0, 2.0], [1e200, 1e200]], "finite"),
        ([[1.0, 2.0], [1.0, "2"]], "finite"),
        ([[1.0, 2.0], [1.0, None]], "finite"),
        ([[1.0, 2.0], [[1.0], [2.0]]], "finite|numbers"),
        ([[1.0, 2.0], []], "no vector"),
        ([[1.0, 2.0], None], "no vector"),
        ([[1.0, 2.0], "AAAA"], "no vector"),
        ([[1.0, 2.0], [0.0, 0.0]], "zero"),
        ([[True, False], [True, True]], "finite"),
    ],
)
def test_wrong_vectors_are_an_error(kind: str, rows: list[Any], word: str) -> None:
    with (
        scripted_server(lambda _: answer(kind, rows)) as server,
        pytest.raises(EmbedderError, match=word),
    ):
        made(kind, server.url).embed_documents(["a", "b"])


@pytest.mark.parametrize("indices", [[0, 0], [0, 2], [-1, 0], [0, "1"], [0, None], [True, 0]])
def test_wrong_indices_are_an_error(indices: list[Any]) -> None:
    data = [{"index": index, "embedding": [1.0]} for index in indices]
    with pytest.raises(EmbedderError, match="index"):
        vectors({"data": data}, 2, FORMATS["openai"])


@all_kinds
@given(body=JSON)
def test_whatever_comes_is_vectors_or_an_error(kind: str, body: Any) -> None:
    for given_body in (body, answer(kind, [body, body]).body, answer(kind, [[body], [body]]).body):
        try:
            found = vectors(given_body, 2, FORMATS[kind])
        except EmbedderError:
            continue
        assert found.shape[0] == 2


def test_another_dimension_than_before_is_an_error_with_both_numbers() -> None:
    sizes = iter([3, 4])
    with scripted_server(embeds("tei", lambda *_: [1.0] * next(sizes))) as server:
        one = made("tei", server.url)
        one.embed_query("t")
        with pytest.raises(EmbedderError, match=r"4 .*3"):
            one.embed_query("t")
        with pytest.raises(EmbedderError, match="dimensions"):
            sizes = iter([5])
            made("tei", server.url, dimensions=8).embed_query("t")


ERRORS = {
    "openai": {"error": {"message": "told so", "type": "invalid_request_error", "code": None}},
    "cohere": {"id": "x", "message": "told so"},
    "tei": {"error": "told so", "error_type": "Validation"},
    "voyage": {"detail": "told so"},
    "jina": {"detail": "told so"},
}


@all_kinds
@pytest.mark.parametrize("status", [200, 400, 401, 422, 424, 500])
def test_the_message_of_a_service_is_repeated(kind: str, status: int) -> None:
    with (
        scripted_server(lambda _: Answer(ERRORS[kind], status)) as server,
        pytest.raises(EmbedderError, match="told so"),
    ):
        made(kind, server.url).embed_query("t")


def test_keys_and_texts_are_in_no_error(caplog: pytest.LogCaptureFixture) -> None:
    key, text = "sk-Tr0ub4dor-and-3-Horses", "a very private sentence of a document"
    with (
        caplog.at_level("DEBUG"),
        scripted_server(lambda _: refused(f"{key} may not send {text}", 403)) as server,
        pytest.raises(EmbedderError) as caught,
    ):
        one = made("openai", f"{server.url}?code={key}", headers={"X-Key": f"Bearer {key}"})
        one.embed_query(text)
    everything = f"{caught.value} {caught.value.__cause__!r} {caplog.text} {one!r} {one.name}"
    assert key not in everything
    assert text not in everything


# -- failures


def failing(times: int, status: int = 503) -> Any:
    """A service that is busy for a few requests."""
    left = [refused("busy", status, **{"Retry-After": "0"})] * times
    return lambda body: left.pop() if left else embeds("tei", by_words)(body)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_retried(status: int) -> None:
    with scripted_server(failing(2, status)) as server:
        assert len(made("tei", server.url, retries=2).embed_query("t")) == 64
        assert len(server.requests) == 3
    with scripted_server(failing(3, status)) as server:
        with pytest.raises(EmbedderError, match="busy"):
            made("tei", server.url, retries=2).embed_query("t")
        assert len(server.requests) == 3


def test_documents_are_retried_until_the_deadline() -> None:
    with scripted_server(failing(5)) as server:
        one = made("tei", server.url, retries=0)
        found = run(one.document_steps(["t"], deadline=Deadline.after(30)))
        assert len(found) == 1
        assert len(server.requests) == 6


def test_a_wrong_key_is_not_retried() -> None:
    with scripted_server(lambda _: refused("no such key", 401)) as server:
        with pytest.raises(EmbedderError, match=r"embedder\.api_key"):
            made("openai", server.url, retries=3).embed_documents(["a", "b"])
        assert len(server.requests) == 1


@pytest.mark.parametrize("use_async", [False, True])
def test_a_deadline_is_kept(use_async: bool) -> None:
    hold = threading.Event()
    with scripted_server(lambda _: Answer(hold.wait(10))) as server:
        flow = made("tei", server.url).query_steps("t", deadline=Deadline.after(0.2))
        with pytest.raises(EmbedderTimeoutError):
            asyncio.run(run_async(flow)) if use_async else run(flow)
        hold.set()


def accepting(most: int) -> Any:
    """A service that accepts texts of so many characters at most, ten in a request."""

    def script(body: Body) -> Answer:
        texts = texts_of("tei", body)
        if len(texts) > 10:
            return Answer({"error": "batch size 11 > maximum allowed batch size 10"}, 413)
        if max(map(len, texts)) > most:
            return Answer({"error": "inputs must have less than 512 tokens"}, 422)
        return answer("tei", [[float(len(text)), 1.0] for text in texts])

    return script


def test_requests_that_are_too_large_are_split_and_texts_that_are_too_long_cut() -> None:
    texts = ["x" * 100] * 20 + ["y" * 1_000] + ["x" * 100] * 4
    with scripted_server(accepting(300)) as server:
        one = made("tei", server.url, normalize=False)
        found = one.embed_documents(texts)
        assert [vector[0] for vector in found] == [100.0] * 20 + [250.0] + [100.0] * 4
        assert one.embed_query("z" * 1_200)[0] == 300.0
        assert one.embed_documents(["z" * 700])[0][0] == 175.0
        assert [v[0] for v in one.embed_documents(["z" * 700, "y" * 700])] == [175.0, 175.0]


def test_a_refused_text_has_no_vector() -> None:
    def script(body: Body) -> Answer:
        texts = texts_of("tei", body)
        if "bad" in texts:
            return Answer({"error": "against our policy"}, 400)
        return answer("tei", [[1.0]] * len(texts))

    with scripted_server(script) as server:
        one = made("tei", server.url)
        found = run(one.document_steps(["a", "bad", "c"], deadline=Deadline()))
        assert [vector is None for vector in found] == [False, True, False]
        with pytest.raises(EmbedderError, match="1 of 3"):
            one.embed_documents(["a", "bad", "c"])


# -- whole searches

DOCUMENTS = [
    {"id": n, "text": text}
    for n, text in enumerate(["boil an egg softly", "a quiet night train", "granite and quartz"])
]


@all_kinds
def test_a_collection_is_filled_and_searched(kind: str) -> None:
    with scripted_server(embeds(kind, by_words)) as server:
        connector = QdrantConnector(
            QdrantClient(":memory:"), "c", embedder=made(kind, server.url), reranker=None
        )
        assert connector.create()
        assert connector.add(DOCUMENTS).added == 3
        assert connector.search("quiet train", mode="dense").points[0].id == 1
        count = len(server.requests)
        connector.warmup()
        assert len(server.requests) == count
        connector.close()


async def test_an_asynchronous_search_embeds_on_the_loop() -> None:
    from qdrant_client import AsyncQdrantClient

    with scripted_server(embeds("openai", by_words)) as server:
        connector = AsyncQdrantConnector(
            AsyncQdrantClient(":memory:"), "c", embedder=made("openai", server.url), reranker=None
        )
        await connector.create()
        await connector.add(DOCUMENTS)
        assert (await connector.search("quiet train", mode="dense")).points[0].id == 1
        await connector.close()


def test_a_search_whose_query_cannot_be_embedded_is_one_by_bm25_or_fails() -> None:
    down, hold = False, threading.Event()

    def script(body: Body) -> Answer:
        return refused("out of order", 500) if down else embeds("tei", by_words)(body)

    with scripted_server(script) as server:
        connector = QdrantConnector(
            QdrantClient(":memory:"),
            "c",
            embedder=made("tei", server.url, api_key="the-key"),
            reranker=KeepingReranker(),
        )
        connector.create()
        connector.add(DOCUMENTS)
        alone = connector.search("quiet train", mode="bm25")
        down = True
        with observe() as outcomes:
            assert connector.search("quiet train", explain=True) == alone
        with pytest.raises(FirstPassError, match="out of order"):
            connector.search("quiet train", mode="dense")
        with pytest.raises(FirstPassError, match="out of order"):
            connector.search("quiet train", rerank=Policy(on_error="raise"))
        server.script = lambda _: Answer(hold.wait(10))
        with observe() as late:
            assert connector.search("quiet train", rerank=Policy(deadline=1.0)) == alone
        with pytest.raises(FirstPassTimeoutError):
            connector.search("quiet train", mode="dense", rerank=Policy(deadline=0.2))
        hold.set()
    for outcome in (*outcomes, *late):
        assert (outcome.mode, outcome.status) == ("bm25", "reranked")
        assert set(outcome.timings) == {"embed", "first_pass", "rerank", "total"}
        assert "the-key" not in outcome.notes["embedder_failed"]
    assert "500" in outcomes[0].notes["embedder_failed"]
    assert set(outcomes[0].hits[0].branches) == {"bm25"}
    assert late[0].timings["total"] < 1000


def test_vectors_of_another_dimension_than_configured_are_no_outage() -> None:
    with scripted_server(embeds("tei", by_words)) as server:
        client = QdrantClient(":memory:")
        QdrantConnector(client, "c", embedder=made("tei", server.url), reranker=None).create()
        embedder = made("tei", server.url, dimensions=8)
        connector = QdrantConnector(client, "c", embedder=embedder, reranker=None)
        with pytest.raises(FirstPassError, match=r"64 .*8"):
            connector.search("quiet train")


def test_adding_documents_reports_refused_texts_and_what_is_stored_at_an_outage() -> None:
    def script(body: Body) -> Answer:
        texts = texts_of("tei", body)
        if "bad" in texts:
            return Answer({"error": "against our policy"}, 400)
        if "outage" in texts:
            return refused("out of order", 503, **{"Retry-After": "100"})
        return answer("tei", [by_words(text, "") for text in texts])

    with scripted_server(script) as server:
        connector = QdrantConnector(
            QdrantClient(":memory:"), "c", embedder=made("tei", server.url), reranker=None
        )
        connector.create()
        report = connector.add([*DOCUMENTS, {"id": 7, "text": "bad"}])
        assert report.added == 3
        [failure] = report.failed
        assert failure.id == 7
        with pytest.raises(IngestError, match="2 documents"):
            connector.add(
                [{"id": 8, "text": "a"}, {"id": 9, "text": "b"}, {"id": 10, "text": "outage"}],
                batch_size=2,
                give_up_after=5,
            )


def test_a_collection_of_another_dimension_is_named_with_both_numbers_and_the_fix() -> None:
    client = QdrantClient(":memory:")
    with scripted_server(embeds("tei", by_words)) as server:
        QdrantConnector(client, "c", embedder=made("tei", server.url), reranker=None).create()
        server.script = embeds("tei", lambda *_: [1.0] * 48)
        other = QdrantConnector(client, "c", embedder=made("tei", server.url), reranker=None)
        findings = [found for found in other.check() if not found.ok]
        assert any("64" in found.detail and "48" in found.detail for found in findings)
        assert any("embedder.dimensions" in found.fix for found in findings)
        with pytest.raises(SchemaError, match=r"64.*48"):
            other.create()
        with pytest.raises(FirstPassError, match=r"64.*48|48.*64"):
            other.search("x", mode="dense")


# -- configuration


def test_settings_make_it() -> None:
    with (
        scripted_server(embeds("voyage", by_words)) as server,
        connect(
            backend={"path": ":memory:"},
            embedder={"type": "voyage", "url": server.url, "model": "m", "api_key": "k"},
            reranker={"type": "none"},
        ) as connector,
    ):
        connector.create()
        assert connector.add(DOCUMENTS).added == 3
        assert server.heads[0]["authorization"] == "Bearer k"


@pytest.mark.parametrize(
    ("kind", "options", "key"),
    [
        ("openai", {"model": None}, "model"),
        ("openai", {"model": " "}, "model"),
        ("tei", {"url": None}, "url"),
        ("tei", {"url": "localhost"}, "url"),
        ("openai", {"query_kind": "query"}, "query_kind"),
        ("openai", {"query_prefix": 3}, "query_prefix"),
        ("openai", {"dimensions": 0}, "dimensions"),
        ("openai", {"api_key": "a b"}, "api_key"),
        ("openai", {"headers": {"a b": "c"}}, "headers"),
        ("cohere", {"batch_size": 97}, "batch_size"),
        ("voyage", {"batch_tokens": 0}, "batch_tokens"),
        ("jina", {"timeout": 0}, "timeout"),
        ("jina", {"retries": -1}, "retries"),
        ("jina", {"normalize": 1}, "normalize"),
        ("jina", {"extra_body": {"a": {1}}}, "extra_body"),
        ("jina", {"extra_body": {"input": ["x"]}}, "extra_body"),
        ("tei", {"extra_body": {"prompt_name": "query"}}, "extra_body"),
        ("jina", {"extra_body": {"a": float("nan")}}, "extra_body"),
        ("openai", {"url": ""}, "url"),
        ("jina", {"max_response_bytes": 0}, "max_response_bytes"),
    ],
)
def test_wrong_arguments_are_named(kind: str, options: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        made(kind, **{"url": "http://h", **options})
    assert caught.value.key == key


def test_the_name_tells_what_the_vectors_depend_on() -> None:
    assert KINDS["openai"]("text-embedding-3-small").name == "openai:text-embedding-3-small"
    names = {
        made("openai", "http://h", **options).name
        for options in (
            {},
            {"dimensions": 8},
            {"query_prefix": "q: "},
            {"document_prefix": "q: "},
            {"model": "n"},
            {"normalize": False},
            {"extra_body": {"truncate": "START"}},
            {"extra_body": {"truncate": "END"}},
        )
    }
    azure = "http://g/openai/deployments/{}?api-version=2024-10-21"
    names |= {made("openai", url).name for url in ("http://g", azure.format(1), azure.format(2))}
    assert len(names) == 11
    assert made("openai", "http://h/v1").name == made("openai", "http://h").name
    assert math.isfinite(made("tei", "http://h", dimensions=5).dimension)
