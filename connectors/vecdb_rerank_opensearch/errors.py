"""What OpenSearch's errors mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from opensearchpy.exceptions import ConnectionError as Unreachable
from opensearchpy.exceptions import ConnectionTimeout, SerializationError, TransportError

from vecdb_rerank.errors import VecdbRerankError
from vecdb_rerank.ingest.model import Cause

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_PLUGINS = {
    "unknown query [knn]": "the k-NN plugin (opensearch-knn) is not installed on the server",
    "No handler for type [knn_vector]": "the k-NN plugin (opensearch-knn) is not installed",
    "unknown query [hybrid]": "the neural-search plugin is not installed on the server",
}

# Errors of servers that cannot fuse a hybrid search.
_CANNOT_FUSE = (
    "unknown query [hybrid]",  # without neural-search
    "Field is not supported by [hybrid] query",  # before 2.19, of pagination_depth
    "Invalid processor type",  # before 2.19, of RRF
)


# What servers say of a search that is deeper than `max_result_window`.
_TOO_DEEP = ("Result window is too large", "index.max_result_window")
_WINDOW = re.compile(r"Result window is too large[^\[]{0,80}: \[(\d+)\]")
_READ = 20_000  # characters of an answer's errors


class Malformed(Exception):
    """A response does not have the form that the request asked for."""


class SearchFailed(Exception):
    """One search of an ``_msearch`` failed; ``error`` is the server's description."""

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        self.status = status
        self.error = error
        super().__init__(_innermost(error))


def responses(answer: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return the responses of an ``_msearch`` in the form of single searches, without a status.

    Raises `SearchFailed` for the first that failed, and `Malformed` if there are not ``count``.
    """
    found = answer["responses"]
    if len(found) != count:
        raise Malformed(f"expected {count} responses, got {len(found)}")
    for response in found:
        if "error" in response:
            raise SearchFailed(int(response.get("status", 500)), response["error"])
    return [
        whole({name: value for name, value in response.items() if name != "status"})
        for response in found
    ]


def whole(response: dict[str, Any]) -> dict[str, Any]:
    """Return ``response`` if it has the form of a search's; raise `Malformed` if not."""
    hits = response.get("hits") if isinstance(response, Mapping) else None
    if not isinstance(hits, Mapping) or not isinstance(hits.get("hits"), list):
        raise Malformed("the response has no hits")
    return response


def cause(error: Exception) -> Cause:
    """Classify an error of a write."""
    status = _status(error)
    if status == 413:
        return "too_large"
    if is_timeout(error):
        return "timeout"
    if isinstance(error, Unreachable) or is_busy(status):
        return "transient"
    return "document" if status == 400 or _is_not_json(error) else "fatal"


def refuses_all(status: int, reason: str) -> bool:
    """Check whether a document was refused for a reason that holds for every document."""
    return status in (401, 403, 404) or "no write index is defined" in reason


def is_timeout(error: Exception) -> bool:
    """Check whether there was no answer in time."""
    return isinstance(error, ConnectionTimeout | TimeoutError) or _status(error) in (408, 504)


def is_forbidden(error: Exception) -> bool:
    """Check whether the user lacks a permission."""
    return _status(error) == 403


def is_refused(error: Exception) -> bool:
    """Check whether the server refused a request for what it asks for."""
    return _status(error) == 400


def exceeds_window(error: Exception) -> bool:
    """Check whether a search was deeper than the index's ``max_result_window``."""
    why = reason(error)
    return _status(error) == 400 and any(mark in why for mark in _TOO_DEEP)


def window(answer: object) -> int | None:
    """Return the ``max_result_window`` that a search exceeded, as the server's answer names it.

    Shards may have failed by it while others answered.
    """
    return min((int(n) for n in _WINDOW.findall(_errors(answer))), default=None)


def exceeds_unnamed_window(answer: object) -> bool:
    """Check whether an answer names no number: that of a hybrid search's ``pagination_depth``."""
    return "pagination_depth should be less than" in _errors(answer)


def _errors(answer: object) -> str:
    """Return the errors of an answer and of its shards as text."""
    if not isinstance(answer, Mapping):
        return ""
    shards = answer.get("_shards")
    failures = shards.get("failures") if isinstance(shards, Mapping) else None
    return str([answer.get("error"), failures])[:_READ]


def _is_not_json(error: Exception) -> bool:
    """Check whether a request cannot be JSON; of a response the error holds a string."""
    return isinstance(error, SerializationError) and not isinstance(error.args[0], str)


def _is_malformed(error: Exception) -> bool:
    """Check whether a response arrived that is not what a search returns."""
    return isinstance(error, Malformed | SerializationError | KeyError | TypeError | AttributeError)


def is_busy(status: int | None) -> bool:
    """Check whether a status asks to try again."""
    return status in _TRANSIENT


def cannot_fuse(error: Exception) -> bool:
    """Check whether the server lacks what a hybrid search needs: neural-search, or a newer one.

    RRF and ``pagination_depth`` came with 2.19.
    """
    return _status(error) == 400 and any(mark in reason(error) for mark in _CANNOT_FUSE)


def already_exists(error: Exception) -> bool:
    """Check whether an index could not be created because there is one."""
    return "resource_already_exists" in str(error)


def describe(error: Exception, where: str) -> str:
    """Return one line with the problem and the fix."""
    if isinstance(error, VecdbRerankError):
        return str(error)
    why = reason(error)
    if _is_not_json(error):
        return f"it is not JSON: {error.args[-1]}"
    if _is_malformed(error):
        return f"OpenSearch at {where} returned a response of an unexpected form ({why})"
    if is_timeout(error):
        return f"OpenSearch at {where} did not answer in time"
    if isinstance(error, Unreachable):
        return f"OpenSearch at {where} cannot be reached ({why}): is it up, is the URL right?"
    status = _status(error)
    if status == 401:
        return (
            f"OpenSearch at {where} refused the credentials: set backend.user and backend.password"
        )
    if status == 403 and "blocked by" in why:
        return f"OpenSearch at {where} does not write ({why}): remove the block from the index"
    if status == 403:
        return (
            f"OpenSearch at {where} forbids this to the user ({why}): set backend.user to one that "
            "has the permission"
        )
    if status == 404 and "no such index" in why:
        return (
            f"OpenSearch at {where} has no such index ({why}): call create(), or run "
            "`vecdb-rerank index FILE`, or correct the index or the URL"
        )
    if status == 429:
        return f"OpenSearch at {where} is overloaded ({why}): try again later"
    for mark, missing in _PLUGINS.items():
        if mark in why:
            return f"OpenSearch at {where}: {missing}"
    return f"OpenSearch at {where} refused the request: {why}"


def reason(error: Exception) -> str:
    """Return the server's reason, on one line."""
    if isinstance(error, SearchFailed):
        text = str(error)
    elif isinstance(error, TransportError):
        info = error.info
        inner = info.get("error") if isinstance(info, Mapping) else None
        text = _innermost(inner) if isinstance(inner, Mapping) else str(error.error)
    else:
        text = str(error) or type(error).__name__
    return " ".join(text.split())[:300]


def _innermost(error: Mapping[str, Any]) -> str:
    roots = error.get("root_cause") or [error]
    caused_by = error.get("caused_by") or {}
    return str(roots[0].get("reason") or caused_by.get("reason") or error.get("type"))


def _status(error: Exception) -> int | None:
    if isinstance(error, SearchFailed):
        return error.status
    if isinstance(error, TransportError) and isinstance(error.status_code, int):
        return error.status_code
    return None
