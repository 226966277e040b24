"""Generated wrong command lines, files and settings: each ends in a message, none in a traceback.

The cases run in this process, by the console script's own entry point.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tests.cli.conftest import FILE, Ended
from tests.pins import settings
from vecdb_rerank.cli.app import app
from vecdb_rerank.config import factory
from vecdb_rerank.config.loading import DEFAULT_FILE, load

Run = Callable[..., Ended]
BARE = f'{FILE}[embedder]\ntype = "none"\n[reranker]\ntype = "none"\n[search]\nmode = "bm25"\n'
# Arguments with which a command fails before it does much. Commands that have none are only
# called in ways that the parser refuses.
BASES: dict[str, list[str]] = {
    "index": ["nowhere.jsonl"],
    "search": ["fox", "--config", "nowhere.toml"],
    "evaluate": ["nowhere"],
    "tune": ["nowhere"],
    "calibrate": ["nowhere"],
    "structure": ["nowhere"],
    "scan": ["nowhere"],
    "bench": ["--config", "nowhere.toml"],
    "doctor": ["--config", "nowhere.toml"],
    "config": ["--config", "nowhere.toml"],
}
VALUE = "-1\x1b[2J"  # of no option
SEARCHES: tuple[tuple[str, ...], ...] = (
    ("",),
    (" ",),
    ("\ud83d",),
    *(("fox", "--k", value) for value in ("0", "-1", "10001", "x", "1e3", "")),
    *(("fox", "--limit", value) for value in ("0", "-1", "51", "x", "")),
    *(("fox", "--offset", value) for value in ("-1", "x")),
    *(("fox", "--mode", value) for value in ("", "hybird", "BM25", "dense")),
    *(("fox", "--backend", value) for value in ("", "elastic", "Qdrant", "none")),
    *(("fox", "--collection", value) for value in ("", "nope", "a/b", "\x1b[2J", "x" * 400)),
    *(("fox", "--language", value) for value in ("", "germn", "de")),
    *(("fox", "--text-fields", value) for value in ("", ",", " , ")),
    *(
        ("fox", "--filter", value)
        for value in (
            "",
            "{",
            "null",
            "7",
            '"year"',
            '["year"]',
            '{"key": "year"}',
            '{"must": 5}',
            '{"must": {"key": 5}}',
            '{"must": [{"key": "a", "match": {"valeu": 1}}]}',
            '{"must": [{"range": {}}]}',
            "[" * 10_000,
        )
    ),
)
FILES: dict[str, bytes] = {
    "empty.jsonl": b"",
    "blank.csv": b"\n\n",
    "no.jsonl": b"id,text\n1,one\n",
    "list.json": b"[1, 2, 3]",
    "open.json": b'[{"text": "one"',
    "object.json": b'{\n"text": "one"\n}',
    "deep.json": b"[" * 100_000,
    "deep.jsonl": b'{"a": ' * 100_000,
    "latin.csv": "id,text\n1,größer\n".encode("latin-1"),
    "utf16.csv": "id,text\n1,one\n".encode("utf-16"),
    "long.csv": b"id,text\n1,one,two\n",
    "short.csv": b"id,text\n1\n",
    "twice.csv": b"id,id\n1,2\n",
    "quote.csv": b'id,text\n1,"one\n',
    "other.csv": b"nr,body\n1,one\n",
    "header.csv": b"id,text\n",
    "semicolon.tsv": b"id;text\n1;one\n",
    "picture.png": b"\x89PNG\r\n\x1a\n\0\0",
    "office.xlsx": b"PK\x03\x04\0\0",
    "paper.pdf": b"%PDF-1.7",
    "page.html": b"<html>",
    "unknown": b"Dear reader",
    "\x1b[2J.log": b"\x1b]52;c;aGk=\x07",
    "cut.jsonl.gz": b"\x1f\x8b\x08\x00",
    "not.jsonl.zst": b"\x28\xb5\x2f\xfd\0\0",
    "not.parquet": b"text",
    "cut.parquet": b"PAR1PAR1",
    "empty.md": b"",
    "bytes.txt": b"\xff\xfe\xfd",
    "id.jsonl": b'{"id": 1.5, "text": "one"}\n',
    "null.jsonl": b'{"id": null, "text": "one"}\n',
    "nul.jsonl": b"\0\0\0\0",
}


@pytest.fixture
def ends_well(run: Run) -> Callable[..., str | None]:
    """Run the command, and say how it ended if not as it should: with a message and no data."""

    def check(*arguments: str, stdin: bytes = b"") -> str | None:
        try:
            ended = run(*arguments, stdin=stdin)
        except BaseException as error:  # whatever escapes is a traceback for the user
            return f"{arguments}: {type(error).__name__}: {error}"
        lines = ended.err.splitlines()
        one_line = ended.code == 1 and len(lines) == 1 and lines[0].startswith("error: ")
        usage = ended.code == 2 and lines[-1].startswith("Error: ")
        if (one_line or usage) and not ended.out and "\x1b" not in ended.err:
            return None
        return f"{arguments}: {ended}"

    return check


def wrong_options() -> Iterator[tuple[str, ...]]:
    """Every option of every command with wrong values, without one, twice, misspelt."""
    group: Any = typer.main.get_command(app)
    yield ("--nope",)
    for name, command in group.commands.items():
        for misspelt in (name[:-1], f"{name}s", name.upper()):
            if misspelt not in group.commands:
                yield (misspelt,)
        if hasattr(command, "commands"):
            yield name, "nope"
            continue
        base = BASES.get(name)
        yield (name, "--nope", *(base or ()))
        yield (name, *(base or ()), "--config")
        for option in command.params:
            flag = option.opts[-1]
            if not flag.startswith("--") or flag == "--help":
                continue
            yield (name, *(base or ()), f"{flag}x", "1")
            if option.is_flag:
                yield (name, *(base or ()), f"{flag}=maybe")
            elif base is not None:
                yield (name, *base, flag)
                yield (name, *base, flag, VALUE)


def test_wrong_options_end_in_a_message(ends_well: Callable[..., str | None]) -> None:
    cases = list(dict.fromkeys(wrong_options()))
    assert len(cases) >= 200
    assert [problem for case in cases if (problem := ends_well(*case))] == []


def test_wrong_searches_end_in_one_line(ends_well: Callable[..., str | None]) -> None:
    Path(DEFAULT_FILE).write_text(BARE)
    with closing(factory.build(load().settings)) as connector:
        connector.create()
        connector.add([{"id": 1, "text": "a fox", "year": 2021}])
    assert ends_well("search", "fox") is not None  # which works
    assert [problem for case in SEARCHES if (problem := ends_well("search", *case))] == []


def test_wrong_files_end_in_one_line(ends_well: Callable[..., str | None]) -> None:
    Path(DEFAULT_FILE).write_text(BARE)
    for name, content in FILES.items():
        Path(name).write_bytes(content)
    Path("folder/.git").mkdir(parents=True)
    Path("folder/.git/a.md").write_text("hidden")
    cases: list[tuple[str, ...]] = [
        ("index", name) for name in (*FILES, "folder", "a\0b", "x" * 300)
    ]
    cases += [("index", name, "--id-field", "nope") for name in FILES]
    assert [problem for case in cases if (problem := ends_well(*case))] == []
    piped = ((name, content) for name, content in FILES.items() if not name.endswith(("csv", "md")))
    assert [
        problem
        for name, content in piped
        if name not in ("id.jsonl", "null.jsonl")
        and (problem := ends_well("index", "-", stdin=content))
    ] == []
    assert not Path("index").exists()


@pytest.mark.parametrize("command", ["evaluate", "tune", "calibrate", "structure"])
def test_wrong_collections_end_in_one_line(
    command: str, ends_well: Callable[..., str | None]
) -> None:
    good = {
        "corpus.jsonl": b'{"_id": "d", "text": "a"}',
        "queries.jsonl": b'{"_id": "q", "text": "a"}',
        "qrels.tsv": b"q\td\t1",
    }
    wrong = (
        b"",
        b"no",
        b"{",
        b"[]",
        b'{"id": 1}',
        b"q\td",
        b"q\td\tx",
        b"\xff",
        b"\0",
        b"[" * 9999,
    )
    problems = []
    for name in good:
        missing = () if name == "corpus.jsonl" else (None,)  # the collection may exist already
        for content in (*missing, *wrong):
            for each, right in good.items():
                Path(each).write_bytes(right)
            Path(name).unlink()
            if content is not None:
                Path(name).write_bytes(content)
            # Not a single query has a relevant document, or a file cannot be read.
            problems.append(ends_well(command, "."))
    assert list(filter(None, problems)) == []


def test_wrong_settings_end_in_one_line(
    ends_well: Callable[..., str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line for line in settings() if not line.startswith("[")]
    keys = list(dict.fromkeys(line.partition(" = ")[0] for line in lines))
    assert len(keys) >= 100
    problems = []
    for key in keys:
        line = f"{key}x = 1" if "NAME" in key else f"{key} = [[5], {{}}]"
        Path(DEFAULT_FILE).write_text(f"{line}\n")
        problems.append(ends_well("config"))
    Path(DEFAULT_FILE).unlink()
    for section in dict.fromkeys(key.partition(".")[0].upper() for key in keys):
        for variable in (f"VECDB_RERANK_{section}__K", f"VECDBRERANK__{section}__K"):
            with monkeypatch.context() as patched:
                patched.setenv(variable, "1")
                problems.append(ends_well("config"))
    assert list(filter(None, problems)) == []


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('url = "http://x"', "backend.url"),
        ('[qdrant]\nurl = "http://x"', "backend.qdrant"),
        ("[blend]\nweight = 1", "policy.blend"),
        ("[policy]\nk = 3", "search.k"),
        ("[search]\ndeadline = 3", "policy.deadline"),
        ('[backend]\nfusion = "rrf"', "search.fusion"),
        ("[text_field]", "text_fields"),
        ("[[backend]]", "[backend]"),
        ("policy = 3", "[policy]"),
    ],
)
def test_a_table_in_a_wrong_place_is_shown_the_right_one(text: str, meant: str, run: Run) -> None:
    Path(DEFAULT_FILE).write_text(text)
    assert meant in run("config").err


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("VECDB_RERANK_SEARCH_K", "VECDB_RERANK__SEARCH__K"),
        ("VECDB_RERANK__SEARCH_K", "VECDB_RERANK__SEARCH__K"),
        ("VECDB_RERANK__SERACH__K", "search"),
        ("VECDB_RERANK_URL", "VECDB_RERANK__BACKEND__URL"),
        ("VECDBRERANK__SEARCH__K", "VECDB_RERANK__SEARCH__K"),
        ("VECDB_RERANKER__TYPE", "VECDB_RERANK__SECTION__KEY"),
    ],
)
def test_a_misspelt_variable_is_shown_the_right_one(
    variable: str, meant: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")
    assert meant in run("config").err


def commands() -> Iterator[list[str]]:
    group: Any = typer.main.get_command(app)
    yield []
    for name, command in group.commands.items():
        yield [name]
        yield from ([name, inner] for inner in getattr(command, "commands", ()))


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_help_fits_a_screen_and_starts_with_an_example(
    command: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 lines of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    ended = run(*command, "--help")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.rstrip().splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 80
    assert lines[2].strip().startswith("Example"), ended.out


def test_a_message_is_said_once_and_data_goes_to_standard_output(run: Run) -> None:
    Path(DEFAULT_FILE).write_text(BARE)
    Path("a.jsonl").write_text(json.dumps({"id": 1, "text": "a fox"}))
    indexed = run("index", "a.jsonl")
    assert (indexed.code, indexed.out) == (0, "")
    assert len(set(indexed.err.splitlines())) == len(indexed.err.splitlines())
    found = run("search", "fox", "--json")
    assert (found.code, found.err) == (0, "")
    assert json.loads(found.out)["points"]
