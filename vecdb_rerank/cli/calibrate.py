"""``vecdb-rerank calibrate``: fit a reranker's relevance to judged queries."""

from __future__ import annotations

from typing import Annotated

import typer

from vecdb_rerank.cli import common, judged


def command(
    folder: judged.FolderArgument = None,
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: judged.CollectionOption = None,
    queries_file: judged.QueriesFileOption = None,
    qrels: judged.QrelsOption = None,
    id_field: judged.IdFieldOption = None,
    judge_by: judged.JudgeByOption = None,
    k: Annotated[
        int, typer.Option("--k", help="Number of first-pass candidates to score per query.")
    ] = 50,
    queries: common.QueriesOption = None,
    seed: common.SeedOption = 0,
) -> None:
    """Fit the reranker's relevance to your judged queries and print the settings to use.

    A calibrated relevance is a probability: of the documents with 0.8, four in
    five are relevant, whichever reranker scored them. policy.min_relevance
    keeps its meaning when the reranker changes, and the blend can rely on the
    relevance.

    The collection is that of `evaluate`: DIR in a temporary one, or an existing
    one, to which nothing is written.

    Example: vecdb-rerank calibrate DIR --queries 200 >> vecdb_rerank.toml
    """
    from vecdb_rerank.evaluation.calibrate import MIN_RELEVANT, calibrate
    from vecdb_rerank.evaluation.significance import too_few

    settings = common.settings(config, backend, collection).settings
    dataset = judged.read(
        settings, folder, collection, queries_file, qrels, id_field, judge_by
    ).sample(queries, seed)
    with common.progress() as shown:
        found = calibrate(
            settings, dataset, k=k, on_progress=common.Bars(shown), on_note=judged.note
        )
    common.err.print_line(
        f"{found.pairs:,} candidates of {len(dataset.queries):,} queries, {found.relevant:,} "
        f"relevant; log loss {found.loss_before:.3f} -> {found.loss_after:.3f}"
    )
    if warning := too_few(len(dataset.queries)):
        common.err.print_line(warning)
    if found.relevant < MIN_RELEVANT:
        common.err.print_line(
            f"fewer than {MIN_RELEVANT} are relevant: judge more before you rely on this"
        )
    common.out.print_line(found.toml)
