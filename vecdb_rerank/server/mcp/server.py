"""The server of the Model Context Protocol: two tools, which search and read for an agent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

from vecdb_rerank._version import __version__
from vecdb_rerank.search.core import PAGE
from vecdb_rerank.server.checks.admission import CallerDeadline
from vecdb_rerank.server.errors import ApiError, as_api_error
from vecdb_rerank.server.mcp import document_ids
from vecdb_rerank.server.mcp import results as mcp_results
from vecdb_rerank.server.mcp.tools import tools
from vecdb_rerank.server.requests import fields
from vecdb_rerank.server.requests.exchange import Exchange
from vecdb_rerank.server.search import searching
from vecdb_rerank.server.search.body import SearchRequest
from vecdb_rerank.server.service import Service

log = logging.getLogger("vecdb_rerank")
_PROGRESS_EVERY = 1.0  # seconds

Context = ServerRequestContext
Arguments = Mapping[str, object]


def make_server(exchange_of: Callable[[Context], Awaitable[Exchange]]) -> Server:
    """Return the server; ``exchange_of`` tells whose request one is, and of which service."""

    async def on_list_tools(context: Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=_tools((await exchange_of(context)).service))

    async def on_call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        exchange = await exchange_of(context)
        service = exchange.service
        deadline = exchange.deadline(service.settings.policy.deadline)
        try:
            async with _progress(context, deadline), service.gate.turn(deadline):
                text = await _call(exchange, params.name, params.arguments or {}, deadline)
        except Exception as error:
            return _failed(error, exchange)
        return CallToolResult(content=[TextContent(type="text", text=text)])

    return Server(
        "vecdb-rerank",
        version=__version__,
        title="Document search",
        instructions="Search documents with `search`; read one in full with `fetch`.",
        on_list_tools=on_list_tools,
        on_call_tool=on_call_tool,
    )


async def _call(
    exchange: Exchange, name: str, arguments: Arguments, deadline: CallerDeadline
) -> str:
    if name == "search":
        return await _search(exchange, arguments, deadline)
    if name == "fetch":
        return await _fetch(exchange, arguments, deadline)
    raise ApiError(404, "must be search or fetch", field="name")


async def _search(exchange: Exchange, arguments: Arguments, deadline: CallerDeadline) -> str:
    service, settings = exchange.service, exchange.service.settings.serve.mcp
    fields.check_names(arguments, ("query", "filter", "limit"))
    given = {name: value for name, value in arguments.items() if value is not None}
    asked = SearchRequest.of({"limit": _results(service), **given}, max_k=_most(service))
    found = await searching.search(service, exchange.caller, asked, deadline)
    return mcp_results.search_result(found, settings)


async def _fetch(exchange: Exchange, arguments: Arguments, deadline: CallerDeadline) -> str:
    service = exchange.service
    fields.check_names(arguments, ("id",))
    wanted = document_ids.read(fields.text(arguments, "id"))
    found = await searching.document(service, exchange.caller, wanted, deadline)
    if found is None:
        raise ApiError(404, "no such document: use an id that search returned", field="id")
    settings = service.settings
    return mcp_results.document_result(found, settings.serve.mcp, settings.text_fields.paths)


def _tools(service: Service) -> list[Tool]:
    backend = service.settings.backend.type
    return tools(backend, _results(service), _most(service), service.settings.serve.mcp)


def _results(service: Service) -> int:
    """Return the number of results of a search that does not say."""
    return min(service.settings.search.limit or PAGE, _most(service))


def _most(service: Service) -> int:
    """Return the number of results that a search may ask for."""
    return min(service.settings.search.k, service.settings.serve.mcp.max_results)


def _failed(error: Exception, exchange: Exchange) -> CallToolResult:
    """Return an error that the agent reads: what is wrong, and what to do."""
    told = as_api_error(error)
    text = str(told)
    if told.status in (429, 502, 503, 504):
        text += "; try again in a few seconds, and tell the user if it fails again"
    if told.status >= 500:
        log.warning("request %s failed: %s: %s", exchange.request_id, type(error).__name__, error)
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


@asynccontextmanager
async def _progress(context: Context, deadline: CallerDeadline) -> AsyncIterator[None]:
    """Report the seconds that passed, once a second, of those until the deadline."""
    began, total = time.monotonic(), deadline.remaining()

    async def report() -> None:
        while True:
            await asyncio.sleep(_PROGRESS_EVERY)
            passed = time.monotonic() - began
            await context.session.report_progress(
                round(passed, 1), total if total < float("inf") else None, "searching"
            )

    reporting = asyncio.ensure_future(report())
    try:
        yield
    finally:
        reporting.cancel()
