"""Documents in several renderings: what a reranker gets, what is measured, and the command."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from typer.testing import CliRunner
from werkzeug import Request, Response

from vecdb_rerank.cli import common, main
from vecdb_rerank.cli.app import app
from vecdb_rerank.cli.terminal import SafeConsole
from vecdb_rerank.config import factory
from vecdb_rerank.config.loading import DEFAULT_FILE
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.errors import (
    ConfigurationError,
    IngestError,
    MissingDependencyError,
    RerankError,
)
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.renderings import RENDERINGS, parsed_fields
from vecdb_rerank.evaluation.significance import bootstrap
from vecdb_rerank.evaluation.structure import (
    Comparison,
    Row,
    compare,
    conclusion,
)
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.testing import CORPUS, QUERIES, RaisingReranker

NAMES = ["plain text", "key: value", "YAML", "JSON"]
SUBJECTS = ("bread", "sailing")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's; tables are not squeezed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common, "out", SafeConsole(width=200))


def dataset(documents: Iterable[Mapping[str, Any]] | None = None) -> Dataset:
    """Ten documents with metadata, on the two subjects that its questions ask for."""
    made = documents or (
        {
            "_id": d["id"],
            "title": d["title"],
            "text": d["text"],
            "meta": {"subject": d["id"].partition("-")[0], "tags": ["short", "made up"]},
        }
        for d in CORPUS[:10]
    )
    qrels = {subject: {f"{subject}-0": 2, f"{subject}-1": 1} for subject in SUBJECTS}
    return Dataset("tiny", tuple(made), {s: QUERIES[s] for s in SUBJECTS}, qrels)


class Service:
    """A rerank server that remembers what it was sent and bills it."""

    def __init__(self, server: HTTPServer, relevance: Callable[[str], float]) -> None:
        self.asked: list[tuple[str, list[str]]] = []
        self._relevance = relevance
        server.expect_request("/v2/rerank").respond_with_handler(self._answer)
        self.settings = Settings(
            reranker={"type": "http", "url": server.url_for("/"), "model": "m", "retries": 0}
        )

    def _answer(self, request: Request) -> Response:
        body = json.loads(request.data)
        self.asked.append((body["query"], body["documents"]))
        results = [
            {"index": n, "relevance_score": self._relevance(text)}
            for n, text in enumerate(body["documents"])
        ]
        answer = {"results": results, "meta": {"billed_units": {"search_units": 1}}}
        return Response(json.dumps(answer), content_type="application/json")

    def sent(self, query: str) -> dict[str, list[str]]:
        """The documents by rendering; each query is asked in all of them, in their order."""
        texts = [documents for asked, documents in self.asked if asked == query]
        return dict(zip(NAMES, texts, strict=True))


def is_answer(text: str) -> bool:
    """Whether it holds the first document of a subject, which answers its question."""
    return any(str(document["text"]) in text for document in CORPUS[:10:5])


def likes_plain_text(text: str) -> float:
    """Puts an answer first where no key stands before its values, and last where one does."""
    if not is_answer(text):
        return 0.2
    return 0.1 if "title" in text else 0.8


# -- renderings


def test_a_document_is_sent_in_four_renderings(httpserver: HTTPServer) -> None:
    service = Service(httpserver, likes_plain_text)
    document = {
        "_id": 7,
        "title": "Brücke",
        "text": "Sourdough bread rises.",
        "empty": "",
        "meta": {"year": 1999, "tags": ["a", "b"], "authors": [{"name": "X"}, {"name": "Y"}]},
    }
    other = {"_id": 8, "text": "Bread."}
    judged = Dataset("one", (document, other), {"q": "sourdough bread"}, {"q": {"7": 1}})
    compare(service.settings, judged)
    sent = {name: texts[0] for name, texts in service.sent("sourdough bread").items()}
    assert sent == {
        "plain text": "Brücke\nSourdough bread rises.\n1999\na\nb\nX\nY",
        "key: value": (
            "title: Brücke\ntext: Sourdough bread rises.\nmeta.year: 1999\nmeta.tags: a, b\n"
            "meta.authors.name: X\nmeta.authors.name: Y"
        ),
        "YAML": (
            "title: Brücke\ntext: Sourdough bread rises.\nempty: ''\nmeta:\n  year: 1999\n"
            "  tags:\n  - a\n  - b\n  authors:\n  - name: X\n  - name: Y"
        ),
        "JSON": (
            '{"title":"Brücke","text":"Sourdough bread rises.","empty":"","meta":{"year":1999,'
            '"tags":["a","b"],"authors":[{"name":"X"},{"name":"Y"}]}}'
        ),
    }
    assert list(RENDERINGS) == NAMES


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ('{"a": {"b": 1}}', {"a": {"b": 1}}),
        (' [{"a": 1}]', [{"a": 1}]),
        ("[1] is no JSON", "[1] is no JSON"),
        ("{broken", "{broken"),
        ('{"a":' * 100_000, '{"a":' * 100_000),
        ("12", "12"),
        (3, 3),
    ],
    ids=["object", "list", "footnote", "broken", "endless", "number", "no text"],
)
def test_a_json_structure_in_a_string_is_parsed(text: Any, held: Any) -> None:
    assert parsed_fields({"_id": "x", "text": text, "title": "t"}) == {"text": held, "title": "t"}


def test_a_rendering_is_as_long_as_a_search_would_read_it(httpserver: HTTPServer) -> None:
    service = Service(httpserver, likes_plain_text)
    settings = service.settings.model_copy(
        update={"text_fields": Settings(text_fields={"max_chars": 20}).text_fields}
    )
    compared = compare(settings, dataset(), k=4)
    assert {len(text) for _, texts in service.asked for text in texts} == {20}
    assert [row.characters for row in compared.rows] == [20.0] * 4


# -- candidates


def test_every_rendering_has_the_same_candidates(httpserver: HTTPServer) -> None:
    service = Service(httpserver, likes_plain_text)
    compare(service.settings, dataset(), k=6)
    for subject in SUBJECTS:
        held = [json.loads(text) for text in service.sent(QUERIES[subject])["JSON"]]
        ids = [f"{d['meta']['subject']}-{number(d)}" for d in held]
        # What is relevant comes with what BM25 finds; their order implies nothing about either.
        assert {f"{subject}-0", f"{subject}-1"} <= set(ids)
        assert 2 < len(ids) <= 6
        assert ids == sorted(ids)
        plain = service.sent(QUERIES[subject])["plain text"]
        assert [text.splitlines()[1] for text in plain] == [d["text"] for d in held]


def number(document: Mapping[str, Any]) -> int:
    [found] = [n for n, d in enumerate(CORPUS[:10]) if d["text"] == document["text"]]
    return found % 5


def test_relevant_documents_fill_at_most_half_best_grades_first(httpserver: HTTPServer) -> None:
    service = Service(httpserver, likes_plain_text)
    documents = [{"_id": f"d{n}", "text": f"bread number {n}"} for n in range(9)]
    # A grade of 0 is judged and not relevant; what is missing from the corpus has no text.
    grades = {"d0": 1, "d1": 1, "d2": 3, "d3": 2, "d4": 0, "gone": 3}
    judged = Dataset("d", tuple(documents), {"q": "bread"}, {"q": grades})
    compare(service.settings, judged, k=4)
    sent = service.sent("bread")["plain text"]
    assert [text for text in sent if text[-1] in "0123"] == ["bread number 2", "bread number 3"]


def test_a_query_without_any_candidate_is_left_out(httpserver: HTTPServer) -> None:
    service = Service(httpserver, likes_plain_text)
    documents = ({"_id": "a", "text": "bread"}, {"_id": "b", "text": ""})
    queries = {"q": "bread", "r": "nothing"}
    judged = Dataset("d", documents, queries, {"q": {"a": 1}, "r": {"b": 1}})
    compared = compare(service.settings, judged)
    assert (compared.queries, compared.calls, compared.scored) == (1, 4, 4)


def test_judgements_of_another_corpus_are_refused() -> None:
    judged = Dataset("d", ({"_id": "a", "text": "wine"},), {"q": "bread"}, {"q": {"b": 1}})
    with pytest.raises(ConfigurationError, match=r"qrels\.tsv") as caught:
        compare(Settings(), judged)
    assert caught.value.key == "d"


# -- numbers


def test_what_differs_from_plain_text_is_counted(httpserver: HTTPServer) -> None:
    service = Service(httpserver, likes_plain_text)
    compared = compare(service.settings, dataset(), k=6)
    assert (compared.dataset, compared.documents, compared.queries) == ("tiny", 10, 2)
    assert compared.k == 6
    assert compared.reranker.startswith("http:localhost:")
    assert compared.calls == compared.billed == len(service.asked) == 8
    assert compared.scored == sum(len(texts) for _, texts in service.asked)

    plain, *others = compared.rows
    assert [row.rendering for row in compared.rows] == NAMES
    assert (plain.change, plain.interval, plain.difference) == (0.0, (0.0, 0.0), 0.0)
    sent = [text for query in SUBJECTS for text in service.sent(QUERIES[query])["JSON"]]
    assert compared.rows[-1].characters == sum(map(len, sent)) / len(sent)
    share = sum(map(is_answer, sent)) / len(sent)
    for row in others:
        low, high = row.interval
        assert row.change == pytest.approx(row.ndcg - plain.ndcg)
        assert low <= row.change <= high < 0
        assert row.beyond_chance
        assert row.difference == pytest.approx(share * (0.8 - 0.1) / 0.8)


def test_a_relevance_of_nothing_is_no_difference(httpserver: HTTPServer) -> None:
    service = Service(httpserver, lambda _: 0.0)
    compared = compare(service.settings, dataset(), k=4)
    assert [row.difference for row in compared.rows] == [0.0] * 4
    # Equal scores are in the same order in every rendering.
    assert len({row.ndcg for row in compared.rows}) == 1


def test_the_bundled_reranker_reads_every_rendering() -> None:
    steps: list[tuple[str, int, int]] = []
    compared = compare(Settings(), dataset(), k=6, on_progress=lambda *step: steps.append(step))
    assert compared.reranker == "onnx:ms-marco-MiniLM-L-12-v2"
    assert compared.billed == 0
    # Each question's answer is its subject's first document, in whatever form.
    assert all(row.ndcg > 0.7 for row in compared.rows)
    assert all(row.truncated == 0 for row in compared.rows)
    assert all(0 < row.difference < 1 for row in compared.rows[1:])
    lengths = {row.rendering: row.characters for row in compared.rows}
    assert min(lengths, key=lambda name: lengths[name]) == "plain text"
    assert steps[0] == ("indexing", 10, 10)
    assert [s for s in steps if s[0] == "searching"] == [("searching", n, 2) for n in (1, 2)]
    assert [s for s in steps if s[0] == "reranking"] == [("reranking", n, 8) for n in range(1, 9)]


def test_documents_that_are_read_in_part_are_counted() -> None:
    documents = [{"_id": f"bread-{n}", "text": "bread " * 40} for n in range(2)]
    judged = Dataset("long", tuple(documents), {"q": "bread"}, {"q": {"bread-0": 1}})
    compared = compare(Settings(reranker={"max_length": 16}), judged)
    assert [row.truncated for row in compared.rows] == [2] * 4


def test_an_interval_is_the_same_every_time_and_holds_the_mean() -> None:
    changes = [0.1, -0.3, 0.2, 0.05, 0.4, -0.1]
    low, high = bootstrap(changes)
    assert bootstrap(changes) == (low, high)
    assert -0.3 < low < sum(changes) / 6 < high < 0.4
    assert bootstrap([0.25] * 9) == (0.25, 0.25)
    # A mean of n values has a standard error of their deviation by the root of n.
    low, high = bootstrap([-1.0, 1.0] * 200)
    assert (low, high) == pytest.approx((-1.96 / 20, 1.96 / 20), abs=0.015)


def comparison(queries: int, *changes: tuple[float, float, float]) -> Comparison:
    """One whose changes and intervals are ``changes``: low, mean, high."""
    rows = [
        Row(name, 0.5, change, (low, high), 100.0, 0, 0.2)
        for name, (low, change, high) in zip(NAMES[: len(changes)], changes, strict=True)
    ]
    return Comparison("d", 9, queries, 50, "r", tuple(rows), 4, 4, 0.0)


@pytest.mark.parametrize(
    ("queries", "changes", "word"),
    [
        (29, (0.1, 0.2, 0.3), "too few"),
        (30, (0.1, 0.2, 0.3), "key: value is read better"),
        (30, (-0.3, -0.2, -0.1), "key: value is read worse"),
        (30, (-0.1, 0.2, 0.3), "No rendering"),
    ],
)
def test_the_conclusion_claims_what_the_interval_allows(
    queries: int, changes: tuple[float, float, float], word: str
) -> None:
    assert word in conclusion(comparison(queries, (0, 0, 0), changes))


# -- what goes wrong


def test_a_failure_of_the_reranker_is_raised(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/v2/rerank").respond_with_json({"message": "no key"}, status=401)
    reranker = {"type": "http", "url": httpserver.url_for("/"), "model": "m", "retries": 0}
    with pytest.raises(RerankError, match="401"):
        compare(Settings(reranker=reranker), dataset())


class Lazy:
    """Scores no more than the first document."""

    name = "lazy"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        return Scores.from_relevance([0.5, *[None] * (len(documents) - 1)])


class Closing(BaseReranker):
    """Fails, and counts how often it is closed."""

    closed = 0

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        raise RuntimeError

    def closing(self) -> Flow[None]:
        self.closed += 1
        yield from ()


@pytest.mark.parametrize(
    ("reranker", "why"),
    [
        (RaisingReranker(), "RuntimeError"),
        (Lazy(), "3 of 4"),
    ],
    ids=["raising", "lazy"],
)
def test_nothing_is_measured_without_all_scores(
    reranker: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factory, "reranker", lambda settings: reranker)
    with pytest.raises(RerankError, match=why):
        compare(Settings(), dataset(), k=4)


def test_a_reranker_that_fails_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = Closing()
    monkeypatch.setattr(factory, "reranker", lambda settings: reranker)
    with pytest.raises(RerankError):
        compare(Settings(), dataset(), k=4)
    assert reranker.closed == 1


def test_a_document_that_cannot_be_indexed_is_an_error() -> None:
    documents = ({"_id": "a", "text": "bread"}, {"_id": "\ud800", "text": "bread"})
    judged = Dataset("d", documents, {"q": "bread"}, {"q": {"a": 1}})
    with pytest.raises(IngestError, match="1 documents"):
        compare(Settings(), judged)


@pytest.mark.parametrize("k", [1, 0, -1])
def test_too_few_candidates_are_refused(k: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compare(Settings(), dataset(), k=k)
    assert caught.value.key == "k"


def test_a_missing_library_is_named_before_anything_is_paid_for(
    httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(httpserver, likes_plain_text)
    for loaded in list(sys.modules):
        if loaded.startswith("vecdb_rerank_qdrant"):
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(MissingDependencyError, match=r"vecdb-rerank\[qdrant\]"):
        compare(service.settings, dataset())
    assert service.asked == []


# -- the command


@pytest.fixture
def folder() -> str:
    """The dataset in the BEIR layout."""
    made = dataset()
    Path("tiny").mkdir()
    queries = [{"_id": i, "text": text} for i, text in made.queries.items()]
    for name, lines in (("corpus", made.corpus), ("queries", queries)):
        Path(f"tiny/{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    judged = [f"{q}\t{d}\t{g}\n" for q, grades in made.qrels.items() for d, g in grades.items()]
    Path("tiny/qrels.tsv").write_text("".join(judged))
    return "tiny"


@pytest.fixture
def failed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the command by the console script's entry point; the error in its one line."""

    def failed(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["vecdb-rerank", "structure", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit, match="1"):
            main()
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        return err.removeprefix("error: ").rstrip()

    return failed


def test_the_command_prints_a_table_and_what_it_took(folder: str) -> None:
    done = CliRunner().invoke(app, ["structure", folder, "--k", "6", "--queries", "1"])
    assert done.exit_code == 0, done.output
    assert "tiny: 10 documents, 1 queries, k=6" in done.output
    for word in ("rendering", "NDCG@10", "change [95 %]", "chars", "truncated", "differs", *NAMES):
        assert word in done.output
    assert "onnx:ms-marco-MiniLM-L-12-v2: 4 calls with " in done.output
    assert "billed" not in done.output
    assert "too few" in done.output


def test_the_command_prints_what_was_billed(folder: str, httpserver: HTTPServer) -> None:
    service = Service(httpserver, likes_plain_text)
    file = Path("other.toml")
    file.write_text(f'[reranker]\ntype = "http"\nurl = "{httpserver.url_for("/")}"\nmodel = "m"\n')
    done = CliRunner().invoke(app, ["structure", folder, "--config", str(file)])
    assert done.exit_code == 0, done.output
    scored = sum(len(texts) for _, texts in service.asked)
    assert f"/m: 8 calls with {scored} documents, 8 units billed" in done.output


def test_the_table_fits_a_terminal(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "out", SafeConsole(width=80))
    done = CliRunner().invoke(app, ["structure", folder, "--k", "4"])
    assert "…" not in done.output
    rows = [line for line in done.output.splitlines() if line[:1] == "│"]
    assert [row.strip("│").split("│")[0].strip() for row in rows] == NAMES


def test_the_help_says_what_it_does_and_what_it_costs() -> None:
    text = CliRunner().invoke(app, ["structure", "--help"], terminal_width=200).output
    for word in ("DIR", "BEIR", "--config", "--k", "--queries", "--seed", "four times", "JSON"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["--k", "1"], "k"),
        (["--queries", "0"], "queries"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_a_wrong_argument_is_one_line(
    arguments: list[str], key: str, folder: str, failed: Callable[..., str]
) -> None:
    assert failed(folder, *arguments).startswith(f"{key}: ")


def test_a_folder_that_is_no_collection_is_one_line(failed: Callable[..., str]) -> None:
    assert "BEIR layout" in failed(".")


def test_a_missing_reranker_is_one_line_with_what_to_set(
    folder: str, failed: Callable[..., str]
) -> None:
    Path(DEFAULT_FILE).write_text('[reranker]\ntype = "none"\n')
    assert failed(folder).startswith("reranker.type: ")


def test_a_failure_of_the_reranker_is_one_line(
    folder: str, failed: Callable[..., str], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/v2/rerank").respond_with_json({"message": "no"}, status=403)
    url = httpserver.url_for("/")
    Path(DEFAULT_FILE).write_text(f'[reranker]\ntype = "http"\nurl = "{url}"\nmodel = "m"\n')
    assert "403" in failed(folder)
