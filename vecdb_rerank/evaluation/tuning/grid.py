"""List the settings that tuning tries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from itertools import product
from typing import TypeVar

from vecdb_rerank.config.settings import Settings
from vecdb_rerank.policy.blend import WEIGHTED, Blend
from vecdb_rerank.request import EVIDENCE, Fusion

T = TypeVar("T")
KS = (20, 30, 50, 75, 100)
DEPTHS = (100, 200)  # besides k itself
MAX_DEPTH = max(DEPTHS)
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
    """One way to search: ``depth`` hits per branch are fused, the first ``k`` scored and blended.

    ``reranker`` is the index of one of the collected rerankers, from 0.
    """

    k: int
    depth: int
    fusion: Fusion
    blend: Blend
    reranker: int = 0

    def differences(self, other: Setting) -> int:
        """Return how many fields differ from those of ``other``."""
        return sum(a != b for a, b in zip(astuple(self), astuple(other), strict=True))

    def described(self, now: Setting) -> str:
        """Return what differs from the setting ``now``, in the words of the settings file."""
        parts = [
            f"k={self.k}" if self.k != now.k else "",
            f"depth={self.depth}" if self.depth not in (self.k, now.depth) else "",
            described_fusion(self.fusion) if self.fusion != now.fusion else "",
            described_blend(self.blend) if self.blend != now.blend else "",
        ]
        return ", ".join(filter(None, parts)) or "unchanged"


def current(settings: Settings) -> Setting:
    """What is configured now."""
    search = settings.search
    return Setting(search.k, search.depth or search.k, search.fusion, settings.policy.blend)


def grid(now: Setting, *, limit: int | None, max_k: int, rerankers: int = 1) -> list[Setting]:
    """Return all settings to try, the current one (``now``) first.

    ``k`` goes from ``limit``, if set, to ``max_k``. If the current k is above ``max_k``, it
    is still tried with every blend, but with no other depth or fusion.
    """
    ks = [k for k in _with(now.k, KS) if (limit or 1) <= k <= max_k]
    lists = [(now.k, now.depth, now.fusion)]
    lists += [(k, d, f) for k in ks for f in _with(now.fusion, FUSIONS) for d in _depths(k, now)]
    settings = (
        Setting(k, depth, fusion, blend, reranker)
        for reranker, (k, depth, fusion), blend in product(
            range(rerankers), lists, _with(now.blend, BLENDS)
        )
    )
    return _with(now, settings)


def first_passes(settings: Iterable[Setting]) -> dict[tuple[int, Fusion], int]:
    """Return the largest k needed of each first pass, by depth and fusion."""
    found: dict[tuple[int, Fusion], int] = {}
    for setting in settings:
        key = (setting.depth, setting.fusion)
        found[key] = max(found.get(key, 0), setting.k)
    return found


def _depths(k: int, now: Setting) -> list[int]:
    """Return the branch depths to try with ``k``; none is below it."""
    kept = k if now.depth == now.k else max(k, now.depth)
    return _with(kept, (depth for depth in DEPTHS if depth > k))


def _with(first: T, others: Iterable[T]) -> list[T]:
    return list(dict.fromkeys((first, *others)))


def described_fusion(fusion: Fusion) -> str:
    """Return the fusion in words, such as ``fusion min_max 0.3:0.7`` (bm25, dense)."""
    weights = "" if fusion.fixed is None else f" {fusion.fixed[0]:g}:{fusion.fixed[1]:g}"
    known = "".join(f" {name}" for name in EVIDENCE if getattr(fusion, name) is not None)
    constant = "" if fusion.rank_constant == Fusion().rank_constant else f"({fusion.rank_constant})"
    return f"fusion {fusion.method}{constant}{weights}{known}"


def described_blend(blend: Blend) -> str:
    """Return the blend in words, such as ``blend convex 0.3`` (the weight of the reranker)."""
    weight = f" {blend.weight:g}" if blend.method in WEIGHTED else ""
    return f"blend {blend.method}{weight}"
