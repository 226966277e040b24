"""What the service is made of, by its settings; replaced as a whole when they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from vecdb_rerank.config.settings import Settings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.drivers import run_async
from vecdb_rerank.server.checks import security
from vecdb_rerank.server.checks.admission import Gate
from vecdb_rerank.server.checks.keys import KeyRing
from vecdb_rerank.server.connectors import Connectors
from vecdb_rerank.server.models import Models

log = logging.getLogger("vecdb_rerank")


class Service:
    """Models, keys, limits and, once it is needed, the connectors of one configuration.

    ``before`` is the service that this one replaces: what has not changed is used further. Raises
    `ConfigurationError` if a setting is wrong, or if others could use the service without a key.
    """

    def __init__(self, settings: Settings, before: Service | None = None) -> None:
        serve = settings.serve
        self.settings = settings
        self.keys: KeyRing = KeyRing(
            serve.keys, serve.keys_file, None if before is None else before.keys
        )
        if not (self.keys.required or serve.anonymous or security.is_loopback(serve.host)):
            raise ConfigurationError(
                "serve.keys",
                f"{serve.host} can be reached from other machines: set serve.keys or "
                "serve.keys_file, or serve.anonymous = true to serve everyone",
            )
        self.hosts = security.allowed_hosts(serve.host, serve.hosts, has_keys=self.keys.required)
        self.models: Models = Models(settings, before.models if before is not None else None)
        self.gate = Gate(serve.running, serve.queue)
        self.loaded = False
        chain = self.models.default.chain
        if before is not None and before.connectors.fit(settings, chain):
            self.connectors: Connectors = before.connectors
        else:
            self.connectors = Connectors(settings, chain)

    def warmup(self) -> None:
        """Load the models, the embedder's only if the settings name a database; blocking.

        Raises `VecdbRerankError` if one does not load.
        """
        for chain in self.models.chains:
            chain.warmup()
        if "backend" in self.settings.model_fields_set:
            self.connectors.warmup()
        self.loaded = True

    async def close(self, others: Collection[Service] = ()) -> None:
        """Close the connections, but for those that ``others`` use."""
        if all(other.connectors is not self.connectors for other in others):
            await self.connectors.close()
        kept = {chain for other in others for chain in other.models.chains}
        for chain in self.models.chains.difference(kept):
            await run_async(chain.closing())


class Live:
    """The service of now; requests keep the one that they began with."""

    def __init__(self, service: Service) -> None:
        self.current = service
        self.draining = False
        self._users: dict[Service, int] = {service: 0}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def ready(self) -> bool:
        """Whether the models are loaded and the process is not about to end."""
        return self.current.loaded and not self.draining

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Service]:
        """Hold the current service open during the block."""
        service = self.current
        self._users[service] += 1
        try:
            yield service
        finally:
            self._users[service] -= 1
            self._close_unused()

    def replace(self, service: Service) -> None:
        """Serve new requests with ``service``; close the old one after its last request."""
        self._users[service] = 0
        self.current = service
        self._close_unused()

    def _close_unused(self) -> None:
        if len(self._users) == 1:
            return
        for service, users in list(self._users.items()):
            if not users and service is not self.current:
                del self._users[service]
                task = asyncio.ensure_future(service.close(list(self._users)))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close everything at the end of the process."""
        while self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
        for service in self._users:
            await service.close()
