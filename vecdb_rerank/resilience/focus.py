"""Long documents, read where the query's words are: the sentences that hold most of them.

Only the sentences that are chosen are read, so that a document costs no more than ``window``
tokens. The first sentence is always among them: it says what the document is about.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from vecdb_rerank.model import Scores, Span
from vecdb_rerank.policy.passages import Passages
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.resilience.passages import SENTENCE_END, words

FOCUS_TOKENS = 96
_WORD = re.compile(r"[^\W_]+")
# Scripts without spaces between words: Thai to Khmer, Japanese, Chinese.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_STEM, _ENDING = 4, 3  # words are forms of one if they differ in up to three letters after four
_AGAIN = 0.3  # what a term counts that another chosen sentence has
_PROSE = 0.5  # the share of a text in sentences with an end mark, below which it is read as it is
_END_MARKS = tuple(".!?\u3002\uff01\uff1f")


@dataclass(frozen=True, slots=True)
class Focused:
    """Texts of which parts are read: the ``spans`` of each, in reading order; None: read whole."""

    texts: Sequence[str]
    spans: Sequence[Sequence[Span] | None]

    @property
    def pieces(self) -> list[str]:
        """What is read of each text."""
        return [
            text if chosen is None else " ".join(text[slice(*span)].strip() for span in chosen)
            for text, chosen in zip(self.texts, self.spans, strict=True)
        ]

    def joined(self, scores: Scores) -> Scores:
        """Return the scores with what was read of each text: from the first to the last span."""
        read = [None if chosen is None else (chosen[0][0], chosen[-1][1]) for chosen in self.spans]
        cut = sum(span is not None for span in read)
        return replace(scores, truncated=max(scores.truncated, cut), passages=read)


class Focus:
    """Finds the sentences of texts that hold most of a query.

    A term of the query counts more if fewer of ``texts``, the candidates of the search, have it.
    """

    def __init__(self, query: str, texts: Sequence[str]) -> None:
        self._terms = _Terms(query)
        self._places = {text: self._terms.places(text) for text in texts}
        held = Counter(n for found in self._places.values() for n in {n for _, n in found})
        self._rarity = {n: math.log(1 + (len(texts) + 1) / (held[n] + 0.5)) for n in held}

    def select(
        self, reranker: BaseReranker, query: str, texts: Sequence[str], rules: Passages
    ) -> Focused:
        """Choose what ``reranker`` reads of ``texts``: up to ``rules.window`` tokens of each."""
        room = reranker.room(query)
        window = min(rules.window or FOCUS_TOKENS, room or math.inf)
        return Focused(texts, [self._spans(reranker, text, int(window)) for text in texts])

    def _spans(self, reranker: BaseReranker, text: str, window: int) -> list[Span] | None:
        if len(text) <= window:  # a token has at least a character
            return None
        tokens = reranker.token_offsets(text)
        tokens = words(text) if tokens is None else tokens
        if len(tokens) <= window:
            return None
        sentences = _sentences(text, tokens)
        if not _is_prose(text, sentences):
            return None
        chosen = self._chosen(sentences, self._held(text, sentences), window)
        return [_cut(sentences[n], tokens, window) for n in sorted(chosen)]

    def _held(self, text: str, sentences: Sequence[_Sentence]) -> list[set[int]]:
        """Return the terms of the query that each sentence has."""
        found: list[set[int]] = [set() for _ in sentences]
        starts = [sentence.span[0] for sentence in sentences]
        for place, term in self._places[text]:
            found[bisect_right(starts, place) - 1].add(term)
        return found

    def _chosen(
        self, sentences: Sequence[_Sentence], held: Sequence[set[int]], window: int
    ) -> list[int]:
        """Return the first sentence, and as many as fit of those that add most of the query."""
        chosen, left = [0], window - sentences[0].tokens
        covered = set(held[0])
        rest = list(range(1, len(sentences)))
        while fitting := [n for n in rest if sentences[n].tokens <= left]:
            gains = {n: self._gain(held[n], covered) for n in fitting}
            best = max(fitting, key=lambda n: (gains[n], -n))
            chosen.append(best)
            rest.remove(best)
            left -= sentences[best].tokens
            covered |= held[best]
        return chosen

    def _gain(self, held: Iterable[int], covered: set[int]) -> float:
        return sum(self._rarity[n] * (_AGAIN if n in covered else 1.0) for n in held)


class _Terms:
    """The terms of a query, and where texts have them in any form.

    Terms are words, or pairs of characters in scripts without spaces between words.
    """

    def __init__(self, query: str) -> None:
        words_, pairs = [], []
        for word in dict.fromkeys(_WORD.findall(query.lower())):
            if _UNSPACED.search(word):
                pairs += [word[n : n + 2] for n in range(max(1, len(word) - 1))]
            else:
                words_.append(word)
        self._of_stem: dict[str, list[tuple[int, str]]] = {}
        for n, term in enumerate([*words_, *pairs]):
            self._of_stem.setdefault(term[:_STEM], []).append((n, term))
        stems = sorted({re.escape(word[:_STEM]) for word in words_})
        found = [f"(?<![^\\W_])(?:{'|'.join(stems)})[^\\W_]*"] if stems else []
        self._pattern = re.compile("|".join([*found, *map(re.escape, pairs)]) or "(?!)")

    def places(self, text: str) -> list[tuple[int, int]]:
        """Return where each term is in ``text``: the character and the number of the term."""
        return [
            (match.start(), n)
            for match in self._pattern.finditer(text.lower())
            for n, term in self._of_stem.get(match[0][:_STEM], ())
            if _same(term, match[0])
        ]


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A sentence: its characters, the index of its first token and their number."""

    span: Span
    first: int
    tokens: int


def _sentences(text: str, tokens: Sequence[Span]) -> list[_Sentence]:
    """Return the sentences of ``text`` that have tokens; each token is in one of them."""
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    found: list[_Sentence] = []
    start, first = 0, 0
    for end in (*ends, len(text)):
        last = first
        while last < len(tokens) and tokens[last][0] < end:
            last += 1
        if last > first:
            found.append(_Sentence((start, end), first, last - first))
        start, first = end, last
    return found


def _cut(sentence: _Sentence, tokens: Sequence[Span], window: int) -> Span:
    """Return the characters of a sentence, or of its first ``window`` tokens."""
    if sentence.tokens <= window:
        return sentence.span
    return sentence.span[0], tokens[sentence.first + window - 1][1]


def _is_prose(text: str, sentences: Sequence[_Sentence]) -> bool:
    """Check whether ``text`` consists of sentences rather than JSON, a table or code."""
    ended = sum(
        end - start
        for start, end in (sentence.span for sentence in sentences)
        if text[start:end].rstrip().rstrip("'\")]").endswith(_END_MARKS)
    )
    return len(sentences) > 1 and ended >= _PROSE * len(text)


def _same(one: str, other: str) -> bool:
    """Check whether two words are the same, or forms of one word."""
    if one == other:
        return True
    shared = sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    )
    return shared >= _STEM and max(len(one), len(other)) - shared <= _ENDING
