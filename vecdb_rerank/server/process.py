"""The process that serves: uvicorn, and loading the models beside it."""

from __future__ import annotations

import logging
import threading

import uvicorn

from vecdb_rerank.config.settings import Settings
from vecdb_rerank.errors import VecdbRerankError
from vecdb_rerank.server.app import create_app
from vecdb_rerank.server.service import Live, Service

log = logging.getLogger("vecdb_rerank")


def run(settings: Settings) -> None:
    """Serve until the process is told to end.

    Raises `ConfigurationError` if a setting is wrong.
    """
    live = Live(Service(settings))
    threading.Thread(target=_warm_up, args=(live.current,), daemon=True).start()
    uvicorn.Server(config(live)).run()


def config(live: Live) -> uvicorn.Config:
    """Return uvicorn's configuration for the application that serves ``live``."""
    serve = live.current.settings.serve
    return uvicorn.Config(
        create_app(live),
        host=serve.host,
        port=serve.port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # identity headers of clients are never believed
    )


def _warm_up(service: Service) -> None:
    try:
        service.warmup()
    except VecdbRerankError as error:
        log.error("the models do not load: %s", error)
