"""The record of a request that ended: a line of the access log, and metrics."""

from __future__ import annotations

import logging
import sys
import time

import orjson

from vecdb_rerank.server.requests import metrics
from vecdb_rerank.server.requests.exchange import Exchange

access = logging.getLogger("vecdb_rerank.access")


def record(exchange: Exchange, method: str, route: str, status: int) -> None:
    """Count a request, and write its line: JSON without texts, query strings and keys.

    ``route`` is the path of a route, or ``other``; a path of the caller's own may be a text.
    """
    seconds = time.monotonic() - exchange.arrived
    metrics.count_request(route, status, exchange.caller.name, seconds)
    if not access.isEnabledFor(logging.INFO):
        return
    line = {
        "time": time.time(),
        "method": method,
        "route": route,
        "status": status,
        "ms": round(seconds * 1e3, 2),
        "caller": exchange.caller.name,
        "request_id": exchange.request_id,
        "trace_id": exchange.trace_id,
    }
    access.info("%s", orjson.dumps(line).decode())


def write_to_stdout() -> None:
    """Write the access log to standard output, a line each; other records go elsewhere."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    access.addHandler(handler)
    access.propagate = False
    access.setLevel(logging.INFO)
