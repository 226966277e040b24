"""``vecdb-rerank evaluate``: measure quality and latency on judged queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from vecdb_rerank.cli import common, judged

if TYPE_CHECKING:
    from vecdb_rerank.config.settings import Settings
    from vecdb_rerank.evaluation.datasets import Dataset
    from vecdb_rerank.evaluation.result import EvaluationResult
    from vecdb_rerank.request import Mode


def command(
    folder: judged.FolderArgument = None,
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: judged.CollectionOption = None,
    queries_file: judged.QueriesFileOption = None,
    qrels: judged.QrelsOption = None,
    id_field: judged.IdFieldOption = None,
    judge_by: judged.JudgeByOption = None,
    modes: Annotated[
        str | None,
        typer.Option(
            help="First passes, separated by commas. Default: bm25,dense,hybrid, or search.mode."
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option("--k", help="Number of first-pass candidates to rerank. Default: search.k."),
    ] = None,
    queries: common.QueriesOption = None,
    seed: common.SeedOption = 0,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache",
            help="Keep the reranker's scores on disk and reuse them. Cached runs report no times.",
        ),
    ] = False,
    run: Annotated[
        list[Path] | None,
        typer.Option("--run", metavar="FILE", help="Compare with this TREC run. Can be repeated."),
    ] = None,
    run_out: Annotated[
        Path | None,
        typer.Option(
            "--run-out",
            metavar="FILE",
            help="Write the reranked order as a TREC run; into a folder, all orders.",
        ),
    ] = None,
    json_file: common.JsonFileOption = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a self-contained HTML report with charts."),
    ] = None,
    chart: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the charts as .png or .svg.")
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare with an earlier --json file; exit 1 on a loss."),
    ] = None,
    max_loss: Annotated[
        float | None,
        typer.Option("--max-loss", help="Loss of NDCG@10 that --baseline allows. Default: 0.01."),
    ] = None,
) -> None:
    """Measure NDCG@10, MRR@10, recall@k and latency of each mode, first pass and reranked.

    The output also shows whether reranking pays, which k the first pass needs,
    and how 5 reranked hits compare with 20 hits of the first pass.

    The documents of DIR go to a temporary collection on the configured server,
    or to memory for an embedded Qdrant. With --collection, or with --qrels and
    no DIR, the existing collection is searched; nothing is written to it.

    With --queries-file alone, the report shows which hits reranking moves.

    Example: vecdb-rerank evaluate --queries-file queries.jsonl --qrels judged.csv
    """
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.evaluation import gate
    from vecdb_rerank.evaluation.connector import modes as searchable_modes
    from vecdb_rerank.evaluation.evaluate import evaluate
    from vecdb_rerank.evaluation.report import charts, tables
    from vecdb_rerank.evaluation.report import html as page

    named = [] if modes is None else _modes(modes)
    if max_loss is not None and baseline is None:
        raise ConfigurationError("--max-loss", "needs an earlier result: --baseline FILE")
    written = (("--json", json_file), ("--html", html), ("--chart", chart), ("--run-out", run_out))
    for option, file in written:
        if file is not None and file != "-" and not Path(file).is_dir():
            common.require_writable(Path(file), option)
    if chart is not None:
        charts.check(chart)
    settings = common.settings(config, backend, collection).settings
    if folder is None and qrels is None and queries_file is not None:
        judging = {
            "--baseline": baseline,
            "--cache": cache,
            "--chart": chart,
            "--run": run,
            "--run-out": run_out,
        }
        for option, value in judging.items():
            if value:
                raise ConfigurationError(option, "needs judgments: --qrels FILE")
        dataset = judged.read_unjudged(settings, queries_file, id_field, judge_by)
        _unjudged(settings, dataset.sample(queries, seed), named, k, json_file, html)
        return
    earlier = None if baseline is None else gate.load(baseline)
    dataset = judged.read(
        settings, folder, collection, queries_file, qrels, id_field, judge_by
    ).sample(queries, seed)
    chosen = searchable_modes(settings, dataset, named)
    with common.progress() as shown:
        result = evaluate(
            settings,
            dataset,
            modes=chosen,
            k=k,
            cache=cache,
            on_progress=common.Bars(shown),
            others=judged.runs(run or (), dataset),
            on_note=judged.note,
            on_runs=lambda runs: None if run_out is None else judged.write_runs(runs, run_out),
        )
    if earlier is not None:
        result["gate"] = gate.gate(result, earlier, gate.MAX_LOSS if max_loss is None else max_loss)
    if html is not None:
        common.write_text(html, page.evaluation(result))
    if chart is not None:
        with common.replacing(chart) as part:
            charts.save(charts.EVALUATION, result, part, tables.title(result))
    if json_file is not None:
        common.write_json(result, json_file)
    common.say_written(html, chart, run_out, json_file)
    if json_file != "-":
        _print(result)
    if (found := result["gate"]) is not None and found["lost"]:
        raise typer.Exit(1)


def _unjudged(
    settings: Settings,
    dataset: Dataset,
    modes: Sequence[Mode],
    k: int | None,
    json_file: str | None,
    html: Path | None,
) -> None:
    """Show what reranking changes, without judgments."""
    from vecdb_rerank.evaluation.report import unjudged
    from vecdb_rerank.evaluation.unjudged import evaluate_unjudged

    with common.progress() as shown:
        bars = common.Bars(shown)
        result = evaluate_unjudged(
            settings, dataset, modes=modes, k=k, on_progress=bars, on_note=judged.note
        )
    if html is not None:
        common.write_text(html, unjudged.page(result))
    if json_file is not None:
        common.write_json(result, json_file)
    common.say_written(html, json_file)
    if json_file != "-":
        common.out.print_line("Nothing is judged: this shows what changes, not what is better.")
        common.out.print(unjudged.summary_table(result))
        for line in unjudged.lines(result):
            common.out.print_line(line)


def _print(result: EvaluationResult) -> None:
    from vecdb_rerank.evaluation.report import tables

    common.out.print_line(result["verdict"]["text"])
    common.out.print(
        tables.yardstick_table(result["yardstick"]),
        tables.table(result),
        tables.hits_table(result),
    )
    if result["effort_curve"]:
        common.out.print(tables.effort_table(result["effort_curve"]))
    if result["details"]["by_class"]:
        common.out.print(tables.class_table(result["details"]["by_class"]))
    if (found := result["gate"]) is not None:
        common.out.print(tables.gate_table(found))
        for note in found["notes"]:
            common.out.print_line(note)
    for line in (*tables.sentences(result), tables.environment_line(result)):
        common.out.print_line(line)


def _modes(given: str) -> list[Mode]:
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.request import Mode

    chosen = [mode.strip() for mode in given.split(",")]
    for mode in chosen:
        if mode not in get_args(Mode):
            raise ConfigurationError(
                "--modes", f"must be among: {', '.join(get_args(Mode))}; got {mode!r}"
            )
    return cast("list[Mode]", chosen)
