"""Run clients that others wrote against a real ``vecdb-rerank serve``: ``make test-clients``.

Each program of a client prints one line of JSON for each call: `client` (name and version), `call`,
and what it received. The checks are here: `ranked` (pairs of index and score, best first), `status`
of an error, `body` of an answer as it came, or the `results` of the tools for agents.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.server.spawned import ROOT, spawned
from vecdb_rerank import connect

HERE = Path(__file__).parent
QUESTION = HERE / "question.json"
CACHE = ROOT / ".env-clients"  # one environment for each client in Python
KEY = "key-of-the-clients-in-these-tests"
SECONDS = 240.0  # for one command
FAILURES = (AssertionError, LookupError, RuntimeError, ValueError, subprocess.TimeoutExpired)
ARGUMENTS = ("{url}", KEY, str(QUESTION), "{infinity}")
UV = str(Path(sys.executable).with_name("uv"))
NPM = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock")


@dataclass(frozen=True)
class Client:
    """A program, and the commands that install what it needs; all run in ``folder``."""

    name: str
    folder: str
    run: Sequence[str]
    install: Sequence[Sequence[str]] = ()


def _python(name: str) -> Client:
    environment = CACHE / name
    python = str(environment / "bin/python")
    return Client(
        f"Python, {name}",
        "python",
        (python, "-E", f"{name}.py", *ARGUMENTS),
        (
            (UV, "venv", "-q", "--allow-existing", "--python", sys.executable, str(environment)),
            (UV, "pip", "sync", "-q", "--python", python, f"{name}.txt"),
        ),
    )


CLIENTS = (
    *(_python(file.stem) for file in sorted((HERE / "python").glob("*.txt"))),
    Client("TypeScript, rerank", "js", ("node", "main.mjs", *ARGUMENTS), (NPM,)),
    Client("TypeScript, MCP", "mcp_ts", ("node", "main.mjs", "{url}/mcp", "{query}", KEY), (NPM,)),
    Client("Go", "go", ("go", "run", ".", *ARGUMENTS)),
    Client("Java", "java", ("java", "Main.java", *ARGUMENTS)),
)


@contextmanager
def serving(document: str) -> Iterator[str]:
    """Serve the bundled reranker and the documents of the question; yield the URL.

    ``document`` is how answers show documents: as an object or a string.
    """
    documents = json.loads(QUESTION.read_bytes())["documents"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "vecdb_rerank.toml")
        backend = {"type": "qdrant", "path": str(Path(folder, "qdrant")), "collection": "notes"}
        section = "".join(f"{key} = {json.dumps(value)}\n" for key, value in backend.items())
        serve = f'document = "{document}"\nkeys = ["{KEY}"]\n'
        file.write_text(f"[backend]\n{section}[serve]\n{serve}")
        with closing(connect(backend=backend)) as connector:
            connector.create()
            connector.add([{"_id": n, "text": text} for n, text in enumerate(documents)])
        with spawned(file, Path(folder)) as service:
            yield service.url()


def expected(url: str) -> list[tuple[int, float]]:
    """Return the documents' places and scores, best first, as one plain request receives them."""
    response = httpx.post(
        f"{url}/v1/rerank",
        content=QUESTION.read_bytes(),
        headers={"content-type": "application/json", "authorization": f"Bearer {KEY}"},
    )
    best = _pairs(response.raise_for_status().json())
    assert [index for index, _ in best][:2] == [3, 1], best  # the bundled reranker's order
    return best


def _pairs(body: Any) -> list[tuple[int, float]]:
    if isinstance(body, list):  # text-embeddings-inference
        return [(each["index"], each["score"]) for each in body]
    return [(each["index"], each["relevance_score"]) for each in body["results"]]


def outputs(client: Client, **arguments: str) -> Iterator[dict[str, Any]]:
    """Install and run a client and yield what it printed; raise RuntimeError if one fails."""
    for command in client.install:
        _output(command, client.folder)
    printed = _output([each.format(**arguments) for each in client.run], client.folder)
    if not printed:
        raise RuntimeError("the program reports nothing")
    for line in printed.splitlines():
        yield json.loads(line)


def _output(command: Sequence[str], folder: str) -> str:
    if shutil.which(command[0]) is None:
        raise RuntimeError(f"`{command[0]}` is missing: install it and put it on PATH")
    done = subprocess.run(
        command, cwd=HERE / folder, capture_output=True, text=True, timeout=SECONDS
    )
    if done.returncode:
        raise RuntimeError(f"`{command[0]}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def check(found: dict[str, Any], best: Sequence[tuple[int, float]]) -> None:
    """Raise AssertionError if a client did not receive what it should."""
    body = found.get("body")
    if "status" in found:
        assert found["status"] == 401, found
    elif "tools" in found:
        assert [each["name"] for each in found["tools"]] == ["search", "fetch"], found
        assert found["results"][0]["id"] == found["document"]["id"] == f"int:{best[0][0]}", found
        assert found["missing"]["error"], found
    elif isinstance(body, dict) and "result" in body:  # a search in Qdrant
        assert body["result"]["points"][0]["id"] == best[0][0], found
        assert len(body["result"]["points"]) == 2, found
    else:
        ranked = _pairs(body) if body else found["ranked"]
        assert len(ranked) in (3, 4), found
        for (index, score), (right, relevance) in zip(ranked, best, strict=False):
            assert index == right, found
            assert abs(score - relevance) < 1e-6, found


def main() -> int:
    """Print a line for each call of each client, and a summary; return 1 if one failed."""
    passed = failed = 0
    query = json.loads(QUESTION.read_bytes())["query"]
    with serving("object") as url, serving("string") as infinity:
        best = expected(url)
        for client in CLIENTS:
            start = time.monotonic()
            try:
                for found in outputs(client, url=url, infinity=infinity, query=query):
                    check(found, best)
                    passed += 1
                    print("passed", found["client"], found["call"], sep="  ")
            except FAILURES as error:
                failed += 1
                print("FAILED", client.name, error, sep="  ")
            print(f"        {client.name}: {time.monotonic() - start:.0f} s", flush=True)
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
