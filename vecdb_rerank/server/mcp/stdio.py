"""The Model Context Protocol over standard input and output, for one agent on this machine."""

from __future__ import annotations

import asyncio
import logging
import uuid

from mcp.server.stdio import stdio_server

from vecdb_rerank.config.settings import Settings
from vecdb_rerank.server.mcp.server import Context, make_server
from vecdb_rerank.server.requests.exchange import Exchange
from vecdb_rerank.server.service import Service

log = logging.getLogger("vecdb_rerank")


def run(settings: Settings) -> None:
    """Answer the agent until it closes standard input; standard output is the protocol's alone.

    Of ``settings.serve``, the tools, models and limits hold; whoever started the process needs no
    key. Raises `ConfigurationError` if a setting is wrong.
    """
    alone = {"host": "127.0.0.1", "keys": (), "keys_file": None}
    serve = settings.serve.model_copy(update=alone)
    asyncio.run(_run(Service(settings.model_copy(update={"serve": serve}))))


async def _run(service: Service) -> None:
    loading = asyncio.create_task(_warm_up(service))

    async def exchange_of(_: Context) -> Exchange:
        await asyncio.shield(loading)  # which does not count towards a deadline
        return Exchange(service, str(uuid.uuid4()))

    server = make_server(exchange_of)
    try:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
    finally:
        loading.cancel()
        await service.close()


async def _warm_up(service: Service) -> None:
    """Load the models while the agent connects."""
    try:
        await service.connectors.get().warmup()
    except Exception as error:  # a search then says what is wrong
        log.error("the models do not load: %s: %s", type(error).__name__, error)
