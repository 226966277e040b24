"""Run every code block of README, CONTRIBUTING and docs/."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient
from sybil import Sybil
from sybil.example import Example
from typer.testing import CliRunner

from tests.docs import commands, pages
from tests.docs.pages import PAGES, source, title
from tests.server.running import Running, serving
from vecdb_rerank.cli.app import app
from vecdb_rerank.config import factory
from vecdb_rerank.config.loading import load
from vecdb_rerank.embedders.onnx import OnnxEmbedder
from vecdb_rerank.errors import VecdbRerankError
from vecdb_rerank.outcome import observe
from vecdb_rerank.search.connector import AsyncConnector, Connector
from vecdb_rerank.testing.base import new_name
from vecdb_rerank_qdrant import QdrantConnector

TEXTS = [
    "git reset --soft HEAD~1 undoes the last commit and keeps your changes.",
    "git revert makes a new commit that undoes one that was pushed.",
    "git branch -m old new renames a branch locally.",
    "git stash puts changes aside for later.",
]
# Pages name a server; an embedded Qdrant replaces it here.
QDRANT = re.compile(r'QdrantClient\("http://[\w.]+:6333"\)')
SERVICE = "http://127.0.0.1:8000"  # of `vecdb-rerank serve`
COMMENTED = re.compile(r"^# (?=\w+ = )", re.MULTILINE)


class _Page:
    """The state of a page between its blocks, and how each language is checked."""

    def __init__(self, opensearch: str, names: dict[str, Any]) -> None:
        self.opensearch = opensearch
        self.collection = new_name()
        self.names = names
        self.prepared: QdrantConnector | None = None
        self.runner = asyncio.Runner()
        self.services = ExitStack()
        self.service: Running | None = None
        self.last = ""  # the language of the block before
        self.checks = {
            "python": self.python,
            "toml": self.toml,
            "sh": self.sh,
            "console": lambda block: commands.check_session(source(block)),
            "json": self.json,
            "text": self.text,
        }

    def python(self, block: Example) -> None:
        code = source(block)
        if re.search(r"^class Test", code, re.MULTILINE):
            _tests(code)
            return
        if self.prepared is None:
            self.names.update(_prepared())
            self.prepared = self.names["connector"]
        code = QDRANT.sub("_server()", code)
        if SERVICE in code:
            code = code.replace(SERVICE, self._service())
        if "OpenSearch(" in code:
            code = re.sub(r"http://[\w.]+:9200", self.opensearch, code)
            code = code.replace('"documents"', f'"{self.collection}"')
            self._fill_opensearch()
        awaits = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        place = f"{block.path}:{block.line}"
        tree = compile("\n" * block.line + code, place, "exec", ast.PyCF_ONLY_AST | awaits)
        if _is_sketch(tree):
            _check_sketch(tree, self.names)
            return
        with observe() as outcomes:
            result = eval(compile(tree, place, "exec", awaits), self.names)
            if inspect.iscoroutine(result):
                self.runner.run(result)
        assert [o.error for o in outcomes if o.status == "fell_back"] == []

    def _service(self) -> str:
        """Return the address of a service that runs until the end of the page."""
        if self.service is None:
            self.service = self.services.enter_context(serving(reranker={"type": "onnx"}))
        return self.service.url

    def _fill_opensearch(self) -> None:
        from vecdb_rerank import connect

        at = {"type": "opensearch", "url": self.opensearch, "collection": self.collection}
        connector = connect(backend=at)
        _ready(connector)
        connector.close()

    def toml(self, block: Example) -> None:
        """Load a settings file, also with its commented keys."""
        text = source(block)
        if "project" in tomllib.loads(text):
            _entry_points(tomllib.loads(text)["project"])
            return
        file = Path("vecdb_rerank.toml")
        file.write_text(COMMENTED.sub("", text))
        load(file)
        file.write_text(text)
        settings = load().settings
        for section in settings.chain:
            if section.type == "mine":
                assert factory.component("rerankers", section).options == {"temperature": 2.0}

    def sh(self, block: Example) -> None:
        self.close()  # a command opens the same embedded database
        commands.check(source(block))

    def close(self) -> None:
        """Close the connectors that the page made and restore the prepared one."""
        for name, value in list(self.names.items()):
            if value is self.prepared or not isinstance(value, Connector | AsyncConnector):
                continue
            if isinstance(value, Connector):
                value.close()
            else:
                self.runner.run(value.close())
            self.names[name] = self.prepared

    def json(self, block: Example) -> None:
        text = source(block)
        lines = text.splitlines() if (title(block) or "").endswith(".jsonl") else [text]
        for line in lines:
            json.loads(line)
        if name := title(block):
            Path(name).write_text(text)

    def text(self, block: Example) -> None:
        """Check the output of a command: an error of the settings is reproduced."""
        error = re.fullmatch(r"error: (\w+)\.(\w+): .* \(vecdb_rerank\.toml\)\n", source(block))
        if error is None:
            assert self.last == "sh", "output must follow the command that printed it"
            return
        file = Path("vecdb_rerank.toml")
        kept = file.read_text() if file.exists() else None
        file.write_text(f'[{error[1]}]\n{error[2]} = "x"\n')
        done = CliRunner().invoke(app, ["config"])
        file.unlink() if kept is None else file.write_text(kept)
        assert isinstance(done.exception, VecdbRerankError)
        assert f"error: {done.exception}\n" == source(block)


def _prepared() -> dict[str, Any]:
    """Return the names that pages use without defining them."""
    client = _server()
    return {
        "_server": _server,
        "QdrantConnector": QdrantConnector,
        "client": client,
        "connector": QdrantConnector(client, "documents"),
        "texts": TEXTS,
        "documents": [{"id": n, "text": text} for n, text in enumerate(TEXTS)],
        "question": "how do I undo a commit?",
        "vector": OnnxEmbedder().embed_query("how do I undo a commit?"),
    }


def _server() -> QdrantClient:
    """Return an embedded Qdrant with filled collections, in place of a server."""
    client = QdrantClient(":memory:")
    _ready(QdrantConnector(client, "documents"))
    _ready(QdrantConnector(client, "docs", dense_vector=""))
    return client


def _ready(connector: Any) -> None:
    connector.create()
    connector.add({"id": n, "text": text} for n, text in enumerate(TEXTS))


def _is_sketch(tree: ast.Module) -> bool:
    """Check whether a block leaves arguments to the reader: ``Store(client=client, ...)``."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(isinstance(a, ast.Constant) and a.value is ... for c in calls for a in c.args)


def _check_sketch(tree: ast.Module, names: dict[str, Any]) -> None:
    """Check the imports, names and arguments of a block that cannot run."""
    names = dict(names)
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(compile(ast.Module([node], []), "sketch", "exec"), names)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        dotted = ast.unparse(call.func)
        for at in range(dotted.count(".") + 1, 0, -1):
            module = ".".join(dotted.split(".")[:at])
            if module.partition(".")[0] not in names and importlib.util.find_spec(
                module.partition(".")[0]
            ):
                with suppress(ModuleNotFoundError):
                    importlib.import_module(module)
                    names[module.partition(".")[0]] = sys.modules[module.partition(".")[0]]
        called = eval(dotted, names) if dotted.partition(".")[0] in names else None
        if called is None:
            continue
        known = inspect.signature(called).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            given = {keyword.arg for keyword in call.keywords if keyword.arg}
            assert given <= set(known), f"{dotted} does not take {given - set(known)}"


def _tests(code: str) -> None:
    """Run a block of tests as a test module."""
    Path("test_page.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "."],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"[1-9]\d* passed", done.stdout)


def _entry_points(project: dict[str, Any]) -> None:
    for group, points in project["entry-points"].items():
        assert group in {f"vecdb_rerank.{k}" for k in ("connectors", "rerankers", "embedders")}
        for value in points.values():
            assert re.fullmatch(r"[\w.]+:\w+", value)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Provide the entry point that the extension guide registers."""
    folder = tmp_path_factory.mktemp("site")
    metadata = folder / "my_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    entry = "[vecdb_rerank.rerankers]\nmine = my_package:MyReranker\n"
    (metadata / "entry_points.txt").write_text(entry)
    (folder / "my_package.py").write_text(
        "class MyReranker:\n    def __init__(self, **options):\n        self.options = options\n"
    )
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.mark.parametrize("page", PAGES, ids=pages.name)
def test_blocks(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: None,
    request: pytest.FixtureRequest,
) -> None:
    wants_opensearch = "OpenSearch(" in page.read_text()
    url = request.getfixturevalue("opensearch_url") if wants_opensearch else ""
    monkeypatch.setenv("OPENSEARCH_URL", url)
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"id": n, "text": text}) for n, text in enumerate(TEXTS)]
    Path("docs.jsonl").write_text("\n".join(lines))
    prepared = _Page(url, {"__name__": "page"})
    document = Sybil([pages.Blocks(prepared.checks)], path=str(page.parent)).parse(page)
    with prepared.runner, prepared.services:
        for block in document.examples():
            try:
                block.evaluate()
            except Exception as error:
                error.add_note(f"in the block at {pages.name(page)}, line {block.line}")
                raise
            prepared.last = pages.language(block)
        prepared.close()
    if prepared.prepared is not None:
        prepared.prepared.close()


def test_the_parser_finds_every_block() -> None:
    """Check that the parser finds every fence."""
    for page in PAGES:
        text = page.read_text()
        fences = len(re.findall(r"^\s*```", text, re.MULTILINE))
        document = Sybil([pages.Blocks({})], path=str(page.parent)).parse(page)
        assert fences == 2 * len(list(document.examples())), page
