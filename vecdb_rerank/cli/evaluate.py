"""``vecdb-rerank evaluate``: quality and latency on judged queries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from vecdb_rerank.cli import common


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="corpus.jsonl, queries.jsonl and qrels.tsv (BEIR layout)."
        ),
    ],
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    modes: Annotated[str, typer.Option(help="Which first passes.")] = "bm25,dense,hybrid",
    k: Annotated[
        int | None,
        typer.Option("--k", help="First-pass candidates to rerank; default: search.k."),
    ] = None,
    queries: Annotated[int | None, typer.Option(help="Only so many sampled queries.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache",
            help="Keep the reranker's scores on disk and use those that are there; times are then "
            "not told.",
        ),
    ] = False,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write JSON; - prints it.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a report with charts, in one file.")
    ] = None,
    chart: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the charts as .png or .svg.")
    ] = None,
) -> None:
    """Measure NDCG@10, MRR@10, recall@k and latency, each mode raw and reranked.

    Beside the table: how many queries reranking makes better or worse and
    whether that is more than chance, the k that the first pass needs, and
    what 5 reranked hits hold against 20 of the first pass. The HTML report
    also has the worst queries with their texts.

    The documents go to a collection of their own on the configured server,
    deleted afterwards (an embedded Qdrant is kept in memory). No server is
    started.
    """
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.evaluation import datasets
    from vecdb_rerank.evaluation.evaluate import evaluate
    from vecdb_rerank.evaluation.report import charts, tables
    from vecdb_rerank.evaluation.report import html as page
    from vecdb_rerank.request import Mode

    chosen = [mode.strip() for mode in modes.split(",")]
    for mode in chosen:
        if mode not in get_args(Mode):
            raise ConfigurationError("--modes", f"{mode!r} is none of {', '.join(get_args(Mode))}")
    for option, file in (("--json", json_file), ("--html", html), ("--chart", chart)):
        if file is not None and file != "-":
            common.require_writable(Path(file), option)
    if chart is not None:
        charts.check(chart)
    dataset = datasets.load(folder).sample(queries, seed)
    loaded = common.settings(config, backend)
    with common.progress() as shown:
        result = evaluate(
            loaded.settings,
            dataset,
            modes=chosen,  # type: ignore[arg-type]  # checked above
            k=k,
            cache=cache,
            on_progress=common.Bars(shown),
        )
    if html is not None:
        html.write_text(page.evaluation(result), encoding="utf-8")
    if chart is not None:
        charts.save(charts.EVALUATION, result, chart, tables.title(result))
    if json_file is not None:
        common.write_json(result, json_file)
    if json_file == "-":
        return
    common.out.print(tables.table(result), tables.hits_table(result))
    for line in tables.sentences(result):
        common.out.print(line, highlight=False, markup=False, soft_wrap=True)
