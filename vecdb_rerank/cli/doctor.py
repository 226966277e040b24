"""``vecdb-rerank doctor``: what stands between the configuration and a good search."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from vecdb_rerank.config.settings import Settings
    from vecdb_rerank.search.store import Finding


def command(
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: common.CollectionOption = None,
    diagnose: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Look for known failures on judged queries (BEIR layout) instead."
        ),
    ] = None,
    queries: Annotated[int, typer.Option(help="So many sampled queries of DIR.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
) -> None:
    """Check models, connection, versions, plugins and schema; print for each what to do.

    With --diagnose, the known ways in which a reranked search fails are
    looked for on your own judged queries: a first pass too narrow, an order
    made worse, relevant documents with a low relevance, reranking too slow,
    documents read in part or differently by their form. Each has its
    threshold and what to do. The documents go to a collection of their own,
    deleted afterwards.
    """
    from vecdb_rerank import __version__
    from vecdb_rerank.config import factory
    from vecdb_rerank.config.settings import inside

    settings = common.settings(config, backend, collection).settings
    if diagnose is not None:
        _print(_diagnosed(settings, diagnose, queries, seed))
        return
    common.out.print(f"vecdb-rerank {__version__}, Python {platform.python_version()}")
    findings = [
        _try("embedder", lambda: _embedder(factory.embedder(settings))),
        *(
            _try(".".join(path), partial(_reranker, part))
            for section in settings.chain
            for path, part in inside(section, ("reranker",))
        ),
        *_database(settings),
    ]
    _print(findings)


def _print(findings: Sequence[Finding]) -> None:
    """Print findings as a table; exit with 1 where one is not fine."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table("", "what", "found", "what to do")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[red]no[/]"
        shown.add_row(mark, *map(escape, (finding.subject, finding.detail, finding.fix)))
    common.out.print(shown)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _diagnosed(settings: Settings, folder: Path, queries: int, seed: int) -> list[Finding]:
    from vecdb_rerank.evaluation import datasets
    from vecdb_rerank.evaluation.diagnose import diagnose

    dataset = datasets.load(folder).sample(queries, seed)
    with common.progress() as shown:
        return diagnose(settings, dataset, on_progress=common.Bars(shown))


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
    from vecdb_rerank.config import factory
    from vecdb_rerank.flow.deadline import Deadline
    from vecdb_rerank.resilience.latency import Estimate, Timed

    if (reranker := factory.component("rerankers", section)) is None:
        return "none: hits stay in first-pass order"
    if section.type == "cascade":
        return f"{reranker.name}; the second one reads the best {section.best}"
    documents = [
        f"Document {n}: the cross-encoder reads query and document. " * 5 for n in range(10)
    ]
    reranker.score("warm up", documents[:1], deadline=Deadline())
    timed = []
    for count in (1, len(documents)):
        started = time.perf_counter()
        reranker.score("what does it read?", documents[:count], deadline=Deadline())
        timed.append(Timed(0.0, count, time.perf_counter() - started))
    predict_count = Estimate.of(timed).seconds(50) * 1e3
    return f"{reranker.name}; about {predict_count:.0f} ms for k=50 with documents of 60 tokens"


def _database(settings: Settings) -> list[Finding]:
    from vecdb_rerank.config import factory
    from vecdb_rerank.errors import VecdbRerankError
    from vecdb_rerank.search.store import Finding

    try:
        with closing(factory.build(_by_itself(settings))) as connector:
            return list(connector.check())
    except VecdbRerankError as error:
        return [Finding(settings.backend.type, False, str(error), "correct the section [backend]")]


def _by_itself(settings: Settings) -> Settings:
    """The settings of the database alone: it is checked whatever else is wrong."""
    from vecdb_rerank.config import factory
    from vecdb_rerank.config.settings import NoneSettings
    from vecdb_rerank.errors import VecdbRerankError

    bare: dict[str, Any] = {"reranker": NoneSettings(), "rerankers": ()}
    try:
        if (embedder := factory.embedder(settings)) is not None:
            _ = embedder.dimension
    except VecdbRerankError:
        bare["embedder"] = NoneSettings()
    return settings.model_copy(update=bare)


def _try(subject: str, check: Callable[[], str]) -> Finding:
    from vecdb_rerank.errors import MissingDependencyError, VecdbRerankError
    from vecdb_rerank.search.store import Finding

    try:
        return Finding(subject, True, check())
    except MissingDependencyError as error:
        return Finding(subject, False, str(error), "install it")
    except VecdbRerankError as error:
        return Finding(subject, False, str(error), f"correct the section [{subject}]")
