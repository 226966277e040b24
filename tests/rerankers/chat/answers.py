"""What a chat endpoint answers, and what it was asked, in the tests of language models."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.scripted_server import Answer, Body, Script


def said(text: str | None, *, logprobs: Any = None, usage: Any = None, **message: Any) -> Answer:
    """The answer that says ``text``."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10} if usage is None else usage
    finish = message.pop("finish_reason", "stop")
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **message},
        "finish_reason": finish,
        "logprobs": logprobs,
    }
    return Answer({"object": "chat.completion", "choices": [choice], "usage": usage})


def likely(*tokens: tuple[str, float]) -> Answer:
    """The answer whose first token has these log probabilities."""
    listed = [{"token": token, "logprob": logprob} for token, logprob in tokens]
    return said(tokens[0][0], logprobs={"content": [{**listed[0], "top_logprobs": listed}]})


def data_of(body: Body) -> Body:
    """The query and documents of a request."""
    found: Body = json.loads(body["messages"][-1]["content"].partition("\n\n")[0])
    return found


def texts_of(body: Body) -> list[str]:
    """The documents of a request, in the order of their numbers."""
    documents = data_of(body)["documents"]
    assert [document["number"] for document in documents] == [*range(1, len(documents) + 1)]
    return [document["text"] for document in documents]


def ranks(best_first: Callable[[str], Any]) -> Script:
    """A model that ranks documents by a key."""

    def script(body: Body) -> Answer:
        texts = texts_of(body)
        order = sorted(range(len(texts)), key=lambda n: best_first(texts[n]))
        return said(json.dumps({"ranking": [n + 1 for n in order]}))

    return script


def numbered(count: int) -> Sequence[str]:
    """Documents of which the last one is the best."""
    return [f"document {n:03}" for n in range(count)]


def last_first(text: str) -> int:
    """The key by which the last of `numbered` is the best."""
    return -int(text.split()[-1])
