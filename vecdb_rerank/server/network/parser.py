"""A parser of requests that also reads the bodies which httptools skips."""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Parser:
    """httptools' parser; ``protocol`` gets its calls.

    A client may offer to go on in another protocol, such as h2c. The offer is not taken, so what
    follows the head is the body, though httptools takes it for the other protocol's bytes.
    """

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._protocol = protocol
        self._parser = self._made()
        self._framing = b""  # the header that says where the body ends
        self._within_body = False  # while a new parser is told of a body that it is to read

    def _made(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        return parser

    def feed_data(self, data: bytes) -> None:
        """Parse what came; raise `httptools.HttpParserError` for what is no request."""
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offered:
                data = data[offered.args[0] :]
                if self._framing:
                    self._read_body()
            else:
                return

    def _read_body(self) -> None:
        """Let a new parser read the body of the request whose head was read."""
        self._parser = self._made()
        self._within_body = True
        try:
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + self._framing + b"\r\n\r\n")
        finally:
            self._within_body = False

    # -- asked by the protocol

    def get_http_version(self) -> str:
        """Return the version of the request, such as 1.1."""
        return self._parser.get_http_version()

    def get_method(self) -> bytes:
        """Return the method of the request."""
        return self._parser.get_method()

    def should_keep_alive(self) -> bool:
        """Return whether the request lets the connection go on."""
        return self._parser.should_keep_alive()

    def should_upgrade(self) -> bool:
        """Return False: no offer is taken."""
        return False

    # -- called by httptools

    def on_message_begin(self) -> None:
        """Begin a request."""
        if not self._within_body:
            self._framing = b""
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Pass a part of the target on."""
        if not self._within_body:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Pass a header or a trailer on."""
        if self._within_body:
            return
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._framing = name + b": " + value
        self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        """End the head."""
        if not self._within_body:
            self._protocol.on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Pass a part of the body on."""
        self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        """End the request, unless its body is still to be read."""
        if not (self._parser.should_upgrade() and self._framing):
            self._protocol.on_message_complete()
