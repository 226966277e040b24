"""Exact terms of a query: what must not sink because a reranker has never read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from vecdb_rerank.model import Ranking
from vecdb_rerank.policy.exact_terms import ExactTerms

_QUOTED = re.compile(r"[\"“”`]([^\"“”`]{2,})[\"“”`]")


_WORD = re.compile(r"[\w$#@][\w$#@:./+\\()\[\]-]*")


_TRAILING = ".:/-()[]\\"


# What tells an identifier from a word: letters with digits, an underscore, a separator inside,
# a capital after a small letter, capitals alone, or a language's sign.
_IDENTIFIER = re.compile(
    r"(?=.*[^\W\d_])(?=.*\d)\S{2,}"
    r"|\w+_\w+"
    r"|[^\W\d_]\w+(?:\.|::|\\)[^\W\d_]\w.*"
    r"|.*[a-z][A-Z].*"
    r"|[A-Z]{3,}"
    r"|\w(?:\+\+|#)"
)


_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th|s)", re.IGNORECASE)


def exact_terms(query: str) -> list[str]:
    """What a query has in quotes, and what in it looks like an identifier."""
    quoted = [term.strip() for term in _QUOTED.findall(query)]
    words = [word.rstrip(_TRAILING) for word in _WORD.findall(_QUOTED.sub(" ", query))]
    shouted = query.upper() == query  # capitals alone tell nothing there
    named = [
        word
        for word in words
        if _IDENTIFIER.fullmatch(word)
        and not _ORDINAL.fullmatch(word)
        and not (shouted and word.isalpha())
    ]
    return list(dict.fromkeys([*filter(None, quoted), *named]))


def protect(ranking: Ranking, query: str, rules: ExactTerms) -> Ranking:
    """``ranking`` (in final order) with no rare exact term below its floor.

    A hit that is moved up takes the score of the one that it comes before.
    """
    terms = _terms(query, rules)
    if not terms:
        return ranking
    held = _held(terms, [hit.candidate.text.casefold() for hit in ranking.hits])
    boosted = {n for term in rules.terms for n in held.get(term, ())} if rules.boost else set()
    few = _most(len(ranking.hits), rules)
    rare = {n for found in held.values() if len(found) <= few for n in found}
    hits = ranking.hits
    scores = [hit.score + (rules.boost if n in boosted else 0.0) for n, hit in enumerate(hits)]
    order = sorted(range(len(hits)), key=lambda n: -scores[n])
    protected = [n for n in order if n in rare]
    for place, n in enumerate(protected, start=rules.floor - 1):
        at = order.index(n)
        if at > place:
            scores[n] = scores[order[place]]
            order.insert(place, order.pop(at))
    most_allowed = 1.0 if boosted else math.inf
    return Ranking.of(hits[n].with_score(min(scores[n], most_allowed)) for n in order)


def _terms(query: str, rules: ExactTerms) -> list[str]:
    """The exact terms of a query, those of the rules included, each once."""
    asked = query.casefold()
    known = [t for t in rules.terms if t.casefold() in asked and _pattern(t).search(asked)]
    return list(dict.fromkeys([*exact_terms(query), *known]))


def _most(candidates: int, rules: ExactTerms) -> int:
    """How many of the candidates may hold a term that they show to be rare."""
    return max(1, int(rules.rare * candidates))


def _held(terms: Sequence[str], texts: Sequence[str]) -> Mapping[str, list[int]]:
    """The places of the (folded) texts that hold each term."""
    return {term: _holders(term, texts) for term in terms}


def _holders(term: str, texts: Sequence[str]) -> list[int]:
    folded, pattern = term.casefold(), _pattern(term)
    return [n for n, text in enumerate(texts) if folded in text and pattern.search(text)]


def _pattern(term: str) -> re.Pattern[str]:
    literal = re.escape(term.casefold())
    # The literal first: `re` looks for it a hundred times faster than for a lookbehind.
    return re.compile(rf"{literal}(?<!\w{literal})(?!\w)")
