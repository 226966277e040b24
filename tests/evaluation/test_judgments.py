"""Queries and judgments in the formats of search tools, read, matched, written and read again."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opensearchpy import OpenSearch
from typer.testing import CliRunner

from vecdb_rerank.cli.app import app
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import datasets, judgment_files, judgments, queries
from vecdb_rerank.evaluation.encoding import decoded, encoded, guarded, without_guard
from vecdb_rerank.evaluation.judgment_files import Target
from vecdb_rerank.testing.base import new_name

RANK_EVAL: dict[str, list[dict[str, Any]]] = {
    "requests": [
        {"id": "q1", "request": {}, "ratings": [{"_index": "i", "_id": "d1", "rating": 2}]},
        {"id": "q2", "request": {}, "ratings": [{"_index": "i", "_id": "d2", "rating": 0}]},
    ]
}
# The form of the example in OpenSearch's documentation, "Importing judgments".
WORKBENCH: dict[str, Any] = {
    "name": "Imported",
    "type": "IMPORT_JUDGMENT",
    "judgmentRatings": [
        {"query": "q1", "ratings": [{"docId": "d1", "rating": "2.000"}]},
        {"query": "q2", "ratings": [{"docId": "d2", "rating": "0.000"}]},
    ],
}
SEARCHED = {"hits": {"hits": [{"_source": WORKBENCH}]}}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, content: str | bytes) -> Path:
    path = Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("quepid.csv", "query,docid,rating\nq1,d1,2\nq2,d2,0\n"),
        ("excel.csv", b"\xef\xbb\xbfQuery;DocID;Rating\r\nq1;d1;2\r\nq2;d2;0\r\n"),
        ("spaced.csv", 'Query ID,Doc-Id,Grade,more\n"q1","d1",2.0,x\nq2,d2,0,\n'),
        ("beir.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t0\n"),
        ("windows.tsv", "q1\td1\t2\r\n\r\nq2\td2\t0\r\n"),
        ("tabs.tsv", "q1\t0\td1\t2\nq2\t0\td2\t0\n"),
        ("qrels.trec", "q1 0 d1 2\nq2  0  d2  0\n"),
        ("lines.jsonl", '{"qid": "q1", "doc_id": "d1", "label": 2}\n{"query": "q2", "id": "d2"'
         ', "relevance": 0}'),
        ("array.json", '[{"query": "q1", "docid": "d1", "rating": 2},'
         '\n{"query": "q2", "docid": "d2", "rating": 0}]'),
        ("rank_eval.json", json.dumps(RANK_EVAL)),
        ("workbench.json", json.dumps(WORKBENCH)),
        ("searched.json", json.dumps(SEARCHED)),
        ("bare.json", json.dumps(RANK_EVAL["requests"])),
        ("bare.json", json.dumps(WORKBENCH["judgmentRatings"])),
    ],
)  # fmt: skip
def test_judgments_are_read(name: str, content: str | bytes) -> None:
    read = judgments.read(write(name, content))
    assert [(j.query, j.document, j.grade) for j in read.items] == [
        ("q1", "d1", 2.0),
        ("q2", "d2", 0.0),
    ]
    assert read.notes == ()
    assert all(name in j.where for j in read.items)


@pytest.mark.parametrize(
    ("name", "content", "where", "word"),
    [
        ("a.csv", "question,product,stars\nq,d,1\n", "a.csv:1", "'product'"),
        ("a.csv", "query,docid,ratings\nq,d,1\n", "a.csv:1", "did you mean"),
        ("a.csv", "q1,d1,1\nq1,d2,1\n", "a.csv:1", "column"),
        ("a.csv", "query,docid,rating\r\nq,d,1\r\nq,e,perfect\r\n", "a.csv:3", "'perfect'"),
        ("a.csv", "query,docid,rating\nq,d,1\n\nq,d,2\n", "a.csv:4", "a.csv:2"),
        ("a.csv", "query,docid,rating\nq,,1\n", "a.csv:2", "missing"),
        ("a.csv", "query,docid,rating\nq,d\n", "a.csv:2", "values"),
        ("a.csv", b"query,docid,rating\nq,d,1\nq\xff,d,1\n", "a.csv:3", "UTF-8"),
        ("a.csv", "query,docid,rating\n", "a.csv", "no judgments"),
        ("a.tsv", "question\tproduct\tstars\nq\td\t1\n", "a.tsv:1", "'product'"),
        ("a.tsv", "q\td\t1\nq,e,1\n", "a.tsv:2", "tabs"),
        ("a.tsv", b"q\td\t1\nq\t\xff\t1\n", "a.tsv:2", "UTF-8"),
        ("a.trec", "q 0 d 1\nq d 1\n", "a.trec:2", "TREC"),
        ("a.trec", "q 0 d 1\nq 0 d 3\n", "a.trec:2", "a.trec:1"),
        ("a.jsonl", '{"query": "q", "docid": "d", "rating": true}', "a.jsonl:1", "number"),
        ("a.jsonl", '{"query": "q", "docid": "d", "rating": "nan"}', "a.jsonl:1", "number"),
        ("a.json", '{"judgmentRatings": [\n{]}', "a.json:2", "JSON"),
        ("a.json", '{"judgmentRatings": [{"query": "q"}]}', "a.json", "list"),
        ("a.json", '{"judgmentRatings": ' + "9" * 5000 + "}", "a.json", "integer"),
        ("a.json", "[" * 99_999, "a.json", "deep"),
        ("a.json", b"\xff", "a.json", "UTF-8"),
        (
            "a.jsonl",
            '{"query": "q", "id": "d", "grade": 1%s}' % ("0" * 30),
            "a.jsonl:1",
            "large",
        ),
        *(
            ("a.csv", f"query,docid,rating\nq,d,{grade}\n", "a.csv:2", "large")
            for grade in ("3000000000", "9" * 20, "1e300", "-1e300", "1000.5")
        ),
    ],
)
def test_a_wrong_line_is_named_by_file_and_number(
    name: str, content: str | bytes, where: str, word: str
) -> None:
    with pytest.raises(ConfigurationError, match=word) as caught:
        judgments.read(write(name, content))
    assert caught.value.key.split(", ")[0] == where


def test_what_is_left_out_or_changed_is_said() -> None:
    rows = ["query,docid,rating", "q,a,0.75", "q,a,0.75", "q,b,", "q,c,3", "q,d,0"]
    read = judgments.read(write("a.csv", "\n".join(rows)))
    assert {j.document: j.grade for j in read.items} == {"a": 75, "c": 300, "d": 0}
    without, repeated, scaled = read.notes
    assert "a.csv:4" in without
    assert "a.csv:3" in repeated
    assert "100" in scaled
    [cased] = judgments.read(write("a.csv", "query,docid,rating\nA b,d,1\na  b,d,1\n")).notes
    assert "a.csv:2" in cased and "a.csv:3" in cased


# -- queries


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"_id": "1", "text": "one"}\n{"id": 2, "query": "two"}'),
        ("a.csv", b"\xef\xbb\xbfquery_id,query\r\n1,one\r\n2,two\r\n"),
        ("a.tsv", "1\tone\r\n2\ttwo\r\n"),
        ("a.tsv", "text\tid\none\t1\ntwo\t2\n"),
        ("a.topics", "<top>\n<num> Number: 1\n<title> one\n</top><top><num>2<title>two</top>"),
    ],
)
def test_queries_are_read(name: str, content: str | bytes) -> None:
    read = queries.read(write(name, content))
    assert [(query.id, query.text) for query in read] == [("1", "one"), ("2", "two")]


def test_a_query_may_have_more_than_a_text() -> None:
    line = {"text": "one", "filter": {"a": 1}, "instruction": "i", "class": "c", "notes": "n"}
    [query] = queries.read(write("a.jsonl", json.dumps(line)))
    assert query.id == "one"
    assert query.info == queries.QueryInfo({"a": 1}, "i", "c", "n")
    [query] = queries.read(write("a.csv", 'query,filter\none,"{""a"": 1}"\n'))
    assert query.info.filter == {"a": 1}


@pytest.mark.parametrize(
    ("name", "content", "where", "word"),
    [
        ("a.jsonl", '{"_id": "1", "text": "a"}\n{"_id": "1", "text": "b"}', "a.jsonl:2", "jsonl:1"),
        ("a.jsonl", '{"_id": "1", "text": "a", "filters": {}}', "a.jsonl:1", "'filter'"),
        ("a.jsonl", '{"_id": "1", "title": "a"}', "a.jsonl:1", "text"),
        ("a.jsonl", '{"_id": "1", "text": " "}', "a.jsonl:1", "text"),
        ("a.jsonl", '{"_id": [1], "text": "a"}', "a.jsonl:1", "id"),
        ("a.jsonl", '{"text": "a", "class": {}}', "a.jsonl:1", "class"),
        ("a.csv", "query,filter\na,{b}\n", "a.csv:2", "JSON"),
        ("a.csv", "q1,what\nq2,why\n", "a.csv:1", "column"),
        ("a.csv", "q1,what\n", "a.csv", "columns"),
        ("a.tsv", "1\ta\tb\n", "a.tsv:1", "tabs"),
        ("a.topics", "1 what\n", "a.topics", "TREC"),
    ],
)
def test_a_wrong_query_is_named_by_file_and_number(
    name: str, content: str, where: str, word: str
) -> None:
    with pytest.raises(ConfigurationError, match=word) as caught:
        queries.read(write(name, content))
    assert caught.value.key == where


# -- both together

QUERIES = (
    '{"_id": "q1", "text": "red dress"}\n{"_id": "q2", "text": "blue"}\n{"_id": "q3", "text": "x"}'
)


def matched(*rows: str) -> datasets.Dataset:
    file = write("a.csv", "\n".join(["query,docid,rating", *rows]))
    return datasets.live("c", queries=write("q.jsonl", QUERIES), qrels=file)


def test_judgments_name_queries_by_id_or_text() -> None:
    found = matched("q1,a,1", "red  dress,b,2", "blue,a,0", "gone,a,1")
    assert found.queries == {"q1": "red dress"}
    assert found.qrels["q1"] == {"a": 1, "b": 2}
    assert found.judged_at == {"a": "a.csv:2", "b": "a.csv:3"}
    gone, unjudged, irrelevant = found.notes
    assert "'gone' (a.csv:5)" in gone
    assert "'q3'" in unjudged
    assert "'q2'" in irrelevant


def test_ids_that_differ_in_case_are_named() -> None:
    with pytest.raises(ConfigurationError, match="'q2'") as caught:
        matched("q1,a,1", "Q2,a,1")
    assert caught.value.key == "a.csv:3"


def test_a_text_of_two_queries_is_not_guessed() -> None:
    two = '{"_id": "1", "text": "x"}\n{"_id": "2", "text": "x", "filter": {}}'
    file = write("a.csv", "query,docid,rating\nx,d,1\n")
    with pytest.raises(ConfigurationError, match="1, 2") as caught:
        datasets.live("c", queries=write("q.jsonl", two), qrels=file)
    assert caught.value.key == "a.csv:2"


@pytest.mark.parametrize(
    ("name", "content", "key"),
    [
        ("a.tsv", "q1\ta\t1\n", "--queries-file"),  # ids: no text is known
        ("a.json", json.dumps(RANK_EVAL), "--queries-file"),
        ("a.csv", "query,docid,rating\nred,a,0\n", "a.csv"),  # nothing is relevant
    ],
)
def test_judgments_alone_are_not_always_enough(name: str, content: str, key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        datasets.live("c", qrels=write(name, content))
    assert caught.value.key == key


def test_a_request_holds_the_text_of_its_query() -> None:
    searched = {"query": {"multi_match": {"query": "red dress", "fields": ["title"]}}}
    body = {"requests": [{**RANK_EVAL["requests"][0], "request": searched}]}
    assert datasets.live("c", qrels=write("a.json", json.dumps(body))).queries == {
        "q1": "red dress"
    }


# -- writing

IDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(
    lambda text: text.strip() == text
)


@given(IDS)
def test_an_encoded_id_has_no_white_space_and_is_read_as_it_was(text: str) -> None:
    assert decoded(encoded(text)) == text
    assert len(encoded(text).split()) == 1


@given(st.text())
def test_a_guarded_value_is_no_formula_and_is_read_as_it_was(text: str) -> None:
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    if not text.startswith("'"):
        assert without_guard(guarded(text)) == text


def convert(*arguments: str) -> str:
    ended = CliRunner().invoke(app, ["judgments", "convert", *arguments], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


@pytest.mark.parametrize("to", list(judgment_files.FORMATS))
def test_what_is_written_is_read_again(to: str) -> None:
    write("q.jsonl", '{"_id": "q 1", "text": "=red"}\n{"_id": "q2", "text": "a, \\"b\\""}')
    source = write("a.tsv", "q 1\td 1\t2\nq 1\t-2\t0\nq2\td%20x\t1\n")
    suffix = {"quepid": "csv", "trec": "trec", "beir": "tsv"}.get(to, "json")
    target = f"out.{suffix}"
    convert(str(source), target, "--to", to, "--queries-file", "q.jsonl", "--index", "i")
    known = queries.read(Path("q.jsonl"))
    again = judgments.match(judgments.read(Path(target)), known).qrels
    assert again == judgments.match(judgments.read(source), known).qrels
    if to == "quepid":
        header, first, *_ = csv.reader(Path(target).read_text(encoding="utf-8").splitlines())
        assert (header, first) == (["query", "docid", "rating"], ["'=red", "d 1", "2"])
    if to == "workbench":
        written = json.loads(Path(target).read_text(encoding="utf-8"))
        assert written["judgmentRatings"][1]["ratings"][0]["rating"] == "1.000"


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (["--to", "excel"], "--to"),
        (["--to", "rank_eval", "--queries-file", "q.jsonl"], "--index"),
        (["--to", "quepid"], "a.tsv:1"),
    ],
)
def test_what_a_conversion_lacks_is_named(options: Sequence[str], key: str) -> None:
    write("q.jsonl", '{"_id": "q1", "text": "red"}')
    write("a.tsv", "q1\td1\t2\n")
    with pytest.raises(ConfigurationError) as caught:
        convert("a.tsv", "-", *options)
    assert caught.value.key == key


@pytest.mark.parametrize("target", ["a.csv", "./a.csv", "q.csv"])
def test_a_conversion_does_not_overwrite_what_it_reads(target: str) -> None:
    for name in ("a.csv", "q.csv"):
        write(name, "query,docid,rating\nred,d1,2\n")
    with pytest.raises(ConfigurationError) as caught:
        convert("a.csv", target, "--to", "quepid", "--queries-file", "q.csv")
    assert caught.value.key == "OUT"


def test_opensearch_takes_the_request_of_its_evaluation(opensearch_url: str) -> None:
    index = new_name()
    read = judgments.read(write("a.csv", "query,docid,rating\nred dress,d1,2\nred dress,d2,1\n"))
    body = json.loads(judgment_files.rank_eval(read, (), Target(index, ["text"])))
    with OpenSearch(opensearch_url) as client:
        for name, text in {"d1": "a red dress", "d2": "red shoes", "d3": "blue"}.items():
            client.index(index=index, id=name, body={"text": text})
        client.indices.refresh(index=index)
        answer = client.rank_eval(index=index, body=body)
        client.indices.delete(index=index)
    assert answer["failures"] == {}
    assert answer["metric_score"] == pytest.approx(1.0)
    assert answer["details"]["red dress"]["unrated_docs"] == []
