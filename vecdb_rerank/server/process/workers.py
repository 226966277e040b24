"""Several processes that accept connections from one socket."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from vecdb_rerank.config.settings import Settings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.server.models import Models

log = logging.getLogger("vecdb_rerank")
Serve = Callable[[socket.socket, int], None]
_LOCAL_EMBEDDERS = ("onnx", "sentence_transformers", "torch")
_PAUSE = 1.0  # seconds before a process that died is replaced


def check(settings: Settings, models: Models) -> None:
    """Raise `ConfigurationError` (``serve.workers``) if several processes hold too much twice."""
    problem = None
    local = [one.name for chain in models.chains for one in chain.rerankers if one.local]
    if local:
        problem = f"{local[0]} runs in each process: memory and cores are shared by none of them"
    elif "backend" in settings.model_fields_set:
        if settings.embedder.type in _LOCAL_EMBEDDERS:
            problem = f"the embedder {settings.embedder.type} runs in each process"
        elif getattr(settings.backend, "folder", None) is not None:
            problem = "an embedded Qdrant is open in one process only"
    if problem is not None:
        raise ConfigurationError("serve.workers", f"must be 1: {problem}")


class Workers:
    """Processes that each call ``serve`` with ``sock`` and their number, from 0.

    ``serve`` must be picklable: the processes are spawned.
    """

    def __init__(self, serve: Serve, sock: socket.socket, count: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._serve = serve
        self._sock = sock
        self._processes: dict[int, BaseProcess] = {}
        self._count = count
        self._ending = False

    def run(self) -> None:
        """Run them until SIGTERM or SIGINT, which end them as SIGTERM; SIGHUP is passed on.

        One that dies is replaced.
        """
        for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signal_number, self._pass_on)
        for number in range(self._count):
            self._start(number)
        while self._processes:
            wait([process.sentinel for process in self._processes.values()], timeout=1.0)
            for number, process in list(self._processes.items()):
                if process.exitcode is not None:
                    self._ended(number, process.exitcode)

    def _start(self, number: int) -> None:
        process = self._context.Process(target=self._serve, args=(self._sock, number))
        process.start()
        self._processes[number] = process

    def _ended(self, number: int, code: int) -> None:
        del self._processes[number]
        if not self._ending:
            log.error("worker %d ended with %d; it is started again", number, code)
            time.sleep(_PAUSE)
        if not self._ending:
            self._start(number)

    def _pass_on(self, number: int, _: object) -> None:
        ends = number != signal.SIGHUP
        self._ending |= ends
        for process in self._processes.values():
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, signal.SIGTERM if ends else number)
