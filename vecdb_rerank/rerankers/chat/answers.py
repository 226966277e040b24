"""What a language model answered: permutations, grades and probabilities, none of it trusted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vecdb_rerank.errors import RerankError
from vecdb_rerank.rerankers.chat.prompts import GRADES

Alternatives = Sequence[tuple[str, float]]  # tokens with their log probabilities
_READ = 65_536  # characters of an answer that are read
_STARTS = 50  # places in an answer where JSON may begin
_THOUGHTS = re.compile(r"<think>.*?(</think>|$)", re.DOTALL)
_CHAIN = re.compile(r"\[?\d{1,6}\]?(?:\s*>\s*\[?\d{1,6}\]?)+")  # RankGPT's form: [2] > [1] > [3]
_NUMBER = re.compile(r"(?<![\d.])\d{1,6}(?![\d]|\.\d)")
_MARKER = re.compile(r"^[ \t]{0,8}(\d{1,6})[.)][ \t](?=.*\d)", re.MULTILINE)  # 1. Document 4
_RANK_KEYS = {"rank", "position", "score", "relevance", "grade"}  # that name no document
_MOST_TOKENS = 10**9  # of a count that is believed
_MOST = 1_000.0  # the size of a log probability, beyond which all are the same
_SURROUNDS = " \t\r\n\"'`*.,:;!()[]{}\u2581\u0120\u010a"  # quotes, and the spaces of tokenizers


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: its ``text`` without thoughts, and what is known about it.

    ``refusal`` says why the model did not answer, or is empty. ``alternatives`` are those of the
    first token, None if the server gave none. ``prompt_tokens`` and ``answer_tokens`` are None if
    the server did not count them.
    """

    text: str
    refusal: str = ""
    is_cut: bool = False
    alternatives: Alternatives | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None

    def why_unusable(self, lacks: str) -> str:
        """Return why the answer is of no use: it ``lacks`` something, unless more is known."""
        cut = "its answer was cut: raise answer_tokens" if self.is_cut else ""
        return self.refusal or cut or f"its answer has no {lacks}"


@dataclass(frozen=True, slots=True)
class Permutation:
    """An order of documents: their indices (from 0), best first, each exactly once.

    ``missing``, ``doubled`` and ``unknown`` count what was wrong with the numbers in the answer.
    """

    order: Sequence[int] = field(repr=False)
    missing: int = 0
    doubled: int = 0
    unknown: int = 0

    @property
    def is_repaired(self) -> bool:
        """Whether the answer was not a permutation."""
        return self.missing + self.doubled + self.unknown > 0


def reply(body: object) -> Reply:
    """Return the answer in a response; raise `RerankError` if there is none."""
    choices = body.get("choices") if isinstance(body, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise RerankError("the response has no choices with a message")
    finish = choice.get("finish_reason")
    refusal = message.get("refusal")
    if not isinstance(refusal, str):
        refusal = "its content filter stopped it" if finish == "content_filter" else ""
    usage = body.get("usage") if isinstance(body, Mapping) else None
    return Reply(
        _THOUGHTS.sub("", _content(message.get("content"))[:_READ]).strip(),
        refusal,
        finish == "length",
        _alternatives(choice.get("logprobs")),
        _count(usage, "prompt_tokens"),
        _count(usage, "completion_tokens"),
    )


def permutation(text: str, count: int) -> Permutation | None:
    """Return the order of ``count`` documents in an answer; None if it holds none.

    Numbers that are not of a document, and those after the first of the same, are dropped;
    documents without a number follow in their order. Numbers in prose count if they name at least
    half of the documents.
    """
    readings = [found for found in _readings(text) if _valid(found, count)]
    if not readings:
        loose = [int(number) for number in _NUMBER.findall(_unmarked(text))]
        readings = [loose] if 2 * len(_valid(loose, count)) >= max(count, 2) else []
    if not readings:
        return None
    # Of several, the most complete one; of those the last, which follows the thoughts.
    numbers = max(reversed(readings), key=lambda found: len(_valid(found, count)))
    named = _valid(numbers, count)
    rest = [n for n in range(count) if n not in named]
    known = [n for n in numbers if 1 <= n <= count]
    return Permutation(
        [*named, *rest],
        missing=len(rest),
        doubled=len(known) - len(named),
        unknown=len(numbers) - len(known),
    )


def yes_logit(alternatives: Alternatives) -> float | None:
    """Return the logit of "yes" against "no" as the first token; None if neither is likely.

    The less likely one may not be listed; it then gets the lowest probability in the list, or the
    probability that the list leaves to all other tokens if that is lower.
    """
    found: dict[str, list[float]] = {"yes": [], "no": []}
    for token, logprob in alternatives:
        if (word := token.strip(_SURROUNDS).lower()) in found:
            found[word].append(logprob)
    if not any(found.values()):
        return None
    logprobs = [logprob for _, logprob in alternatives]
    left = 1.0 - sum(math.exp(min(0.0, logprob)) for logprob in logprobs)
    unlisted = min(*logprobs, math.log(max(left, 1e-6)))  # as exact as 32 bits
    yes, no = (_log_sum(values) if values else unlisted for values in found.values())
    return yes - no


def grade(text: str) -> float | None:
    """Return the relevance (0 to 1) of a grade; None if there is no grade in the answer."""
    numbers = [found[0] for found in _readings(text) if len(found) == 1]
    numbers = numbers or [int(number) for number in _NUMBER.findall(text)]
    if len(set(numbers)) != 1 or not 0 <= numbers[0] <= GRADES:
        return None
    return numbers[0] / GRADES


def _valid(numbers: Sequence[int], count: int) -> dict[int, None]:
    """Return the documents that ``numbers`` name, each once, as an ordered set."""
    return dict.fromkeys(number - 1 for number in numbers if 1 <= number <= count)


def _readings(text: str) -> Iterator[list[int]]:
    """Yield the lists of numbers that an answer may mean: JSON, or RankGPT's chain."""
    decoder = json.JSONDecoder()
    at = 0
    for _ in range(_STARTS):
        starts = [place for mark in "{[" if (place := text.find(mark, at)) >= 0]
        if not starts:
            break
        start = min(starts)
        try:
            value, at = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            at = start + 1
            continue
        yield from filter(None, _lists(value))
    yield from ([int(n) for n in _NUMBER.findall(chain)] for chain in _CHAIN.findall(text))


def _lists(value: object) -> Iterator[list[int]]:
    """Yield the lists of numbers in a JSON value: itself, or the values of an object."""
    for inner in value.values() if isinstance(value, Mapping) else (value,):
        items = inner if isinstance(inner, list) else (inner,)
        numbers = [_number(item) for item in items]
        yield [number for number in numbers if number is not None]


def _number(item: object) -> int | None:
    if isinstance(item, Mapping):
        named = (value for key, value in item.items() if str(key).lower() not in _RANK_KEYS)
        item = next((number for value in named if (number := _whole(value)) is not None), None)
    if isinstance(item, str) and (found := _NUMBER.search(item)):
        return int(found[0])
    return _whole(item)


def _whole(value: object) -> int | None:
    """Return an integer, 2.0 included."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _unmarked(text: str) -> str:
    """Return ``text`` without the numbers of a numbered list."""
    markers = [int(number) for number in _MARKER.findall(text)]
    if len(markers) < 2 or markers != list(range(1, len(markers) + 1)):
        return text
    return _MARKER.sub("", text)


def _content(content: object) -> str:
    """Return the text of a message, which some servers divide into parts."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _alternatives(logprobs: object) -> Alternatives | None:
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, Mapping):
        return None
    listed = first.get("top_logprobs")
    entries = listed if isinstance(listed, list) and listed else [first]
    found = [
        (token, float(min(_MOST, max(-_MOST, logprob))))
        for entry in entries
        if isinstance(entry, Mapping)
        and isinstance(token := entry.get("token"), str)
        and isinstance(logprob := entry.get("logprob"), int | float)
        and logprob == logprob
    ]
    return found or None


def _count(usage: object, key: str) -> int | None:
    count = usage.get(key) if isinstance(usage, Mapping) else None
    number = _whole(count)
    return number if number is not None and 0 <= number <= _MOST_TOKENS else None


def _log_sum(values: Sequence[float]) -> float:
    most = max(values)
    return most + math.log(sum(math.exp(value - most) for value in values))
