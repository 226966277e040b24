"""How rare a query's exact terms are in the whole index, where the candidates cannot tell."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from vecdb_rerank.deadline import Deadline
from vecdb_rerank.flow import Flow
from vecdb_rerank.jargon import IndexRarity
from vecdb_rerank.protocols import KnowsTerms

log = logging.getLogger("vecdb_rerank")
KEPT = 10_000  # terms; one takes some 200 bytes
AT_ONCE = 16  # terms of one query; a pasted log may hold hundreds
# The part of the time left that asking may take: the reranker's need is the greater one.
PART = 4
PAUSE = 10.0  # seconds in which an index that failed is left alone


class Rarity:
    """What the index has said of terms, for a while; shared by threads and tasks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # By collection and term: when it was told, and the share; None for "cannot tell".
        self._told: OrderedDict[tuple[str, str], tuple[float, float | None]] = OrderedDict()
        self._resting_until = -float("inf")
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many terms it remembers."""
        return len(self._told)

    def rare(
        self,
        database: KnowsTerms,
        terms: Sequence[str],
        index: IndexRarity,
        deadline: Deadline,
    ) -> Flow[frozenset[str]]:
        """Those of ``terms`` that are rare in the index; `AT_ONCE` are looked at.

        Asks the database at most once, for those that it has not told of. Where it fails or is late
        there are none: the candidates decide alone.
        """
        terms = terms[:AT_ONCE]
        shares = self._remembered(database.collection, terms, index)
        if missing := [term for term in terms if term not in shares]:
            told = yield from self._ask(database, missing, deadline)
            self._remember(database.collection, told)
            shares |= told
        return frozenset(
            t for t, share in shares.items() if share is not None and share <= index.share
        )

    def _ask(
        self, database: KnowsTerms, terms: Sequence[str], deadline: Deadline
    ) -> Flow[Mapping[str, float | None]]:
        """What the database says of each term; nothing where it fails."""
        if deadline.expired or self._clock() < self._resting_until:
            return {}
        try:
            shares = yield from database.term_shares(
                terms, deadline.capped(deadline.remaining() / PART)
            )
        except Exception as error:
            self._resting_until = self._clock() + PAUSE
            # The type alone: the message may hold the query.
            log.warning(
                "the rarity of exact terms is taken from the candidates for %g s: asking %s "
                "failed with %s",
                PAUSE,
                database.collection,
                type(error).__name__,
            )
            return {}
        return {term: shares.get(term) for term in terms}

    def _remembered(
        self, collection: str, terms: Sequence[str], index: IndexRarity
    ) -> dict[str, float | None]:
        oldest = self._clock() - index.ttl
        with self._lock:
            found = {term: self._told.get((collection, term)) for term in terms}
        return {term: told[1] for term, told in found.items() if told and told[0] > oldest}

    def _remember(self, collection: str, shares: Mapping[str, float | None]) -> None:
        now = self._clock()
        with self._lock:
            for term, share in shares.items():
                self._told[collection, term] = (now, share)
                self._told.move_to_end((collection, term))
            while len(self._told) > KEPT:
                self._told.popitem(last=False)
