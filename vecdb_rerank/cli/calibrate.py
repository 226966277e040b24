"""``vecdb-rerank calibrate``: what a reranker's numbers mean on your documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
    k: Annotated[int, typer.Option("--k", help="First-pass candidates to score.")] = 50,
    queries: Annotated[int | None, typer.Option(help="Only so many sampled queries.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
) -> None:
    """Fit the reranker's relevance to your judged queries; print the settings to use.

    A calibrated relevance is a probability: 0.8 means that four of five such documents are
    relevant, whichever reranker says so. `policy.min_relevance` then keeps its meaning when the
    reranker is changed, and the blend knows when a reranker is sure.
    """
    from vecdb_rerank.evaluation import datasets
    from vecdb_rerank.evaluation.calibrate import MIN_RELEVANT, calibrate

    dataset = datasets.load(folder).sample(queries, seed)
    with common.progress() as shown:
        found = calibrate(
            common.settings(config, backend).settings, dataset, k=k, on_progress=common.Bars(shown)
        )
    common.err.print(
        f"{found.pairs:,} candidates of {len(dataset.queries):,} queries, {found.relevant:,} "
        f"relevant; log loss {found.loss_before:.3f} -> {found.loss_after:.3f}",
        highlight=False,
    )
    if found.relevant < MIN_RELEVANT:
        common.err.print(
            f"fewer than {MIN_RELEVANT} relevant ones: judge more before you rely on it"
        )
    typer.echo(found.toml)
