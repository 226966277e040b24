"""``vecdb-rerank evaluate``: quality and latency on judged queries."""

from __future__ import annotations

import json
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
    k: Annotated[int, typer.Option("--k", help="First-pass candidates to rerank.")] = 50,
    queries: Annotated[int | None, typer.Option(help="Only so many sampled queries.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write JSON; - prints it.")
    ] = None,
) -> None:
    """Measure NDCG@10, MRR@10, recall@k and latency, each mode raw and reranked.

    The documents go to a collection of their own on the configured server, deleted afterwards
    (an embedded Qdrant is kept in memory). No server is started.
    """
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.evaluation import datasets, report
    from vecdb_rerank.evaluation.evaluate import evaluate
    from vecdb_rerank.search import Mode

    chosen = [mode.strip() for mode in modes.split(",")]
    for mode in chosen:
        if mode not in get_args(Mode):
            raise ConfigurationError(f"--modes: {mode!r} is none of {', '.join(get_args(Mode))}")
    if json_file not in (None, "-"):
        _require_writable(Path(json_file))
    dataset = datasets.load(folder).sample(queries, seed)
    loaded = common.settings(config, backend)
    with common.progress() as shown:
        result = evaluate(
            loaded.settings,
            dataset,
            modes=chosen,  # type: ignore[arg-type]  # checked above
            k=k,
            on_progress=common.Bars(shown),
        )
    text = json.dumps(result, indent=2)
    if json_file == "-":
        typer.echo(text)
        return
    if json_file is not None:
        Path(json_file).write_text(f"{text}\n", encoding="utf-8")
    common.out.print(report.table(result))


def _require_writable(file: Path) -> None:
    """An error now rather than after the measuring."""
    from vecdb_rerank.errors import ConfigurationError

    try:
        file.open("a").close()
    except OSError as error:
        raise ConfigurationError(f"--json: {file}: {error.strerror}") from None
