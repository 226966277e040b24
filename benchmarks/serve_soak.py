"""A soak of `vecdb-rerank serve`: many clients, failing rerankers, a reload and a replacement.

Two services stand behind HAProxy, in front of a rerank server that fails at random. After a quarter
of the time one of them reads its settings again (SIGHUP); after half of it each is ended (SIGTERM)
and replaced, one after the other. Each request has to get exactly one answer, its own, by its
deadline: 200, or an error that says that the reranker failed. Linux only; needs `haproxy`
(`apt-get install haproxy`). The times describe the services only if `lag_ms` is low, which is how
late the clients are themselves.

    python -m benchmarks.serve_soak [--seconds 300] [--clients 64] [--faults 0.3] [--late 50]

The exit status is 1 if an answer was lost, was another request's or unexpected, if the p99 of the
time over the deadline is above `--late`, if a service logged an unexpected error or did not end by
itself, or if one grew by more than 10 % and 20 MB in the second half of its life.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import aiohttp
import httpx

from benchmarks.soak import milliseconds
from tests.servers import free_port

ROOT = Path(__file__).parents[1]
MAIN = "from vecdb_rerank.cli import main; main()"
DEADLINE = 1.0  # seconds
PAUSE = 0.5  # mean seconds that a client rests after an answer
DOCUMENTS = 10
EXPECTED = {200, 502, 503, 504}  # the reranker failed, is paused, or was too late
SETTINGS = """
[reranker]
type = "http"
url = "{upstream}"
model = "none"
[policy]
deadline = {deadline}
[serve]
drain_delay = 1.0
[[serve.models]]
name = "default"
aliases = ["*", "{alias}"]
"""
PROXY = """
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
frontend rerank
  bind 127.0.0.1:{port}
  default_backend services
backend services
  option httpchk GET /readyz
  timeout check 2s
  default-server inter 200ms fall 2 rise 1
{servers}
"""


@dataclass
class Tally:
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    over: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)  # of this process, in seconds
    sent: int = 0


class Sample(NamedTuple):
    at: float
    mb: float


class Service:
    """A process on ports that stay its successors'."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.port, self.admin = free_port(), free_port()
        self.wrong: list[str] = []
        self.samples: list[Sample] = []
        self._starts = 0

    async def start(self) -> None:
        self._starts += 1
        self._log = self.folder / f"{self.name}-{self._starts}.log"
        options = (f"--port={self.port}", f"--admin-listen=127.0.0.1:{self.admin}")
        with self._log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", MAIN, "serve", "--config=settings.toml", *options),
                cwd=self.folder,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        async with httpx.AsyncClient() as client:
            while not await self._ready(client):
                if self.process.returncode is not None:
                    raise SystemExit(f"{self.name} does not start:\n{self._log.read_text()}")
                await asyncio.sleep(0.1)
        self.samples = []

    async def _ready(self, client: httpx.AsyncClient) -> bool:
        try:
            answer = await client.get(f"http://127.0.0.1:{self.admin}/readyz")
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    def sample(self) -> None:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        self.samples.append(Sample(time.monotonic(), pages * os.sysconf("SC_PAGE_SIZE") / 1e6))

    async def end(self) -> None:
        """End it as an orchestrator does."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            code = await self.process.wait()
        if code != 0:
            self.wrong.append(f"{self.name} ended with {code}")
        errors = [line for line in self._log.read_text().splitlines() if "ERROR" in line]
        self.wrong += [f"{self.name}: {line}" for line in errors[:3]]

    def growth(self) -> tuple[float, float]:
        """Return MB after half of its life, and at its end."""
        return self.samples[len(self.samples) // 2].mb, self.samples[-1].mb


@contextmanager
def upstream(faults: float) -> Iterator[str]:
    """Run the rerank server that fails at random; yield its address."""
    command = (sys.executable, "-m", "tests.faults.server", f"--faults={faults}")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


@asynccontextmanager
async def proxy(folder: Path, services: Sequence[Service]) -> AsyncIterator[str]:
    """Run HAProxy before the services; yield its address."""
    port = free_port()
    lines = (f"  server {s.name} 127.0.0.1:{s.port} check port {s.admin}" for s in services)
    file = folder / "haproxy.cfg"
    file.write_text(PROXY.format(port=port, servers="\n".join(lines)))
    process = await asyncio.create_subprocess_exec(
        "haproxy", "-db", "-q", "-f", str(file), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.sleep(1.0)  # for its first checks
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def client(number: int, url: str, until: float, tally: Tally) -> None:
    """Send one request after the other, each with documents of its own."""
    async with aiohttp.ClientSession(url, cookie_jar=aiohttp.DummyCookieJar()) as http:
        turn = 0
        while time.monotonic() < until:
            turn += 1
            await ask(http, f"{number}-{turn}", tally)
            await asyncio.sleep(random.expovariate(1 / PAUSE))


async def ask(http: aiohttp.ClientSession, name: str, tally: Tally) -> None:
    documents = [f"document {n} of {name}" for n in range(DOCUMENTS)]
    body = {"query": name, "documents": documents, "return_documents": True}
    headers = {"x-request-id": name, "x-request-timeout-ms": str(int(DEADLINE * 1e3))}
    tally.sent += 1
    began = time.monotonic()
    try:
        async with http.post("/v1/rerank", json=body, headers=headers) as answer:
            content = await answer.read()
    except aiohttp.ClientError as error:
        tally.wrong[f"lost: {type(error).__name__}"] += 1
        return
    took = time.monotonic() - began
    tally.took.append(took)
    tally.over.append(max(0.0, took - DEADLINE))
    tally.statuses[answer.status] += 1
    if answer.status not in EXPECTED or answer.headers.get("x-request-id") != name:
        tally.wrong[f"unexpected: {answer.status}"] += 1
    elif answer.status == 200:
        results = json.loads(content)["results"]
        texts = [result["document"]["text"] for result in results]
        if sorted(texts) != sorted(documents):
            tally.wrong["another's, or twice"] += 1


async def operate(services: Sequence[Service], seconds: float, reload: Path) -> list[str]:
    """Reload one service after a quarter of the time, replace both after half of it."""
    await asyncio.sleep(seconds / 4)
    reload.write_text(reload.read_text().replace("before", "after"))
    services[0].process.send_signal(signal.SIGHUP)
    await asyncio.sleep(seconds / 4)
    wrong = []
    names = [await alias(service) for service in services]
    if names != ["after", "before"]:
        wrong.append(f"SIGHUP: the aliases are {names}")
    for service in services:
        await service.end()
        await service.start()
        await asyncio.sleep(1.0)  # until the proxy has seen it
    return wrong


async def alias(service: Service) -> str:
    async with httpx.AsyncClient() as http:
        listed = await http.get(f"http://127.0.0.1:{service.port}/v1/models")
    found: str = listed.json()["data"][-1]["id"]
    return found


async def watch(services: Sequence[Service], lag: list[float]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.5)
        lag.append(time.monotonic() - began - 0.5)
        for service in services:
            if service.process.returncode is None:
                service.sample()


async def soak(folder: Path, url: str, options: argparse.Namespace) -> int:
    settings = folder / "settings.toml"
    settings.write_text(SETTINGS.format(upstream=url, deadline=DEADLINE, alias="before"))
    services = [Service(folder, name) for name in "ab"]
    for service in services:
        await service.start()
    tally = Tally()
    async with proxy(folder, services) as address:
        until = time.monotonic() + options.seconds
        watching = asyncio.ensure_future(watch(services, tally.lag))
        operating = asyncio.ensure_future(operate(services, options.seconds, settings))
        await asyncio.gather(
            *(client(n, address, until, tally) for n in range(options.clients)), operating
        )
        watching.cancel()
    wrong = operating.result()
    memory = {service.name: service.growth() for service in services}
    for service in services:
        await service.end()
        wrong += service.wrong
    return report(tally, memory, wrong, options)


def report(
    tally: Tally,
    memory: dict[str, tuple[float, float]],
    wrong: list[str],
    options: argparse.Namespace,
) -> int:
    over = milliseconds(tally.over, p99=0.99, max=1.0)
    wrong += [f"{count} {what}" for what, count in tally.wrong.items()]
    if tally.sent != tally.statuses.total() + sum(
        count for what, count in tally.wrong.items() if what.startswith("lost")
    ):
        wrong.append("the answers are not as many as the requests")
    if over["p99"] > options.late:
        wrong.append("answers were late")
    wrong += [
        f"the memory of {name} grew"
        for name, (warm, last) in memory.items()
        if last > 1.1 * warm and last - warm > 20
    ]
    found = {
        "seconds": options.seconds,
        "clients": options.clients,
        "requests": tally.sent,
        "statuses": dict(sorted(tally.statuses.items())),
        "took_ms": milliseconds(tally.took, p50=0.5, p95=0.95, p99=0.99, max=1.0),
        "over_deadline_ms": over,
        "lag_ms": milliseconds(tally.lag, p50=0.5, p99=0.99, max=1.0),
        "memory_mb": {name: [round(mb, 1) for mb in both] for name, both in memory.items()},
        "wrong": wrong,
    }
    print(json.dumps(found, indent=2))
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long")
    parser.add_argument("--clients", type=int, default=64, help="clients at once")
    parser.add_argument("--late", type=float, default=50.0, help="ms over the deadline, at p99")
    parser.add_argument("--faults", type=float, default=0.3, help="share of reranks that fail")
    options = parser.parse_args()
    if shutil.which("haproxy") is None:
        raise SystemExit("haproxy is missing: apt-get install haproxy")
    with tempfile.TemporaryDirectory() as folder, upstream(options.faults) as url:
        return asyncio.run(soak(Path(folder), url, options))


if __name__ == "__main__":
    sys.exit(main())
