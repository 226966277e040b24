"""Haystack's rankers for the APIs of Cohere and text-embeddings-inference."""

from common import DOCUMENTS, KEY, QUERY, URL, by_text
from haystack import Document
from haystack.utils import Secret
from haystack_integrations.components.rankers.cohere import CohereRanker
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker

TOKEN = Secret.from_token(KEY)
for package, ranker in (
    ("cohere-haystack", CohereRanker(api_key=TOKEN, api_base_url=URL, top_k=3)),
    ("huggingface-api-haystack", HuggingFaceTEIRanker(url=URL, token=TOKEN, top_k=3)),
):
    found = ranker.run(query=QUERY, documents=[Document(content=text) for text in DOCUMENTS])
    call = f"{type(ranker).__name__}.run"
    by_text(package, call, [(each.content, each.score) for each in found["documents"]])
