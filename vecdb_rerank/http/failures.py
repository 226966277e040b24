"""The errors for requests that a service did not answer as it should."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from vecdb_rerank.errors import VecdbRerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.http.decoding import ResponseTooLargeError
from vecdb_rerank.http.retry import ServiceError
from vecdb_rerank.http.server_messages import mask

_OVERLOADED = {503, 504}


@dataclass(frozen=True, slots=True)
class Errors:
    """The errors of one kind of service.

    ``failed`` is raised for a service that did not answer as it should, ``late`` at the deadline.
    ``section`` is the section of the settings that messages refer to, such as ``reranker``.
    """

    failed: type[ServiceError]
    late: type[VecdbRerankError]
    section: str


def is_fault(error: ServiceError) -> bool:
    """Return whether the server failed at the request, rather than for lack of capacity or time."""
    return error.status is not None and error.status >= 500 and error.status not in _OVERLOADED


def failure(
    error: Exception, where: str, errors: Errors, deadline: Deadline, secrets: Sequence[str] = ()
) -> VecdbRerankError:
    """Return the error for a request without a usable response."""
    failed = errors.failed
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        if deadline.remaining() < 1e-3:  # timers may be a little early
            return errors.late(f"{where} did not answer in time")
        return failed(f"{where} did not answer in time", transient=True)
    why = mask(" ".join(str(error)[:500].split()), secrets) or "no reason is known"
    if isinstance(error, ResponseTooLargeError):
        return failed(f"{where}: {why} (raise max_response_bytes if that is expected)")
    if isinstance(error, httpx.DecodingError):
        return failed(f"{where}: {why}")
    if _is_tls(error):
        return failed(
            f"{where}: no secure connection: {why} (set verify to the file of its authority, "
            "or check the url)"
        )
    is_transport = isinstance(error, httpx.TransportError)
    lasting = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
    return failed(
        f"{where} cannot be reached ({type(error).__name__}: {why})",
        transient=is_transport and not lasting,
    )


def masked_cause(error: Exception, secrets: Sequence[str]) -> Exception:
    """Return ``error``, or one of its type without the secrets that its message repeats."""
    masked = mask(str(error), secrets)
    if masked == str(error):
        return error
    return (
        type(error)(masked) if isinstance(error, httpx.RequestError) else VecdbRerankError(masked)
    )


def _is_tls(error: BaseException | None) -> bool:
    """Return whether a certificate, or a server without TLS, is the cause: retries do not help."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            lasting = isinstance(error, ssl.SSLCertVerificationError)
            return lasting or "WRONG_VERSION_NUMBER" in str(error)
        error = error.__cause__ or error.__context__
    return False


def advice(status: int, section: str) -> str:
    """Return what to do about a response with this status, in parentheses, or ``""``.

    ``section`` is that of the settings, such as ``reranker``.
    """
    if status in (401, 403):
        return f" (check {section}.api_key)"
    if status == 404:
        return " (check the url, the format and the model)"
    if 300 <= status < 400:
        return " (a redirect: set the final url)"
    if status == 413:
        return " (lower batch_size, batch_tokens or text_fields.max_chars)"
    return ""
