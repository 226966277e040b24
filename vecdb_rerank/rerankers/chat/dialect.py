"""The optional fields of a chat request: those that a server refuses are left out from then on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

_SCHEMA_WORDS = ("response_format", "json_schema", "structured", "guided", "grammar", "schema")


@dataclass(frozen=True, slots=True)
class Want:
    """What a request asks of an answer: at most so many tokens, a JSON ``schema``, logprobs."""

    tokens: int
    schema: Mapping[str, object] | None = None
    logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server is sent beside model and messages.

    ``tokens_field`` bounds an answer: ``max_tokens`` is what most servers know, and what OpenAI's
    newer models refuse. ``alternatives`` of the first token are requested with their log
    probabilities (OpenAI allows 20, some servers 5; 0 requests none).
    """

    tokens_field: str = "max_tokens"
    temperature: bool = True
    structured: bool = True
    alternatives: int = 20

    def fields(self, want: Want) -> dict[str, object]:
        """Return the fields of a request."""
        fields: dict[str, object] = {self.tokens_field: want.tokens}
        if self.temperature:
            fields["temperature"] = 0
        if self.structured and want.schema is not None:
            schema = {"name": "answer", "strict": True, "schema": dict(want.schema)}
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}
        if self.alternatives and want.logprobs:
            fields |= {"logprobs": True, "top_logprobs": self.alternatives}
        return fields

    def without(self, refusal: str, want: Want) -> Dialect | None:
        """Return the dialect without the field that a ``refusal`` names; None if it names none."""
        said = refusal.lower()
        if "max_completion_tokens" in said and self.tokens_field == "max_tokens":
            return replace(self, tokens_field="max_completion_tokens")
        if "temperature" in said and self.temperature:
            return replace(self, temperature=False)
        if "logprob" in said and want.logprobs and self.alternatives:
            return replace(self, alternatives=5 if self.alternatives > 5 else 0)
        named = any(word in said for word in _SCHEMA_WORDS)
        if named and self.structured and want.schema is not None:
            return replace(self, structured=False)
        return None

    def plain(self, want: Want) -> Dialect | None:
        """Return the dialect without what few servers have; None if nothing of it is wanted."""
        if want.logprobs and self.alternatives:
            return replace(self, alternatives=0)
        return replace(self, structured=False) if self.structured and want.schema else None
