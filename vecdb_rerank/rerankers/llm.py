"""A language model as a reranker: any OpenAI-compatible chat endpoint."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, Self, get_args

from vecdb_rerank._checks import above, at_least, checked_body, integer, is_text, one_of
from vecdb_rerank.errors import RerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.http.client_pool import Verify
from vecdb_rerank.http.endpoint import endpoint
from vecdb_rerank.http.json_client import MAX_RESPONSE_BYTES, JsonClient
from vecdb_rerank.http.request_limits import shortened
from vecdb_rerank.http.service import Service
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.request import check_instruction
from vecdb_rerank.rerankers.chat.client import Chat
from vecdb_rerank.rerankers.chat.listwise import ListwiseCall, Windows
from vecdb_rerank.rerankers.chat.meter import Meter
from vecdb_rerank.rerankers.chat.pointwise import Judging, PointwiseCall
from vecdb_rerank.rerankers.remote import ERRORS
from vecdb_rerank.resilience.latency import LatencyModel
from vecdb_rerank.text_fields import valid_unicode

Mode = Literal["listwise", "pointwise"]


class LlmReranker(BaseReranker):
    """Ranks documents by a language model behind an OpenAI-compatible chat endpoint.

    Args:
        url: the server's address, such as ``http://localhost:8000`` (vLLM), ``…:11434`` (Ollama)
            or ``https://api.openai.com/v1``; with or without ``/chat/completions``. A query string
            is sent and never logged; ``?api-version=…`` names a deployment of Azure's.
        model: the model's name.
        mode: ``listwise`` asks for the order of a window of documents, and ``pointwise`` whether
            one document answers the query: the probability of "yes" by the log probabilities of
            the first token, or a grade from 0 to 4 if the server has none.
        api_key: sent as a bearer token, or to Azure in the header ``api-key``.
        headers: further headers, such as those of a gateway; their values are secret.
        instruction: what counts as relevant, such as ``prefer official documentation``; an
            instruction of a search replaces it.
        window: documents of one request in the mode ``listwise``, at least 2.
        stride: how many documents further ahead the next window begins (1 to ``window``). Windows
            go from the end of the list to its front (RankGPT; Sun et al., 2023). If the time left
            is not enough for all of them, the first window is ranked alone.
        shuffle_seed: number the documents of a window at random by this seed, against a model's
            preference for the first ones.
        document_tokens: tokens, as estimated, after which a document is cut.
        answer_tokens: tokens of an answer at most (default: what the answer needs; a model that
            thinks needs thousands).
        max_calls: requests of one search, retries included.
        max_tokens: tokens of these requests and their answers together.
        output_weight: how many input tokens an output token is billed as (OpenAI: 4 to 8).
        timeout: seconds for one request; the deadline of the search bounds all of them together.
        retries: retries on 408, 409, 425, 429, 5xx, timeouts and lost connections.
        extra_body: further keys of each request's body, such as ``reasoning_effort`` or
            ``chat_template_kwargs``.
        http2: use HTTP/2 in asynchronous searches.
        verify: check TLS certificates; or the file of an authority to trust.
        max_response_bytes: the size of a response, before and after decompression, above which it
            is an error.

    An order is not a relevance: in the mode ``listwise``, scores enter the final order by rank
    alone, and ``policy.min_relevance`` and calibrations are refused. In the mode ``pointwise``,
    eight requests are made at a time, and documents without an answer stay unscored.

    Structured output is requested, and left out for a server that refuses it. Answers that are
    not permutations are repaired (note ``ranking_repaired``). Billed units are tokens. Raises
    `ConfigurationError` for wrong arguments; scoring raises `RerankError` or `RerankTimeoutError`.

    """

    keeps_deadline = True
    local = True  # it fits its own calls into the time left
    bills = True
    takes_instruction = True

    def __init__(
        self,
        url: str,
        *,
        model: str,
        mode: Mode = "listwise",
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        instruction: str | None = None,
        window: int = 20,
        stride: int = 10,
        shuffle_seed: int | None = None,
        document_tokens: int = 400,
        answer_tokens: int | None = None,
        max_calls: int = 100,
        max_tokens: int = 200_000,
        output_weight: float = 1.0,
        timeout: float = 30.0,
        retries: int = 2,
        extra_body: Mapping[str, object] | None = None,
        http2: bool = False,
        verify: Verify = True,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
    ) -> None:
        is_text("model", model)
        one_of("mode", mode, get_args(Mode))
        check_instruction(instruction or "")
        above("timeout", timeout, 0, "seconds")
        at_least("output_weight", output_weight, 0)
        window = integer("window", window, 2)
        stride = integer("stride", stride, 1, window)
        if shuffle_seed is not None:
            shuffle_seed = integer("shuffle_seed", shuffle_seed, 0)
        if answer_tokens is not None:
            answer_tokens = integer("answer_tokens", answer_tokens, 1)
        self._document_tokens = integer("document_tokens", document_tokens, 1)
        self._limits = integer("max_calls", max_calls, 1), integer("max_tokens", max_tokens, 1)
        self._output_weight = output_weight
        where = endpoint(url, "/chat/completions", api_key, headers=headers)
        self._name = f"llm:{where.host}/{model}"
        self._client = JsonClient(
            http2=http2,
            verify=verify,
            max_bytes=integer("max_response_bytes", max_response_bytes, 1),
        )
        self._chat = Chat(
            self.name,
            model,
            where,
            Service(ERRORS, timeout, ("error", "message"), where.secrets),
            self._client,
            retries=integer("retries", retries, 0),
            extra_body=checked_body(extra_body or {}, own={"model", "messages"}),
        )
        self._windows = Windows(window, stride, shuffle_seed, instruction, answer_tokens)
        self._judging = Judging(instruction, answer_tokens)
        self._latency = LatencyModel(self.name, warns=False)
        self.listwise: bool = mode == "listwise"
        self.by_rank: bool = self.listwise

    @property
    def name(self) -> str:
        """``llm:``, the server's host and port, and the model."""
        return self._name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def with_instruction(self, instruction: str) -> Self:
        """Return a reranker that follows ``instruction`` and shares this one's state."""
        check_instruction(instruction)
        other = copy.copy(self)
        other._windows = replace(self._windows, instruction=instruction)
        other._judging = replace(self._judging, instruction=instruction)
        return other

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Return the scores of ``documents``; None for those that were not read.

        Raise `RerankError` for a wrong answer or none, and `RerankTimeoutError` if the deadline
        comes before any score.
        """
        return run(self.steps(query, documents, deadline=deadline))

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """Do as `score` does, as a flow for synchronous and asynchronous searches."""
        if not documents:
            return Scores((), ())
        query, texts = self._texts(query, documents)
        meter = Meter(*self._limits, self._output_weight)
        try:
            if self.listwise:
                ranking = ListwiseCall(self._chat, self._windows, query, texts, meter)
                scores = yield from ranking.scores(self._latency, deadline)
            else:
                judging = PointwiseCall(self._chat, self._judging, query, texts, meter)
                scores = yield from judging.scores(deadline)
        except RerankError as error:
            error.billed += meter.billed
            raise
        cut = sum(len(sent) < len(text) for sent, text in zip(texts, documents, strict=True))
        return replace(scores, truncated=cut)

    def predicted_units(self, query: str, documents: Sequence[str]) -> float:
        """Predict the tokens that one call will be billed, those of answers by their weight."""
        query, texts = self._texts(query, documents)
        if self.listwise:
            questions = self._windows.questions(query, texts)
        else:
            questions = self._judging.questions(query, texts, by_logprobs=self._chat.has_logprobs)
        units = Meter(*self._limits, self._output_weight).units
        return sum(units(one.prompt_tokens, one.want.tokens) for one in questions)

    def closing(self) -> Flow[None]:
        """Close the connections."""
        yield from self._client.closing()

    def _texts(self, query: str, documents: Sequence[str]) -> tuple[str, list[str]]:
        """Return what is sent of a query and documents."""
        valid = (valid_unicode(text) for text in documents)
        return valid_unicode(query), [shortened(text, self._document_tokens) for text in valid]
