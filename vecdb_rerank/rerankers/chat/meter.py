"""What one search may spend on a language model, and what it has spent."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from vecdb_rerank.rerankers.chat.answers import Reply


class Meter:
    """Counts the calls and tokens of one search; shared by its concurrent calls.

    At most ``max_calls`` requests are made, retries included, of at most ``max_tokens`` together:
    estimated before a request, and as the server counted them after it. ``billed`` are the tokens
    that the server counted, those of answers times ``output_weight``.
    """

    def __init__(self, max_calls: int, max_tokens: int, output_weight: float) -> None:
        self.billed = 0.0
        self._calls, self._tokens = max_calls, float(max_tokens)
        self._output_weight = output_weight
        self._lock = threading.Lock()

    def count_affordable(self, requests: Sequence[float]) -> int:
        """Return how many of ``requests``, given by their tokens, are within the limits."""
        left = self._tokens
        for n, tokens in enumerate(requests):
            left -= tokens
            if left < 0 or n == self._calls:
                return n
        return len(requests)

    def begin(self, tokens: float) -> bool:
        """Count a request; return False, and count nothing, if it is beyond the limits."""
        with self._lock:
            if self._calls < 1 or self._tokens < tokens:
                return False
            self._calls -= 1
            self._tokens -= tokens
            return True

    def end(self, tokens: float, reply: Reply) -> None:
        """Correct the estimate of a request by what the server counted."""
        if reply.prompt_tokens is None or reply.answer_tokens is None:
            return
        with self._lock:
            self._tokens += tokens - reply.prompt_tokens - reply.answer_tokens
            self.billed += self.units(reply.prompt_tokens, reply.answer_tokens)

    def units(self, prompt_tokens: float, answer_tokens: float) -> float:
        """Return what a request is billed."""
        return prompt_tokens + self._output_weight * answer_tokens
