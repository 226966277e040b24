"""Whether requests can be served now."""

from __future__ import annotations

import asyncio
import logging
import time

from vecdb_rerank.flow.drivers import run_async
from vecdb_rerank.server.service import Live, Service

log = logging.getLogger("vecdb_rerank")
_LIMIT = 1.0  # seconds for an answer of the database
_LOOK_AGAIN = 1.0  # seconds between two requests to it


class Readiness:
    """Asks what a service needs, the database at most once a second.

    A database counts if the settings name one: reranking needs none.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        self._lock = asyncio.Lock()
        self._known: dict[str, str] = {}
        self._of: Service | None = None
        self._look_at = 0.0

    async def problems(self) -> dict[str, str]:
        """Return what is not ready, by name; nothing if all is."""
        if self._live.draining:
            return {"process": "about to end"}
        async with self._lock:
            service = self._live.current
            now = time.monotonic()
            if service is not self._of or now >= self._look_at:
                found = await _database(service)
                if found.keys() != self._known.keys():
                    log.log(
                        logging.WARNING if found else logging.INFO,
                        "the database %s",
                        found.get("database", "answers"),
                    )
                self._known, self._of, self._look_at = found, service, now + _LOOK_AGAIN
            models = {} if service.loaded else {"models": "loading, or they do not load: see log"}
            return {**models, **self._known}


async def _database(service: Service) -> dict[str, str]:
    if "backend" not in service.settings.model_fields_set:
        return {}
    try:
        async with asyncio.timeout(_LIMIT):
            store = (await service.connectors.find()).store
            await run_async(store.count())
    except TimeoutError:
        return {"database": f"does not answer within {_LIMIT:g} s"}
    except Exception as error:  # of any client; what it says may name servers
        return {"database": f"does not answer: {type(error).__name__}"}
    return {}
