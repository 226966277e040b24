"""``vecdb-rerank doctor``: what stands between the configuration and a good search."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from vecdb_rerank.connector import Finding


def command(
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: common.CollectionOption = None,
) -> None:
    """Check models, connection, versions, plugins and schema; print for each what to do."""
    from rich.markup import escape
    from rich.table import Table

    from vecdb_rerank import __version__, factory

    settings = common.settings(config, backend, collection).settings
    common.out.print(f"vecdb-rerank {__version__}, Python {platform.python_version()}")
    findings = [
        _try("embedder", lambda: _embedder(factory.embedder(settings))),
        *(_try("reranker", partial(_reranker, section)) for section in settings.chain),
        *_database(settings),
    ]
    shown = Table("", "what", "found", "what to do")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]no[/]"
        shown.add_row(mark, *map(escape, (finding.subject, finding.detail, finding.fix)))
    common.out.print(shown)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _embedder(embedder: Any) -> str:
    if embedder is None:
        return "none: every call brings its query_vector"
    started = time.perf_counter()
    embedder.embed_query("warm up")
    started, loaded = time.perf_counter(), time.perf_counter() - started
    embedder.embed_query("how long does one query take?")
    took = (time.perf_counter() - started) * 1e3
    return (
        f"{embedder.name}, {embedder.dimension} wide; {loaded:.1f} s to load, {took:.0f} ms a query"
    )


def _reranker(section: Any) -> str:
    from vecdb_rerank import factory
    from vecdb_rerank.deadline import Deadline
    from vecdb_rerank.pace import Estimate, Timed

    if (reranker := factory.component("rerankers", section)) is None:
        return "none: hits stay in first-pass order"
    documents = [
        f"Document {n}: the cross-encoder reads query and document. " * 5 for n in range(10)
    ]
    reranker.score("warm up", documents[:1], deadline=Deadline())
    timed = []
    for count in (1, len(documents)):
        started = time.perf_counter()
        reranker.score("what does it read?", documents[:count], deadline=Deadline())
        timed.append(Timed(0.0, count, time.perf_counter() - started))
    foretold = Estimate.of(timed).seconds(50) * 1e3
    return f"{reranker.name}; about {foretold:.0f} ms for k=50 with documents of 60 tokens"


def _database(settings: Any) -> list[Finding]:
    from vecdb_rerank import factory
    from vecdb_rerank.connector import Finding
    from vecdb_rerank.errors import VecdbRerankError

    try:
        with closing(factory.build(settings)) as connector:
            return list(connector.check())
    except VecdbRerankError as error:
        return [Finding(settings.backend.type, False, str(error), "see the message")]


def _try(subject: str, check: Callable[[], str]) -> Finding:
    from vecdb_rerank.connector import Finding
    from vecdb_rerank.errors import VecdbRerankError

    try:
        return Finding(subject, True, check())
    except VecdbRerankError as error:
        return Finding(subject, False, str(error), f"correct the section [{subject}]")
