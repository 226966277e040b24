"""The service on a free port, in a thread of this process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import uvloop

from tests.server.words import INSTANCES, Words
from vecdb_rerank.config.loading import check
from vecdb_rerank.server.network.listener import Listener
from vecdb_rerank.server.process.run import listener
from vecdb_rerank.server.service import Live, Service

WORDS = {"type": "words"}


@dataclass
class Running:
    """A service that runs; ``words`` is the reranker of its settings that was made last."""

    live: Live
    url: str
    client: httpx.Client
    words: Words
    loop: asyncio.AbstractEventLoop

    def replace(self, service: Service) -> None:
        """Serve with ``service`` from now on, as after SIGHUP."""

        async def replaced() -> None:
            self.live.replace(service)

        asyncio.run_coroutine_threadsafe(replaced(), self.loop).result(5)


@contextmanager
def serving(
    serve: Mapping[str, object] | None = None, *, reranker: object = WORDS, **settings: object
) -> Iterator[Running]:
    """Serve these settings; ``serve`` is the section of that name."""
    if "rerankers" not in settings:
        settings["reranker"] = reranker
    live = Live(Service(check(serve={"port": 0, **(serve or {})}, **settings)))
    live.current.warmup()
    server = listener(live)
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=_run, args=(loop, server))
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.002)
        url = f"http://127.0.0.1:{server.port}{live.current.settings.serve.url_prefix}"
        with httpx.Client(base_url=url, timeout=20) as client:
            yield Running(live, url, client, INSTANCES[-1] if INSTANCES else Words(), loop)
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def _run(loop: asyncio.AbstractEventLoop, server: Listener) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(server.serve())
