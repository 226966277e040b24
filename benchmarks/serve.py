"""What `vecdb-rerank serve` costs over the library, and beside a service of twenty lines.

"added" compares the median of a request over HTTP with that of the same rerank in this process,
with a reranker that answers at once, one request after the other. "throughput" counts the requests
per second that clients get of the bundled cross-encoder: in one process without HTTP (engine),
from `vecdb-rerank serve`, and from FastAPI around the same weights (fastapi). Clients are a process
of their own. They take turns, and the other services are stopped meanwhile. "health" is the time of
GET /health, alone and beside 16 clients whose reranks keep all cores busy.

    python -m benchmarks.serve [--clients 64] [--documents 4] [--seconds 6] [--rounds 2]
        [--infinity infinity/bin/infinity_emb]

``--infinity`` adds the server of that name, with the same int8 file (infinity-int8) and with the
weights converted to float32 (infinity). It needs older libraries, in an environment of its own:

    uv venv infinity
    uv pip install --python infinity 'infinity-emb[torch,server]' 'optimum[onnxruntime]<2' \
        'transformers<4.49' 'torch==2.6.0' 'pyarrow<20' onnx
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import uvloop
from pydantic import BaseModel

from vecdb_rerank import Deadline, OnnxReranker, Policy, Scores
from vecdb_rerank.flow.drivers import run_async
from vecdb_rerank.onnx.weights import BUNDLED, MS_MARCO_MINILM, locate
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.resilience.chain import Chain

QUERY = "how do I undo the last commit"
WORDS = "a cross encoder reads the query and the document together and returns one number".split()
HERE = "benchmarks.serve"
_POINTS = f"[vecdb_rerank.rerankers]\ninstant = {HERE}:Instant\n"


class Measured(NamedTuple):
    """The seconds of each request, and of all together."""

    took: list[float]
    elapsed: float


class Service(NamedTuple):
    """A running service."""

    port: int
    process: subprocess.Popen[bytes]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the process until the end of the block, so that it takes no time of others."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


class Body(BaseModel):
    """A request to the service of twenty lines."""

    query: str
    documents: list[str]


class Instant(BaseReranker):
    """Answers at once."""

    name = "instant"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        return Scores.from_relevance([0.5 - n / 1e6 for n in range(len(documents))])


def texts(count: int, words: int) -> list[str]:
    """Return texts that differ."""
    return [
        " ".join([f"{n}.", *(WORDS[(n + i) % len(WORDS)] for i in range(words))])
        for n in range(count)
    ]


def request(documents: Sequence[str]) -> bytes:
    """Return a request as bytes."""
    body = json.dumps({"model": "m", "query": QUERY, "documents": documents}).encode()
    head = (
        "POST /v1/rerank HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


# -- clients


async def _client(port: int, sent: bytes, until: float, took: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    while time.perf_counter() < until:
        started = time.perf_counter()
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
        took.append(time.perf_counter() - started)
    writer.close()


async def load(port: int, clients: int, seconds: float, documents: Sequence[str]) -> Measured:
    """Measure the requests that ``clients`` make at once."""
    took: list[float] = []
    started = time.perf_counter()
    sent = request(documents)
    await asyncio.gather(*(_client(port, sent, started + seconds, took) for _ in range(clients)))
    return Measured(took, time.perf_counter() - started)


def from_outside(port: int, clients: int, seconds: float, count: int, words: int) -> Measured:
    """Return what `load` measures in a process of its own."""
    arguments = [str(a) for a in ("load", port, clients, seconds, count, words)]
    done = subprocess.run(
        [sys.executable, "-m", HERE, *arguments], capture_output=True, text=True, check=True
    )
    return Measured(*json.loads(done.stdout))


# -- services


def fastapi(port: int) -> None:
    """Serve the bundled cross-encoder as many do: FastAPI, and its pool of threads."""
    import uvicorn
    from fastapi import FastAPI

    app, model = FastAPI(), OnnxReranker()
    model.warmup()

    @app.post("/v1/rerank")
    def rerank(body: Body) -> object:
        scores = model.score(body.query, body.documents, deadline=Deadline()).relevance
        order = sorted(range(len(scores)), key=lambda n: scores[n] or 0.0, reverse=True)
        return {"results": [{"index": n, "relevance_score": scores[n]} for n in order]}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


def infinity(program: str, model: Path) -> dict[str, list[str]]:
    """Return the commands of Infinity's server by name, and write their ``model``.

    Its ONNX engine finds a file only in the working directory, and leaves out token types.
    """
    from benchmarks.checkpoints import minilm  # takes seconds, which clients need not wait for

    shutil.copytree(minilm(), model, dirs_exist_ok=True)
    shutil.copyfile(locate(BUNDLED, MS_MARCO_MINILM).onnx, model / "model_quantized.onnx")
    options = "--model-id . --served-model-name m --url-prefix /v1 --device cpu".split()
    command = [program, "v2", *options, "--no-bettertransformer", "--host", "127.0.0.1"]
    return {
        "infinity": [*command, "--engine", "torch", "--port"],
        "infinity-int8": [*command, "--engine", "optimum", "--port"],
    }


@contextmanager
def serving(command: Sequence[str], site: str = "", cwd: Path | None = None) -> Iterator[Service]:
    """Run a service in ``cwd`` until the end of the block. Its port is added to ``command``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    paths = os.pathsep.join(filter(None, (site, str(Path.cwd()), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": paths, "DO_NOT_TRACK": "1"}
    log = subprocess.DEVNULL
    with subprocess.Popen([*command, str(port)], env=environment, stdout=log, cwd=cwd) as process:
        try:
            while True:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None
                time.sleep(0.1)
            from_outside(port, 1, 0.5, 8, 8)  # loads the model
            yield Service(port, process)
        finally:
            process.terminate()


@contextmanager
def ours(reranker: str) -> Iterator[Service]:
    """Run ``vecdb-rerank serve`` with a reranker of this type."""
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder, "benchmark-1.0.dist-info")
        plugin.mkdir()
        (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: benchmark\nVersion: 1.0\n")
        (plugin / "entry_points.txt").write_text(_POINTS)
        file = Path(folder, "vecdb_rerank.toml")
        sections = (
            f'[reranker]\ntype = "{reranker}"',
            "[policy]\ndeadline = 60.0",  # a request of many clients waits for all others
            '[serve]\nadmin_listen = ""\ndrain_delay = 0.0',
        )
        file.write_text("\n".join(sections))
        script = str(Path(sys.executable).with_name("vecdb-rerank"))
        with serving([script, "serve", "--config", str(file), "--port"], folder) as service:
            yield service


# -- in this process


async def engine(chain: Chain, clients: int, seconds: float, documents: Sequence[str]) -> Measured:
    """Measure the reranks that ``clients`` tasks make at once, without HTTP."""
    took: list[float] = []
    begun = time.perf_counter()

    async def one() -> None:
        while time.perf_counter() < begun + seconds:
            started = time.perf_counter()
            await run_async(chain.ask(QUERY, documents, Deadline.after(60), Policy()))
            took.append(time.perf_counter() - started)

    await asyncio.gather(*(one() for _ in range(clients)))
    return Measured(took, time.perf_counter() - begun)


def added(rounds: int, seconds: float) -> None:
    """Print what a request adds to a rerank of 50 short documents."""
    chain, documents = Chain([Instant()]), texts(50, 8)
    inside: list[float] = []
    outside: list[float] = []
    with ours("instant") as service:
        for _ in range(rounds):
            inside += uvloop.run(engine(chain, 1, seconds, documents)).took
            outside += from_outside(service.port, 1, seconds, 50, 8).took
    a, b = (statistics.median(each) * 1e3 for each in (inside, outside))
    print(f"50 short documents, p50: library {a:.2f} ms, service {b:.2f} ms, added {b - a:.2f} ms")


def _health(port: int, seconds: float) -> float:
    """Return the 99th percentile of the seconds that GET /health takes."""
    took = []
    until = time.perf_counter() + seconds
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        while time.perf_counter() < until:
            started = time.perf_counter()
            assert client.get("/health").status_code == 200
            took.append(time.perf_counter() - started)
            time.sleep(0.01)
    return sorted(took)[int(0.99 * len(took))]


def health(seconds: float, count: int) -> None:
    """Print how late the service says that it is well while a local model computes."""
    with ours("onnx") as (port, _), ThreadPoolExecutor() as pool:
        alone = _health(port, seconds)
        busy = pool.submit(from_outside, port, 16, seconds + 2, count, 60)
        time.sleep(1)
        beside = _health(port, seconds)
        busy.result()
    print(f"GET /health, p99: alone {alone * 1e3:.1f} ms, beside 16 {beside * 1e3:.1f} ms")


def throughput(rounds: int, seconds: float, clients: int, count: int, program: str | None) -> None:
    """Print requests per second of the engine and the services, and their ratio.

    ``program`` is that of Infinity.
    """
    chain, documents = Chain([OnnxReranker()]), texts(count, 60)
    chain.warmup()
    found: dict[str, list[tuple[float, float]]] = {}

    def note(name: str, measured: Measured) -> None:
        rate = len(measured.took) / measured.elapsed
        late = sorted(measured.took)[int(0.99 * len(measured.took))]
        found.setdefault(name, []).append((rate, late))

    with ExitStack() as stack:
        fast = [sys.executable, "-m", HERE, "fastapi"]
        services = {
            "serve": stack.enter_context(ours("onnx")),
            "fastapi": stack.enter_context(serving(fast)),
        }
        if program:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for name, command in infinity(str(Path(program).absolute()), folder).items():
                services[name] = stack.enter_context(serving(command, cwd=folder))
        for turn in ["engine", *services] * rounds:
            with ExitStack() as others:
                for name, service in services.items():
                    if name != turn:
                        others.enter_context(service.paused())
                if turn == "engine":
                    note(turn, uvloop.run(engine(chain, clients, seconds, documents)))
                else:
                    port = services[turn].port
                    note(turn, from_outside(port, clients, seconds, count, 60))
    best = statistics.median(rate for rate, _ in found["engine"])
    for name, each in found.items():
        rate = statistics.median(rate for rate, _ in each)
        late = statistics.median(late for _, late in each)
        print(f"{name:13} {rate:6.1f} requests/s ({rate / best:.2f}), p99 {late * 1e3:.0f} ms")


def main() -> None:
    """Measure, or be one of the processes that are measured."""
    if sys.argv[1:2] == ["fastapi"]:
        fastapi(int(sys.argv[2]))
        return
    if sys.argv[1:2] == ["load"]:
        port, clients, seconds, count, words = sys.argv[2:]
        asked = load(int(port), int(clients), float(seconds), texts(int(count), int(words)))
        print(json.dumps(uvloop.run(asked)))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--documents", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--infinity", metavar="PROGRAM", help="infinity_emb of its environment")
    given = parser.parse_args()
    added(given.rounds, min(given.seconds, 4.0))
    health(given.seconds, given.documents)
    throughput(given.rounds, given.seconds, given.clients, given.documents, given.infinity)


if __name__ == "__main__":
    main()
