"""The options for queries, judgments and the collection they are measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from vecdb_rerank.config.settings import Settings
    from vecdb_rerank.evaluation.datasets import Dataset
    from vecdb_rerank.evaluation.document_ids import DocumentIds
    from vecdb_rerank.evaluation.metrics import Ranked
    from vecdb_rerank.evaluation.runs import Run

FolderArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIR",
        help="Folder with corpus.jsonl, queries.jsonl and qrels.tsv (BEIR layout), to index.",
    ),
]
CollectionOption = Annotated[
    str | None,
    typer.Option(
        "--collection", help="Measure on this collection as it is. Without DIR: the configured one."
    ),
]
QueriesFileOption = Annotated[
    Path | None,
    typer.Option(
        "--queries-file", metavar="FILE", help="Queries: JSON lines, CSV, TSV or TREC topics."
    ),
]
QrelsOption = Annotated[
    Path | None,
    typer.Option(
        "--qrels", metavar="FILE", help="Judgments: CSV, TSV, JSON lines, TREC, _rank_eval."
    ),
]
IdFieldOption = Annotated[
    str | None,
    typer.Option("--id-field", metavar="FIELD", help="Payload field with the judged ids."),
]
JudgeByOption = Annotated[
    str | None,
    typer.Option(
        "--judge-by",
        metavar="FIELD",
        help="Payload field with the id of a chunk's document, if documents are judged.",
    ),
]


def read(
    settings: Settings,
    folder: Path | None,
    collection: str | None,
    queries_file: Path | None,
    qrels: Path | None,
    id_field: str | None,
    judge_by: str | None,
) -> Dataset:
    """Return the queries and judgments, and the documents of ``folder`` if they are measured on.

    Raises `ConfigurationError` if an option is missing or a file is wrong.
    """
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.evaluation import datasets

    ids = _ids(id_field, judge_by)
    if folder is not None and collection is None:
        return datasets.load(folder, queries=queries_file, qrels=qrels, ids=ids)
    if folder is None and qrels is None:
        raise ConfigurationError(
            "DIR", "name a folder in the BEIR layout, or your judgments: --qrels FILE"
        )
    name = collection_name(settings)
    return datasets.live(name, folder=folder, queries=queries_file, qrels=qrels, ids=ids)


def read_unjudged(
    settings: Settings, queries_file: Path, id_field: str | None, judge_by: str | None
) -> Dataset:
    """Return queries for the configured collection, without judgments."""
    from vecdb_rerank.evaluation import datasets

    return datasets.unjudged(collection_name(settings), queries_file, _ids(id_field, judge_by))


def collection_name(settings: Settings) -> str:
    """Return the name of the configured collection or index."""
    return str(getattr(settings.backend, "collection", settings.backend.type))


def runs(files: Sequence[Path], dataset: Dataset) -> dict[str, Ranked]:
    """Return the runs of other systems by the names of their files, and print notes about them."""
    from vecdb_rerank.evaluation import trec_runs

    found: dict[str, Ranked] = {}
    for file in files:
        found[f"run {file.name}"], notes = trec_runs.read(file, dataset.queries, dataset.qrels)
        for sentence in notes:
            note(sentence)
    return found


def write_runs(stages: Mapping[str, Run], target: Path) -> None:
    """Write the reranked order to a file, hybrid if it was measured; all orders into a folder."""
    from vecdb_rerank.evaluation import trec_runs

    *_, last = stages
    main = "hybrid+rerank" if "hybrid+rerank" in stages else last
    chosen = {target / f"{n}.trec": n for n in stages} if target.is_dir() else {target: main}
    for file, name in chosen.items():
        common.write_text(file, "".join(trec_runs.lines(stages[name].ranked, name)))


def note(sentence: str) -> None:
    """Print a sentence about the collection or the judgments to standard error."""
    common.err.print_line(f"note: {sentence}")


def _ids(id_field: str | None, judge_by: str | None) -> DocumentIds:
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.evaluation.document_ids import DocumentIds

    if id_field is not None and judge_by is not None:
        raise ConfigurationError("--judge-by", "replaces --id-field; give one of them")
    return DocumentIds(judge_by or id_field, chunks=judge_by is not None)
