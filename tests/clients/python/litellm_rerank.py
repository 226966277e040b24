"""LiteLLM as a client of the APIs that its providers speak."""

import os

from common import DOCUMENTS, INFINITY_URL, KEY, QUERY, URL, ranked, refused

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "true"  # asks nobody else
import litellm

litellm.suppress_debug_info = True  # prints no advice among the lines of JSON


def rerank(provider: str, key: str = KEY) -> list[tuple[int, float]]:
    answer = litellm.rerank(
        model=f"{provider}/rerank-v3.5",
        query=QUERY,
        documents=DOCUMENTS,
        top_n=3,
        api_base=INFINITY_URL if provider == "infinity" else URL,
        api_key=key,
    )
    assert all(r["document"]["text"] == DOCUMENTS[r["index"]] for r in answer.results)
    return [(each["index"], each["relevance_score"]) for each in answer.results]


for provider in ("cohere", "jina_ai", "infinity", "hosted_vllm", "huggingface"):
    ranked("litellm", f"rerank, {provider}", rerank(provider))
try:
    rerank("cohere", "not the key")
except litellm.AuthenticationError as error:
    refused("litellm", "rerank with a wrong key", error.status_code)
else:
    raise AssertionError("a wrong key was accepted")
