"""``vecdb-rerank search``: run one search and show what reranking changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from rich.table import Table

    from vecdb_rerank.config.settings import Settings
    from vecdb_rerank.model import Candidate
    from vecdb_rerank.outcome import Outcome
    from vecdb_rerank.request import Mode
    from vecdb_rerank.search.store import Finding


def command(
    query: Annotated[str, typer.Argument(help="Text to search for.")],
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: common.CollectionOption = None,
    mode: Annotated[str | None, typer.Option(help="hybrid, dense or bm25.")] = None,
    k: Annotated[
        int | None, typer.Option("--k", help="Number of first-pass candidates to rerank.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Number of hits to show.")] = None,
    offset: Annotated[int, typer.Option(help="Number of hits to skip.")] = 0,
    rerank: Annotated[bool, typer.Option(help="Rerank, or keep the first-pass order.")] = True,
    instruction: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="What counts as relevant, for rerankers that follow instructions.",
        ),
    ] = None,
    fields: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Fields to show, such as title,year. Default: text."),
    ] = None,
    filter: Annotated[
        str | None, typer.Option(metavar="JSON", help="Filter in the database's own form.")
    ] = None,
    text_fields: common.TextFieldsOption = None,
    language: common.LanguageOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the database's own response as JSON.")
    ] = False,
) -> None:
    """Search the configured collection and show what reranking changed.

    Nothing is written. A filter is Qdrant's {"must": [...]} or an OpenSearch
    query such as {"term": {"year": 2024}}.

    Example: vecdb-rerank search "how do I undo a commit" --k 100 --limit 5
    """
    from vecdb_rerank.config import factory
    from vecdb_rerank.errors import FirstPassError, SchemaError
    from vecdb_rerank.outcome import observe

    settings = common.settings(
        config, backend, collection, language=language, text_fields=text_fields
    ).settings
    if mode is not None:  # checks look for what this mode needs
        defaults = replace(settings.search, mode=cast("Mode", mode))
        settings = settings.model_copy(update={"search": defaults})
    options: dict[str, Any] = {"filter": _json("--filter", filter)}
    shown = common.names(fields or "")
    if shown:
        options[_selector(settings)] = shown
    settings.backend.require_existing()
    with closing(factory.build(settings)) as connector:
        if rerank:
            connector.warmup()  # loading a model does not count towards the deadline
        try:
            with observe() as outcomes:
                response = connector.search(
                    query,
                    k=k,
                    limit=limit,
                    offset=offset,
                    rerank=rerank,
                    instruction=instruction,
                    explain=True,
                    **options,
                )
        except FirstPassError as error:
            # The check names the setting or the command that helps; the database does not.
            for finding in _problems(connector):
                if finding.level == "error":
                    raise SchemaError(_sentence(finding)) from error
            raise
        [outcome] = outcomes
        candidates = connector.candidates(response)
        problems = [] if candidates else _problems(connector)
        notes = [*outcome.notes.values(), *map(_sentence, problems)]
        if candidates and settings.search.mode != "dense":
            notes += _misread(connector)
    for line in notes:
        common.err.print_line(f"note: {line}")
    if as_json:
        common.write_json(_plain(response))
        return
    common.out.print(_table(outcome, candidates, shown) if candidates else "no hits")
    common.out.print_line(_status(outcome))


def _json(option: str, given: str | None) -> Any:
    """Return the value of an option that is JSON."""
    from vecdb_rerank._checks import shown
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.records.json_records import problem

    if given is None:
        return None
    try:
        value = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(option, f"{problem(error)}; got {shown(given)}") from None
    if not isinstance(value, dict | list):
        raise ConfigurationError(option, f"must be a JSON object, got {shown(given)}")
    return value


def _selector(settings: Settings) -> str:
    """Return the search's option that chooses the fields to return."""
    from vecdb_rerank.errors import ConfigurationError

    selectors = {"qdrant": "with_payload", "opensearch": "_source"}
    if settings.backend.type not in selectors:
        raise ConfigurationError("--fields", f"must be absent with {settings.backend.type!r}")
    return selectors[settings.backend.type]


def _problems(connector: Any) -> list[Finding]:
    """Return what a check finds wrong; nothing if it cannot run either."""
    from vecdb_rerank.errors import VecdbRerankError

    try:
        return [finding for finding in connector.check() if not finding.ok]
    except VecdbRerankError:
        return []


def _misread(connector: Any) -> list[str]:
    """Return a note if the collection was indexed in another language; none if it is unreadable."""
    from vecdb_rerank.errors import VecdbRerankError

    try:
        why = common.run_on(connector, connector.store.misread())
    except VecdbRerankError:
        return []
    return [why] if why else []


def _sentence(finding: Finding) -> str:
    end = " " if finding.detail.endswith("?") else ": "
    return f"{finding.subject} {finding.detail}{end}{finding.fix}"


def _plain(response: Any) -> object:
    return response.model_dump(mode="json") if hasattr(response, "model_dump") else response


def _table(outcome: Outcome, candidates: Sequence[Candidate], fields: Sequence[str]) -> Table:
    """Return the hits with their ranks, scores and text, or the ``fields`` instead of the text."""
    from rich.markup import escape
    from rich.table import Table

    from vecdb_rerank.text_fields import as_text, lookup

    shown = Table()
    for name in ("rank", "was", "score", "first pass", "id"):
        shown.add_column(name, justify="right" if name != "id" else "left", no_wrap=name != "id")
    staged = any(hit.after for hit in outcome.hits)
    if staged:
        shown.add_column("rank after each stage")
    for name in fields or ("text",):
        shown.add_column(escape(name), ratio=1)
    for hit, candidate in zip(outcome.hits, candidates, strict=True):
        was = f"{hit.first_pass_rank} {_arrow(hit.first_pass_rank - hit.rank)}"
        scores = (f"{hit.score:.4f}", f"{hit.first_pass_score:.4f}")
        texts = [as_text(lookup(candidate.payload, name)) for name in fields] or [candidate.text]
        stages = [", ".join(f"{each.stage} {each.rank}" for each in hit.after)] if staged else []
        snippets = [common.snippet(text, 100) for text in texts]
        stored = (str(candidate.doc_id), *stages, *snippets)
        shown.add_row(str(hit.rank), was, *scores, *map(escape, stored))
    return shown


def _arrow(moved_up: int) -> str:
    if moved_up == 0:
        return "="
    return "[green]↑[/]" if moved_up > 0 else "[red]↓[/]"


def _status(outcome: Outcome) -> str:
    timings = ", ".join(f"{name} {ms:.0f} ms" for name, ms in outcome.timings.items())
    status = outcome.status.replace("_", " ")
    because = f" ({outcome.reason})" if outcome.reason else ""
    fused = ", fused by the client" if outcome.fused_by == "client" else ""
    weights = outcome.branch_weights.items() if outcome.scored else ()
    shares = "".join(f"; {name} {w.share:.0%} ({w.reason})" for name, w in weights)
    by = f" by {outcome.reranker}" if outcome.scored else ""
    scored = f"{outcome.scored} of {outcome.seen} candidates scored{by}"
    return f"{status}{because}: {scored}{fused}{shares}; {timings}"
