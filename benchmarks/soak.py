"""A soak of remote reranking: many searches at once against a server that fails at random.

Each search has to bring exactly the hits of its first pass, each once, in the first pass's order
or reranked, and to end by its deadline, whatever the rerank server does. The server is a process
of its own; the database is Qdrant's local mode with a few documents under random vectors. Linux
only.

    python benchmarks/soak.py [--seconds 300] [--concurrent 64] [--faults 0.3] [--api async]

The exit status is 1 if hits were lost, came twice or in a wrong order; if a task, thread or socket
is left some seconds after the end, or asyncio complained of something; if the p99 of the time over
the deadline is above 50 ms; if memory grew by more than 10 % and 20 MB after the first fifth of the
time; or if in the last fifth clearly fewer searches were reranked than the share of faults allows.

The times describe the package only if the lag is low, which is how late a sleep of
10 ms ends beside the searches: on their event loop, or in a thread.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import math
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from qdrant_client import AsyncQdrantClient, QdrantClient
from rich.console import Console
from rich.table import Table

from vecdb_rerank import CohereReranker, HttpReranker, Policy, observe
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Call, Flow, Wait
from vecdb_rerank.model import HitId
from vecdb_rerank.outcome import Outcome
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.breaker import Breaker
from vecdb_rerank.request import Mode
from vecdb_rerank_qdrant import AsyncQdrantConnector, QdrantConnector

ROOT = Path(__file__).parents[1]
K = 50
DOCUMENTS = 200
QUERIES = 32
DIMENSION = 32
WORDS = [f"word{n}" for n in range(300)]
TICK = 0.01  # seconds
SCORED = ("reranked", "partial")
WARM = 0.2  # of the time, after which memory may not grow
SLACK = 10.0  # percentage points
MOST_OVER_MS = 50.0
MOST_GROWTH = 0.1
LEAST_GROWTH_MB = 20.0  # below it is noise

Connector = QdrantConnector | AsyncQdrantConnector
Reranker = HttpReranker | CohereReranker


@dataclass(frozen=True)
class Load:
    """What is run, from the command line."""

    seconds: float
    concurrent: int
    pause: float
    faults: float
    delay: float
    jitter: float
    api: str
    client: str
    mode: Mode
    batch_size: int
    deadline: float
    breaker: bool
    settle: float


@dataclass(frozen=True)
class Asked:
    """A query and the ids of its first pass, in order."""

    query: str
    vector: list[float]
    first: list[HitId] = field(default_factory=list)


class Noise:
    """Random vectors for the documents; queries bring their own."""

    dimension = DIMENSION

    def embed_query(self, text: str) -> Sequence[float]:
        raise NotImplementedError

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return [vector() for _ in texts]


def vector() -> list[float]:
    return [random.gauss(0, 1) for _ in range(DIMENSION)]


def words(count: int) -> str:
    return " ".join(random.choices(WORDS, k=count))


def reranked(first: Sequence[HitId], scored: int, batch_size: int) -> list[HitId]:
    """The order that the server's scores ask for: the last of each batch is the best in it.

    Batches that were scored are whole, or end where what was sent ends.
    """
    scored = min(scored, len(first))

    def relevance(position: int) -> float:
        start = position - position % batch_size
        return (position - start + 1) / (min(batch_size, scored - start) + 1)

    best_first = sorted(range(scored), key=relevance, reverse=True)
    return [first[position] for position in best_first] + list(first[scored:])


@dataclass
class Tally:
    """What the searches came to; shared by threads."""

    batch_size: int
    at: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    scored: bytearray = field(default_factory=bytearray)
    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, asked: Asked, ids: Sequence[HitId], outcome: Outcome, seconds: float) -> None:
        """Count a search that came back."""
        wrong = self._mistakes(asked, ids, outcome)
        self._count(outcome.status, outcome.reason, wrong, seconds)

    def fail(self, error: Exception, seconds: float) -> None:
        """Count a search that raised, and so lost all its hits."""
        self._count("raised", f"{type(error).__name__}: {error}", ["lost"], seconds)

    def scored_percent(self, since: float, until: float) -> float:
        """How many of the searches that ended between two times have scores of the reranker."""
        ended = zip(self.at, self.scored, strict=True)
        return percent([scored for at, scored in ended if since <= at < until])

    def _mistakes(self, asked: Asked, ids: Sequence[HitId], outcome: Outcome) -> list[str]:
        scored = outcome.scored if outcome.status in SCORED else 0
        found = {
            "lost": set(ids) != set(asked.first),
            "duplicated": len(set(ids)) != len(ids),
            "disordered": list(ids) != reranked(asked.first, scored, self.batch_size),
        }
        return [name for name, is_so in found.items() if is_so]

    def _count(self, status: str, reason: str | None, wrong: Sequence[str], seconds: float) -> None:
        with self.lock:
            self.at.append(time.perf_counter())
            self.seconds.append(seconds)
            self.scored.append(status in SCORED)
            self.statuses[status] += 1
            self.wrong.update(wrong)
            if reason:
                self.reasons[kind(reason)] += 1


def percent(scored: Sequence[int]) -> float:
    return round(100 * statistics.fmean(scored), 1) if scored else 0.0


def kind(reason: str) -> str:
    """``reason`` without what differs from search to search: the address, and times."""
    return re.sub(r"\d+(\.\d+)? (m?s)\b", r"n \2", re.sub(r"\S*127\.0\.0\.1\S*\s*", "", reason))


@dataclass(frozen=True)
class Held:
    """What this process holds at one moment, or has more than it had."""

    tasks: int
    threads: int
    sockets: int

    @classmethod
    def now(cls) -> Held:
        return cls(tasks(), threading.active_count(), sockets())

    def since(self, before: Held) -> Held:
        return Held(
            self.tasks - before.tasks,
            self.threads - before.threads,
            self.sockets - before.sockets,
        )


class Complaints(logging.Handler):
    """Counts what asyncio reports, such as an exception that was never read."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()
        logging.getLogger("asyncio").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        what = record.getMessage().partition("\n")[0]
        error = record.exc_info[1] if record.exc_info else None
        self.seen[what if error is None else f"{what}: {type(error).__name__}"] += 1


def tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # no event loop runs
        return 0


def sockets() -> int:
    return sum(path.is_socket() for path in Path("/proc/self/fd").iterdir())


def memory() -> float:
    """The megabytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Soak:
    """The parts of a run as flows, for either driver."""

    def __init__(self, load: Load, url: str) -> None:
        self.load = load
        self.reranker = reranker(load, url)
        self.connector: Any = connector(load, self.reranker)
        self.tally = Tally(load.batch_size)
        self.lag: array[float] = array("d")
        self.asked = [Asked(words(6), vector()) for _ in range(QUERIES)]
        self.complaints = Complaints().seen
        self.warm_mb = 0.0

    def begin(self) -> Flow[None]:
        """Fill the collection, note each query's first pass, start the clock."""
        texts = [{"id": n, "text": words(40)} for n in range(DOCUMENTS)]
        yield Call(self.connector.create)
        yield Call(lambda: self.connector.add(texts))
        for asked in self.asked:
            response = yield self._call(asked, rerank=False)
            asked.first.extend(point.id for point in response.points)
        yield from self._warm_up()
        gc.collect()
        gc.freeze()  # else each full collection looks through all imported modules: some 100 ms
        self.before = Held.now()
        self.cpu = -time.process_time()
        self.started = time.perf_counter()

    def _warm_up(self) -> Flow[None]:
        """Have all imported that a first search imports, and no connection open."""
        yield self._call(self.asked[0])
        yield from self.reranker.closing()

    def work(self) -> Flow[None]:
        """Search until the time is up, with pauses."""
        yield Wait(random.uniform(0, self.load.deadline))  # so that not all begin at once
        while self._elapsed() < self.load.seconds:
            yield from self._search(random.choice(self.asked))
            yield Wait(random.uniform(0, 2 * self.load.pause))

    def _search(self, asked: Asked) -> Flow[None]:
        started = time.perf_counter()
        with observe() as outcomes:
            try:
                response = yield self._call(asked)
            except Exception as error:
                self.tally.fail(error, time.perf_counter() - started)
                return
        seconds = time.perf_counter() - started
        self.tally.add(asked, [point.id for point in response.points], outcomes[0], seconds)

    def _call(self, asked: Asked, *, rerank: bool = True) -> Call:
        given: dict[str, Any] = {"k": K, "limit": K, "mode": self.load.mode, "rerank": rerank}
        if self.load.mode != "bm25":
            given["query_vector"] = asked.vector
        return Call(lambda: self.connector.search(asked.query, **given))

    def watch(self) -> Flow[None]:
        """Note the lag, and the memory once the run is warm."""
        while (elapsed := self._elapsed()) < self.load.seconds:
            yield Wait(TICK)
            self.lag.append(self._elapsed() - elapsed - TICK)
            if not self.warm_mb and elapsed >= WARM * self.load.seconds:
                self.warm_mb = memory()

    def end(self) -> Flow[None]:
        """Stop the clock, close everything, and look what is left."""
        self.took = self._elapsed()
        self.cpu += time.process_time()
        self.last_mb = memory()
        yield Call(self.connector.close)
        yield Wait(self.load.settle)
        gc.collect()
        self.left = Held.now().since(self.before)

    def _elapsed(self) -> float:
        return time.perf_counter() - self.started


def soak_sync(soak: Soak) -> None:
    run(soak.begin())
    with ThreadPoolExecutor(soak.load.concurrent) as pool:
        working = [pool.submit(run, soak.work()) for _ in range(soak.load.concurrent)]
        run(soak.watch())
    for one in working:
        one.result()
    run(soak.end())


async def soak_async(soak: Soak) -> None:
    await run_async(soak.begin())
    working = [run_async(soak.work()) for _ in range(soak.load.concurrent)]
    await asyncio.gather(run_async(soak.watch()), *working)
    await run_async(soak.end())


def connector(load: Load, reranker: Reranker) -> Connector:
    make: Callable[..., Connector] = QdrantConnector
    client: QdrantClient | AsyncQdrantClient = QdrantClient(":memory:")
    if load.api == "async":
        make, client = AsyncQdrantConnector, AsyncQdrantClient(":memory:")
    breaker = Breaker() if load.breaker else None
    policy = Policy(deadline=load.deadline, blend=Blend("replace"), breaker=breaker)
    return make(client, "soak", reranker=reranker, embedder=Noise(), policy=policy)


def reranker(load: Load, url: str) -> Reranker:
    if load.client == "cohere":
        return CohereReranker(base_url=url, api_key="none", batch_size=load.batch_size)
    return HttpReranker(url, model="none", batch_size=load.batch_size)


@contextmanager
def rerank_server(load: Load, done: Counter[str]) -> Iterator[str]:
    """The address of a server in a separate process; ``done`` holds at the end what it did."""
    command = [sys.executable, "-m", "tests.faults.server"]
    for name in ("faults", "delay", "jitter"):
        command += [f"--{name}", str(getattr(load, name))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        done.update(json.loads(process.communicate()[0]))


@dataclass(frozen=True)
class Report:
    """The numbers of a run."""

    load: Load
    searches: int
    searches_per_second: float
    statuses: Mapping[str, int]
    reasons: Mapping[str, int]
    scored_percent: Mapping[str, float]
    requests: int
    failed_requests: int
    lost: int
    duplicated: int
    disordered: int
    search_ms: Mapping[str, float]
    over_deadline_ms: Mapping[str, float]
    lag_ms: Mapping[str, float]
    cpu_percent: float
    left: Held
    complaints: Mapping[str, int]
    warm_mb: float
    last_mb: float
    growth_percent: float

    @classmethod
    def of(cls, soak: Soak, done: Counter[str]) -> Report:
        tally, load = soak.tally, soak.load
        fifth, end = load.seconds / 5, soak.started + load.seconds
        over = [max(0.0, seconds - load.deadline) for seconds in tally.seconds]
        return cls(
            load=load,
            searches=len(tally.seconds),
            searches_per_second=round(len(tally.seconds) / soak.took, 1),
            statuses=dict(tally.statuses.most_common()),
            reasons=dict(tally.reasons.most_common()),
            scored_percent={
                "first fifth": tally.scored_percent(soak.started, soak.started + fifth),
                "last fifth": tally.scored_percent(end - fifth, end),
            },
            requests=done.total(),
            failed_requests=done.total() - done["ok"],
            lost=tally.wrong["lost"],
            duplicated=tally.wrong["duplicated"],
            disordered=tally.wrong["disordered"],
            search_ms=milliseconds(tally.seconds, p50=0.5, p95=0.95, p99=0.99),
            over_deadline_ms=milliseconds(over, p99=0.99, max=1.0),
            lag_ms=milliseconds(soak.lag, p50=0.5, p99=0.99, max=1.0),
            cpu_percent=round(100 * soak.cpu / soak.took, 1),
            left=soak.left,
            complaints=dict(soak.complaints),
            warm_mb=round(soak.warm_mb, 1),
            last_mb=round(soak.last_mb, 1),
            growth_percent=round(100 * (soak.last_mb / soak.warm_mb - 1), 1),
        )

    def faults(self) -> list[str]:
        """What must not be."""
        wrong = {
            "searches lost hits": self.lost > 0,
            "searches had hits twice": self.duplicated > 0,
            "searches had another order": self.disordered > 0,
            "reranking wore out": self.scored_percent["last fifth"] < self.least_scored(),
            "something is left": any(count > 0 for count in asdict(self.left).values()),
            "asyncio complained": bool(self.complaints),
            "searches were late": self.over_deadline_ms["p99"] > MOST_OVER_MS,
            "memory grew": self.growth_percent > 100 * MOST_GROWTH
            and self.last_mb - self.warm_mb > LEAST_GROWTH_MB,
        }
        return [what for what, is_so in wrong.items() if is_so]

    def least_scored(self) -> float:
        """The percentage of searches whose first requests all meet no fault, less some slack."""
        batches = math.ceil(K / self.load.batch_size)
        return 100 * (1 - self.load.faults) ** batches - SLACK

    def table(self) -> Table:
        load = self.load
        title = f"{load.api}, {load.client}, {load.mode}, {load.concurrent} at once"
        table = Table("", "", title=title, show_header=False)
        for name, value in asdict(self).items():
            if name != "load":
                table.add_row(name.replace("_", " "), shown(value))
        return table


def milliseconds(seconds: Sequence[float], **shares: float) -> dict[str, float]:
    """Some quantiles by name: the least of the values that this share does not exceed."""
    ordered = sorted(seconds)
    return {
        name: round(1e3 * ordered[math.ceil(share * len(ordered)) - 1], 1)
        for name, share in shares.items()
    }


def shown(value: Any, most: int = 12) -> str:
    if not isinstance(value, dict):
        return str(value)
    several = list(value.items())[:most]
    if all(len(name) < most for name, _ in several):
        return ", ".join(f"{name} {number}" for name, number in several)
    return "\n".join(f"{number:>6} {name}" for name, number in several)


def arguments() -> argparse.Namespace:
    class Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
        pass

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    add = parser.add_argument
    add("--seconds", type=float, default=300.0, help="how long")
    add("--concurrent", type=int, default=64, help="tasks or threads that search")
    add("--pause", type=float, default=0.3, help="mean seconds that each rests after a search")
    add("--faults", type=float, default=0.3, help="share of the requests that fail")
    add("--delay", type=float, default=0.2, help="mean seconds to a healthy answer")
    add("--jitter", type=float, default=0.1, help="seconds it is sooner or later by, at most")
    add("--api", choices=("async", "sync"), default="async", help="API of connector and reranker")
    add("--client", choices=("http", "cohere"), default="http", help="the reranker")
    add("--mode", choices=get_args(Mode), default="dense", help="of the first pass")
    add("--batch-size", type=int, default=K, help=f"documents a request, of {K}")
    add("--deadline", type=float, default=1.0, help="seconds for a search")
    switch = argparse.BooleanOptionalAction
    add("--breaker", action=switch, default=True, help="leave a server alone that keeps failing")
    add("--settle", type=float, default=5.0, help="seconds to the look at what is left")
    add("--json", type=Path, metavar="FILE", help="write the numbers there, too")
    return parser.parse_args()


def main() -> int:
    options = vars(arguments())
    file: Path | None = options.pop("json")
    load, done = Load(**options), Counter[str]()
    logging.getLogger("vecdb_rerank").setLevel(logging.ERROR)  # each failure is a warning
    with rerank_server(load, done) as url:
        soak = Soak(load, url)
        if load.api == "sync":
            soak_sync(soak)
        else:
            asyncio.run(soak_async(soak))
    report = Report.of(soak, done)
    faults = report.faults()
    console = Console()
    console.print(report.table(), *(f"[red]{what}[/red]" for what in faults), sep="\n")
    if file is not None:
        file.write_text(json.dumps({**asdict(report), "faults": faults}, indent=2) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
