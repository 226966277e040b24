"""Bounded decoding of compressed response bodies."""

from __future__ import annotations

import zlib

import httpx

from vecdb_rerank.flow.deadline import Deadline

# The encodings of RFC 9110 that zlib can decode piece by piece; no others are requested.
ACCEPTED = b"gzip, deflate"
_PIECE = 256 * 1024  # decoded bytes between two looks at the limits


class ResponseTooLargeError(httpx.RequestError):
    """A response has more bytes, before or after decoding, than its reader accepts."""


def too_large(limit: int) -> ResponseTooLargeError:
    """Return the error for a response of more than ``limit`` bytes."""
    return ResponseTooLargeError(f"the response is larger than {limit} bytes")


def decode(body: bytes, encoding: str, limit: int | None, deadline: Deadline) -> bytes:
    """Return ``body`` without its content ``encoding``.

    Raise `ResponseTooLargeError` once more than ``limit`` bytes have been decoded,
    `httpx.ReadTimeout` at the deadline, and `httpx.DecodingError` for a damaged body or an
    encoding that was not requested (several layers of encodings included).
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity") or not body:
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise httpx.DecodingError(f"the response has an unexpected encoding: {encoding[:40]!r}")
    inflate = zlib.decompressobj(_window_bits(body, encoding))
    decoded = bytearray()
    try:
        while not inflate.eof:
            piece = inflate.decompress(body, _PIECE)
            body = inflate.unconsumed_tail
            decoded += piece
            if limit is not None and len(decoded) > limit:
                raise too_large(limit)
            if deadline.expired:
                raise httpx.ReadTimeout("the deadline has passed")
            if not piece and not body:
                raise httpx.DecodingError("the compressed response ends too early")
    except zlib.error as error:
        raise httpx.DecodingError(f"the response is not valid {encoding}") from error
    return bytes(decoded)


def _window_bits(body: bytes, encoding: str) -> int:
    """Return zlib's parameter: gzip, deflate with a zlib header, or (some servers) without one."""
    if encoding != "deflate":
        return 16 + zlib.MAX_WBITS
    has_header = body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
