"""``vecdb-rerank doctor``: check the configuration, and say what to do about each problem."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vecdb_rerank.cli import common, judged

if TYPE_CHECKING:
    from vecdb_rerank.config.settings import RerankerSettings, Settings
    from vecdb_rerank.evaluation.datasets import Dataset
    from vecdb_rerank.protocols import Embedder
    from vecdb_rerank.request import SearchDefaults
    from vecdb_rerank.search.store import Finding, Level

MARKS: Mapping[Level, str] = {
    "ok": "[green]ok[/]",
    "note": "[cyan]note[/]",
    "warning": "[yellow]warning[/]",
    "error": "[red]error[/]",
}


def command(
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: Annotated[
        str | None,
        typer.Option("--collection", help="Collection or index to check, or to diagnose as it is."),
    ] = None,
    diagnose: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Look for known problems on judged queries (BEIR layout) instead."
        ),
    ] = None,
    queries: Annotated[
        int, typer.Option(help="Number of queries to sample, of those that are given.")
    ] = 50,
    queries_file: judged.QueriesFileOption = None,
    qrels: judged.QrelsOption = None,
    id_field: judged.IdFieldOption = None,
    judge_by: judged.JudgeByOption = None,
    seed: common.SeedOption = 0,
    create_text_index: Annotated[
        bool,
        typer.Option(
            "--create-text-index", help="First create the text index of backend.text_index."
        ),
    ] = False,
) -> None:
    """Check models, connection, versions, plugins and schema, with a fix for each problem.

    Exits with 1 if anything needs attention. Searches for a sentence of each of
    32 stored documents show whether BM25 and the vectors find them.

    With --diagnose, the command looks for known problems of reranked searches
    on your own judged queries: too few candidates, a worse order, relevant
    documents with a low relevance, slow reranking, and documents that are
    truncated or read differently depending on their form. Each has a threshold
    and a remedy. The documents go to a temporary collection. With --collection,
    or with --qrels instead of --diagnose, the existing collection is searched,
    and nothing is written to it.

    With --queries-file alone, 50 of your own queries tell whether BM25 is weak
    for them, by the reranker's relevance, and whether they are wrapped in an
    instruction. No judgments are needed.

    Example: vecdb-rerank doctor --diagnose DIR --queries 100
    """
    from vecdb_rerank import __version__
    from vecdb_rerank.config import factory
    from vecdb_rerank.config.settings import inside

    settings = common.settings(config, backend, collection).settings
    if queries_file is not None and diagnose is None and qrels is None:
        dataset = judged.read_unjudged(settings, queries_file, id_field, judge_by)
        _print(_branches(settings, dataset.sample(queries, seed)))
        return
    if any(given is not None for given in (diagnose, queries_file, qrels)):
        dataset = judged.read(
            settings, diagnose, collection, queries_file, qrels, id_field, judge_by
        )
        _print(_diagnosed(settings, dataset.sample(queries, seed)))
        return
    if create_text_index:
        with closing(factory.build(_without_models(settings))) as connector:
            common.run_on(connector, connector.store.create_text_index())
        common.err.print_line("text index created")
    common.out.print_line(f"vecdb-rerank {__version__}, Python {platform.python_version()}")
    findings = [
        _try("embedder", lambda: _embedder(factory.embedder(settings))),
        *(
            _try(
                ".".join(path),
                partial(_reranker, part, settings.search),
            )
            for section in settings.chain
            for path, part in inside(section, ("reranker",))
        ),
        *_database(settings),
    ]
    _print(findings)


def _print(findings: Sequence[Finding]) -> None:
    """Print findings as a table; exit with 1 if one needs attention."""
    from rich.markup import escape
    from rich.table import Table

    shown = Table("", "what", "found", "what to do")
    for finding in findings:
        cells = (finding.subject, finding.detail, finding.fix)
        shown.add_row(MARKS[finding.level], *map(escape, cells))
    common.out.print(shown)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _diagnosed(settings: Settings, dataset: Dataset) -> list[Finding]:
    from vecdb_rerank.evaluation.diagnose import diagnose

    with common.progress() as shown:
        return diagnose(settings, dataset, on_progress=common.Bars(shown), on_note=judged.note)


def _branches(settings: Settings, dataset: Dataset) -> list[Finding]:
    from vecdb_rerank.evaluation import branches

    with common.progress() as shown:
        compared = branches.compare(
            settings, dataset, on_progress=common.Bars(shown), on_note=judged.note
        )
    return [branches.instruction(list(dataset.queries.values())), compared]


def _embedder(embedder: Embedder | None) -> Finding:
    from vecdb_rerank.embedders.flows import closing as closing_embedder
    from vecdb_rerank.flow.drivers import run
    from vecdb_rerank.search.store import Finding

    if embedder is None:
        return Finding("", "ok", "none: dense searches need a query_vector")
    try:
        started = time.perf_counter()
        embedder.embed_query("warm up")
        started, loaded = time.perf_counter(), time.perf_counter() - started
        embedder.embed_query("how long does one query take?")
        took = (time.perf_counter() - started) * 1e3
    finally:
        run(closing_embedder(embedder))
    name = getattr(embedder, "name", type(embedder).__name__)  # not part of the protocol
    speed = f"{loaded:.1f} s to load, {took:.0f} ms per query"
    return Finding("", "ok", f"{name}, {embedder.dimension} dimensions; {speed}")


def _reranker(section: RerankerSettings, search: SearchDefaults) -> Finding:
    """Call a reranker with ``k`` documents, as a ``search`` does.

    A server that ignores instructions is a warning if there is one, else a note.
    """
    from vecdb_rerank.config import factory
    from vecdb_rerank.config.settings import CascadeSettings, CrossEncoderSettings
    from vecdb_rerank.resilience.probe import probe
    from vecdb_rerank.search.store import Finding

    if (reranker := factory.component("rerankers", section)) is None:
        return Finding("", "ok", "none: hits keep the first-pass order")
    if isinstance(section, CascadeSettings):
        detail = f"{reranker.name}; the second one reads the best {section.best}"
        return Finding("", "ok", detail)
    found = probe(reranker, search.k)
    if found.problem is not None:
        fix = "check its model, format and scale"
        return Finding("", found.level, f"{found.name}: {found.problem}", fix)
    took = f"about {found.milliseconds:.0f} ms for k={search.k} with documents of 20 tokens"
    if found.ignores_instructions:
        is_used = bool(search.instruction or getattr(section, "instruction", None))
        detail = (
            f"{found.name}; {took}; instruction_ignored: it refuses instructions, or scores "
            "a pair the same under two"
        )
        fix = "update the server, or use a model whose template has a place for an instruction"
        return Finding("", "warning" if is_used else "note", detail, fix)
    if isinstance(section, CrossEncoderSettings) and not section.compile:
        from vecdb_rerank.torch_engine.products import faster_dtype

        if (faster := faster_dtype(section.dtype, section.device)) is not None:
            dtype, why = faster
            detail = f"{found.name}; {took}; slow_dtype: {why}"
            return Finding("", "note", detail, f'set dtype = "{dtype}"')
    return Finding("", "ok", f"{found.name}; {took}")


def _database(settings: Settings) -> list[Finding]:
    from vecdb_rerank.config import factory
    from vecdb_rerank.errors import VecdbRerankError
    from vecdb_rerank.request import NONE
    from vecdb_rerank.search import self_retrieval
    from vecdb_rerank.search.directions import directions
    from vecdb_rerank.search.store import Finding

    try:
        settings.backend.require_existing()
        with closing(factory.build(_without_models(settings))) as connector:
            findings = list(connector.check())
            if any(found.level == "error" for found in findings):
                return findings
            measured = connector.self_retrieval()
            if measured is not None:
                findings.append(self_retrieval.finding(measured, settings.search.fusion))
            vector = getattr(settings.backend, "dense_vector", None) or ""
            if settings.search.mode != "bm25" and vector != NONE:
                checking = directions(connector.pipeline, connector.store, vector, measured)
                findings += filter(None, [common.run_on(connector, checking)])
            return findings
    except VecdbRerankError as error:
        problem, _, fix = str(error).partition("; ")
        fix = fix or "correct the section [backend]"
        return [Finding(settings.backend.type, "error", problem, fix)]


def _without_models(settings: Settings) -> Settings:
    """Return settings for checking the database even if a model does not load."""
    from vecdb_rerank.config import factory
    from vecdb_rerank.config.settings import NoneSettings
    from vecdb_rerank.embedders.flows import closing as closing_embedder
    from vecdb_rerank.errors import VecdbRerankError
    from vecdb_rerank.flow.drivers import run

    none = NoneSettings()
    without_reranker = settings.model_copy(update={"reranker": none, "rerankers": ()})
    try:
        if (embedder := factory.embedder(settings)) is not None:
            try:
                _ = embedder.dimension
            finally:
                run(closing_embedder(embedder))
    except VecdbRerankError:
        return without_reranker.model_copy(update={"embedder": none})
    return without_reranker


def _try(subject: str, check: Callable[[], Finding]) -> Finding:
    """Return what ``check`` finds about ``subject``; an error of this package is a finding."""
    from vecdb_rerank.errors import MissingDependencyError, VecdbRerankError
    from vecdb_rerank.search.store import Finding

    try:
        return replace(check(), subject=subject)
    except MissingDependencyError as error:
        return Finding(subject, "error", str(error), "install it")
    except VecdbRerankError as error:
        return Finding(subject, "error", str(error), f"correct the section [{subject}]")
