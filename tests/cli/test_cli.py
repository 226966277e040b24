"""The command line: output, streams and exit codes."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from qdrant_client import QdrantClient
from qdrant_client.http import models
from typer.testing import CliRunner
from werkzeug import Request, Response

from tests.cli.conftest import FILE, SECRET, Ended, assert_one_line
from tests.servers import free_port, qdrant_source
from vecdb_rerank import __version__
from vecdb_rerank.cli.app import app
from vecdb_rerank.cli.terminal import SafeFormatter, as_json, printable
from vecdb_rerank.config import factory
from vecdb_rerank.config.loading import DEFAULT_FILE, check, load
from vecdb_rerank.embedders.onnx import OnnxEmbedder
from vecdb_rerank.evaluation.report import charts
from vecdb_rerank.evaluation.verdict import verdict
from vecdb_rerank.testing import CORPUS, QUERIES
from vecdb_rerank.testing.base import new_name

SCRIPT = Path(sys.executable).with_name("vecdb-rerank")
COMMANDS = (
    "demo",
    "index",
    "search",
    "evaluate",
    "tune",
    "calibrate",
    "structure",
    "scan",
    "doctor",
    "config",
    "cache",
)
DENSE = models.VectorParams(size=384, distance=models.Distance.COSINE)
SPARSE = models.SparseVectorParams(modifier=models.Modifier.IDF)
# What would act on a terminal: clipboard, title, clear screen, C1's CSI, bidirectional overrides.
UNSAFE = "\x1b]52;c;aGk=\x07\x1b]0;t\x07\x1b[2J\r\x08\x7f\x9b2J\u202e\u2066\u200f\u061c\u2028"
BARE = '[embedder]\ntype = "none"\n[reranker]\ntype = "none"\n'


def script(*arguments: str, **environment: str) -> Ended:
    """Run the real console script in its own process."""
    done = subprocess.run(
        [str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def names_files(err: str) -> list[str]:
    """Return the files that were written; on a slow machine there is a line of progress too."""
    return [line.split()[0] for line in err.splitlines() if "written" in line]


def plain(text: str) -> str:
    """Without colors and without frames, one space between words."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯─]", " ", text).split())


def cells(table: str) -> list[list[str]]:
    """The cells of a table's rows, without its header."""
    rows = [line.strip("│").split("│") for line in table.splitlines() if line[:1] == "│"]
    return [[cell.strip() for cell in row] for row in rows]


def write(path: str, documents: Sequence[Mapping[str, Any]]) -> str:
    Path(path).write_text("".join(f"{json.dumps(d)}\n" for d in documents), encoding="utf-8")
    return path


def stored() -> int:
    """How many documents the configured collection holds."""
    connector: Any = factory.connect(reranker={"type": "none"}, embedder={"type": "none"})
    try:
        return int(connector.client.count("documents").count)
    finally:
        connector.close()


# -- help


def test_without_a_command_the_commands_are_listed() -> None:
    for arguments in ([], ["--help"]):
        text = plain(CliRunner().invoke(app, arguments).output)
        for name in COMMANDS:
            assert f" {name} " in text
        assert "vecdb-rerank demo" in text


def test_the_version_is_printed() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"{__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["serach"], ["search"], ["search", "x", "--nope"], ["index"]]
)
def test_a_wrong_call_says_how_to_call(arguments: list[str], run: Callable[..., Ended]) -> None:
    ended = run(*arguments)
    assert ended.code == 2
    assert "--help" in ended.err
    assert "Traceback" not in ended.err


# -- the console script, end to end


def test_the_console_script_indexes_and_searches() -> None:
    documents = [{"_id": d["id"], "title": d["title"], "text": d["text"]} for d in CORPUS[:10]]
    write("corpus.jsonl", documents)
    indexed = script("index", "corpus.jsonl")
    assert (indexed.code, indexed.out) == (0, ""), indexed
    found = script("search", "bread", "--mode", "bm25", "--no-rerank", "--json")
    assert (found.code, found.err) == (0, ""), found
    assert json.loads(found.out)["points"][0]["payload"]["_doc_id"] == "bread-0"


def test_without_its_libraries_the_console_script_names_the_extra() -> None:
    hidden = (
        "import sys; sys.modules['typer'] = None; from vecdb_rerank.cli import main; "
        "sys.argv = ['vecdb-rerank', 'search', 'x']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", hidden], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "vecdb-rerank[cli]" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_entry_point_loads_neither_typer_nor_rich() -> None:
    code = "import sys, vecdb_rerank.cli; sys.exit(not {'typer', 'rich'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_table_in_a_pipe_has_its_values_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    name = "a-long-name-" * 20
    rows = cells(script("config", VECDB_RERANK__BACKEND__COLLECTION=name).out)
    assert ["backend.collection", name, "environment"] in rows
    narrow = script("config", VECDB_RERANK__BACKEND__COLLECTION=name, COLUMNS="70").out
    table = [line for line in narrow.splitlines() if not line.startswith("cache:")]
    assert max(map(len, table)) == 70


def test_the_console_script_hides_the_log_of_client_libraries() -> None:
    # In this process, pytest's own log handlers would swallow the client's warnings.
    Path(DEFAULT_FILE).write_text(BARE)
    environment = {"VECDB_RERANK__BACKEND__URL": f"http://127.0.0.1:{free_port()}"}
    ended = script("search", "x", "--backend", "opensearch", "--mode", "bm25", **environment)
    assert "connection" in assert_one_line(ended)


def test_a_reader_that_goes_away_is_no_error_of_ours() -> None:
    done = subprocess.run(
        ["bash", "-c", '"$0" config | true', str(SCRIPT)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Traceback" not in done.stderr


# -- index


def test_documents_in_the_beir_style_keep_their_ids(run: Callable[..., Ended]) -> None:
    write("corpus.jsonl", [{"_id": "MED-10", "title": "Statins", "text": "and cancer"}])
    assert run("index", "corpus.jsonl").code == 0
    found = json.loads(run("search", "statins", "--json").out)["points"]
    assert found[0]["payload"] == {"_doc_id": "MED-10", "title": "Statins", "text": "and cancer"}


def test_a_byte_order_mark_costs_no_document(run: Callable[..., Ended]) -> None:
    lines = b'\xef\xbb\xbf{"id": 1, "text": "one"}\n{"id": 2, "text": "two"}\n'
    Path("marked.jsonl").write_bytes(lines)
    assert (run("index", "marked.jsonl").code, stored()) == (0, 2)


def test_documents_without_an_id_are_stored_once(run: Callable[..., Ended]) -> None:
    three: dict[str, Any] = {"id": 3, "text": "three"}
    documents = [{"text": "one"}, {"text": "two"}, three, {"text": "one"}]
    write("plain.jsonl", documents)
    first = run("index", "plain.jsonl")
    assert "to a new collection" in first.err
    assert stored() == 3
    again = run("index", "plain.jsonl")
    assert (again.code, stored()) == (0, 3)
    assert "to an existing collection" in again.err


BROKEN = (
    b'{"id": 1, "text": "good"}\n'
    b"not JSON\n"
    b"\n"
    b'{"id": 2, "text": "good"}\n'
    b"[1, 2]\n"
    b'{"id": 3, "text": "\xff"}\n'
    b'{"id": 4, "text": "no line break after it"}'
)


@pytest.mark.parametrize("name", ["broken.jsonl", "-"])
def test_bad_lines_are_named_by_number_and_good_ones_stored(
    name: str, run: Callable[..., Ended]
) -> None:
    Path("broken.jsonl").write_bytes(BROKEN)
    for _ in range(2):
        ended = run("index", name, stdin=BROKEN)
        assert ended.code == 1
        where = "<stdin>" if name == "-" else name
        failed = [line for line in ended.err.splitlines() if where in line]
        assert [line.split(": ")[1] for line in failed] == [f"{where}:{n}" for n in (2, 5, 6)]
        assert stored() == 3


def test_a_line_that_is_nested_too_deeply_is_named(run: Callable[..., Ended]) -> None:
    Path("deep.jsonl").write_text('{"text": "one"}\n{"text": ' + "[" * 100_000 + "\n")
    ended = run("index", "deep.jsonl")
    assert (ended.code, stored()) == (1, 1)
    assert "deep.jsonl:2" in ended.err


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_a_collection_that_is_nested_too_deeply_is_one_line(
    name: str, beir: str, run: Callable[..., Ended]
) -> None:
    with Path(beir, name).open("a") as file:
        file.write('{"_id": ' + "[" * 100_000 + "\n")
    assert name in assert_one_line(run("evaluate", beir))


def test_what_looks_like_markup_in_a_report_is_shown_as_it_is(run: Callable[..., Ended]) -> None:
    Path("[b].jsonl").write_text("[/b]\n")
    ended = run("index", "[b].jsonl")
    assert "[b].jsonl:1" in ended.err


@pytest.mark.parametrize(("name", "why"), [("nowhere.jsonl", "No such file"), (".", "no Markdown")])
def test_a_file_that_cannot_be_read_is_one_line(
    name: str, why: str, run: Callable[..., Ended]
) -> None:
    assert why in assert_one_line(run("index", name))


def test_a_wrong_batch_size_is_one_line(run: Callable[..., Ended]) -> None:
    write("corpus.jsonl", [{"text": "one"}])
    assert "batch_size" in assert_one_line(run("index", "corpus.jsonl", "--batch-size", "0"))


def test_the_collection_can_be_named(run: Callable[..., Ended]) -> None:
    write("corpus.jsonl", [{"text": "one"}])
    assert run("index", "corpus.jsonl", "--collection", "other").code == 0
    assert run("search", "one", "--collection", "other").code == 0
    assert "missing" in assert_one_line(run("search", "one"))


# -- search


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an embedded Qdrant with a part of the testing corpus."""
    folder = tmp_path_factory.mktemp("filled") / "index"
    backend = {"type": "qdrant", "path": folder}
    with closing(factory.build(check(backend=backend, reranker={"type": "none"}))) as connector:
        connector.create()
        connector.add(CORPUS[:10])
        connector.add([{"id": "[b]", "text": "Brackets like [/b] and [red] are not markup."}])
    return folder


@pytest.fixture
def filled(index: Path) -> None:
    """Fill the configured collection."""
    shutil.copytree(index, "index")


@pytest.mark.usefixtures("filled")
def test_a_search_without_hits_says_so(run: Callable[..., Ended]) -> None:
    ended = run("search", "zyzzyva", "--mode", "bm25")
    assert ended.code == 0
    assert "no hits" in ended.out


@pytest.mark.usefixtures("filled")
def test_a_search_names_the_reranker_that_scored(run: Callable[..., Ended]) -> None:
    assert "scored by onnx:ms-marco-MiniLM-L-12-v2;" in run("search", "bread", "--mode", "bm25").out


@pytest.mark.usefixtures("filled")
def test_a_search_shows_what_the_stages_did(
    run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = [{"type": "mmr"}, {"type": "pin", "ids": ["bread-4"]}]
    monkeypatch.setenv("VECDB_RERANK__POLICY__AFTER", json.dumps(stages))
    first = cells(run("search", QUERIES["bread"]).out)[0]
    assert "bread-4" in first
    assert any("pin 1" in cell for cell in first)
    config = run("config").out
    assert "policy.after.0.lambda_mult" in config
    assert "policy.after.1.type" in config


@pytest.mark.usefixtures("filled")
def test_a_search_shows_the_new_and_the_old_rank(run: Callable[..., Ended]) -> None:
    ended = run("search", QUERIES["bread"])
    assert (ended.code, ended.err) == (0, "")
    header = next(line for line in ended.out.splitlines() if line[:1] == "┃")
    names = [cell.strip() for cell in header.strip("┃").split("┃")]
    assert names == ["rank", "was", "score", "first pass", "id", "text"]
    rows = cells(ended.out)
    assert [row[0] for row in rows] == [str(n) for n in range(1, 11)]
    assert rows[0][4] == "bread-0"
    assert "Sourdough bread rises" in rows[0][5]
    for rank, was, score, first, *_ in rows:
        before, arrow = was.split()
        moved = int(before) - int(rank)
        assert arrow == ("=" if moved == 0 else "↑" if moved > 0 else "↓")
        assert float(score) >= 0
        assert float(first) > 0
    scores = [float(row[2]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert re.search(r"reranked: 11 of 11 candidates scored.*; embed \d+ ms", ended.out)


@pytest.mark.usefixtures("filled")
def test_without_reranking_no_hit_moves(run: Callable[..., Ended]) -> None:
    ended = run("search", QUERIES["bread"], "--no-rerank", "--mode", "bm25")
    assert ended.code == 0
    assert "skipped (rerank=False)" in ended.out
    assert "=" in ended.out
    assert "↑" not in ended.out
    assert "↓" not in ended.out


@pytest.mark.usefixtures("filled")
def test_a_page_shows_its_ranks(run: Callable[..., Ended]) -> None:
    pages = [
        [point["id"] for point in json.loads(run("search", "bread", *more, "--json").out)["points"]]
        for more in (["--limit", "4"], ["--limit", "2", "--offset", "2"])
    ]
    assert pages[0][2:] == pages[1]
    assert re.search(r"│ +3 │", run("search", "bread", "--limit", "1", "--offset", "2").out)


@pytest.mark.usefixtures("filled")
def test_the_native_response_is_printed_as_json_alone(run: Callable[..., Ended]) -> None:
    ended = run("search", QUERIES["sailing"], "--json", "--limit", "2", "--k", "5")
    assert (ended.code, ended.err) == (0, "")
    points = json.loads(ended.out)["points"]
    assert points[0]["payload"]["id"] == "sailing-0"
    assert points[0]["score"] >= points[1]["score"]


@pytest.mark.usefixtures("filled")
def test_texts_and_ids_are_shown_as_they_are(run: Callable[..., Ended]) -> None:
    ended = run("search", "brackets markup", "--mode", "bm25")
    assert ended.code == 0
    assert "Brackets like [/b] and [red] are not markup." in ended.out
    assert "│ [b] " in ended.out


@pytest.mark.parametrize(
    ("mode", "vectors", "sparse"),
    [("bm25", {}, {"bm25": SPARSE}), ("dense", {"dense": DENSE}, {})],
)
def test_a_collection_with_one_kind_of_vector_is_searched_in_its_mode(
    mode: str, vectors: dict[str, Any], sparse: dict[str, Any], run: Callable[..., Ended]
) -> None:
    with closing(QdrantClient(path="index")) as client:
        client.create_collection("documents", vectors, sparse)
    embedder = 'type = "none"' if mode == "bm25" else ""
    Path(DEFAULT_FILE).write_text(f'{FILE}[search]\nmode = "{mode}"\n[embedder]\n{embedder}\n')
    ended = run("search", "bread")
    assert ended.code == 0, ended
    assert_one_line(run("search", "bread", "--mode", "hybrid"))


def servers(request: pytest.FixtureRequest, kind: str) -> str:
    """The settings of a backend: embedded, or a real server."""
    if kind == "opensearch":
        return (
            f'[backend]\ntype = "opensearch"\nurl = "{request.getfixturevalue("opensearch_url")}"\n'
        )
    if kind == "qdrant-local":
        return FILE
    if not qdrant_source():
        pytest.skip("no Qdrant server")
    return f'[backend]\nurl = "{request.getfixturevalue("qdrant_server")[0]}"\n'


@pytest.mark.parametrize("kind", ["qdrant-local", "qdrant-server", "opensearch"])
def test_a_collection_for_bm25_alone_needs_no_embedder(
    kind: str, run: Callable[..., Ended], request: pytest.FixtureRequest
) -> None:
    name = new_name()
    Path(DEFAULT_FILE).write_text(
        f'{servers(request, kind)}collection = "{name}"\n[search]\nmode = "bm25"\n'
        '[embedder]\ntype = "none"\n'
    )
    write("corpus.jsonl", [{"id": 1, "text": "honey bees dance"}, {"id": 2, "text": "red fox"}])
    try:
        assert run("index", "corpus.jsonl").code == 0
        for options in ((), ("--no-rerank",), ("--mode", "bm25")):
            ended = run("search", "bees", *options)
            assert ended.code == 0, ended
            assert [row[0] for row in cells(ended.out)] == ["1"]
        ended = run("doctor")
        assert (ended.code, "│ error " in ended.out) == (0, False)
    finally:
        with closing(factory.build(load().settings)) as connector:
            connector.delete()


@pytest.mark.parametrize("kind", ["qdrant-local", "qdrant-server"])
def test_an_unnamed_dense_vector_is_searched_in_its_mode(
    kind: str, run: Callable[..., Ended], request: pytest.FixtureRequest
) -> None:
    """As langchain-qdrant makes a collection by default."""
    name, texts = new_name(), ("honey bees dance", "red fox")
    backend = f'{servers(request, kind)}collection = "{name}"\n'
    rest = '[text_fields]\nfields = ["page_content"]\n'
    Path(DEFAULT_FILE).write_text(backend + rest)
    options = {"path": "index"}
    if kind == "qdrant-server":
        options = {"url": request.getfixturevalue("qdrant_server")[0]}
    with closing(QdrantClient(**options)) as client:  # type: ignore[arg-type]
        client.create_collection(name, {"": DENSE})
        vectors = OnnxEmbedder().embed_documents(texts)
        points = [
            models.PointStruct(id=n, vector={"": list(v)}, payload={"page_content": text})
            for n, (text, v) in enumerate(zip(texts, vectors, strict=True), start=1)
        ]
        client.upsert(name, points, wait=True)
    try:
        message = assert_one_line(run("search", "bees", "--mode", "dense"))
        assert "dense_vector" in message
        assert "bm25" not in message.partition(":")[0]
        Path(DEFAULT_FILE).write_text(f'{backend}dense_vector = ""\n{rest}')
        ended = run("search", "bees", "--mode", "dense")
        assert ended.code == 0, ended
        assert [row[4] for row in cells(ended.out)] == ["1", "2"]
    finally:
        with closing(QdrantClient(**options)) as client:  # type: ignore[arg-type]
            client.delete_collection(name)


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["x", "--mode", "hybird"], "mode"),
        (["x", "--k", "0"], "k"),
        (["x", "--k", "5", "--limit", "6"], "limit"),
        (["x", "--offset", "-1"], "offset"),
        ([""], "query"),
    ],
)
def test_a_wrong_argument_of_a_search_is_one_line(
    arguments: list[str], key: str, run: Callable[..., Ended]
) -> None:
    assert assert_one_line(run("search", *arguments)).startswith(f"{key}: ")


# -- untrusted text


def assert_safe(*outputs: str) -> None:
    """No output has a character that acts on a terminal, except line feeds."""
    for output in outputs:
        assert not set(output) & (set(UNSAFE) - set("]52;c;aGk=0;t[2J")), ascii(output)


def test_texts_and_ids_do_not_act_on_the_terminal(run: Callable[..., Ended]) -> None:
    document = {"_id": f"i{UNSAFE}", "title": f"t{UNSAFE}", "text": f"bread {UNSAFE}"}
    write("corpus.jsonl", [document])
    assert run("index", "corpus.jsonl").code == 0
    shown = run("search", "bread", "--mode", "bm25", "--no-rerank")
    assert shown.code == 0
    assert_safe(shown.out, shown.err)
    assert r"\x1b" in shown.out
    data = run("search", "bread", "--mode", "bm25", "--no-rerank", "--json")
    assert_safe(data.out, data.err)
    [point] = json.loads(data.out)["points"]
    assert point["payload"] == {"_doc_id": document.pop("_id"), **document}


def test_settings_files_and_servers_do_not_act_on_the_terminal(
    run: Callable[..., Ended], httpserver: HTTPServer
) -> None:
    httpserver.expect_request(re.compile(".*")).respond_with_json(
        {"error": {"type": UNSAFE, "reason": UNSAFE}, "status": 400}, status=400
    )
    Path("code").mkdir()
    Path("code", "a\x1b[2J\u202e.py").write_text(f"def (\n{CODE}", encoding="utf-8")
    Path(f"b{UNSAFE}.jsonl").write_text("[")
    backend = {"type": "opensearch", "url": httpserver.url_for("/"), "collection": f"c{UNSAFE}"}
    for command in (
        ["config", "--collection", f"c{UNSAFE}"],
        ["config", "--config", f"f{UNSAFE}.toml"],
        ["doctor", "--collection", f"c{UNSAFE}"],
        ["scan", "code"],
        ["index", f"b{UNSAFE}.jsonl"],
    ):
        ended = run(*command)
        assert_safe(ended.out, ended.err)
    Path(DEFAULT_FILE).write_text(
        "".join(f"backend.{key} = {json.dumps(value)}\n" for key, value in backend.items()) + BARE
    )
    for command in (["doctor"], ["search", "x", "--mode", "bm25"]):
        ended = run(*command)
        assert ended.code == 1
        assert_safe(ended.out, ended.err)


def test_a_log_record_does_not_act_on_the_terminal() -> None:
    record = logging.LogRecord("x", logging.ERROR, "x", 1, "server: %s", (UNSAFE,), None)
    assert_safe(SafeFormatter().format(record))


@given(st.text())
def test_json_with_escapes_is_the_same_data(text: str) -> None:
    written = as_json({text: [text]})
    assert json.loads(written) == {text: [text]}
    assert written == printable(written)
    written.encode()


# -- errors of every command


@pytest.mark.parametrize("command", [["search", "x"], ["doctor"], ["config"], ["index", "-"]])
def test_a_wrong_setting_is_one_line(command: list[str], run: Callable[..., Ended]) -> None:
    Path(DEFAULT_FILE).write_text(f'{FILE}api_key = "{SECRET}"\ncolection = "x"\n')
    assert assert_one_line(run(*command)).startswith("backend.colection: ")


@pytest.mark.parametrize("command", [["search", "x"], ["doctor"], ["config"], ["index", "-"]])
def test_a_configuration_file_that_is_missing_is_one_line(
    command: list[str], run: Callable[..., Ended]
) -> None:
    message = assert_one_line(run(*command, "--config", "nowhere.toml"))
    assert message.startswith("nowhere.toml: ")


def test_a_backend_that_is_not_there_is_one_line(run: Callable[..., Ended]) -> None:
    message = assert_one_line(run("search", "x", "--backend", "opensarch"))
    assert message.startswith("backend.type: ")
    assert "'opensearch'" in message


def test_an_error_of_several_lines_becomes_one(
    run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("model").mkdir()
    for name in ("model.onnx", "tokenizer.json"):
        Path("model", name).write_text("{\n\n}")
    monkeypatch.setenv("VECDB_RERANK__EMBEDDER__MODEL", "model")
    write("corpus.jsonl", [{"text": "one"}])
    assert "model" in assert_one_line(run("index", "corpus.jsonl"))


@pytest.mark.parametrize("kind", ["qdrant", "opensearch"])
@pytest.mark.parametrize("command", [["search", "x"], ["index", "corpus.jsonl"]])
def test_a_server_that_is_down_is_one_line(
    kind: str, command: list[str], run: Callable[..., Ended]
) -> None:
    write("corpus.jsonl", [{"text": "one"}])
    port = free_port()
    Path(DEFAULT_FILE).write_text(f'[backend]\nurl = "http://127.0.0.1:{port}"\n')
    assert str(port) in assert_one_line(run(*command, "--backend", kind))


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("has_socksio", [True, False])
@pytest.mark.parametrize("command", [["search", "x", "--no-rerank"], ["doctor"]])
@pytest.mark.parametrize(
    "backend",
    [
        'path = "index"',
        'url = "http://qdrant.test:6333"',
        'type = "opensearch"\nurl = "http://o.test"',
    ],
    ids=["embedded", "qdrant", "opensearch"],
)
def test_a_socks_proxy_never_ends_in_a_traceback(
    backend: str,
    command: list[str],
    has_socksio: bool,
    run: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"socks5://127.0.0.1:{free_port()}")
    if not has_socksio:
        monkeypatch.setitem(sys.modules, "socksio", None)
    Path(DEFAULT_FILE).write_text(
        f"[backend]\n{backend}\ntimeout = 2\n{BARE}[search]\nmode = 'bm25'\n"
    )
    ended = run(*command)
    if backend == 'path = "index"':
        assert ended.code == 0, ended
        return
    assert ended.code == 1
    if command == ["doctor"]:
        assert "│ error │ connection" in ended.out
    else:
        assert_one_line(ended)
    if "qdrant" in backend and not has_socksio:
        assert "httpx[socks]" in plain(ended.out + ended.err)


# -- config


def test_the_configuration_is_shown_with_origins(
    run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(DEFAULT_FILE).write_text(f'{FILE}[text_fields]\ntemplate = "[b]{{title}}[/b]"\n')
    monkeypatch.setenv("VECDB_RERANK__SEARCH__K", "77")
    ended = run("config", "--collection", "other")
    assert (ended.code, ended.err) == (0, "")
    shown = {key: (value, origin) for key, value, origin in cells(ended.out)}
    assert shown["search.k"] == ("77", "environment")
    assert shown["backend.collection"] == ("other", "arguments")
    assert shown["backend.path"] == ("index", DEFAULT_FILE)
    assert shown["text_fields.template"] == ("[b]{title}[/b]", DEFAULT_FILE)
    assert shown["search.fusion.method"] == ("rrf", "default")
    assert shown["policy.deadline"] == ("10.0", "default")
    assert shown["backend.api_key"] == ("-", "default")
    assert shown["reranker.type"] == ("onnx", "default")


@pytest.mark.parametrize(
    ("key", "value"),
    [("api_key", SECRET), ("url", f"http://admin:{SECRET}@127.0.0.1:6333")],
)
def test_the_configuration_hides_secrets(
    key: str, value: str, run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(DEFAULT_FILE).unlink()
    monkeypatch.setenv(f"VECDB_RERANK__BACKEND__{key.upper()}", value)
    ended = run("config")
    assert ended.code == 0
    assert SECRET not in ended.out + ended.err
    assert re.search(rf"backend\.{key} .*\*\*\*.* environment", ended.out)


# -- doctor


@pytest.mark.usefixtures("filled")
def test_the_doctor_finds_nothing_wrong(run: Callable[..., Ended]) -> None:
    ended = run("doctor")
    assert (ended.code, ended.err) == (0, "")
    assert f"vecdb-rerank {__version__}" in ended.out
    for words in ("embedder", "384 dimensions", "ms for k=50", "11 points"):
        assert words in ended.out
    assert "│ error " not in ended.out


def test_the_doctor_says_what_to_do_about_a_missing_collection(run: Callable[..., Ended]) -> None:
    ended = run("doctor")
    assert ended.code == 1
    row = next(line for line in ended.out.splitlines() if "collection 'documents'" in line)
    assert "│ error " in row
    assert "is missing" in row
    assert "vecdb-rerank index FILE" in row


@pytest.mark.parametrize("kind", ["qdrant", "opensearch"])
def test_the_doctor_says_what_to_do_about_a_server_that_is_down(
    kind: str, run: Callable[..., Ended]
) -> None:
    Path(DEFAULT_FILE).write_text(f'[backend]\nurl = "http://127.0.0.1:{free_port()}"\n')
    ended = run("doctor", "--backend", kind)
    assert ended.code == 1
    assert "│ error │ connection" in ended.out
    assert "cannot be reached" in ended.out
    assert "backend.url" in ended.out
    assert "│ ok    │ embedder" in ended.out


def test_the_doctor_says_what_to_do_about_a_wrong_dimension(run: Callable[..., Ended]) -> None:
    client = QdrantClient(path="index")
    try:
        client.create_collection(
            "documents",
            {"dense": models.VectorParams(size=3, distance=models.Distance.COSINE)},
            {"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        )
    finally:
        client.close()
    ended = run("doctor")
    assert ended.code == 1
    row = next(line for line in ended.out.splitlines() if "collection 'documents'" in line)
    assert "'dense' has 3 dimensions, the embedder makes 384" in plain(ended.out)
    assert "│ error " in row
    assert "index it anew" in plain(ended.out)
    assert "has 3 dimensions" in assert_one_line(run("search", "x"))


def test_the_doctor_names_the_section_of_a_model_that_does_not_load(
    run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECDB_RERANK__EMBEDDER__MODEL", "/no/such/folder")
    ended = run("doctor")
    assert ended.code == 1
    assert "│ error │ embedder" in ended.out
    assert "correct the section [embedder]" in ended.out


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("follows", "configured", "level"),
    [(True, True, "ok"), (False, True, "warning"), (False, False, "note"), (None, False, "note")],
)
def test_the_doctor_finds_a_server_that_ignores_instructions(
    follows: bool | None,
    configured: bool,
    level: str,
    run: Callable[..., Ended],
    httpserver: HTTPServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(request: Request) -> Response:
        body = request.json or {}
        if follows is None and "instruction" in body:
            return Response('{"error": {"message": "extra inputs are not permitted"}}', 422)
        shift = 0.01 if follows and "geology" in body.get("instruction", "") else 0.0
        scores = {
            n: 0.9 - shift if "egg" in text else 0.1 / (n + 1)
            for n, text in enumerate(body["documents"])
        }
        results = [{"index": n, "relevance_score": score} for n, score in scores.items()]
        return Response(json.dumps({"results": results}), content_type="application/json")

    httpserver.expect_request("/v1/rerank").respond_with_handler(answer)
    settings = {"type": "http", "url": httpserver.url_for("/"), "format": "vllm", "model": "m"}
    if configured:
        settings["instruction"] = "prefer official documentation"
    for name, value in settings.items():
        monkeypatch.setenv(f"VECDB_RERANK__RERANKER__{name.upper()}", value)
    ended = run("doctor")
    assert ended.code == (1 if level == "warning" else 0)
    row = next(line for line in ended.out.splitlines() if "│ reranker  " in line)
    assert row.startswith(f"│ {level} ")
    assert ("instruction_ignored" in plain(ended.out)) == (not follows)


@pytest.mark.usefixtures("filled")
def test_a_search_with_an_instruction_needs_a_reranker_that_follows_it(
    run: Callable[..., Ended],
) -> None:
    ended = run("search", "x", "--instruction", "prefer official documentation")
    assert ended.code == 1
    assert "instruction" in assert_one_line(ended)


@pytest.mark.usefixtures("filled")
def test_the_doctor_checks_the_database_whatever_else_is_wrong(
    run: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECDB_RERANK__RERANKER__MODEL", "/no/such/folder")
    monkeypatch.setenv("VECDB_RERANK__EMBEDDER__MODEL", "/no/such/folder")
    ended = run("doctor")
    assert ended.code == 1
    for row in ("│ error │ embedder", "│ error │ reranker", "│ ok    │ collection"):
        assert row in ended.out


@pytest.mark.parametrize(
    ("texts", "code", "level"), [("bbb ", 0, "note"), ("b   ", 1, "warning"), ("    ", 1, "error")]
)
def test_documents_without_text_are_reported_and_do_not_prevent_a_search(
    texts: str, code: int, level: str, run: Callable[..., Ended]
) -> None:
    write("corpus.jsonl", [{"id": n, "titel": "x", "text": t} for n, t in enumerate(texts)])
    indexed = run("index", "corpus.jsonl", *([] if texts.strip() else ["--text-fields", "titel"]))
    assert indexed.code == 0
    assert ("have no text" in indexed.err) == bool(texts.strip())
    assert run("search", "b", "--mode", "dense").code == 0
    ended = run("doctor")
    assert ended.code == code
    assert re.search(rf"│ {level} +│ text ", ended.out)
    assert "titel" in ended.out


def test_the_doctor_shows_no_key(run: Callable[..., Ended], httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_json({}, status=401)
    url = httpserver.url_for("/").replace("//", f"//admin:{SECRET}@")
    Path(DEFAULT_FILE).write_text(f'[backend]\nurl = "{url}"\n')
    for kind in ("qdrant", "opensearch"):
        ended = run("doctor", "--backend", kind)
        assert ended.code == 1
        assert SECRET not in ended.out + ended.err


PLUGIN = """
class Reranker:
    def score(self, query, texts):
        n = len(texts)
        return {}
"""


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("[0.5] * n", "equal"),
        ("[0.0] * n", "near|equal"),
        ("[(i + 1) / n for i in range(n)]", "best score"),
        ("'0.5'", "returned str"),
        ("[0.5]", "1 scores for 10"),
        ("{}[n]", "KeyError"),
    ],
)
def test_the_doctor_finds_a_reranker_that_ranks_nothing(
    answer: str,
    said: str,
    run: Callable[..., Ended],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "acme_doctor.py").write_text(PLUGIN.format(answer))
    metadata = tmp_path / "acme_doctor-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-doctor\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[vecdb_rerank.rerankers]\nacme = acme_doctor:Reranker\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "acme_doctor", raising=False)
    with Path(DEFAULT_FILE).open("a") as file:
        file.write('[reranker]\ntype = "acme"\n')
    ended = run("doctor")
    assert ended.code == 1
    assert re.search(rf"error reranker .*({said})", plain(ended.out)), ended.out


@pytest.mark.usefixtures("filled")
def test_the_doctor_sends_as_many_documents_as_a_search_and_finds_the_services_limit(
    run: Callable[..., Ended], httpserver: HTTPServer
) -> None:
    sizes = []

    def rerank(request: Request) -> Response:
        texts = request.json["texts"]
        sizes.append(len(texts))
        if len(texts) > 32:
            return Response('{"error": "at most 32 texts"}', status=422)
        scores = [{"index": n, "score": 3.0 - n} for n in range(len(texts))]
        return Response(json.dumps(scores), content_type="application/json")

    httpserver.expect_request("/rerank").respond_with_handler(rerank)
    with Path(DEFAULT_FILE).open("a") as file:
        file.write('[search]\nk = 40\n[reranker]\ntype = "http"\nretries = 0\n')
        file.write(f'batch_size = 100\nformat = "tei"\nurl = "{httpserver.url_for("/")}"\n')
    ended = run("doctor")
    assert max(sizes) == 40
    assert ended.code == 1
    assert re.search(r"warning reranker .*batch_size", plain(ended.out))


@pytest.mark.usefixtures("filled")
def test_the_doctor_looks_at_each_of_a_cascade(
    run: Callable[..., Ended], httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/rerank").respond_with_data("down", status=503)
    with Path(DEFAULT_FILE).open("a") as file:
        file.write('[reranker]\ntype = "cascade"\n[reranker.then]\ntype = "http"\nretries = 0\n')
        file.write(f'format = "tei"\nurl = "{httpserver.url_for("/")}"\n')
    ended = run("doctor")
    assert ended.code == 1
    assert "the second one reads the best 20" in plain(ended.out)
    assert re.search(r"│ ok +│ reranker +│ cascade:onnx:", ended.out)
    assert re.search(r"ok reranker\.first onnx:.* ms for k=50", plain(ended.out))
    assert "│ error │ reranker.then" in ended.out
    assert "correct the section [reranker.then]" in plain(ended.out)
    shown = {key: (value, origin) for key, value, origin in cells(run("config").out)}
    assert shown["reranker.then.retries"] == ("0", DEFAULT_FILE)
    assert shown["reranker.first.type"] == ("onnx", "default")


# -- evaluate


@pytest.fixture
def beir() -> Iterator[str]:
    """A collection of ten documents and two questions."""
    folder = Path("tiny")
    folder.mkdir()
    write("tiny/corpus.jsonl", [{"_id": d["id"], "text": d["text"]} for d in CORPUS[:10]])
    write("tiny/queries.jsonl", [{"_id": s, "text": QUERIES[s]} for s in ("bread", "sailing")])
    (folder / "qrels.tsv").write_text("bread\tbread-0\t1\nsailing\tsailing-0\t1\n")
    yield str(folder)


def test_an_evaluation_prints_only_json_where_json_is_asked_for(
    beir: str, run: Callable[..., Ended]
) -> None:
    ended = run("evaluate", beir, "--json", "-", "--queries", "1", "--k", "5", "--seed", "1")
    assert (ended.code, ended.err) == (0, "")
    result = json.loads(ended.out)
    assert (result["dataset"], result["documents"], result["queries"]) == ("tiny", 10, 1)
    assert list(result["stages"]["hybrid+rerank"]) == [
        "ndcg@10",
        "mrr@10",
        "recall@5",
        "judged@10",
        "pairs",
        "pairs_p95",
        "latency_ms",
    ]


def test_an_evaluation_prints_a_table_and_writes_a_file(
    beir: str, run: Callable[..., Ended]
) -> None:
    ended = run("evaluate", beir, "--modes", "bm25, hybrid", "--k", "5", "--json", "out.json")
    assert ended.code == 0
    assert names_files(ended.err) == ["out.json"]
    assert "tiny: 10 documents, 2 queries, k=5, qdrant" in ended.out
    result = json.loads(Path("out.json").read_text())
    assert list(result["stages"]) == [
        *("bm25", "bm25+rerank"),
        *("hybrid", "tuned fusion", "hybrid+rerank"),
    ]
    assert result["verdict"]["text"] in plain(ended.out)
    # The verdict has the numbers of the table, each rounded once.
    costs = result["details"]["cost_per_1000"]
    assert result["verdict"] == verdict(result["yardstick"], costs)


def test_an_evaluation_writes_a_page_and_a_picture(beir: str, run: Callable[..., Ended]) -> None:
    beir = str(Path(beir).rename("$x_{$"))  # broken TeX, and a fine name of a folder
    ended = run(
        "evaluate", beir, "--modes", "hybrid", "--k", "5", "--html", "r.html", "--chart=r.svg"
    )
    assert ended.code == 0
    assert names_files(ended.err) == ["r.html", "r.svg"]
    assert Path("r.html").read_text(encoding="utf-8").count("<svg") == len(charts.EVALUATION)
    assert "$x_{$" in Path("r.svg").read_text(encoding="utf-8")


def test_an_evaluation_takes_k_from_the_settings(beir: str, run: Callable[..., Ended]) -> None:
    with Path(DEFAULT_FILE).open("a") as file:
        file.write("[search]\nk = 4\nlimit = 2\n")
    evaluation = ("evaluate", beir, "--modes", "bm25", "--queries", "1", "--json", "-")
    for option, k in (((), 4), (("--k", "3"), 3)):
        result = json.loads(run(*evaluation, *option).out)
        assert result["k"] == k
        assert f"recall@{k}" in result["stages"]["bm25"]


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["--chart", "a.gif"], "--chart"),
        (["--html", "no/such/page.html"], "--html"),
        (["--modes", "bm25,sparse"], "--modes"),
        (["--queries", "0"], "queries"),
        (["--json", "no/such/folder.json"], "--json"),
        (["--k", "0"], "k"),
    ],
)
def test_a_wrong_argument_of_an_evaluation_is_one_line(
    arguments: list[str], key: str, beir: str, run: Callable[..., Ended]
) -> None:
    assert assert_one_line(run("evaluate", beir, *arguments)).startswith(f"{key}: ")


def test_a_broken_cache_is_one_line(beir: str, run: Callable[..., Ended]) -> None:
    Path("cache").touch()
    assert "cache" in assert_one_line(run("evaluate", beir))


def test_a_folder_that_is_no_collection_is_one_line(run: Callable[..., Ended]) -> None:
    assert "BEIR layout" in assert_one_line(run("evaluate", "."))


# -- tune


def test_tuning_prints_the_trade_off_and_writes_a_configuration(
    beir: str, run: Callable[..., Ended]
) -> None:
    ended = run("tune", beir, "--max-k", "20", "--folds", "2", "--out", "new.toml", "--chart=t.png")
    assert ended.code == 0
    assert names_files(ended.err) == ["t.png"]
    for text in ("chosen", "NDCG@10", "new.toml"):
        assert text in ended.out
    # Two queries prove nothing: the settings stay, and both outputs say so.
    assert "current settings stay" in ended.out
    comment, text = Path("new.toml").read_text(encoding="utf-8").split("\n", 1)
    assert comment.startswith("#")
    assert "kept" in comment
    assert text.startswith(FILE)
    assert load("new.toml").settings.search.k == 50
    assert Path("t.png").read_bytes().startswith(b"\x89PNG")
    ended = run("tune", beir, "--out", "new.toml")
    assert assert_one_line(ended).startswith("--out: ")


def test_tuning_prints_only_json_where_json_is_asked_for(
    beir: str, run: Callable[..., Ended]
) -> None:
    ended = run("tune", beir, "--max-k", "20", "--json", "-")
    assert (ended.code, ended.err) == (0, "")
    result = json.loads(ended.out)
    assert result["queries"] == 2
    names = [row["name"] for row in result["yardstick"]["rows"]]
    assert names[2:5] == ["hybrid", "tuned fusion", "reranked"]
    assert result["verdict"]["answer"] == "uncertain"


def test_a_cascade_is_not_tuned(beir: str, run: Callable[..., Ended]) -> None:
    with Path(DEFAULT_FILE).open("a") as file:
        file.write('[reranker]\ntype = "cascade"\n[reranker.then]\nmax_length = 64\n')
    ended = run("tune", beir, "--max-k", "20")
    assert assert_one_line(ended).startswith("reranker.type: ")


def test_an_evaluation_keeps_no_score_of_a_cascade(beir: str, run: Callable[..., Ended]) -> None:
    with Path(DEFAULT_FILE).open("a") as file:
        file.write('[reranker]\ntype = "cascade"\nbest = 1\n[reranker.then]\nmax_length = 8\n')
    evaluation = ("evaluate", beir, "--modes", "bm25", "--cache", "--json", "-")
    first, again = (json.loads(run(*evaluation).out)["stages"] for _ in range(2))
    for stages in (first, again):  # scores from the cache have no time
        assert stages["bm25+rerank"]["latency_ms"] is not None


# -- diagnosing


def test_a_diagnosis_names_what_it_looked_for(beir: str, run: Callable[..., Ended]) -> None:
    ended = run("doctor", "--diagnose", beir, "--queries", "1")
    assert ended.err == ""
    for text in ("depth of the first pass", "gain of reranking", "threshold: 95%"):
        assert text in ended.out
    assert "BEIR layout" in assert_one_line(run("doctor", "--diagnose", "."))


# -- scan


CODE = """
from qdrant_client import QdrantClient, models
client = QdrantClient()
client.query_points("c", models.Document(text="what?", model="qdrant/bm25"))
client.query_points("c", [0.1])
client.search("c", [0.1])
client.upsert("c", [])
"""


def test_scan_lists_every_search_with_its_verdict(run: Callable[..., Ended]) -> None:
    Path("code").mkdir()
    Path("code/a.py").write_text(CODE, encoding="utf-8")
    Path("code/bad.py").write_text("def (", encoding="utf-8")
    ended = run("scan", "code")
    assert ended.code == 0
    *calls, summary = ended.out.splitlines()
    assert [line.partition(":")[2].split()[:3] for line in calls] == [
        ["4", "query_points", "reranked:"],
        ["5", "query_points", "passed"],
        ["6", "search", "refused:"],
    ]
    assert "1 unreadable" in summary
    assert "code/bad.py" in ended.err


def test_scan_writes_json(run: Callable[..., Ended]) -> None:
    Path("a.py").write_text(CODE, encoding="utf-8")
    ended = run("scan", "a.py", "--json", "-")
    assert ended.code == 0
    report = json.loads(ended.out)
    assert sorted(report) == ["calls", "counts", "files", "others", "unreadable"]
    assert report["counts"] == {"reranked": 1, "passed_through": 1, "refused": 1}
    assert report["calls"][0] == {
        "file": "a.py",
        "line": 4,
        "database": "qdrant",
        "method": "query_points",
        "verdict": "reranked",
        "reason": "by the text in the query",
    }
    ended = run("scan", "a.py", "--json", "nowhere/report.json")
    assert (ended.code, ended.out) == (1, "")
    assert "--json" in ended.err


def test_scan_of_nothing_is_an_error_and_of_no_search_is_not(run: Callable[..., Ended]) -> None:
    ended = run("scan", "nothing")
    assert ended.code == 1
    assert "nothing" in ended.err
    Path("a.py").write_text("x = 1", encoding="utf-8")
    assert "Searches: 0" in run("scan", "a.py").out
