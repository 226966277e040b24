"""``vecdb-rerank search``: one search, with the old and the new rank of each hit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from rich.table import Table

    from vecdb_rerank.model import Candidate
    from vecdb_rerank.outcome import Outcome
    from vecdb_rerank.request import Mode


def command(
    query: Annotated[str, typer.Argument(help="What to search for.")],
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: common.CollectionOption = None,
    mode: Annotated[str | None, typer.Option(help="hybrid, dense or bm25.")] = None,
    k: Annotated[int | None, typer.Option("--k", help="First-pass candidates to rerank.")] = None,
    limit: Annotated[int | None, typer.Option(help="Hits to show.")] = None,
    offset: Annotated[int, typer.Option(help="Hits to leave out first.")] = 0,
    rerank: Annotated[bool, typer.Option(help="Rerank, or keep the first-pass order.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the database's own response instead.")
    ] = False,
) -> None:
    """Search the configured collection and show what reranking changed."""
    from vecdb_rerank.config import factory
    from vecdb_rerank.outcome import observe

    connector = factory.build(common.settings(config, backend, collection).settings)
    try:
        _require_ready(connector)
        if rerank:
            connector.warmup()  # a deadline is about searching, not about loading
        with observe() as outcomes:
            response = connector.search(
                query,
                mode=cast("Mode | None", mode),
                k=k,
                limit=limit,
                offset=offset,
                rerank=rerank,
                explain=True,
            )
        [outcome] = outcomes
        candidates = connector.candidates(response)
    finally:
        connector.close()
    if as_json:
        common.out.print_json(json.dumps(_plain(response)))
        return
    common.out.print(_table(outcome, candidates) if candidates else "no hits")
    common.out.print(_status(outcome), highlight=False, markup=False)


def _require_ready(connector: Any) -> None:
    """An error in one line for a missing collection or a wrong field, which would find nothing."""
    from vecdb_rerank.errors import SchemaError

    for finding in connector.check():
        if not finding.ok:
            raise SchemaError(f"{finding.subject} {finding.detail}: {finding.fix}")


def _plain(response: Any) -> Any:
    return response.model_dump(mode="json") if hasattr(response, "model_dump") else response


def _table(outcome: Outcome, candidates: Sequence[Candidate]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    shown = Table()
    for name in ("rank", "was", "score", "first pass", "id"):
        shown.add_column(name, justify="right" if name != "id" else "left", no_wrap=name != "id")
    shown.add_column("text", ratio=1)
    for hit, candidate in zip(outcome.hits, candidates, strict=True):
        was = f"{hit.first_pass_rank} {_arrow(hit.first_pass_rank - hit.rank)}"
        scores = (f"{hit.score:.4f}", f"{hit.first_pass_score:.4f}")
        stored = (escape(str(candidate.doc_id)), escape(common.snippet(candidate.text, 100)))
        shown.add_row(str(hit.rank), was, *scores, *stored)
    return shown


def _arrow(moved_up: int) -> str:
    if moved_up == 0:
        return "="
    return "[green]↑[/]" if moved_up > 0 else "[red]↓[/]"


def _status(outcome: Outcome) -> str:
    timings = ", ".join(f"{name} {ms:.0f} ms" for name, ms in outcome.timings.items())
    said = outcome.status.replace("_", " ")
    because = f" ({outcome.reason})" if outcome.reason else ""
    fused = ", fused by the client" if outcome.fused_by == "client" else ""
    by = f" by {outcome.reranker}" if outcome.scored else ""
    scored = f"{outcome.scored} of {outcome.seen} candidates scored{by}"
    return f"{said}{because}: {scored}{fused}; {timings}"
