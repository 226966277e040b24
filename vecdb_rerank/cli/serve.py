"""``vecdb-rerank serve``: serve the configured rerankers over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vecdb_rerank.cli import common

if TYPE_CHECKING:
    from vecdb_rerank.config.settings import Settings


def command(
    config: common.ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Sets serve.host.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 chooses one. Sets serve.port.")
    ] = None,
    url_prefix: Annotated[
        str | None,
        typer.Option("--url-prefix", metavar="PATH", help="Path before all routes."),
    ] = None,
    admin_listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of /healthz, /readyz and /metrics. Sets serve.admin_listen.",
        ),
    ] = None,
    drain_delay: Annotated[
        float | None,
        typer.Option(help="Seconds between SIGTERM and the end of listening."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Number of processes, if no model runs in them. Sets serve.workers."),
    ] = None,
) -> None:
    """Serve the configured rerankers to clients of Cohere, Jina, vLLM and TEI.

    POST /v1/rerank, /v2/rerank and /rerank take the requests of these clients,
    /score pairs of texts. Point a client at http://127.0.0.1:8000.
    Other machines reach it with --host 0.0.0.0, which needs serve.keys.

    Example: vecdb-rerank serve --port 8000
    """
    from vecdb_rerank._optional import require

    for library in ("starlette", "uvicorn", "orjson"):
        require(library, "server")
    from vecdb_rerank.server.process.run import run

    given = {
        "host": host,
        "port": port,
        "url_prefix": url_prefix,
        "admin_listen": admin_listen,
        "drain_delay": drain_delay,
        "workers": workers,
    }
    serve = {key: value for key, value in given.items() if value is not None}
    run(partial(_settings, config, {"serve": serve} if serve else {}))


def _settings(config: Path | None, given: Mapping[str, object]) -> Settings:
    from vecdb_rerank.config.loading import load

    return load(config, **given).settings
