"""Errors of the service: their status, and their bodies in the shapes that clients read."""

from __future__ import annotations

from typing import Literal

from vecdb_rerank.errors import (
    DatabaseError,
    EmbedderError,
    InvalidRerankerError,
    RerankError,
    RerankerSkippedError,
    SchemaError,
)

Shape = Literal["common", "tei"]
"""How errors are written: for Cohere, Jina, vLLM and OpenAI clients together, or as TEI does."""
Json = dict[str, object]

_NAME = 200  # characters of a field, which a caller may have named
_TYPE = "invalid_request_error"
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class ApiError(Exception):
    """A request that is answered with an error.

    ``status`` is the HTTP status, ``message`` a sentence for the caller: it names no server and
    repeats no text of a document. ``field`` is the field or header that is wrong. ``retry_after``
    is when to try again, in seconds. ``tei_type`` is TEI's word for the error.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        retry_after: float | None = None,
        tei_type: str | None = None,
    ) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.status = status
        self.field = field
        self.retry_after = retry_after
        self.tei_type = tei_type


def wrong(field: str, message: str) -> ApiError:
    """Return the error for a field of the body that is missing or wrong."""
    return ApiError(422, message, field=field if len(field) <= _NAME else f"{field[:_NAME]}…")


def as_api_error(error: Exception) -> ApiError:
    """Return what a caller learns of an error: messages may name servers, so only its kind."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RerankerSkippedError):
        return ApiError(
            503,
            "the reranker is paused: it keeps failing, is too slow, or is over its budget",
            retry_after=1,
        )
    if isinstance(error, TimeoutError):
        return ApiError(504, "the deadline passed before there was an answer")
    if isinstance(error, InvalidRerankerError):
        return ApiError(500, "the reranker is not one: see the log of the service")
    if isinstance(error, RerankError):
        return ApiError(502, "the reranker failed")
    if isinstance(error, DatabaseError | EmbedderError):
        return ApiError(502, "the database or the embedder failed")
    if isinstance(error, SchemaError):
        return ApiError(502, "the collection lacks what the search needs")
    return ApiError(500, "internal error: see the log of the service")


def error_body(error: ApiError, shape: Shape, request_id: str) -> tuple[int, Json]:
    """Return the status and the JSON body of ``error``.

    The common body has the sentence where each client looks: Cohere's in ``message``, Jina's in
    ``detail``, those of vLLM and OpenAI in ``error.message``.
    """
    if shape == "tei":
        return _tei_body(error)
    message = str(error)
    described = {
        "message": message,
        "type": _TYPES.get(error.status, "api_error" if error.status >= 500 else _TYPE),
        "param": error.field,
        "code": error.status,
    }
    return error.status, {
        "id": request_id,
        "message": message,
        "detail": message,
        "error": described,
    }


_TEI_TYPES = {429: "Overloaded", 424: "Backend", 503: "Unhealthy"}


def _tei_body(error: ApiError) -> tuple[int, Json]:
    """Return the error as text-embeddings-inference writes it (``router/src/lib.rs``)."""
    status = 424 if error.status in (500, 502, 504) else error.status
    kind = error.tei_type or _TEI_TYPES.get(status, "Validation")
    return status, {"error": str(error), "error_type": kind}
