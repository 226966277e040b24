"""A small causal model with random weights behind a chat endpoint, asked by whole searches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.faults.cases import APIS, TEXTS, search
from tests.rerankers.chat.answers import said
from tests.scripted_server import Answer, Body, ScriptedServer, scripted_server
from tests.torch_engine.checkpoints import qwen3
from vecdb_rerank import LlmReranker

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    folder = str(qwen3(tmp_path_factory.mktemp("chat")))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    return AutoModelForCausalLM.from_pretrained(folder), tokenizer  # in evaluation mode


@pytest.fixture
def server(model: tuple[Any, Any]) -> Iterator[ScriptedServer]:
    """An endpoint that generates greedily, and gives log probabilities."""
    weights, tokenizer = model

    def script(body: Body) -> Answer:
        ids = tokenizer.apply_chat_template(body["messages"], return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            made = weights.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=min(body["max_tokens"], 24),
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
        new = made.sequences[0, ids.shape[1] :]
        usage = {"prompt_tokens": ids.shape[1], "completion_tokens": len(new)}
        listed: Any = None
        if body.get("logprobs"):
            found = torch.log_softmax(made.logits[0][0].float(), -1)
            words = ["yes", "no", "Yes", "No"]  # all that such a model would not say by itself
            listed = [
                {"token": word, "logprob": float(found[tokenizer.convert_tokens_to_ids(word)])}
                for word in words
            ]
            listed = {"content": [{**listed[0], "top_logprobs": listed}]}
        return said(tokenizer.decode(new), logprobs=listed, usage=usage)

    with scripted_server(script) as found:
        yield found


@pytest.mark.parametrize("api", APIS)
def test_a_model_that_judges_documents_reranks_a_search(server: ScriptedServer, api: str) -> None:
    one = LlmReranker(server.url, model="random", mode="pointwise")
    found = search(one, api, 30)
    assert found.outcome.status == "reranked"
    relevance = found.outcome.relevance
    assert len(set(relevance.values())) == len(TEXTS)
    assert found.ids == sorted(relevance, key=lambda n: -relevance[n])
    assert found.outcome.billed[one.name] > 100 * len(TEXTS)


def test_a_model_that_ranks_nothing_costs_the_search_only_the_rerank(
    server: ScriptedServer,
) -> None:
    found = search(LlmReranker(server.url, model="random"), "sync", 30)
    assert found.outcome.status == "fell_back"
    assert "no ranking" in str(found.outcome.reason)
    assert found.ids == list(range(len(TEXTS)))
    [request] = server.requests
    assert json.loads(request["messages"][1]["content"].partition("\n")[0])["documents"]
