"""``vecdb-rerank serve`` as a process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
SECONDS = 60.0  # for whatever is waited for
MAIN = "from vecdb_rerank.cli import main; main()"


@dataclass
class Spawned:
    """A process; ``lines`` is its standard error, ``access`` the access log."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    access: list[Mapping[str, object]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def read(self, *, errors: bool) -> None:
        stream = self.process.stderr if errors else self.process.stdout
        assert stream is not None
        for line in stream:
            with self.changed:
                if errors:
                    self.lines.append(line.rstrip())
                else:
                    self.access.append(json.loads(line))
                self.changed.notify_all()

    def wait_for(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Return the match of the ``count``-th line of standard error that has ``pattern``."""

        def found() -> list[re.Match[str]]:
            return [match for line in self.lines if (match := re.search(pattern, line))]

        with self.changed:
            ready = self.changed.wait_for(lambda: len(found()) >= count, SECONDS)
            assert ready, "\n".join(self.lines)
            return found()[count - 1]

    def wait_for_access(self, request_id: str) -> Mapping[str, object]:
        """Return the line of the access log for a request."""

        def found() -> list[Mapping[str, object]]:
            return [line for line in self.access if line["request_id"] == request_id]

        with self.changed:
            assert self.changed.wait_for(lambda: bool(found()), SECONDS)
            [line] = found()
            return line

    def url(self, scheme: str = "http") -> str:
        port = self.wait_for(r"listening on 127.0.0.1:(\d+)")[1]
        return f"{scheme}://127.0.0.1:{port}"

    @property
    def admin(self) -> str:
        port = self.wait_for(r"/metrics are on port (\d+)")[1]
        return f"http://127.0.0.1:{port}"

    def ready(self) -> httpx.Response:
        return httpx.get(f"{self.admin}/readyz")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@contextmanager
def spawned(file: Path, site: Path, *options: str) -> Iterator[Spawned]:
    """Run ``vecdb-rerank serve`` with a configuration; ``site`` has further packages."""
    paths = (str(site), str(ROOT), str(ROOT / "connectors"), os.environ.get("PYTHONPATH", ""))
    pipe = subprocess.PIPE
    listen = ("--port=0", "--admin-listen=127.0.0.1:0", *options)
    with subprocess.Popen(
        (sys.executable, "-c", MAIN, "serve", f"--config={file}", *listen),
        cwd=file.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=pipe,
        stderr=pipe,
        text=True,
    ) as process:
        found = Spawned(process)
        threads = [
            threading.Thread(target=found.read, kwargs={"errors": errors})
            for errors in (True, False)
        ]
        for thread in threads:
            thread.start()
        try:
            yield found
        finally:
            process.kill()
            for thread in threads:
                thread.join()
