"""Prepare the stages of `policy.after` for the candidates of one search: pure functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from vecdb_rerank.model import Candidate
from vecdb_rerank.policy.after import (
    Boost,
    Decay,
    FieldSignal,
    MaxPer,
    Mmr,
    Pin,
    Stage,
)
from vecdb_rerank.ranking import signals
from vecdb_rerank.ranking.after import Order, Prepared, Step
from vecdb_rerank.ranking.similarity import MAX_TEXTS, similarity

if TYPE_CHECKING:
    from vecdb_rerank.ranking.after import Array
    from vecdb_rerank.ranking.similarity import Vectors

    Similar = Callable[[Sequence[int]], Array | Vectors]


def prepare(
    stages: Sequence[Stage],
    query: str,
    candidates: Sequence[Candidate],
    matching: Sequence[Collection[int]],
    now: float,
    vectors: Mapping[int, Sequence[float]] = MappingProxyType({}),
) -> Prepared:
    """Return the stages for one search; ``now`` is in seconds since 1970.

    ``matching`` holds the positions of the hits that match the filter of each boost, in the order
    of the boosts. ``vectors`` are those of the hits by position; unless all of them are given, the
    similarity of texts counts.
    """
    boosts = iter(matching)
    similar = _similarity(candidates, vectors)
    steps = (_step(stage, query, candidates, boosts, now, similar) for stage in stages)
    return Prepared(len(candidates), tuple(step for step in steps if step is not None))


def _step(
    stage: Stage,
    query: str,
    candidates: Sequence[Candidate],
    boosts: Iterator[Collection[int]],
    now: float,
    similar: Similar,
) -> Step | None:
    """Return a stage prepared for the candidates; None if it is not for this query."""
    name = stage.type
    payloads = (candidate.payload for candidate in candidates)
    if isinstance(stage, Boost):
        return _boost(name, stage, candidates, next(boosts, ()))
    if isinstance(stage, Decay):
        return _scaled(f"{name}({stage.field})", signals.decay_values(payloads, stage, now), stage)
    if isinstance(stage, FieldSignal):
        return _scaled(f"{name}({stage.field})", signals.field_values(payloads, stage), stage)
    if isinstance(stage, Mmr):
        return Step(name, reorder=partial(_varied, similar, stage.lambda_mult))
    if isinstance(stage, MaxPer):
        keys = signals.group_keys(payloads, stage)
        return Step(f"{name}({stage.field})", reorder=partial(_at_most, keys, stage.n))
    if stage.query is not None and not re.search(stage.query, query, re.IGNORECASE):
        return None
    chosen = signals.positions_of(stage.ids, candidates)
    if isinstance(stage, Pin):
        return Step(name, reorder=partial(_pinned, chosen, stage.place), fixed=chosen)
    return Step(name, reorder=partial(_buried, chosen), fixed=chosen)


def _boost(
    name: str, stage: Boost, candidates: Sequence[Candidate], matching: Collection[int]
) -> Step:
    import numpy as np

    matches = [candidate.position in matching for candidate in candidates]
    change = stage.factor if stage.factor is not None else stage.add or 0.0
    values = [change if match else None for match in matches]
    if stage.factor is None:
        return Step(name, addends=np.where(matches, change, 0.0), values=values)
    return Step(name, factors=np.where(matches, change, 1.0), values=values)


def _scaled(name: str, values: Array, stage: Decay | FieldSignal) -> Step:
    return Step(name, factors=1 - stage.weight * (1 - values), values=values.tolist())


def _pinned(
    chosen: Sequence[int], place: int, order: Order, _: Array, placed: Sequence[int]
) -> Order:
    present, pinned = set(order), set(chosen)
    rest = [n for n in order if n not in pinned]
    start = max(0, place - 1 - len(placed))
    return [*rest[:start], *(n for n in chosen if n in present), *rest[start:]]


def _buried(chosen: Sequence[int], order: Order, _: Array, __: Sequence[int]) -> Order:
    buried = set(chosen)
    return [*(n for n in order if n not in buried), *(n for n in order if n in buried)]


def _at_most(
    keys: Sequence[Hashable | None], most: int, order: Order, _: Array, placed: Sequence[int]
) -> Order:
    count = Counter(keys[n] for n in placed)
    kept: Order = []
    left_out: Order = []
    for n in order:
        key = keys[n]
        count[key] += 1
        (kept if key is None or count[key] <= most else left_out).append(n)
    return kept + left_out


def _similarity(candidates: Sequence[Candidate], vectors: Mapping[int, Sequence[float]]) -> Similar:
    """Return the function from candidates by their numbers to their similarities."""
    stored = [vectors.get(candidate.position, ()) for candidate in candidates]
    if len({len(vector) for vector in stored}) == 1 and len(stored[0]):
        return lambda rows: _cosines([stored[n] for n in rows])
    return lambda rows: similarity(tuple(candidates[n].text for n in rows))


def _cosines(vectors: Sequence[Sequence[float]]) -> Array:
    """Return the cosines (0 to 1) of vectors, a negative one as 0."""
    import numpy as np

    given = np.array(vectors, float)
    lengths = np.linalg.norm(given, axis=1, keepdims=True)
    unit = given / np.where(lengths > 0, lengths, 1.0)
    return np.clip(unit @ unit.T, 0.0, 1.0)


def _varied(
    similar_to: Similar, weight: float, order: Order, scores: Array, placed: Sequence[int]
) -> Order:
    """Return the order by maximal marginal relevance."""
    import numpy as np

    compared = [*placed, *order][:MAX_TEXTS]
    if weight == 1 or len(compared) <= len(placed):
        return order
    rows = sorted(compared)  # the same for each call, so that similarities are computed once
    place = {n: at for at, n in enumerate(rows)}
    inner = np.array([place[n] for n in compared])
    similar = similar_to(rows)[np.ix_(inner, inner)]
    value = weight * scores[compared]
    after_each = value - (1 - weight) * similar  # the value beside each hit
    for at in range(len(placed)):
        np.minimum(value, after_each[at], out=value)
    value[: len(placed)] = -np.inf
    taken = []
    for _ in range(len(compared) - len(placed)):
        best = int(value.argmax())
        taken.append(compared[best])
        np.minimum(value, after_each[best], out=value)
        value[best] = -np.inf
    return [*taken, *order[len(taken) :]]
