"""``vecdb-rerank judgments``: exchange relevance judgments with other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vecdb_rerank.cli import common, judged

app = typer.Typer(
    help="Example: vecdb-rerank judgments convert quepid.csv qrels.tsv --to beir\n\n"
    "Exchange judgments with Quepid, OpenSearch and others.",
    short_help="Exchange judgments with Quepid, OpenSearch and others.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:
    pass


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Judgments, in a format that evaluate reads.")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File to write; - prints it.")],
    to: Annotated[str, typer.Option("--to", help="quepid, rank_eval, workbench, trec or beir.")],
    queries_file: judged.QueriesFileOption = None,
    index: Annotated[
        str, typer.Option("--index", help="Index of the ratings, with --to rank_eval.")
    ] = "",
    fields: Annotated[
        str,
        typer.Option("--fields", help="Fields that the requests of --to rank_eval search."),
    ] = "title,text",
) -> None:
    """Convert judgments between the formats of search tools.

    Reads Quepid's CSV, a _rank_eval request, a judgment list of OpenSearch's
    Search Relevance Workbench, TREC and BEIR qrels, and CSV, TSV or JSON lines
    with columns for query, document and grade.

    Quepid, _rank_eval and the Workbench need the text of each query. If IN has
    ids, name the file with the texts: --queries-file.

    Example: vecdb-rerank judgments convert qrels.tsv quepid.csv --to quepid
    --queries-file queries.jsonl
    """
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.evaluation import judgment_files, judgments, queries

    if to not in judgment_files.FORMATS:
        raise ConfigurationError("--to", f"must be one of: {', '.join(judgment_files.FORMATS)}")
    prints = str(target) == "-"
    if not prints:
        common.require_writable(target, "OUT")
        for option, file in (("IN", source), ("--queries-file", queries_file)):
            if file is not None and file.exists() and target.exists() and target.samefile(file):
                raise ConfigurationError("OUT", f"must be another file than {option}, {file}")
    known = [] if queries_file is None else queries.read(queries_file)
    read = judgments.with_ids(judgments.read(source), known)
    where = judgment_files.Target(index, [each.strip() for each in fields.split(",")])
    text = judgment_files.FORMATS[to](read, known, where)
    for sentence in read.notes:
        judged.note(sentence)
    if prints:
        typer.echo(text, nl=False)
    else:
        common.write_text(target, text)
        common.err.print_line(f"{len(read.items):,} judgments written to {target}")


common.add_command(app, "convert", convert)
