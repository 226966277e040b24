"""Cohere's SDK: both versions of the API, documents in the answer, async, and errors."""

import asyncio

import cohere
from common import DOCUMENTS, KEY, QUERY, URL, ranked, refused

ASKED = {"model": "rerank-v3.5", "query": QUERY, "documents": DOCUMENTS}

with cohere.ClientV2(KEY, base_url=URL) as client:
    answer = client.rerank(**ASKED, top_n=3, max_tokens_per_doc=512)
    assert answer.id
    assert answer.meta.billed_units.search_units == 1
    ranked("cohere", "ClientV2.rerank", [(r.index, r.relevance_score) for r in answer.results])

with cohere.Client(KEY, base_url=URL) as client:
    answer = client.rerank(**ASKED, return_documents=True)
    assert all(r.document.text == DOCUMENTS[r.index] for r in answer.results)
    ranked("cohere", "Client.rerank", [(r.index, r.relevance_score) for r in answer.results])


async def main() -> None:
    async with cohere.AsyncClientV2(KEY, base_url=URL) as client:
        answer = await client.rerank(**ASKED)
        ranked(
            "cohere", "AsyncClientV2.rerank", [(r.index, r.relevance_score) for r in answer.results]
        )


asyncio.run(main())

with cohere.ClientV2("not the key", base_url=URL) as client:
    try:
        client.rerank(**ASKED)
    except cohere.UnauthorizedError as error:
        refused("cohere", "ClientV2.rerank with a wrong key", error.status_code)
    else:
        raise AssertionError("a wrong key was accepted")
