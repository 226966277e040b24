"""What a collection in strict mode allows, and a search within it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qdrant_client.http import models

from vecdb_rerank.request import BRANCHES, Search
from vecdb_rerank_qdrant import queries

# The names of the limits in a refusal.
_NAMES = {"limit": "points", "timeout": "timeout", "search batch size": "batch"}


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a collection in strict mode; None is none.

    ``points`` are those of one query or prefetch, ``timeout`` the seconds of one request,
    ``batch`` the queries of one batch.
    """

    points: int | None = None
    timeout: int | None = None
    batch: int | None = None

    @classmethod
    def of(cls, info: models.CollectionInfo) -> Limits:
        """Return the limits in the collection's configuration."""
        config = info.config.strict_mode_config
        if config is None or not config.enabled:
            return cls()
        return cls(config.max_query_limit, config.max_timeout, config.search_max_batchsize)

    def updated(self, read: Limits) -> Limits:
        """Return the limits that were ``read``, and of the others those known before."""
        return Limits(
            read.points or self.points, read.timeout or self.timeout, read.batch or self.batch
        )

    @staticmethod
    def knows(name: str) -> bool:
        """Check whether a refusal's limit is one of these."""
        return name in _NAMES

    def refused(self, name: str, value: int) -> Limits:
        """Return the limits with one that the server named when it refused a request."""
        return replace(self, **{_NAMES[name]: value})

    def within(self, search: Search) -> Search:
        """Return ``search`` as deep as allowed."""
        if self.points is None:
            return search
        hybrid = search.mode == "hybrid" and not queries.fused_here(search.fusion, search.evidence)
        most = self.points - queries.TIES if hybrid else self.points
        k = max(1, min(search.k, most))
        depth = max(1, min(search.depth, self.points))
        if (k, depth) == (search.k, search.depth):
            return search
        return replace(search, k=k, depth=depth, limit=min(search.limit, k))

    def seconds(self, timeout: float) -> float:
        """Return the timeout, as long as allowed."""
        return timeout if self.timeout is None else min(timeout, self.timeout)

    @property
    def allows_batch(self) -> bool:
        """Whether both branches fit into one request."""
        return self.batch is None or self.batch >= len(BRANCHES)
