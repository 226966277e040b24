"""The routes that rerank, as the clients of each API call them."""

from __future__ import annotations

import cohere
import httpx
import pytest

from tests.server.running import Running

QUERY = "undo a commit"
DOCUMENTS = ["one banana", "how to undo a commit", "undo it"]
BODY = {"model": "rerank-v3.5", "query": QUERY, "documents": DOCUMENTS}
ORDER = [1, 2, 0]


def order(results: list[dict[str, object]]) -> list[object]:
    return [result["index"] for result in results]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_documents_are_ranked(client: httpx.Client, path: str) -> None:
    answer = client.post(path, json={**BODY, "unknown": {"field": 1}}).json()
    assert order(answer["results"]) == ORDER
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 0.75
    assert all(set(result) == {"index", "relevance_score"} for result in answer["results"])
    assert answer["id"]
    assert answer["model"] == "default"
    assert answer["meta"]["billed_units"] == {"search_units": 1}
    assert answer["usage"]["total_tokens"] > 0


def test_cohere_s_sdk_reads_both_versions(running: Running) -> None:
    with httpx.Client() as own:
        v2 = cohere.ClientV2("key", base_url=running.url, httpx_client=own).rerank(
            model="rerank-v3.5", query=QUERY, documents=DOCUMENTS, top_n=2
        )
        v1 = cohere.Client("key", base_url=running.url, httpx_client=own).rerank(
            query=QUERY, documents=[{"text": d} for d in DOCUMENTS], return_documents=True
        )
    assert [(r.index, r.relevance_score) for r in v2.results] == [(1, 0.75), (2, 0.25)]
    assert v2.meta is not None
    assert v2.meta.billed_units is not None
    assert v2.meta.billed_units.search_units == 1
    assert [r.document.text for r in v1.results if r.document] == [DOCUMENTS[n] for n in ORDER]


def test_tei_s_shape_is_told_by_texts(client: httpx.Client) -> None:
    answer = client.post("/rerank", json={"query": QUERY, "texts": DOCUMENTS}).json()
    assert order(answer) == ORDER
    assert set(answer[0]) == {"index", "score"}


def test_errors_name_the_field(client: httpx.Client) -> None:
    answer = client.post("/v1/rerank", json={**BODY, "documents": ["a", 1]})
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "documents.1"
