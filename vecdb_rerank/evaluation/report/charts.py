"""Charts of an evaluation, by matplotlib: SVG for the page, PNG or SVG as files."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import details

# Read on white and on black alike.
BEFORE, AFTER, BETTER, WORSE = "#8a97a8", "#2f7fd6", "#2f9e6b", "#d6604d"
FORMATS = ("png", "svg")
_INK = "#010203"  # stands for the page's own text colour
_SIZE = (5.6, 3.2)  # inches

Draw = Callable[[Any, Mapping[str, Any]], None]


def _quality(axes: Any, result: Mapping[str, Any]) -> None:
    """NDCG@10 by mode, first pass and reranked."""
    stages = result["stages"]
    modes = [name for name in stages if not name.endswith("+rerank")]
    pairs = (("first pass", "", BEFORE, -0.2), ("reranked", "+rerank", AFTER, 0.2))
    for label, also, colour, shift in pairs:
        values = [stages[f"{mode}{also}"]["ndcg@10"] for mode in modes]
        places = [n + shift for n in range(len(modes))]
        bars = axes.bar(places, values, 0.38, color=colour, label=label)
        axes.bar_label(bars, fmt="%.3f", fontsize=8, padding=2)
    axes.set_xticks(range(len(modes)), modes)
    axes.set_title("NDCG@10")
    axes.margins(y=0.3)
    axes.legend(frameon=False, loc="upper left", ncols=2, fontsize=8)


def _recall(axes: Any, result: Mapping[str, Any]) -> None:
    """Recall of the first pass by depth, and where 95 % of it is reached."""
    curve = result["details"]["recall_curve"]
    depths = [int(k) for k in curve["recall"]]
    axes.plot(depths, list(curve["recall"].values()), color=AFTER, marker="o", markersize=3)
    enough = curve["k_for_95"]
    axes.axvline(enough, color=BETTER, linestyle="--", linewidth=1)
    axes.axvline(result["k"], color=BEFORE, linestyle=":", linewidth=1)
    axes.set_title(f"recall of the first pass by k: 95 % of recall@{details.DEEP} at {enough}")
    axes.set_xlabel(f"k (dotted: {result['k']}, measured here)")
    axes.set_ylim(0, 1.03)


def _changes(axes: Any, result: Mapping[str, Any]) -> None:
    """Each query's change of NDCG@10, sorted."""
    values = sorted(result["details"]["changes"].values())
    colours = [WORSE if value < 0 else BETTER for value in values]
    axes.bar(range(len(values)), values, 1.0, color=colours)
    axes.axhline(0, color=BEFORE, linewidth=0.8)
    how = result["details"]["against_first_pass"][result["details"]["mode"]]
    axes.set_title(f"change by query: {how['wins']} better, {how['losses']} worse")
    axes.set_xlabel("queries, sorted")
    axes.set_ylabel("NDCG@10")


def _latency(axes: Any, result: Mapping[str, Any]) -> None:
    """Median and 95th percentile by stage of a search."""
    stages = result["details"]["latency_ms"]
    if stages is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "times not measured:\nscores came from the cache", ha="center")
        return
    places = range(len(stages))
    for label, shift, colour in (("p50", -0.2, AFTER), ("p95", 0.2, BEFORE)):
        values = [stage[label] for stage in stages.values()]
        bars = axes.barh([n + shift for n in places], values, 0.38, color=colour, label=label)
        axes.bar_label(bars, fmt="%.0f", fontsize=8, padding=2)
    axes.set_yticks(places, [name.replace("_", " ") for name in stages])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_title("milliseconds by stage")
    axes.legend(frameon=False, fontsize=8)


EVALUATION: Mapping[str, Draw] = {
    "quality": _quality,
    "recall": _recall,
    "changes": _changes,
    "latency": _latency,
}


def _trade_off(axes: Any, result: Mapping[str, Any]) -> None:
    """Quality by time for the best setting of each k."""
    rows = [row for row in result["trade_off"] if row["latency_ms"] is not None]
    for row in rows:
        role = row["role"]
        colour = {"chosen": BETTER, "now": BEFORE}.get(role, AFTER)
        axes.scatter(row["latency_ms"], row["ndcg@10"], color=colour, s=36)
        label = f"{role} (k={row['k']})" if role else f"k={row['k']}"
        place = (row["latency_ms"], row["ndcg@10"])
        axes.annotate(label, place, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("milliseconds a search, about" if rows else "times not measured")
    axes.set_ylabel("NDCG@10")
    axes.margins(x=0.2, y=0.2)


TUNING: Mapping[str, Draw] = {"trade-off": _trade_off}


def svg(draw: Draw, result: Mapping[str, Any]) -> str:
    """One chart as an ``<svg>`` element that takes the text colour of the page around it."""
    with _style(_INK, "none"):
        figure = _figure()(figsize=_SIZE, layout="constrained")
        draw(figure.subplots(), result)
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata=_NO_METADATA)
    text = written.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    return re.sub(r' width="[^"]*pt" height="[^"]*pt"', ' width="100%"', text, count=1)


def save(draws: Mapping[str, Draw], result: Mapping[str, Any], file: Path, title: str) -> None:
    """All charts in one picture, in the format that the name of ``file`` ends with."""
    check(file)
    rows = (len(draws) + 1) // 2
    with _style("#222222", "white"):
        columns = min(2, len(draws))
        size = (_SIZE[0] * columns, _SIZE[1] * rows + 0.4)
        figure = _figure()(figsize=size, layout="constrained")
        figure.suptitle(title)
        for axes, draw in zip(
            figure.subplots(rows, columns, squeeze=False).flat, draws.values(), strict=False
        ):
            draw(axes, result)
        figure.savefig(file, dpi=120)


def check(file: Path) -> None:
    """`ConfigurationError` where a picture cannot be of the format that its name ends with."""
    if file.suffix.lstrip(".").lower() not in FORMATS:
        raise ConfigurationError("--chart", f"{file}: a picture ends in .png or .svg")
    require("matplotlib", "evaluation")


_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}


def _figure() -> Any:
    return require("matplotlib.figure", "evaluation").Figure


@contextmanager
def _style(ink: str, ground: str) -> Iterator[None]:
    """Matplotlib's settings for the block: this ink on this ground, little else."""
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    settings = {
        **dict.fromkeys(inked, ink),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor"), ground),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "font.size": 9,
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "vecdb_rerank",  # the same picture of the same numbers
    }
    with require("matplotlib", "evaluation").rc_context(settings):
        yield
