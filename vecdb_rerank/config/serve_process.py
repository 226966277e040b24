"""The settings of the process that serves: listeners, connections, TLS and its end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from vecdb_rerank.config.section import Section
from vecdb_rerank.errors import ConfigurationError


def split_address(address: str) -> tuple[str, int]:
    """Return the host and the port of ``HOST:PORT``; raise ValueError for anything else."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:8001")
    return host.strip("[]"), int(port)


def _address(given: str) -> str:
    if given:
        split_address(given)
    return given


class ProcessSettings(Section):
    """The process of ``vecdb-rerank serve``."""

    admin_listen: Annotated[str, AfterValidator(_address)] = "127.0.0.1:8001"
    """Host and port of ``/healthz``, ``/readyz`` and ``/metrics``; ``""`` for none. They need no
    key: keep them from strangers."""
    connections: int = Field(1000, ge=1)
    """Connections that are open at once; further ones are refused with 503."""
    patience: float = Field(10.0, gt=0)
    """Seconds for the head of a request, and for progress of its body and of reading the
    answer."""
    drain_delay: float = Field(3.0, ge=0)
    """Seconds between SIGTERM and the end of listening, in which load balancers learn that the
    process is not ready any more."""
    drain_timeout: float = Field(20.0, gt=0)
    """Seconds for the requests under way after that."""
    tls_cert: Path | None = None
    """A certificate with its chain (PEM), read again when it changes; serves HTTPS."""
    tls_key: Path | None = None
    """The key of ``tls_cert`` (PEM); by default it is in the same file."""
    tls_client_ca: Path | None = None
    """Certificate authorities (PEM) one of which must have signed a client's certificate."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that serve; more than one only if no model runs in them. Each has a listener
    for operators, on the port of ``admin_listen`` and those above."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name in ("tls_key", "tls_client_ca"):
            if getattr(self, name) is not None and self.tls_cert is None:
                raise ConfigurationError(name, "needs tls_cert as well")
        return self
