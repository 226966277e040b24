"""Keep hits with the query's rare exact terms near the top; a reranker may not know such terms."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from vecdb_rerank.model import Ranking
from vecdb_rerank.policy.exact_terms import ExactTerms

# No expression here may go back over a long run of characters: each is linear in the query.
_QUOTED = re.compile(r"[\"“”`]([^\"“”`]{2,})[\"“”`]")
_WORD = re.compile(r"[\w$#@][\w$#@:./+\\()\[\]-]*")
_TRAILING = ".:/-()[]\\"
_IDENTIFIER = re.compile(
    r"""
      (?=.*[^\W\d_])(?=.*\d)\S{2,}             # letters and digits: utf8, SCSI-2, 0x1F
    | (?=.[^\W_]*_.)\w+                        # an underscore inside: a_b
    | [^\W\d_]\w+(?:\.|::|\\)[^\W\d_]\w.*     # a separator inside: os.path, std::vector
    | .*[a-z][A-Z].*                           # a capital after a small letter: readLine
    | [A-Z]{3,}                                # capitals alone: SCSI
    | \w(?:\+\+|\#)                            # the sign of a language: C++, C#
    """,
    re.VERBOSE,
)
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th|s)", re.IGNORECASE)
# Looking for a term in the candidates costs time in proportion to both.
MAX_TERMS = 64
MAX_TERM_LENGTH = 128


def exact_terms(query: str) -> list[str]:
    """Return the query's quoted strings and the words in it that look like identifiers.

    At most 64 terms are returned, and none longer than 128 characters.
    """
    quoted = [term.strip() for term in _QUOTED.findall(query)]
    words = [word.rstrip(_TRAILING) for word in _WORD.findall(_QUOTED.sub(" ", query))]
    all_capitals = query.upper() == query  # then capitals do not mark an identifier
    identifiers = [
        word
        for word in words
        if len(word) <= MAX_TERM_LENGTH
        and _IDENTIFIER.fullmatch(word)
        and not _ORDINAL.fullmatch(word)
        and not (all_capitals and word.isalpha())
    ]
    found = dict.fromkeys([*filter(None, quoted), *identifiers])
    return [term for term in found if len(term) <= MAX_TERM_LENGTH][:MAX_TERMS]


def protect(ranking: Ranking, query: str, rules: ExactTerms) -> Ranking:
    """Return ``ranking`` with the hits that hold a rare exact term at their lowest rank or above.

    A hit that moves up takes the score of the hit that it is placed before.
    """
    terms = _terms(query, rules)
    if not terms:
        return ranking
    hits = ranking.hits
    holders = _holders(terms, [hit.candidate.text.casefold() for hit in hits])
    boosted = {n for term in rules.terms for n in holders.get(term, ())} if rules.boost else set()
    max_holders = max(1, int(rules.rare * len(hits)))
    rare = {n for found in holders.values() if len(found) <= max_holders for n in found}
    scores = [hit.score + (rules.boost if n in boosted else 0.0) for n, hit in enumerate(hits)]
    order = sorted(range(len(hits)), key=lambda n: -scores[n])
    protected = [n for n in order if n in rare]
    for lowest, n in enumerate(protected, start=rules.floor - 1):
        place = order.index(n)
        if place > lowest:
            scores[n] = scores[order[lowest]]
            order.insert(lowest, order.pop(place))
    max_score = 1.0 if boosted else math.inf
    return Ranking.of(hits[n].with_score(min(scores[n], max_score)) for n in order)


def _terms(query: str, rules: ExactTerms) -> list[str]:
    """Return the exact terms of a query and those of the rules that it holds."""
    folded = query.casefold()
    configured = [term for term in rules.terms if _holds(folded, term)]
    return list(dict.fromkeys([*exact_terms(query), *configured]))


def _holders(terms: Sequence[str], texts: Sequence[str]) -> Mapping[str, list[int]]:
    """Return for each term the positions of the case-folded texts that hold it."""
    return {term: [n for n, text in enumerate(texts) if _holds(text, term)] for term in terms}


def _holds(folded_text: str, term: str) -> bool:
    """Check whether a text holds a term that is not part of a longer word.

    Occurrences that overlap are looked at once, so that the cost is linear in the text.
    """
    literal = term.casefold()
    place = folded_text.find(literal)
    while place >= 0:
        after = place + len(literal)
        if not (
            _is_word(folded_text[place - 1 : place]) or _is_word(folded_text[after : after + 1])
        ):
            return True
        place = folded_text.find(literal, after)
    return False


def _is_word(character: str) -> bool:
    """Check whether this is a letter, a digit or an underscore."""
    return character.isalnum() or character == "_"
