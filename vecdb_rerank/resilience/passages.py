"""Long documents, read in passages: a reranker reads a limited number of tokens at once."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vecdb_rerank.model import Scores, Span
from vecdb_rerank.policy.passages import Join, Passages
from vecdb_rerank.protocols import BaseReranker

_WORD = re.compile(r"\w+|[^\w\s]")
SENTENCE_END = re.compile("[.!?]['\")\\]]*\\s|[\u3002\uff01\uff1f\n]")
# Words that fit beside a query if tokens are unknown: of 512 tokens, at 4 tokens for 3 words.
_WORDS = 340
_LATEST = 0.7  # of a window, after which the end of a sentence ends the passage


@dataclass(frozen=True, slots=True)
class Split:
    """Texts split into passages: the ``spans`` of each text; ``cut`` texts have more than these."""

    texts: Sequence[str]
    spans: Sequence[Sequence[Span]]
    cut: int
    join: Join

    @property
    def places(self) -> list[tuple[int, int]]:
        """The text and passage of each piece: all first passages, then all second ones."""
        found = [(n, m) for n, spans in enumerate(self.spans) for m in range(len(spans))]
        return sorted(found, key=lambda place: place[1])

    @property
    def pieces(self) -> list[str]:
        """The texts to send, in the order of `places`."""
        return [self.texts[n][slice(*self.spans[n][m])] for n, m in self.places]

    def joined(self, scores: Scores) -> Scores:
        """Return scores by text, with the best passage of each text that has several."""
        found: list[list[tuple[float, float, int]]] = [[] for _ in self.texts]
        for (n, m), raw, rel in zip(self.places, scores.raw, scores.relevance, strict=True):
            if raw is not None and rel is not None:
                found[n].append((raw, rel, m))
        best = [max(own, default=None) for own in found]
        chosen = [
            self.spans[n][one[2]] if one and len(self.spans[n]) > 1 else None
            for n, one in enumerate(best)
        ]
        if self.join == "max":
            raws: list[float | None] = [one[0] if one else None for one in best]
            relevance: list[float | None] = [one[1] if one else None for one in best]
        else:
            raws = [_mean(raw for raw, _, _ in own) for own in found]
            relevance = [_mean(rel for _, rel, _ in own) for own in found]
        unread = sum(0 < len(own) < len(s) for own, s in zip(found, self.spans, strict=True))
        cut = max(scores.truncated, self.cut, unread)
        return replace(scores, raw=raws, relevance=relevance, truncated=cut, passages=chosen)


def split(reranker: BaseReranker, query: str, texts: Sequence[str], rules: Passages) -> Split:
    """Split ``texts`` into passages that ``reranker`` reads whole beside ``query``.

    Words stand for tokens if the reranker does not describe its own.
    """
    room = reranker.room(query) or _WORDS
    window = max(1, min(room, rules.window or room))
    overlap = min(rules.overlap, window // 2)
    tokens = [reranker.token_offsets(text) for text in texts]
    cuts = [
        spans(text, words(text) if own is None else own, window, overlap)
        for text, own in zip(texts, tokens, strict=True)
    ]
    kept = [found[: rules.most] for found in cuts]
    more = sum(len(found) > rules.most for found in cuts)
    return Split(texts, kept, more, rules.join)


def spans(text: str, tokens: Sequence[Span], window: int, overlap: int) -> list[Span]:
    """Return passages of at most ``window`` tokens that cover ``text``, in order."""
    if len(tokens) <= window:
        return [(0, len(text))]
    found: list[Span] = []
    first = 0
    while True:
        last = first + window
        if last >= len(tokens):
            return [*found, (tokens[first][0], len(text))]
        last = _sentence_end(text, tokens, first, last)
        found.append((tokens[first][0], tokens[last - 1][1]))
        first = max(first + 1, last - overlap)


def _sentence_end(text: str, tokens: Sequence[Span], first: int, last: int) -> int:
    """Return the end of a passage: after a sentence, if one ends late in it."""
    earliest = first + max(1, int(_LATEST * (last - first)))
    for end in range(last, earliest, -1):
        if SENTENCE_END.search(text, tokens[end - 1][0], tokens[end][0] + 1):
            return end
    return last


def words(text: str) -> list[Span]:
    """Return the words and marks of a text, which stand for tokens that are unknown."""
    return [match.span() for match in _WORD.finditer(text)]


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.fmean(known) if known else None
