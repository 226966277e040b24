"""``vecdb-rerank index``: fill a collection from files."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from vecdb_rerank.config.loading import Loaded
    from vecdb_rerank.config.settings import Settings
    from vecdb_rerank.ingest.files import DocumentFiles
    from vecdb_rerank.ingest.model import IngestReport
    from vecdb_rerank.records.model import Format
    from vecdb_rerank.search.connector import Connector

SHOWN = 20  # documents that were not stored, of which each gets a line


def command(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Files, folders of Markdown and text, or - for standard input.",
        ),
    ],
    config: common.ConfigOption = None,
    backend: common.BackendOption = None,
    collection: common.CollectionOption = None,
    id_field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Field that holds the id.")
    ] = None,
    text_fields: common.TextFieldsOption = None,
    language: common.LanguageOption = None,
    format: Annotated[
        str | None,
        typer.Option(help="json, csv, tsv, text or parquet. Default: by name and content."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Documents per request.")] = 64,
) -> None:
    """Add documents from files, and create the collection if it is missing.

    Reads JSON lines, JSON arrays, CSV and TSV (the first row names the fields),
    Parquet, and Markdown and text (a document per file), gzip and zstd too. The
    id of a document is its field "_id" or "id", or else a hash of its content:
    indexing the same file again changes nothing. If the database is
    unavailable, the command retries for two minutes.

    Example: vecdb-rerank index articles.csv --text-fields title,body
    """
    from vecdb_rerank.config import factory
    from vecdb_rerank.ingest.files import DocumentFiles

    loaded = common.settings(
        config, backend, collection, language=language, text_fields=text_fields
    )
    settings = loaded.settings
    documents = DocumentFiles(
        files, settings.text_fields, format=cast("Format | None", format), id_field=id_field
    )
    with closing(factory.build(settings)) as connector:
        done = 0

        def show(count: int) -> None:
            nonlocal done
            done = count
            bars("indexing", count, documents.total)

        with common.progress() as shown:
            bars = common.Bars(shown)
            created = connector.create()
            before = 0 if created else _stored(connector)
            _propose_language(loaded, documents)
            try:
                report = connector.add(documents, batch_size=batch_size, on_progress=show)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"{done:,} documents are stored; run the command again to add the others"
                ) from None
        after = _stored(connector)
    added = report.added
    if before is not None and after is not None:  # others may have written, too
        added = max(0, min(added, after - before))
    overwritten = report.added - added
    where = "a new collection" if created else "an existing collection"
    rest = f", and {overwritten:,} replaced," if overwritten else ""
    common.err.print_line(
        f"{common.documents(added)} added to {where}{rest} in {report.seconds:.1f} s"
    )
    _print_remarks(settings, documents, report)
    _print_settings(language, text_fields)
    if documents.unreadable or report.failed:
        raise typer.Exit(1)


def _stored(connector: Connector[Any]) -> int | None:
    """Return the number of stored documents; None if the database does not say."""
    from vecdb_rerank.errors import DatabaseError

    try:
        return common.run_on(connector, connector.store.count())
    except DatabaseError:
        return None


def _propose_language(loaded: Loaded, documents: DocumentFiles) -> None:
    """Name the language of the documents if no setting does and it is not the default."""
    from vecdb_rerank.ingest.language import detect_language

    backend, text_fields = loaded.settings.backend, loaded.settings.text_fields
    assumed = getattr(backend, "language", None)
    if assumed is None or loaded.origin("backend", "language") != "default":
        return
    seen = detect_language(text_fields.text(document.payload) for document in documents.sample)
    if seen is not None and seen != assumed:
        common.err.print_line(
            f"note: the texts seem to be {seen}, and are indexed as {assumed}; to correct it, "
            f"index them with --language {seen} into another collection (--collection NAME)",
            style="yellow",
        )


def _print_remarks(settings: Settings, documents: DocumentFiles, report: IngestReport) -> None:
    """Say what happened beside that documents were added."""
    paths = settings.text_fields.paths
    others = sorted({str(key) for each in documents.sample for key in each.payload} - {*paths})
    rest = f"; other fields: {', '.join(others)}" if others else ""
    common.err.print_line(f"text is read from {', '.join(paths)}{rest}")
    others = [name for name in documents.id_fields() if name not in paths]
    if documents.hashed and others:
        common.err.print_line(
            "note: ids are made from the content, so a document that has changed is added beside "
            "the old one; --id-field names the field that holds ids, perhaps: "
            f"{', '.join(others[:SHOWN])}",
            style="yellow",
        )
    if report.without_text:
        common.err.print_line(
            f"{report.without_text:,} of them have no text there: name the fields that hold it "
            "with --text-fields and index them again",
            style="yellow",
        )
    replaced = documents.count - report.added - len(report.failed)
    if replaced > 0:
        common.err.print_line(
            f"{common.documents(replaced)} came with the id of another one, and replaced it"
        )
    if report.retries:
        common.err.print_line(f"{report.retries} requests were repeated")
    failed = [(problem.where, problem.reason) for problem in documents.problems]
    failed += [(str(failure.id), failure.reason) for failure in report.failed]
    for what, why in failed[:SHOWN]:
        common.err.print_line(f"not stored: {what}: {why}", style="red")
    if failed:
        count = documents.unreadable + len(report.failed)
        common.err.print_line(f"not stored: {common.documents(count)}", style="red")


def _print_settings(language: str | None, text_fields: str | None) -> None:
    """Name the settings without which searches would read the documents in another way."""
    from vecdb_rerank.config.loading import DEFAULT_FILE

    lines = []
    if language is not None:
        lines.append(f"backend.language = {json.dumps(language)}")
    if text_fields is not None:
        lines.append(
            f"text_fields.fields = {json.dumps(common.names(text_fields), ensure_ascii=False)}"
        )
    if lines:
        common.err.print_line(
            f"search with the same options, or write into {DEFAULT_FILE}: {'; '.join(lines)}"
        )
