"""Compare snapshots of evaluations over time: pure functions of what ``evaluate --json`` wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation.gate import gate
from vecdb_rerank.evaluation.result import EvaluationResult, GateRow


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One evaluation with the name of its file.

    ``change`` compares its reranked order with that of the snapshot before, over the queries that
    both have; None if there is none. ``settings`` are those that differ from the snapshot before,
    by their paths: the value then and now.
    """

    name: str
    result: EvaluationResult
    change: GateRow | None = None
    settings: Mapping[str, tuple[object, object]] | None = None


def histories(snapshots: Sequence[Snapshot]) -> dict[str, list[Snapshot]]:
    """Return the snapshots of each collection in the order of their times, compared in pairs."""
    found: dict[str, list[Snapshot]] = {}
    for one in sorted(snapshots, key=lambda s: s.result["environment"]["time"]):
        earlier = found.setdefault(one.result["dataset"], [])
        earlier.append(_compared(one, earlier[-1]) if earlier else one)
    return found


def _compared(now: Snapshot, before: Snapshot) -> Snapshot:
    try:
        change = gate(now.result, before.result)["rows"][0]
    except ConfigurationError:  # no query in common
        change = None
    return Snapshot(now.name, now.result, change, differences(before.result, now.result))


def differences(
    before: EvaluationResult, now: EvaluationResult
) -> dict[str, tuple[object, object]]:
    """Return the settings that differ, by their paths: the value then and now."""
    one, other = (
        dict(_leaves({"k": r["k"], "backend": r["backend"], **r["settings"]}))
        for r in (before, now)
    )
    names = dict.fromkeys((*one, *other))
    return {n: (one.get(n), other.get(n)) for n in names if one.get(n) != other.get(n)}


def _settings(result: EvaluationResult) -> dict[str, object]:
    own = {"k": result["k"], "backend": result["backend"]}
    return dict(_leaves({**own, **result["settings"]}))


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{path}.{key}" if path else str(key))
