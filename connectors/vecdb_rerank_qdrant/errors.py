"""What Qdrant's errors mean, in one place for REST, gRPC and local mode."""

from __future__ import annotations

import json
import re
from typing import Any

from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from vecdb_rerank.ingest.model import Cause

# gRPC status names under the HTTP statuses that mean the same.
_GRPC = {
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 408,
    "RESOURCE_EXHAUSTED": 429,
    "INVALID_ARGUMENT": 400,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
}
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


def cause(error: Exception) -> Cause:
    """Whose fault a failed write is."""
    status = _status(error)
    if isinstance(error, ResponseHandlingException | TimeoutError) or status in _TRANSIENT:
        return "transient"
    if isinstance(error, ValueError):  # of local mode, which also says so of a missing collection
        return "fatal" if _is_missing(error) else "document"
    return "document" if status in (400, 413, 422) else "fatal"


def _is_missing(error: Exception) -> bool:
    return re.fullmatch(r"Collection .* not found", str(error)) is not None


def already_exists(error: Exception) -> bool:
    """Whether a collection could not be created because it is there."""
    return _status(error) == 409 or "already exists" in str(error)


def describe(error: Exception, where: str) -> str:
    """One line: what is wrong and what to do."""
    if isinstance(error, ResponseHandlingException | ConnectionError) or _status(error) == 503:
        return (
            f"Qdrant at {where} cannot be reached ({_reason(error)}): is it up, is the URL right?"
        )
    if isinstance(error, TimeoutError) or _status(error) in (408, 504):
        return f"Qdrant at {where} did not answer in time ({_reason(error)})"
    if _status(error) in (401, 403):
        return f"Qdrant at {where} refused the API key: set backend.api_key"
    return f"Qdrant at {where} refused the request: {_reason(error)}"


def _status(error: Exception) -> int | None:
    if isinstance(error, UnexpectedResponse):
        return error.status_code
    if isinstance(error, ResourceExhaustedResponse):
        return 429
    code = getattr(error, "code", None)  # grpc.RpcError, without importing grpc
    return _GRPC.get(getattr(code(), "name", "")) if callable(code) else None


def _reason(error: Exception) -> str:
    if isinstance(error, UnexpectedResponse):
        return _message(error.content) or f"status {error.status_code}"
    details = getattr(error, "details", None)
    text = details() if callable(details) else str(error)
    return " ".join(str(text or type(error).__name__).split())[:300]


def _message(content: Any) -> str:
    try:
        return str(json.loads(content)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        return ""
