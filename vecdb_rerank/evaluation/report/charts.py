"""Draw an evaluation with matplotlib: SVG for the HTML page, PNG or SVG as files."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import details
from vecdb_rerank.evaluation.result import EvaluationResult, stage_metrics, stage_pairs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vecdb_rerank.evaluation.effort_curve import EffortRow
    from vecdb_rerank.evaluation.tuning.summary import TuningSummary

# Colors that can be seen on white and on black.
BEFORE, AFTER, BETTER, WORSE = "#8a97a8", "#2f7fd6", "#2f9e6b", "#d6604d"
FORMATS = ("png", "svg")
_INK = "#010203"  # replaced by the text color of the page
_SIZE = (5.6, 3.2)  # inches

R = TypeVar("R")
Draw = Callable[["Axes", R], None]
"""Draws one result."""


def _quality(axes: Axes, result: EvaluationResult) -> None:
    """Draw NDCG@10 by mode, first pass and reranked."""
    pairs = list(stage_pairs(result["stages"]))
    before = [stage_metrics(first)["ndcg@10"] for _, first, _ in pairs]
    after = [stage_metrics(second)["ndcg@10"] for _, _, second in pairs]
    for label, values, color, shift in (
        ("first pass", before, BEFORE, -0.2),
        ("reranked", after, AFTER, 0.2),
    ):
        places = [n + shift for n in range(len(pairs))]
        bars = axes.bar(places, values, 0.38, color=color, label=label)
        axes.bar_label(bars, fmt="%.3f", fontsize=8, padding=2)
    axes.set_xticks(range(len(pairs)), [mode for mode, *_ in pairs])
    axes.set_title("NDCG@10")
    axes.margins(y=0.3)
    axes.legend(frameon=False, loc="upper left", ncols=2, fontsize=8)


def _recall(axes: Axes, result: EvaluationResult) -> None:
    """Draw the recall of the first pass by depth, and the k that reaches 95 % of it."""
    curve = result["details"]["recall_curve"]
    depths = [int(k) for k in curve["recall"]]
    axes.plot(depths, list(curve["recall"].values()), color=AFTER, marker="o", markersize=3)
    sufficient = curve["k_for_95"]
    axes.axvline(sufficient, color=BETTER, linestyle="--", linewidth=1)
    axes.axvline(result["k"], color=BEFORE, linestyle=":", linewidth=1)
    axes.set_title(
        f"recall of the first pass by k: 95 % of recall@{details.DEEP_K} at {sufficient}"
    )
    axes.set_xlabel(f"k (dotted: the configured {result['k']})")
    axes.set_ylim(0, 1.03)


def _changes(axes: Axes, result: EvaluationResult) -> None:
    """Draw the change of NDCG@10 of each query, sorted."""
    values = sorted(result["details"]["changes"].values())
    colors = [WORSE if value < 0 else BETTER for value in values]
    axes.bar(range(len(values)), values, 1.0, color=colors)
    axes.axhline(0, color=BEFORE, linewidth=0.8)
    how = result["details"]["against_first_pass"][result["details"]["mode"]]
    axes.set_title(f"change by query: {how['wins']} better, {how['losses']} worse")
    axes.set_xlabel("queries, sorted")
    axes.set_ylabel("NDCG@10")


def _latency(axes: Axes, result: EvaluationResult) -> None:
    """Draw the median and the 95th percentile by stage of a search."""
    stages = result["details"]["latency_ms"]
    if stages is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "times not measured:\nscores came from the cache", ha="center")
        return
    places = range(len(stages))
    for label, shift, color in (("p50", -0.2, AFTER), ("p95", 0.2, BEFORE)):
        values = [stage["p50"] if label == "p50" else stage["p95"] for stage in stages.values()]
        bars = axes.barh([n + shift for n in places], values, 0.38, color=color, label=label)
        axes.bar_label(bars, fmt="%.0f", fontsize=8, padding=2)
    axes.set_yticks(places, [name.replace("_", " ") for name in stages])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title("milliseconds by stage")
    axes.legend(frameon=False, fontsize=8)


def _effort(axes: Axes, result: EvaluationResult) -> None:
    """Draw NDCG@10 by the number of candidates that are read."""
    rows = result["effort_curve"]
    if not rows:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "reading fewer candidates:\nnot computed", ha="center")
        return
    pairs = [row["pairs"] for row in rows]
    for label, values, color in (
        ("others set aside", [row["set_aside"] for row in rows], BEFORE),
        ("others estimated", [row["estimated"] for row in rows], AFTER),
    ):
        axes.plot(pairs, values, color=color, marker="o", markersize=3, label=label)
    axes.set_xticks(pairs, [_pairs_label(row) for row in rows], fontsize=8)
    axes.set_title("NDCG@10 by documents read")
    axes.legend(frameon=False, fontsize=8)


def _pairs_label(row: EffortRow) -> str:
    milliseconds = row["latency_ms"]
    return f"{row['pairs']}" if milliseconds is None else f"{row['pairs']}\n{milliseconds:.0f} ms"


EVALUATION: Mapping[str, Draw[EvaluationResult]] = {
    "quality": _quality,
    "recall": _recall,
    "changes": _changes,
    "latency": _latency,
    "effort": _effort,
}


def _trade_off(axes: Axes, result: TuningSummary) -> None:
    """Draw quality by time for the best setting of each k."""
    timed = [(row, ms) for row in result["trade_off"] if (ms := row["latency_ms"]) is not None]
    for row, milliseconds in timed:
        role = row["role"]
        place = (milliseconds, row["ndcg@10"])
        axes.scatter(*place, color={"chosen": BETTER, "now": BEFORE}.get(role, AFTER), s=36)
        label = f"{role} (k={row['k']})" if role else f"k={row['k']}"
        axes.annotate(label, place, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("milliseconds per search, approximately" if timed else "times not measured")
    axes.set_ylabel("NDCG@10")
    axes.margins(x=0.2, y=0.2)


TUNING: Mapping[str, Draw[TuningSummary]] = {"trade-off": _trade_off}


def svg(draw: Draw[R], result: R) -> str:
    """Return one chart as an ``<svg>`` element in the text color of the page around it."""
    with _style(_INK, "none"):
        figure = _figure(_SIZE)
        draw(figure.subplots(), result)
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata=_NO_METADATA)
    text = written.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    return re.sub(r' width="[^"]*pt" height="[^"]*pt"', ' width="100%"', text, count=1)


def save(draws: Mapping[str, Draw[R]], result: R, file: Path, title: str) -> None:
    """Save all charts in one picture, in the format of the suffix of ``file``."""
    check(file)
    rows = (len(draws) + 1) // 2
    with _style("#222222", "white"):
        columns = min(2, len(draws))
        figure = _figure((_SIZE[0] * columns, _SIZE[1] * rows + 0.4))
        figure.suptitle(title)
        for axes, draw in zip(
            figure.subplots(rows, columns, squeeze=False).flat, draws.values(), strict=False
        ):
            draw(axes, result)
        figure.savefig(file, dpi=120)


def check(file: Path) -> None:
    """Raise `ConfigurationError` if the suffix of ``file`` is not ``.png`` or ``.svg``."""
    if file.suffix.lstrip(".").lower() not in FORMATS:
        raise ConfigurationError("--chart", f"must end in .png or .svg, got {file}")
    require("matplotlib", "evaluation")


_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def _figure(size: tuple[float, float]) -> Figure:
    figure: Figure = require("matplotlib.figure", "evaluation").Figure(
        figsize=size, layout="constrained"
    )
    return figure


@contextmanager
def _style(ink: str, background: str) -> Iterator[None]:
    """Set matplotlib's style for the block."""
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings = {
        **dict.fromkeys(inked, ink),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor"), background),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "font.size": 9,
        "text.parse_math": False,  # a name may hold "$"
        "svg.fonttype": "none",  # text, not paths
        "svg.hashsalt": "vecdb_rerank",  # the same picture for the same numbers
    }
    with require("matplotlib", "evaluation").rc_context(settings):
        yield
