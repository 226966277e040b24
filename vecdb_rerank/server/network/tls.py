"""TLS by certificate files, which are read again when they change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from vecdb_rerank.config.serve_process import ProcessSettings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.server.files import state

log = logging.getLogger("vecdb_rerank")


class Certificates:
    """The certificate of a server, and the authorities that its clients' must be signed by.

    A listener uses `context`; each handshake has the files as `refresh` saw them last. Raises
    `ConfigurationError` if they are wrong.
    """

    def __init__(self, cert: Path, key: Path | None = None, client_ca: Path | None = None) -> None:
        self._files = (cert, key, client_ca)
        self._states = [state(file) for file in self._files]
        self._current = self.context = _context(cert, key, client_ca)
        self.context.sni_callback = self._choose  # called with and without a name

    @classmethod
    def of(cls, settings: ProcessSettings) -> Certificates | None:
        """Return those of the settings, if they have any."""
        if settings.tls_cert is None:
            return None
        return cls(settings.tls_cert, settings.tls_key, settings.tls_client_ca)

    def refresh(self) -> None:
        """Read the files again if one has changed; keep what they held if they are wrong."""
        states = [state(file) for file in self._files]
        if states == self._states:
            return
        self._states = states
        try:
            self._current = _context(*self._files)
        except ConfigurationError as error:
            log.error("%s; the certificate read before stays in force", error)
        else:
            log.info("%s was read again", self._files[0])

    def _choose(self, connection: ssl.SSLObject, *_: object) -> None:
        connection.context = self._current


def _context(cert: Path, key: Path | None, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            "serve.tls_cert", f"expected a certificate and its key (PEM) in {cert}: {_why(error)}"
        ) from None
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.options |= ssl.OP_NO_TICKET  # a ticket would outlive the authorities
        context.num_tickets = 0
        try:
            context.load_verify_locations(client_ca)
        except OSError as error:
            raise ConfigurationError(
                "serve.tls_client_ca", f"expected certificates (PEM) in {client_ca}: {_why(error)}"
            ) from None
    return context


def _no_password() -> str:
    raise ValueError("the key needs a password")


def _why(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
