"""The settings that tuning tries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from itertools import product
from typing import TypeVar

from vecdb_rerank.config.settings import Settings
from vecdb_rerank.policy.blend import WEIGHTED, Blend
from vecdb_rerank.request import Fusion

T = TypeVar("T")
KS = (20, 30, 50, 75, 100)
DEPTHS = (100, 200)  # beside k itself
DEEPEST = max(DEPTHS)
FUSIONS = (
    Fusion(),
    Fusion(weights=(1.0, 2.0)),
    Fusion(weights=(2.0, 1.0)),
    Fusion("min_max"),
    Fusion("min_max", weights=(0.3, 0.7)),
    Fusion("min_max", weights=(0.7, 0.3)),
)
BLENDS = (
    Blend(),
    *(Blend("convex", weight) for weight in (0.2, 0.3, 0.4, 0.5, 0.7)),
    Blend("rrf", 0.33),
    Blend("rrf", 0.5),
    Blend("replace"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to search: ``depth`` hits a branch, fused, the first ``k`` scored and blended.

    ``reranker`` is the place (from 0) of one of the collected ones.
    """

    k: int
    depth: int
    fusion: Fusion
    blend: Blend
    reranker: int = 0

    def differences(self, other: Setting) -> int:
        """How many of the parts are others than in ``other``."""
        names = [entry.name for entry in fields(self)]
        return sum(getattr(self, name) != getattr(other, name) for name in names)

    def described(self, now: Setting) -> str:
        """What is other than ``now``, in the words of the settings."""
        parts = [
            f"k={self.k}" if self.k != now.k else "",
            f"depth={self.depth}" if self.depth not in (self.k, now.depth) else "",
            _fusion(self.fusion) if self.fusion != now.fusion else "",
            _blend(self.blend) if self.blend != now.blend else "",
        ]
        return ", ".join(filter(None, parts)) or "as it is"


def current(settings: Settings) -> Setting:
    """What is configured now."""
    search = settings.search
    return Setting(search.k, search.depth or search.k, search.fusion, settings.policy.blend)


def grid(now: Setting, *, limit: int | None, max_k: int, rerankers: int = 1) -> list[Setting]:
    """All settings to try, the one of now first.

    ``k`` goes from ``limit``, the hits of a page if that is set, to ``max_k``. Where that of now
    is above, its list of hits alone is kept, with every blend.
    """
    ks = [k for k in _with(now.k, KS) if (limit or 1) <= k <= max_k]
    lists = [(now.k, now.depth, now.fusion)]
    lists += [
        (k, d, how) for k in ks for how in _with(now.fusion, FUSIONS) for d in _depths(k, now)
    ]
    found = (
        Setting(k, depth, how, blend, reranker)
        for reranker, (k, depth, how), blend in product(
            range(rerankers), lists, _with(now.blend, BLENDS)
        )
    )
    return _with(now, found)


def first_passes(settings: Iterable[Setting]) -> dict[tuple[int, Fusion], int]:
    """The first passes that these need: by depth and fusion, how many hits of it at most."""
    found: dict[tuple[int, Fusion], int] = {}
    for setting in settings:
        key = (setting.depth, setting.fusion)
        found[key] = max(found.get(key, 0), setting.k)
    return found


def _depths(k: int, now: Setting) -> list[int]:
    """The branches' depths to try with ``k``; none is below it."""
    kept = k if now.depth == now.k else max(k, now.depth)
    return _with(kept, (depth for depth in DEPTHS if depth > k))


def _with(first: T, others: Iterable[T]) -> list[T]:
    return list(dict.fromkeys((first, *others)))


def _fusion(fusion: Fusion) -> str:
    weights = "" if fusion.weights is None else f" {fusion.weights[0]:g}:{fusion.weights[1]:g}"
    return f"fusion {fusion.method}{weights}"


def _blend(blend: Blend) -> str:
    weight = f" {blend.weight:g}" if blend.method in WEIGHTED else ""
    return f"blend {blend.method}{weight}"
