"""``vecdb-rerank adopt``: write the configuration for a collection that others made."""

from __future__ import annotations

import http.client
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import urlsplit

import typer

from vecdb_rerank.cli import adopt_embedders, common, search

if TYPE_CHECKING:
    from vecdb_rerank.adopt.choices import Answers, Plan, Question
    from vecdb_rerank.adopt.description import Description
    from vecdb_rerank.adopt.fields import TextField
    from vecdb_rerank.config.settings import Settings
    from vecdb_rerank.request import Language
    from vecdb_rerank.search.connector import Connector

_NO_MODELS = {"embedder": {"type": "none"}, "reranker": {"type": "none"}}
_TRIAL_WORDS = 8
_SECONDS = 10.0  # for the question which database answers


def command(
    collection: Annotated[
        str | None, typer.Argument(help="Collection or index. Default: the only one.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="URL of the server.")] = None,
    path: Annotated[Path | None, typer.Option(help="Folder of an embedded Qdrant.")] = None,
    backend: common.BackendOption = None,
    out: Annotated[Path, typer.Option(help="File to write; it must not exist.")] = Path(
        "vecdb_rerank.toml"
    ),
    text_field: Annotated[
        list[str] | None, typer.Option(help="Field that holds text; repeat it for several.")
    ] = None,
    dense_vector: Annotated[str | None, typer.Option(help="Vector to search, or none.")] = None,
    embedder: Annotated[
        str | None, typer.Option(help="Model of the vectors: bundled, TYPE:MODEL, tei:URL or none.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="Language of the texts.")] = None,
    create_text_index: Annotated[
        bool, typer.Option("--create-text-index", help="Let Qdrant index the text for BM25.")
    ] = False,
    query: Annotated[str | None, typer.Option(help="Query of the trial search.")] = None,
) -> None:
    """Write the configuration for a collection that exists, and search once.

    Reads a sample of the documents, sends their text nowhere but to a service
    that --embedder names, and changes nothing without --create-text-index. Asks
    what it cannot tell. If BM25 or the vectors hardly find what is stored, the
    configuration gives them less weight. Keys and passwords come from the
    environment (VECDB_RERANK__BACKEND__API_KEY, VECDB_RERANK__EMBEDDER__API_KEY).

    Example: vecdb-rerank adopt --url http://localhost:6333 documents
    """
    from vecdb_rerank.adopt.choices import Answers
    from vecdb_rerank.adopt.toml import written
    from vecdb_rerank.config import factory
    from vecdb_rerank.config.loading import load, load_environment
    from vecdb_rerank.config.settings import NoneSettings
    from vecdb_rerank.errors import ConfigurationError, VecdbRerankError
    from vecdb_rerank.request import check_language

    if out.exists():
        raise ConfigurationError("--out", f"{out} exists; name another file")
    if language is not None:
        check_language(language)
    if url is not None:
        _check_url(url)
    if path is not None and not path.exists():
        raise ConfigurationError("--path", f"there is no folder {path.absolute()}")
    place = {"url": url, "path": None if path is None else str(path)}
    kind = backend or ("qdrant" if url is None else _database(url))
    connection = {"type": kind, **{key: value for key, value in place.items() if value is not None}}
    settings = load_environment(
        ("backend",),
        backend=connection if collection is None else {**connection, "collection": collection},
        **_NO_MODELS,
    )
    settings.backend.require_existing()
    if collection is None:
        collection = _only_collection(settings)
        backend_settings = settings.backend.model_copy(update={"collection": collection})
        settings = settings.model_copy(update={"backend": backend_settings})
    connection["collection"] = collection
    with closing(factory.build(settings)) as connector:
        description = _described(connector, collection)
    paths = tuple(text_field or ()) or _text(description)
    answers = Answers(dense_vector, embedder, cast("Language | None", language), create_text_index)
    plan = _plan(description, paths, answers)
    text = written(description.subject, connection, plan.settings)
    common.write_text(out, text)
    none = NoneSettings()
    if plan.text_index is not None:
        update = {"embedder": none, "reranker": none}
        with closing(factory.build(load(out).settings.model_copy(update=update))) as connector:
            common.run_on(connector, connector.store.create_text_index())
        common.err.print_line(f"text index of {plan.text_index!r} created")
    found = load(out).settings.model_copy(update={"reranker": none})
    # An error is met by the search that follows, too.
    with suppress(VecdbRerankError), closing(factory.build(found)) as connector:
        text = _with_weak_branch(text, connector.self_retrieval())
    out.write_text(text, encoding="utf-8")
    common.out.print(text, markup=False, highlight=False)
    common.err.print_line(f"{out} is written")
    query = query or _trial(description, paths)
    common.err.print_line(f"a search as a trial: {query}")
    search.command(query, config=out, limit=5)


def _with_weak_branch(text: str, found: tuple[float, float] | None) -> str:
    """Return the configuration ``text`` with what was ``found``, if one branch is weak."""
    from vecdb_rerank.adopt.toml import with_self_retrieval
    from vecdb_rerank.ranking.branch_weights import weak_branch
    from vecdb_rerank.request import Fusion

    why = None if found is None or not any(found) else weak_branch(Fusion(self_retrieval=found))
    return text if found is None or why is None else with_self_retrieval(text, found, why)


def _check_url(url: str) -> None:
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.http.urls import names_server, with_slashes

    if not names_server(with_slashes(url), ("", "http", "https")):
        raise ConfigurationError("--url", "must be a server's URL, such as http://localhost:6333")
    if "@" in urlsplit(with_slashes(url)).netloc:
        raise ConfigurationError(
            "--url", "user and password belong in VECDB_RERANK__BACKEND__USER and …__PASSWORD"
        )


def _database(url: str) -> str:
    """Return the database that answers at ``url``."""
    from vecdb_rerank.errors import ConfigurationError
    from vecdb_rerank.http.urls import display_url, with_slashes

    url = urlsplit(with_slashes(url), "http").geturl()
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as response:
            title = json.loads(response.read(100_000)).get("title", "")
    except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
        where = display_url(url)
        if isinstance(error, OSError) and not isinstance(error, urllib.error.HTTPError):
            raise ConfigurationError(
                "--url", f"{where} cannot be reached ({error}): is it up, is the URL right?"
            ) from None
        raise ConfigurationError(
            "--backend", f"name it: {where} did not say which database it is ({error})"
        ) from None
    return "qdrant" if "qdrant" in str(title) else "opensearch"


def _described(connector: Connector[Any], collection: str) -> Description:
    """Return what a collection is like; name the others if it is missing."""
    from vecdb_rerank._checks import one_of
    from vecdb_rerank.errors import DatabaseError

    try:
        description: Description = common.run_on(connector, connector.store.describe())
    except DatabaseError:
        with suppress(DatabaseError):  # a key may be for one collection alone
            one_of(
                "COLLECTION", collection, common.run_on(connector, connector.store.collections())
            )
        raise
    return description


def _only_collection(settings: Settings) -> str:
    """Return the name of the only collection; ask if there are several."""
    from vecdb_rerank.adopt.choices import Question
    from vecdb_rerank.config import factory
    from vecdb_rerank.errors import ConfigurationError

    with closing(factory.build(settings)) as connector:
        names = common.run_on(connector, connector.store.collections())
    if not names:
        raise ConfigurationError("COLLECTION", "the database has no collection to adopt")
    if len(names) == 1:
        return names[0]
    return _asked(Question("COLLECTION", "Which collection is to be searched?", names))


def _text(description: Description) -> tuple[str, ...]:
    """Return the fields that hold text; show them, or ask if none seems to."""
    from vecdb_rerank.adopt.choices import Question
    from vecdb_rerank.adopt.fields import chosen, text_fields
    from vecdb_rerank.errors import ConfigurationError

    if not description.samples:
        raise ConfigurationError("COLLECTION", f"{description.subject} has no documents")
    fields = text_fields([sample.payload for sample in description.samples])
    _show(description, fields)
    if paths := chosen(fields):
        return paths
    names = list(dict.fromkeys(name for sample in description.samples for name in sample.payload))
    if not names:
        raise ConfigurationError("COLLECTION", f"the documents of {description.subject} are empty")
    return (_asked(Question("--text-field", "No field looks like text. Which one is it?", names)),)


def _show(description: Description, fields: Sequence[TextField]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from vecdb_rerank.adopt.choices import shown

    read = f"{len(description.samples)} of {description.documents:,} documents read"
    table = Table("field", "in", "words", "example", title=escape(f"{description.subject}: {read}"))
    for field in fields:
        example = common.snippet(field.example, 60)
        table.add_row(
            escape(field.path), f"{field.share:.0%}", f"{field.words:.0f}", escape(example)
        )
    common.out.print(table)
    for vector in description.dense:
        problem = f" ({vector.problem})" if vector.problem else ""
        common.out.print_line(f"dense vector: {shown(vector)}, {vector.metric}{problem}")
    for sparse in description.sparse:
        held = f"BM25 terms, {sparse.language}" if sparse.language else "no BM25 terms known here"
        common.out.print_line(f"sparse vector: {sparse.name!r}, {held}")


def _plan(description: Description, paths: Sequence[str], answers: Answers) -> Plan:
    """Return how to search; ask until everything is told."""
    from vecdb_rerank.adopt.choices import CREATE, Facts, decide
    from vecdb_rerank.ingest.language import detect_language
    from vecdb_rerank.text_fields import TextFields

    texts = TextFields(tuple(paths))
    language = detect_language(texts.text(sample.payload) for sample in description.samples)
    while True:
        candidates = adopt_embedders.candidates(description, paths, answers.embedder)
        plan = decide(Facts(description, paths, language, candidates), answers)
        if not plan.questions:
            return plan
        for question in plan.questions:
            answer = _asked(question)
            if question.option == "--dense-vector":
                answers = replace(answers, dense_vector=answer)
            elif CREATE in (question.option, answer):
                answers = replace(answers, text_index=True)
            else:
                answers = replace(answers, embedder=answer)


def is_interactive() -> bool:
    """Return whether there is a user to ask."""
    return sys.stdin.isatty()


def _asked(question: Question) -> str:
    """Return the answer to a question; without a terminal, raise an error that names the option."""
    from vecdb_rerank.errors import ConfigurationError

    answers = f" ({', '.join(map(repr, question.answers))})" if question.answers else ""
    if not is_interactive():
        raise ConfigurationError(question.option, f"is needed: {question.text}{answers}")
    common.err.print_line(f"{question.text}{answers}")
    while True:
        answer: str = typer.prompt(question.option, err=True)
        if not question.answers or answer in question.answers:
            return answer


def _trial(description: Description, paths: Sequence[str]) -> str:
    """Return the beginning of a stored text as a query."""
    from vecdb_rerank.text_fields import TextFields

    texts = (TextFields(tuple(paths)).text(sample.payload) for sample in description.samples)
    words = next((text.split() for text in texts if text.strip()), ["text"])
    return " ".join(words[:_TRIAL_WORDS])
