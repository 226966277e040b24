"""Filling a collection from files of every format, and being interrupted."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests.cli.conftest import Ended, assert_one_line

Run = Callable[..., Ended]
SCRIPT = Path(sys.executable).with_name("vecdb-rerank")
ROWS = [
    {"nr": "7", "title": "Bread", "body": "Sourdough, slowly", "year": "2020"},
    {"nr": "8", "title": "Foxes", "body": "The red fox hunts", "year": "2021"},
]
CSV = "nr,title,body,year\r\n7,Bread,'Sourdough, slowly',2020\r\n8,Foxes,The red fox hunts,2021\r\n"
SEARCH = ("search", "fox", "--mode", "bm25", "--no-rerank", "--json")
OPTIONS = ("--id-field", "nr", "--text-fields", "title,body")


def write_rows(name: str) -> None:
    path = Path(name)
    csv = CSV.replace("'", '"')
    if name.endswith("parquet"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
        return
    text = {
        "a.jsonl": "\n".join(map(json.dumps, ROWS)),
        "a.json": json.dumps(ROWS, indent=1),
        "a.csv": csv,
        "a.tsv": csv.replace('"Sourdough, slowly"', "Sourdough; slowly").replace(",", "\t"),
        "a.csv.gz": csv,
    }[name]
    content = text.encode()
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)


def found(run: Run, *options: str) -> list[dict[str, object]]:
    ended = run(*SEARCH, *options)
    assert ended.code == 0, ended
    return [point["payload"] for point in json.loads(ended.out)["points"]]


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.csv.gz", "a.parquet", "-"]
)
def test_a_file_of_any_format_is_indexed_and_found(name: str, run: Run) -> None:
    write_rows("a.csv.gz" if name == "-" else name)
    stdin = Path("a.csv.gz").read_bytes() if name == "-" else b""
    more = ("--format", "csv") if name == "-" else ()
    for counted in ("2 documents added to a new", "0 documents added .* 2 replaced"):
        ended = run("index", name, *OPTIONS, *more, stdin=stdin)
        assert (ended.code, ended.out) == (0, ""), ended
        assert re.search(counted, ended.err)
    assert [payload["nr"] for payload in found(run, "--text-fields", "title,body")] == ["8"]
    assert len(json.loads(run("search", "fox", "--mode", "dense", "--json").out)["points"]) == 2


def test_several_files_and_a_folder_of_texts_are_indexed(run: Run) -> None:
    Path("docs/guide").mkdir(parents=True)
    Path("docs/guide/fox.md").write_text("# Foxes\n\nThe red fox hunts.")
    Path("docs/b.txt").write_text("A fox in a text file.")
    Path("docs/.hidden.md").write_text("A hidden fox.")
    write_rows("a.csv")
    ended = run("index", "docs", "a.csv")
    assert "4 documents added" in ended.err
    ids = {payload.get("_doc_id") for payload in found(run)}
    assert ids > {"docs/guide/fox.md", "docs/b.txt"}
    assert run("index", "docs").code == 0
    assert len(found(run)) == 3


def test_the_fields_that_are_read_and_the_others_are_named(run: Run) -> None:
    write_rows("a.csv")
    ended = run("index", "a.csv", "--text-fields", "body")
    assert "text is read from body; other fields: nr, title, year" in ended.err
    assert 'text_fields.fields = ["body"]' in ended.err


def test_documents_that_replaced_others_are_counted(run: Run) -> None:
    write_rows("a.jsonl")
    ended = run("index", "a.jsonl", "a.jsonl", "--id-field", "nr")
    assert ended.code == 0
    assert re.search(r"^2 documents .* replaced", ended.err, re.MULTILINE)


def test_a_document_without_an_id_is_named_and_the_others_are_stored(run: Run) -> None:
    Path("a.csv").write_text("key,text\n1,one fox\n,two\n")
    ended = run("index", "a.csv", "--id-field", "key")
    assert ended.code == 1
    assert "not stored: a.csv:3: key: " in ended.err
    assert len(found(run)) == 1
    assert_one_line(run("index", "a.csv", "--id-field", "nope"))
    assert "'key'" in assert_one_line(run("index", "a.csv", "--id-field", "kye"))


def test_a_field_that_may_hold_ids_is_named_if_they_are_made_from_the_content(run: Run) -> None:
    write_rows("a.csv")
    texts = OPTIONS[2:]
    assert "nr" in run("index", "a.csv", *texts).err.partition("--id-field")[2]
    assert "--id-field" not in run("index", "a.csv", *OPTIONS).err


@pytest.mark.parametrize(
    ("name", "content", "options", "word"),
    [
        ("a.pdf", b"%PDF-1.7\0", [], "PDF"),
        ("a.bin", b"hello", [], "'hello'"),
        ("a.jsonl", b"id,text\n1,one", [], "'id,text'"),
        ("a.csv", b"nr,body\n1,one", [], "nr, body"),
        ("a.csv", b"nr,body\n1,one", ["--text-fields", "boddy"], "boddy"),
        ("a.jsonl", b"", [], "no documents"),
        ("empty.txt", b"\n", [], "no documents"),
        ("a.csv", b"text\none", ["--format", "cvs"], "format"),
        ("a.csv", b"text\none", ["--language", "germn"], "'german'"),
        ("a.csv", b"text\none", ["--language", "de"], "'german'"),
        ("a.csv", b"text\none", ["--text-fields", ","], "text_fields"),
        ("-", b"hello", [], "<stdin>"),
        ("-", b"", [], "<stdin>"),
    ],
)
def test_what_cannot_be_read_is_refused_before_anything_is_created(
    name: str, content: bytes, options: list[str], word: str, run: Run
) -> None:
    if name != "-":
        Path(name).write_bytes(content)
    assert word in assert_one_line(run("index", name, *options, stdin=content))
    assert not Path("index").exists()


def test_a_language_that_no_setting_names_is_proposed(run: Run) -> None:
    texts = (
        "Der Fuchs jagt nachts im Wald und frisst gerne kleine Mäuse und Vögel.",
        "Das Brot muss langsam aufgehen, bevor es in den heißen Ofen kommt.",
    )
    Path("a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts * 3))
    proposed = run("index", "a.jsonl").err
    assert "--language german" in proposed
    assert "--collection" in proposed
    for option in ("german", "english"):
        ended = run("index", "a.jsonl", "--collection", option, "--language", option)
        assert "seem to be" not in ended.err
        assert f'backend.language = "{option}"' in ended.err
    message = assert_one_line(run("index", "a.jsonl", "--collection", "german"))
    assert 'backend.language = "german"' in message
    assert "--collection NAME" in message


def test_a_search_in_another_language_than_the_collections_is_noted(run: Run) -> None:
    texts = ("Der Fuchs jagt nachts kleine Mäuse.", "Das Brot muss langsam aufgehen.")
    Path("a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert run("index", "a.jsonl", "--language", "german").code == 0
    for options, noted in (((), True), (("--mode", "dense"), False)):
        assert ("german" in run("search", "Fuchs", *options).err) == noted
    assert "note" not in run("search", "Fuchs", "--language", "german").err


@pytest.mark.parametrize(
    "filter_", ["{", "7", '{"key": "year"}', '{"must": [{"key": "a", "b": 1}]}']
)
def test_a_wrong_filter_is_one_line(filter_: str, run: Run) -> None:
    write_rows("a.csv")
    run("index", "a.csv", *OPTIONS)
    message = assert_one_line(run(*SEARCH, "--filter", filter_))
    assert "filter" in message.partition(":")[0]


def test_a_search_shows_the_fields_asked_for(run: Run) -> None:
    write_rows("a.csv")
    run("index", "a.csv", *OPTIONS)
    filter_ = '{"must": [{"key": "year", "match": {"value": "2021"}}]}'
    ended = run("search", "bread", "--filter", filter_, "--fields", "title,year")
    assert ended.code == 0
    assert re.search(r"┃ title +┃ year +┃", ended.out)
    assert re.search(r"│ Foxes +│ 2021 +│", ended.out)
    assert "Bread" not in ended.out


@pytest.mark.parametrize("command", [["search", "x"], ["doctor"]])
def test_reading_makes_no_database(command: list[str], run: Run) -> None:
    ended = run(*command)
    assert ended.code == 1
    assert "vecdb-rerank index FILE" in ended.out + ended.err
    assert not Path("index").exists()


@pytest.mark.skipif(os.name == "nt", reason="SIGINT is sent to a process")
def test_an_interrupted_command_ends_in_one_line_and_can_be_repeated(run: Run) -> None:
    documents = b"".join(b'{"id": %d, "text": "a fox"}\n' % n for n in range(200))
    process = subprocess.Popen(
        [str(SCRIPT), "index", "-", "--batch-size", "16"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(documents)
    process.stdin.flush()
    while not list(Path("index").rglob("storage.sqlite")):  # it stores, then waits for more
        assert process.poll() is None
        time.sleep(0.05)
    for _ in range(3):  # a signal that arrives in a callback of C code is lost
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
            break
    out, err = process.communicate()
    assert (process.returncode, out) == (130, b""), err
    assert err.startswith(b"interrupted")
    assert err.count(b"\n") == 1
    assert run("index", "-", stdin=documents).code == 0
    assert len(json.loads(run(*SEARCH, "--limit", "200", "--k", "200").out)["points"]) == 200
