"""``vecdb-rerank tune``: choose settings on judged queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vecdb_rerank.cli import common, judged

if TYPE_CHECKING:
    from rich.table import Table

    from vecdb_rerank.evaluation.tuning import Choice, TuningSummary


def command(
    folder: judged.FolderArgument = None,
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: judged.CollectionOption = None,
    queries_file: judged.QueriesFileOption = None,
    qrels: judged.QrelsOption = None,
    id_field: judged.IdFieldOption = None,
    judge_by: judged.JudgeByOption = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a configuration with the chosen settings."),
    ] = None,
    queries: common.QueriesOption = None,
    seed: Annotated[int, typer.Option(help="Random seed of the sample and the folds.")] = 0,
    folds: Annotated[int, typer.Option(min=2, help="Number of cross-validation folds.")] = 5,
    max_k: Annotated[
        int, typer.Option("--max-k", min=1, help="Maximum number of candidates to score.")
    ] = 100,
    max_length: Annotated[
        list[int] | None,
        typer.Option(
            "--max-length", min=8, help="Also try this reranker.max_length. Can be repeated."
        ),
    ] = None,
    chart: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw quality by time as .png or .svg.")
    ] = None,
    json_file: common.JsonFileOption = None,
) -> None:
    """Choose k, depth, fusion, blend and reranker on your own judged queries.

    Each query is searched once with a large k, and every hit that any setting
    would rerank is scored. The scores are cached on disk, so a second run is
    fast. All settings are then compared on these scores by cross-validation:
    the current ones stay unless others are significantly better. The reported
    gain is measured on queries held out from the choice.

    If a chain of rerankers is configured, the best one is chosen and put first.
    --out writes your configuration with the chosen settings, also if the
    current ones stay; it never overwrites a file. The report opens with
    whether reranking pays against tuned fusion.

    The collection is that of `evaluate`: DIR in a temporary one, or an existing
    one, to which nothing is written.

    Example: vecdb-rerank tune DIR --queries 200 --out tuned.toml
    """
    from vecdb_rerank.config.loading import DEFAULT_FILE
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.evaluation import tuned, tuning
    from vecdb_rerank.evaluation.report import charts, tables

    if out is not None and out.exists():
        raise ConfigurationError("--out", f"{out} exists already; choose another name or remove it")
    for option, file in (("--out", out), ("--chart", chart), ("--json", json_file)):
        if file is not None and file != "-":
            common.require_writable(Path(file), option)
    if chart is not None:
        charts.check(chart)
    settings = common.settings(config, backend, collection).settings
    dataset = judged.read(
        settings, folder, collection, queries_file, qrels, id_field, judge_by
    ).sample(queries, seed)
    now = tuning.current(settings)
    rerankers = tuning.sections(settings, max_length or ())
    tried = tuning.grid(now, limit=settings.search.limit, max_k=max_k, rerankers=len(rerankers))
    with common.progress() as shown:
        bars = common.Bars(shown)
        collected = tuning.collect(
            settings, dataset, tried, rerankers, on_progress=bars, on_note=judged.note
        )
        quality = tuning.evaluate(
            collected, tried, lambda done, total: bars("trying settings", done, total)
        )
    choice = tuning.choose(quality, now, folds=folds, seed=seed)
    result = tuned.result(collected, quality, choice)
    if out is not None:
        file = config or Path(DEFAULT_FILE)
        common.write_text(out, tuning.configuration(file, settings, collected, choice.chosen))
    if chart is not None:
        with common.replacing(chart) as part:
            charts.save(charts.TUNING, result, part, f"{dataset.name}: what quality costs")
    if json_file is not None:
        common.write_json(result, json_file)
    common.say_written(chart, json_file)
    if json_file != "-":
        common.out.print_line(result["verdict"]["text"])
        common.out.print(tables.yardstick_table(result["yardstick"]), _table(result))
        for line in _sentences(choice, result, out):
            common.out.print_line(line)


def _table(result: TuningSummary) -> Table:
    from rich.markup import escape
    from rich.table import Table

    title = f"{result['dataset']}: {result['queries']:,} queries, {result['tried']:,} settings"
    shown = Table(
        title=escape(title), caption="the best setting of each k; NDCG@10 on the same queries"
    )
    shown.add_column("")
    shown.add_column("settings")
    for name in ("NDCG@10", "change", "ms", "cost of 1,000"):
        shown.add_column(name, justify="right")
    for row in result["trade_off"]:
        cells = (
            {"now": "now", "chosen": "chosen"}.get(row["role"], ""),
            row["settings"],
            f"{row['ndcg@10']:.4f}",
            f"{row['change']:+.4f}",
            "not measured" if row["latency_ms"] is None else f"{row['latency_ms']:.0f}",
            "" if row["cost"] is None else f"{row['cost'] * 1000:.2f}",
        )
        shown.add_row(*map(escape, cells), style="bold" if row["role"] == "chosen" else "")
    return shown


def _sentences(choice: Choice, result: TuningSummary, out: Path | None) -> list[str]:
    from vecdb_rerank.evaluation.significance import too_few

    low, high = choice.validated.interval
    lines = [
        "The current settings stay: no others are better on held-out queries by more than chance."
        if choice.chosen == choice.now
        else f"Chosen: {result['chosen']}.",
        f"On held-out queries, choosing this way changes NDCG@10 by "
        f"{choice.validated.change:+.4f} [{low:+.4f}, {high:+.4f}].",
    ]
    if warning := too_few(result["queries"]):
        lines.append(warning)
    if out is not None:
        lines.append(f"Written to {out}; use it with --config, or as vecdb_rerank.toml.")
    return lines
