"""Compare an evaluation with an earlier one, query by query, and find significant losses."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from vecdb_rerank._checks import in_range
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation.result import EvaluationResult, Gate, GateRow
from vecdb_rerank.evaluation.significance import bootstrap, randomisation, too_few
from vecdb_rerank.records.json_records import problem

MAX_LOSS = 0.01  # of NDCG@10
LEVEL = 0.05  # of all tests of a comparison together


def gate(now: EvaluationResult, baseline: EvaluationResult, max_loss: float = MAX_LOSS) -> Gate:
    """Compare the reranked order of ``now`` with that of ``baseline`` over their common queries.

    A loss counts if the mean change is below ``-max_loss`` and the p-value of the randomisation
    test is below the level: 0.05 for all queries, and 0.05 split evenly among the classes
    (Bonferroni), so that many classes do not make a false alarm likely.

    Raises `ConfigurationError` with the key ``--baseline`` if they have no query in common.
    """
    in_range("--max-loss", max_loss, 0, 1)
    before, after = (result["details"]["ndcg"] for result in (baseline, now))
    common = [query for query in after if query in before]
    if not common:
        raise ConfigurationError("--baseline", "has no query of this evaluation")
    changes = {query: after[query]["reranked"] - before[query]["reranked"] for query in common}
    groups: dict[str, list[float]] = {}
    for query, name in now["details"]["classes"].items():
        if query in changes:
            groups.setdefault(name, []).append(changes[query])
    rows = [_row("", list(changes.values()), max_loss, LEVEL)]
    rows += [_row(name, groups[name], max_loss, LEVEL / len(groups)) for name in sorted(groups)]
    return {
        "max_loss": max_loss,
        "rows": rows,
        "lost": any(row["lost"] for row in rows),
        "notes": _notes(now, baseline, len(common)),
    }


def load(file: Path) -> EvaluationResult:
    """Return a result that ``evaluate --json`` wrote.

    Raises `ConfigurationError` with the file as its key if it is anything else.
    """
    try:
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise ConfigurationError(str(file), f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(str(file), problem(error)) from None
    if not _is_result(value):
        raise ConfigurationError(str(file), "not a result of vecdb-rerank evaluate --json")
    return cast(EvaluationResult, value)


def _is_result(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("stages"), dict):
        return False
    details = value.get("details")
    return (
        isinstance(details, dict)
        and isinstance(details.get("ndcg"), dict)
        and all(name in value for name in ("environment", "settings", "verdict"))
    )


def _row(group: str, changes: Sequence[float], max_loss: float, level: float) -> GateRow:
    change, p = statistics.fmean(changes), randomisation(changes)
    return {
        "group": group,
        "queries": len(changes),
        "change": round(change, 4),
        "interval": [round(bound, 4) for bound in bootstrap(changes)],
        "p": p,
        "lost": change < -max_loss and p < level,
    }


def _notes(now: EvaluationResult, baseline: EvaluationResult, common: int) -> list[str]:
    notes = [too_few(common)]
    if common < max(now["queries"], baseline["queries"]):
        notes.append(
            f"Only {common:,} queries are in both runs; this one has {now['queries']:,}, the "
            f"baseline {baseline['queries']:,}."
        )
    for name in ("dataset", "k", "documents"):
        one, other = _value(baseline, name), _value(now, name)
        if one != other:
            notes.append(f"The runs differ in {name}: {one} then, {other} now.")
    return [note for note in notes if note]


def _value(result: Mapping[str, object], name: str) -> object:
    return result.get(name)
