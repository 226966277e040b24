"""How deep a search looks: wider where its window's far edge has winners, narrower where not."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

from vecdb_rerank.errors import ConfigurationError, VecdbRerankError
from vecdb_rerank.flow import Flow
from vecdb_rerank.search import MAX_K, Search

if TYPE_CHECKING:  # they import the policy, which imports this
    from vecdb_rerank.report import Judged
    from vecdb_rerank.verdict import Verdict

R = TypeVar("R")
log = logging.getLogger("vecdb_rerank")

# The share of a new search in the exponential average (Roberts, 1959): the last ten count most.
SMOOTHING = 0.1
# One search of so many begins with its own k: a narrow window shows nothing of what lies behind it.
PROBED = 10


@dataclass(frozen=True, slots=True)
class AdaptiveK:
    """Lets ``k`` follow what searches need, where a call does not name it.

    A search's winners are the scored hits that it returns. Where one of them stands in the last
    part ``edge`` of the first pass's window, there may be more behind it: a second first pass
    brings twice as many hits, once and if the time left allows it, and the new ones are scored.
    Where winners keep coming from the front, later searches begin with a smaller window: the
    average need of those that began with their own ``k``, as one in ten always does, with the edge
    left free.

    A search that pages (``offset`` above 0) or names its ``k`` is never changed, nor is one whose
    page is more than half of ``k``: its hits come from everywhere.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    least: int = 50
    """The smallest window a search begins with (1 to 10,000); its own ``k`` where that is less."""
    most: int = 200
    """The largest window that a search is widened to (``least`` to 10,000)."""
    edge: float = 0.2
    """The part of the window that counts as its far edge (above 0, below 1)."""

    def __post_init__(self) -> None:
        for name, low, high in (("least", 1, self.most), ("most", self.least, MAX_K)):
            if not low <= getattr(self, name) <= high:
                raise ConfigurationError(
                    f"policy.adaptive_k.{name}: {getattr(self, name)} is not in {low} to {high}"
                )
        if not 0 < self.edge < 1:
            raise ConfigurationError(
                f"policy.adaptive_k.edge: {self.edge} is not above 0 and below 1"
            )

    def wanted(self, k: int, limit: int, need: int) -> int:
        """The window for a ``need`` that was seen in one of ``k`` hits: that where it is enough."""
        if need <= k * (1 - self.edge) or 2 * limit > k:
            return k
        return max(k, min(2 * k, self.most))


class Needs:
    """What depth searches have needed of late, by mode and limit; shared by threads and tasks."""

    def __init__(self) -> None:
        self._average: dict[tuple[str, int], float] = {}
        self._begun: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()

    def begin(self, search: Search, rules: AdaptiveK) -> Search:
        """``search`` with the window to begin with: its own at most."""
        key = (search.mode, search.limit)
        with self._lock:
            self._begun[key] += 1
            need = self._average.get(key)
            probes = self._begun[key] % PROBED == 0
        if need is None or probes:
            return search
        enough = math.ceil(need / (1 - rules.edge))
        return with_k(search, min(search.k, max(rules.least, 2 * search.limit, enough)))

    def adapt(
        self,
        search: Search,
        judged: Judged[R],
        rules: AdaptiveK,
        again: Callable[[Search, Verdict], Flow[Judged[R]]] | None,
    ) -> Flow[Judged[R]]:
        """What a wider window makes of a reranked ``search`` whose winners ask for one.

        ``again`` makes the first pass and the rerank of another window; None where there is no
        time. Where it fails, the search stays ``judged`` as it is.
        """
        k, need = judged.search.k, _need(judged, search.limit)
        wanted = rules.wanted(k, search.limit, need)
        if again is not None and wanted > k and len(judged.window) >= k:
            judged = yield from _widened(judged, with_k(search, wanted), again)
            need = _need(judged, search.limit)
        self._learn(search, judged.search.k, need)
        return judged

    def _learn(self, search: Search, k: int, need: int) -> None:
        """Take a ``need`` into the average; in a narrowed window a low one proves nothing."""
        key = (search.mode, search.limit)
        with self._lock:
            before = self._average.get(key, float(search.k))
            if k >= search.k or need > before:
                self._average[key] = before + SMOOTHING * (need - before)


def _widened(
    judged: Judged[R], wider: Search, again: Callable[[Search, Verdict], Flow[Judged[R]]]
) -> Flow[Judged[R]]:
    try:
        found = yield from again(wider, judged.verdict)
    except VecdbRerankError as error:
        log.warning("the window was not widened: %s", type(error).__name__)
        return judged
    if found.verdict.rescored:
        return replace(found, widened=True)
    if found.verdict.status != "fell_back":
        return judged
    # What was tried and what it cost is told all the same.
    tried = found.verdict
    return replace(
        judged, verdict=replace(judged.verdict, billed=tried.billed, failed=tried.failed)
    )


def _need(judged: Judged[R], limit: int) -> int:
    """The place (from 1) in the window of the winner that stands last in it; 0 without winners."""
    hits = judged.kept.hits[:limit]
    winners = {hit.candidate.position for hit in hits if hit.relevance is not None}
    places = (n for n, c in enumerate(judged.window, start=1) if c.position in winners)
    return max(places, default=0)


def with_k(search: Search, k: int) -> Search:
    """The search with another window, as if it had been asked for with it.

    A depth that was that of the window stays so.
    """
    return replace(search, k=k, depth=k if search.depth == search.k else search.depth)
