"""Reading records from files of every format."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import itertools
import json
import math
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank import ConfigurationError, MissingDependencyError
from vecdb_rerank.records import json_records
from vecdb_rerank.records.model import Format, Record, Unreadable
from vecdb_rerank.records.reading import read, required

ONE = {"id": "1", "text": "one"}
TWO = {"id": "2", "text": "two, or 2"}
BOM = b"\xef\xbb\xbf"
LINES = b'{"id": "1", "text": "one"}\n{"id": "2", "text": "two, or 2"}'
TABLE = b'id,text\n1,one\n2,"two, or 2"'


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def fields(path: Path, format: Format | None = None) -> list[dict[str, object]]:
    return [r.fields for r in read(path, format) if isinstance(r, Record)]


def unreadable(path: Path) -> list[tuple[str, str]]:
    """The places of what cannot be read, without the path, and why."""
    found = [r for r in read(path) if isinstance(r, Unreadable)]
    return [(u.where.removeprefix(str(path)), u.reason) for u in found]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.jsonl", BOM + LINES + b"\n"),
        ("a.ndjson", LINES.replace(b"\n", b"\r\n") + b"\r\n\r\n"),
        ("a.json", LINES),
        ("a", b"\n \n" + LINES),
        ("a.json", json.dumps([ONE, TWO]).encode()),
        ("a.json", BOM + json.dumps([ONE, TWO], indent=2).encode()),
        ("a.jsonl", b"\n\n " + json.dumps([ONE, TWO], indent=2).replace("\n", "\r\n").encode()),
        ("a.csv", TABLE),
        ("a.csv", BOM + TABLE.replace(b"\n", b"\r\n") + b"\r\n\r\n"),
        ("A.CSV", b'"id";"text"\n1;one\n"2";two, or 2\n'),
        ("a.csv", b"id|text\n1|one\n2|two, or 2\n"),
        ("a.csv", b"id\ttext\n1\tone\n2\ttwo, or 2\n"),
        ("a.tsv", b"id\ttext\n1\tone\n2\ttwo, or 2\n"),
    ],
)
@pytest.mark.parametrize("compress", [None, gzip.compress, zstandard.compress])
def test_the_same_records_are_read_from_every_format(
    name: str, content: bytes, compress: Any, tmp_path: Path
) -> None:
    suffix = {None: "", gzip.compress: ".gz", zstandard.compress: ".zst"}[compress]
    path = written(tmp_path, name + suffix, compress(content) if compress else content)
    assert fields(path) == [ONE, TWO]
    assert unreadable(path) == []


def test_standard_input_is_read_compressed_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[bytes, Format | None]] = [(LINES, None), (TABLE, "csv")]
    for content, format_ in (*given, (gzip.compress(LINES), None)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert fields(Path("-"), format_) == [ONE, TWO]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.tsv", "a.json.gz"])
def test_an_empty_file_has_no_records(name: str, tmp_path: Path) -> None:
    for content in (b"", b"\n\n", BOM):
        content = gzip.compress(content) if name.endswith("gz") else content
        assert list(read(written(tmp_path, name, content))) == []


def test_compressed_parts_that_were_joined_are_read_to_the_end(tmp_path: Path) -> None:
    for name, compress in (("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress)):
        parts = b"".join(compress(line) for line in LINES.splitlines(keepends=True))
        assert fields(written(tmp_path, name, parts)) == [ONE, TWO]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_a_damaged_compressed_file_keeps_what_precedes(name: str, tmp_path: Path) -> None:
    content = b"".join(b'{"text": "%d"}\n' % (n * 7919 % 100_003) for n in range(20_000))
    compress: Any = gzip.compress if name.endswith("gz") else zstandard.compress
    path = written(tmp_path, name, compress(content)[:-1000])
    assert len(fields(path)) > 1000
    [(_, reason)] = unreadable(path)
    assert "cannot be read" in reason


# -- JSON


def test_a_bad_line_is_named_by_its_number(tmp_path: Path) -> None:
    content = b'{"id": 1}\nno\n\n[1]\n"x"\n{"a": "\xff"}\n{"id": NaN}\n{"a": ' + b"[" * 99_999
    found = unreadable(written(tmp_path, "a.jsonl", content))
    assert [where for where, _ in found] == [":2", ":4", ":5", ":6", ":8"]


def test_a_bad_element_of_an_array_is_named_by_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", b'[\n{"id": 1},\n7,\n\n{"id":\n2}, []\n]\n')
    assert [where for where, _ in unreadable(path)] == [":3", ":6"]
    assert fields(path) == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    "end",
    [b"", b"]]", b'] {"id": 2}', b',\n{"id": }]', b' {"id": 2}]', b",\n" + b"[" * 99_999, b', {"a'],
)
def test_what_follows_a_broken_element_is_not_read(end: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, "a.json", b'[{"id": 1}' + end)
    assert fields(path) == [{"id": 1}]
    [(_, reason)] = unreadable(path)
    assert "rest was not read" in reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.text(), JSON, max_size=4), min_size=1, max_size=4),
    st.integers(1, 40),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_any_array_is_read_whatever_the_size_of_the_parts(
    values: list[dict[str, object]], chunk: int, indent: int | None, ascii_only: bool
) -> None:
    content = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    stream: Any = io.BufferedReader(io.BytesIO(content.encode("utf-8", "replace")))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_records, "_CHUNK", chunk)
        read = list(json_records.json_records(stream, "a"))
    assert [r.fields for r in read if isinstance(r, Record)] == json.loads(
        content.encode("utf-8", "replace")
    )


# -- CSV


def test_quoted_line_breaks_and_quotes_are_values(tmp_path: Path) -> None:
    rows = [["id", "text"], ["1", 'two\r\nlines, "quoted"'], ["2", "x" * 300_000], ["3", ""]]
    with (path := tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    before = csv.field_size_limit()
    assert [list(f.values()) for f in fields(path)] == rows[1:]
    assert csv.field_size_limit() == before


def test_bad_rows_are_named_by_their_first_line(tmp_path: Path) -> None:
    content = b'id,text\n1,"a\nb"\n2\n3,c,d\n4,"\xff\n"\n5,"x" y\n6,e\n7,"open\n8,f\n'
    path = written(tmp_path, "a.csv", content)
    assert [where for where, _ in unreadable(path)] == [":4", ":5", ":6", ":8", ":10"]
    assert [f["id"] for f in fields(path)] == ["1", "6"]


def test_a_column_without_a_name_is_named_by_its_place(tmp_path: Path) -> None:
    assert fields(written(tmp_path, "a.csv", b",text\n0,one\n")) == [
        {"column_1": "0", "text": "one"}
    ]


# -- Markdown and text


def test_a_folder_of_texts_has_a_record_for_each_file(tmp_path: Path) -> None:
    written(tmp_path, "docs/guide/a.md", BOM + b"# Install it #\r\n\r\nRun make.\r\n## Then\r\nx")
    written(tmp_path, "docs/b.TXT", b"Plain\ntext")
    written(tmp_path, "docs/c.markdown", b"No heading\n# Not the first line")
    for name in (".hidden.md", ".git/x.md", "d.png", "empty.md", "blank.txt", "x/.y/z.md"):
        written(tmp_path, f"docs/{name}", b"  \n" if name.startswith(("e", "b")) else b"no")
    (tmp_path / "docs" / "loop").symlink_to(tmp_path / "docs")
    assert fields(tmp_path / "docs") == [
        {"_id": "docs/b.TXT", "title": "b", "text": "Plain\ntext"},
        {"_id": "docs/c.markdown", "title": "c", "text": "No heading\n# Not the first line"},
        {"_id": "docs/guide/a.md", "title": "Install it", "text": "Run make.\n## Then\nx"},
    ]


def test_ids_of_texts_do_not_depend_on_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "docs/a.md", b"text")
    monkeypatch.chdir(tmp_path / "docs")
    assert fields(Path()) == fields(Path("../docs")) == fields(tmp_path / "docs")


def test_a_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    written(tmp_path, "docs/a.md", b"\xff")
    written(tmp_path, "docs/b.md", b"good")
    assert unreadable(tmp_path / "docs") == [("/a.md", "not valid UTF-8")]
    assert len(fields(tmp_path / "docs")) == 1


# -- Parquet


def test_parquet_has_values_that_json_has(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)
    row = {
        "id": 7,
        "text": "one",
        "year": 2.5,
        "tags": ["a", "b"],
        "inner": {"at": day, "day": day.date()},
        "price": decimal.Decimal("1.20"),
        "raw": b"text",
        "bytes": b"\xff",
        "nan": math.nan,
        "none": None,
    }
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row] * 300), path)
    found = fields(path)
    assert len(found) == 300
    assert json.loads(json.dumps(found[0])) == {
        **row,
        "inner": {"at": day.isoformat(), "day": "2026-01-02"},
        "price": "1.20",
        "raw": "text",
        "bytes": "/w==",
        "nan": None,
    }
    unnamed = path.rename(tmp_path / "unnamed")
    assert len(fields(unnamed)) == 300


def test_without_its_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, library in (("a.parquet", "pyarrow.parquet"), ("a.jsonl", "pyarrow")):
        content = b"PAR1" if name == "a.parquet" else zstandard.compress(LINES)
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(MissingDependencyError, match="files"):
            list(read(written(tmp_path, name, content)))


# -- what is refused


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.pdf", b"%PDF-1.7\n\0", "PDF"),
        ("a", b"Dear reader,", "Dear reader"),
        ("a.log", b"\x1b[2J2026-01-01 started", "started"),
        ("a.docx", b"PK\x03\x04\0\0", "binary"),
        ("a", b"", "empty"),
        ("a.jsonl", b"id,text\n1,one", "id,text"),
        ("a.json", b'{\n  "id": 1\n}', "'{'"),
        ("a.json", b'["one", "two"]', "object"),
        ("a.csv", b'{"a": 1, "b": 2}\n{"a": 2}', "values"),
        ("a.csv", b"id,id\n1,2", "2 times"),
        ("a.csv", b"\xff,id\n1,2", "UTF-8"),
        ("a.csv", "id,text\n1,one".encode("utf-16"), "UTF-16"),
        ("a.parquet", b"PAR1 not at all", "Parquet"),
        ("a.parquet", b"id,text", "Parquet"),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)[:12], "read"),
        ("a.jsonl.gz", gzip.compress(b"no", mtime=0), "'no'"),
        ("a.csv", b"a,b\n" + b"x" * 100 + b"\n", "xxx…"),
        ("a.csv", b"id,text\r1,one\r", "CRLF"),
        ("a.tsv", b"id\ttext\n1\tone\r2\ttwo\n", "CRLF"),
        ("a.csv", b"x" * 200_000 + b",y\n1\n", "1 values"),
        ("a.jsonl", b'{"id": ' + b"9" * 5000 + b"}", "digits"),
        ("a.json", b'[{"id": ' + b"9" * 5000 + b"}]", "digits"),
    ],
)
def test_an_unknown_shape_is_refused_with_its_first_line(
    name: str, content: bytes, word: str, tmp_path: Path
) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(ConfigurationError, match=word) as raised:
        list(read(path))
    assert raised.value.key.startswith(str(path))
    assert "\x1b" not in raised.value.problem
    assert len(raised.value.problem) < 400


def test_a_folder_without_texts_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    written(tmp_path, "a.png", b"")
    with pytest.raises(ConfigurationError, match="png"):
        list(read(tmp_path))


@pytest.mark.parametrize("name", ["nowhere.jsonl", "a\0b.jsonl"])
def test_a_file_that_cannot_be_opened_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        list(read(tmp_path / name))
    assert raised.value.key == str(tmp_path / name)


def test_required_fields_are_named_with_the_line(tmp_path: Path) -> None:
    path = written(tmp_path, "queries.csv", b"_id,text\n1,one\n")
    assert list(required(path, "_id", "text")) == [{"_id": "1", "text": "one"}]
    with pytest.raises(ConfigurationError, match="query") as raised:
        list(required(path, "query"))
    assert raised.value.key == f"{path}:2"


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz"])
def test_memory_does_not_grow_with_the_file(name: str, tmp_path: Path) -> None:
    """A file of 20 MB takes less than 2 MB: its records are long, its line breaks are not."""
    texts = (f"{n} {'word ' * 2000}" for n in range(2000))
    lines: Iterator[str] = (json.dumps({"text": text}) for text in texts)
    if name == "a.csv":
        lines = itertools.chain(["text,x"], (f'"{n}\n{"word " * 2000}",' for n in range(2000)))
    joined = "[" + ",\n".join(lines) + "]" if name == "a.json" else "\n".join(lines)
    content = joined.encode()
    path = written(tmp_path, name, gzip.compress(content, 1) if name[-1] == "z" else content)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read(path)) == 2000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
