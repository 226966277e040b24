"""What Qdrant's errors mean, for REST, gRPC and local mode."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from pydantic import ValidationError
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from vecdb_rerank.errors import VecdbRerankError
from vecdb_rerank.ingest.model import Cause

# gRPC status names under the HTTP statuses that mean the same.
_GRPC = {
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 408,
    "RESOURCE_EXHAUSTED": 429,
    "OUT_OF_RANGE": 413,
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
}
_TRANSIENT = {425, 429, 500, 502, 503}
_TIMEOUT = {408, 504}
# Of a write that is larger than the collection's rate limiter ever allows, than a gRPC channel
# sends, or than the HTTP server reads.
_TOO_LARGE = re.compile(
    r"larger than rate limiter capacity|message larger than max|message length too large"
    r"|[Pp]ayload.*larger than allowed|too large|Limit exceeded \d+ > \d+ for \"upsert",
)
# Of a write without the shard key that custom sharding needs: so would be the next one.
_WRONG_SHARD_KEY = re.compile(r"Shard key (?:not specified|.{1,200} not found)")
# Of a write to a collection in strict mode that is full.
_FULL = re.compile(r"Max .{1,60} limit of .{1,40} reached")
# Strict mode's refusal of one number of a request.
_LIMIT = re.compile(r"Limit exceeded (\d+) > (\d+) for \"([\w ]+)\"")


class Malformed(Exception):
    """A response does not have the form that the request asked for."""


@runtime_checkable
class _GrpcError(Protocol):
    """`grpc.RpcError` as a call raises it; grpc itself is not imported."""

    code: Callable[[], object]
    details: Callable[[], str | None]


def cause(error: Exception) -> Cause:
    """Classify an error of a write."""
    status = _status(error)
    if _TOO_LARGE.search(reason(error)) or status == 413:
        return "too_large"
    if _WRONG_SHARD_KEY.search(reason(error)) or _FULL.search(reason(error)):
        return "fatal"
    if is_timeout(error):
        return "timeout"
    if _is_unreachable(error) or status in _TRANSIENT:
        return "transient"
    if isinstance(error, ValueError):  # of local mode, for a missing collection too
        return "fatal" if is_missing(error) else "document"
    return "document" if status in (400, 422) else "fatal"


def is_missing(error: Exception) -> bool:
    """Check whether the collection does not exist."""
    return _status(error) == 404 or re.fullmatch(r"Collection .* not found", str(error)) is not None


def already_exists(error: Exception) -> bool:
    """Check whether a collection could not be created because there is one."""
    return _status(error) == 409 or "already exists" in str(error)


def is_rate_limited(error: Exception) -> bool:
    """Check whether the collection's rate limit was reached."""
    return _status(error) == 429


def is_rest(error: Exception) -> bool:
    """Check whether an error came from the REST interface."""
    return isinstance(error, ResponseHandlingException | UnexpectedResponse)


def is_refused(error: Exception) -> bool:
    """Check whether the server, or local mode, refused a request for what it asks for."""
    is_local = type(error) in (ValueError, NotImplementedError) and not is_missing(error)
    return is_local or _status(error) == 400


def exceeded_limit(error: Exception) -> tuple[str, int] | None:
    """Return the name and value of the strict-mode limit that a request exceeded, if any."""
    found = _LIMIT.search(reason(error)) if _status(error) in (400, 403) else None
    return (found[3], int(found[2])) if found else None


def describe(error: Exception, where: str) -> str:
    """Return one line with the problem and the fix."""
    if isinstance(error, VecdbRerankError):
        return str(error)
    status, why = _status(error), reason(error)
    if _is_malformed(error):
        return f"Qdrant at {where} returned a response of an unexpected form ({why})"
    if is_timeout(error):
        return f"Qdrant at {where} did not answer in time ({why})"
    if _is_unreachable(error) or status == 503:
        return f"Qdrant at {where} cannot be reached ({why}): is it up, is the URL right?"
    if status == 401:
        return f"Qdrant at {where} refused the API key: set backend.api_key"
    if status == 403:
        return (
            f"Qdrant at {where} forbids this to the API key ({why}): use a key that has this "
            "permission"
        )
    if is_missing(error):
        return (
            f"Qdrant at {where} has no such collection ({why}): call create(), or run "
            "`vecdb-rerank index FILE`, or correct the collection or the address"
        )
    if status == 429:
        return f"Qdrant at {where} limits the rate of requests ({why}): try again later"
    if _WRONG_SHARD_KEY.search(why):
        return f"Qdrant at {where} refused the request ({why}): set shard_key to a shard it has"
    if _FULL.search(why):
        return (
            f"Qdrant at {where} stores no more ({why}): raise the limit in the collection's "
            "strict_mode_config"
        )
    return f"Qdrant at {where} refused the request: {why}"


def _is_malformed(error: Exception) -> bool:
    """Check whether a response arrived that is not what the client expects."""
    source = error.source if isinstance(error, ResponseHandlingException) else error
    if isinstance(
        source, Malformed | ValidationError | json.JSONDecodeError | AssertionError | AttributeError
    ):  # the client asserts that there is a result
        return True
    return isinstance(error, UnexpectedResponse) and error.status_code in range(200, 300)


def is_timeout(error: Exception) -> bool:
    """Check whether there was no answer in time."""
    source = error.source if isinstance(error, ResponseHandlingException) else error
    late = isinstance(source, TimeoutError) or "Timeout" in type(source).__name__
    return late or _status(error) in _TIMEOUT


def _is_unreachable(error: Exception) -> bool:
    return isinstance(error, ResponseHandlingException | ConnectionError | TimeoutError)


def _status(error: Exception) -> int | None:
    if isinstance(error, UnexpectedResponse):
        return error.status_code
    if isinstance(error, ResourceExhaustedResponse):
        return 429
    if isinstance(error, _GrpcError):
        code = error.code()
        return _GRPC.get(str(code).removeprefix("StatusCode."))
    return None


def reason(error: Exception) -> str:
    """Return what the server said, in one line."""
    if isinstance(error, UnexpectedResponse):
        text = _message(error.content) or f"status {error.status_code}"
    elif isinstance(error, _GrpcError):
        text = error.details() or str(error)
    else:
        text = str(error)
    return " ".join((text or type(error).__name__).split())[:300]


def _message(content: bytes) -> str:
    """Return the server's message: its JSON's, or a short plain text."""
    try:
        return str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        text = content.decode(errors="replace").strip()
        return "" if text.startswith(("<", "{", "[")) else text[:300]
