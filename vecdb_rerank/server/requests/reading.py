"""Read the JSON body of a request, within its limits."""

from __future__ import annotations

import httpx
import orjson
from starlette.requests import Request

from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.http.decoding import ResponseTooLargeError, decode
from vecdb_rerank.server.errors import ApiError
from vecdb_rerank.server.json_text import MAX_DEPTH, is_deep


async def json_object(request: Request, most: int) -> dict[str, object]:
    """Return the JSON object that the body holds, of at most ``most`` bytes.

    Raises what `whole` and `parsed` raise.
    """
    return parsed(await whole(request, most))


async def whole(request: Request, most: int) -> bytes:
    """Return the body, decompressed, of at most ``most`` bytes.

    Raises `ApiError`: 413 for a longer body, 415 for an unknown ``content-encoding``; and
    `ClientDisconnect`.
    """
    body = await _bytes(request, most)
    encoding = request.headers.get("content-encoding", "")
    return _decoded(body, encoding, most) if encoding else body


def parsed(body: bytes) -> dict[str, object]:
    """Return the JSON object that ``body`` holds.

    Raises `ApiError`: 400 for what is not JSON, such as ``NaN``, and 422 for what is not an object,
    or too deep.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"not valid JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(found, dict):
        raise ApiError(422, "the body must be a JSON object")
    for field, value in found.items():
        if is_deep(value):
            raise ApiError(
                422, f"must not be nested more than {MAX_DEPTH} levels deep", field=field
            )
    return found


async def _bytes(request: Request, most: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _too_long(most)
    parts = []
    length = 0
    async for part in request.stream():
        length += len(part)
        if length > most:
            raise _too_long(most)
        parts.append(part)
    return b"".join(parts)


def _decoded(body: bytes, encoding: str, most: int) -> bytes:
    try:
        return decode(body, encoding, most, Deadline())
    except ResponseTooLargeError:
        raise _too_long(most) from None
    except httpx.DecodingError:
        raise ApiError(
            415, "must be gzip or deflate, and match the body", field="content-encoding"
        ) from None


def _too_long(most: int) -> ApiError:
    return ApiError(413, f"the body has more than {most} bytes")
