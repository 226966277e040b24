"""The process that serves: its listeners, loading the models beside them, signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from vecdb_rerank.config.serve_process import split_address
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.errors import VecdbRerankError
from vecdb_rerank.server.app import create_app
from vecdb_rerank.server.files import allow_files
from vecdb_rerank.server.network.limits import Limits
from vecdb_rerank.server.network.listener import Listener, bound
from vecdb_rerank.server.network.tls import Certificates
from vecdb_rerank.server.process import workers
from vecdb_rerank.server.process.admin import admin_app
from vecdb_rerank.server.requests import access, metrics
from vecdb_rerank.server.service import Live, Service

log = logging.getLogger("vecdb_rerank")
# Settings that are read at the start alone.
_FIXED = (
    *("host", "port", "url_prefix", "admin_listen", "connections", "patience", "drain_timeout"),
    *("tls_cert", "tls_key", "tls_client_ca", "workers"),
)
_OTHER_FILES = 256  # beside connections: to rerankers and the database, logs, libraries
_LONGEST_PAUSE = 60.0  # seconds between two attempts to load the models
_LEAVE = 2.0  # seconds for threads that still compute, at the end


def run(load: Callable[[], Settings]) -> None:
    """Serve the settings that ``load`` reads until the process is told to end.

    SIGTERM and SIGINT end it, SIGHUP reads the settings again. With several ``workers``, ``load``
    must be picklable. Raises `ConfigurationError` if a setting is wrong.
    """
    settings = load()
    serve = settings.serve
    if serve.workers == 1:
        _run(load, settings)
        return
    workers.check(settings, Service(settings).models)
    sock = bound(serve.host, serve.port, "serve.port")
    workers.Workers(partial(_run_worker, load), sock, serve.workers).run()


def _run_worker(load: Callable[[], Settings], sock: socket.socket, number: int) -> None:
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.ERROR)
    _run(load, load(), sock, number)


def _run(
    load: Callable[[], Settings],
    settings: Settings,
    sock: socket.socket | None = None,
    worker: int | None = None,
) -> None:
    access.write_to_stdout()
    log.setLevel(logging.INFO)
    metrics.install()
    allow_files(2 * settings.serve.connections + _OTHER_FILES)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_Process(load, settings, sock, worker).serve())
        _leave()


def listener(live: Live, sock: socket.socket | None = None) -> Listener:
    """Return what listens for requests to ``live``; by default on the address of its settings.

    Raises `ConfigurationError` if the address cannot be had.
    """
    serve = live.current.settings.serve
    certificates = Certificates.of(serve)
    return Listener(
        create_app(live),
        sock or bound(serve.host, serve.port, "serve.port"),
        Limits(serve.connections, serve.patience, refused=metrics.count_refused),
        finish=serve.drain_timeout,
        tls=certificates.context if certificates else None,
        on_second=certificates.refresh if certificates else lambda: None,
    )


class _Process:
    def __init__(
        self,
        load: Callable[[], Settings],
        settings: Settings,
        sock: socket.socket | None,
        worker: int | None,
    ) -> None:
        self._load = load
        self._worker = worker
        self._live = Live(Service(settings))
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = listener(self._live, sock)
        self._admin = _admin(self._live, worker or 0)

    async def serve(self) -> None:
        with _signals(self._handlers()):
            threading.Thread(target=_warm_up, args=(self._live,), daemon=True).start()
            admin = asyncio.ensure_future(self._admin.serve()) if self._admin else None
            serve = self._live.current.settings.serve
            log.info("listening on %s:%d", serve.host, self._listener.port)
            if self._admin is not None:
                log.info("/healthz, /readyz and /metrics are on port %d", self._admin.port)
            try:
                await self._listener.serve()
            finally:
                if self._admin is not None and admin is not None:
                    self._admin.should_exit = True
                    await admin

    def _handlers(self) -> Mapping[signal.Signals, Callable[[], None]]:
        alone = self._worker is None  # Ctrl-C reaches all processes; workers wait for their SIGTERM
        found = {
            signal.SIGINT: self._stop if alone else lambda: None,
            signal.SIGTERM: lambda: self._stop(self._live.current.settings.serve.drain_delay),
        }
        if sys.platform != "win32":
            found[signal.SIGHUP] = self._begin_reload
        return found

    def _stop(self, delay: float = 0.0) -> None:
        """End after ``delay`` seconds; if told again, at once; the third time, waiting for none."""
        if self._live.draining:
            self._listener.force_exit = self._listener.should_exit
            self._listener.should_exit = True
            return
        log.info("ending in %g s", delay)
        self._live.draining = self._listener.limits.draining = True
        asyncio.get_running_loop().call_later(delay, setattr, self._listener, "should_exit", True)

    def _begin_reload(self) -> None:
        task = asyncio.ensure_future(self._reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        async with self._reloading:
            before = self._live.current
            service = None
            try:
                service = await asyncio.to_thread(self._next, before)
                await asyncio.to_thread(service.warmup)
            except Exception as error:
                known = isinstance(error, VecdbRerankError)
                log.error(
                    "the settings are wrong, those read before stay in force: %s",
                    error if known else type(error).__name__,
                    exc_info=None if known else error,
                )
                if service is not None:
                    await service.close([before])
                return
            self._live.replace(service)
            log.info("the settings were read again")

    def _next(self, before: Service) -> Service:
        # What is fixed stays: whether a key is needed depends on the address that it listens on.
        settings, fixed = self._load(), {n: getattr(before.settings.serve, n) for n in _FIXED}
        for name, value in fixed.items():
            if getattr(settings.serve, name) != value:
                log.warning("serve.%s changes with a restart", name)
        serve = settings.serve.model_copy(update=fixed)
        return Service(settings.model_copy(update={"serve": serve}), before)


def _admin(live: Live, worker: int) -> Listener | None:
    address = live.current.settings.serve.admin_listen
    if not address:
        return None
    host, port = split_address(address)
    return Listener(
        admin_app(live, host),
        bound(host, port + worker if port else 0, "serve.admin_listen"),
        Limits(100, live.current.settings.serve.patience),
        finish=1.0,
    )


@contextlib.contextmanager
def _signals(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends the process at once
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            with contextlib.suppress(NotImplementedError):
                loop.remove_signal_handler(number)


def _warm_up(live: Live) -> None:
    """Load the models; if they do not load, try again until they do, or other settings are read."""
    service, pause = live.current, 1.0
    while live.current is service and not live.draining:
        try:
            service.warmup()
        except Exception as error:
            known = isinstance(error, VecdbRerankError)
            log.error(
                "the models do not load; trying again in %g s: %s",
                pause,
                error if known else type(error).__name__,
                exc_info=None if known else error,
            )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            log.info("the models are loaded")
            return


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:  # there is none for Windows
        return None
    return uvloop.new_event_loop


def _leave() -> None:
    """See to it that threads that still compute do not hold the process for long."""

    def leave() -> None:
        logging.shutdown()
        os._exit(0)

    timer = threading.Timer(_LEAVE, leave)
    timer.daemon = True
    timer.start()
