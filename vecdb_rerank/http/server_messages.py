"""Find the error message in a server's response, and make it safe to repeat."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

_SHOWN = 200  # characters of a message
_READ = 2_000  # characters of a message that are looked at
_SHORT = 3  # characters; a shorter text explains nothing
_PIECE = 16  # characters; a longer piece of a text gives it away
_BLOCK = _PIECE // 2  # every piece holds one of the blocks at multiples of this
_DEPTH = 6  # levels of JSON that are searched
# Most telling first. Spring, for one, has `error: "Bad Request"` beside its `message`; in OAuth's
# errors and in problem details (RFC 9457) `error` and `title` name only the kind.
_KEYS = (
    "message",
    "msg",
    "error_description",
    "errormessage",
    "originalmessage",
    "error_message",
    "error_msg",
    "errmsg",
    "status_msg",
    "faultstring",
    "reason",
    "detail",
    "details",
    "error",
    "errors",
    "err",
    "exception",
    "fault",
    "response",
    "base_resp",
    "title",
    "status",
)
_ERROR_KEYS = {
    "error",
    "errors",
    "err",
    "error_msg",
    "errmsg",
    "exception",
    "fault",
}  # these say that something is wrong,
_SAYING_KEYS = {"base_resp", "detail", "message", "msg"}  # these may, if there are no results


def value_at(body: object, path: Sequence[str]) -> object:
    """Return the value at ``path`` in a JSON value; None if there is none."""
    for key in path:
        if not isinstance(body, Mapping):
            return None
        body = body.get(key)
    return body


def parse(body: bytes | str) -> object:
    """Return the JSON value in ``body``; None for a page, and for JSON that cannot be read.

    Any other text is returned as it is, cut: proxies and web frameworks say plainly what is wrong.
    """
    text = body if isinstance(body, str) else body.decode(_encoding(body), errors="replace")
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        text = text.strip()
        return None if text[:1] in ("", "<", "{", "[") else text[:_READ]
    return value


def _encoding(body: bytes) -> str:
    """Return the encoding of a JSON text (RFC 8259 requires UTF-8; some servers ignore that)."""
    return json.detect_encoding(body)


def find_message(body: object, path: Sequence[str] = ()) -> str:
    """Return the message in the body of an error, or "".

    ``path`` is where the format has it. Every other shape is searched by the names that services
    give a message: OpenAI, Azure, FastAPI, AWS, TEI, vLLM, LiteLLM, llama.cpp, gRPC's JSON,
    problem details and the like. Other fields, which may repeat the request, are not read.
    """
    return _text(value_at(body, path)) or _search(body, _DEPTH)


def names_error(body: object, *, has_results: bool) -> bool:
    """Check whether a body that came with status 200 reports an error."""
    if isinstance(body, list):
        wrong = (names_error(entry, has_results=has_results) for entry in body[:3])
        return bool(body) and all(wrong)
    keys = _ERROR_KEYS if has_results else _ERROR_KEYS | _SAYING_KEYS
    return isinstance(body, Mapping) and any(
        str(key).lower() in keys and value for key, value in body.items()
    )


def embedded_status(body: object) -> int | None:
    """Return the HTTP status that the body of an error names, if it names one from 400 on."""
    inner = value_at(body, ("error",))
    for place in (inner, body):
        if isinstance(place, Mapping):
            for key in ("code", "status", "status_code", "statusCode"):
                try:
                    status = int(str(place.get(key)))
                except ValueError:
                    continue
                if 400 <= status < 600:
                    return status
    return None


def _search(body: object, depth: int) -> str:
    if depth == 0:
        return ""
    if isinstance(body, str):
        return _text(body)
    if isinstance(body, list):
        return next(filter(None, (_search(entry, depth - 1) for entry in body[:3])), "")
    if not isinstance(body, Mapping):
        return ""
    fields = {str(key).lower(): value for key, value in body.items()}
    found = (_search(fields[key], depth - 1) for key in _KEYS if key in fields)
    return next(filter(None, found), "")


def _text(value: object) -> str:
    """Return a string cut, in one line and without control characters; anything else as "".

    Control characters could write to a terminal's clipboard or title, or reverse the text.
    """
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value[:_READ]).split())


def presentable(message: str, secrets: Sequence[str], sent: Sequence[str]) -> str:
    """Return ``message`` cut and with ``secrets`` masked; "" if it repeats a text that was sent."""
    shown = mask(message[:_READ], secrets)[:_SHOWN]
    return "" if _repeats(shown, sent) else shown


def mask(message: str, secrets: Sequence[str]) -> str:
    """Return ``message`` without ``secrets``, in whatever case and also if only a part is there."""
    for secret in filter(None, secrets):
        message = re.sub(re.escape(secret), "***", message, flags=re.IGNORECASE)
    pieces = {piece for secret in secrets for piece in _pieces(secret.lower())}
    words = re.split(r"(\s+)", message)
    return "".join("***" if _holds(word.lower(), pieces) else word for word in words)


def _pieces(secret: str) -> set[str]:
    """Return the parts of a secret that give it away: 8 characters, or half of a shorter one."""
    length = min(8, max(4, len(secret) // 2))
    return {secret[start : start + length] for start in range(len(secret) - length + 1)}


def _holds(word: str, pieces: set[str]) -> bool:
    return any(piece in word for piece in pieces)


def _repeats(message: str, sent: Sequence[str]) -> bool:
    """Return whether a message holds a whole short text of those sent, or a piece of a longer one.

    The time is linear in the length of the texts: a piece is looked for only if a text holds
    one of the few blocks that every piece of the message must contain.
    """
    starts = range(0, len(message) - _BLOCK + 1, _BLOCK)
    for text in (" ".join(text.split()) for text in sent):
        if len(text) <= _PIECE:
            if len(text) > _SHORT and text in message:
                return True
            continue
        for start in starts:
            if message[start : start + _BLOCK] in text:
                first, last = max(0, start - _BLOCK), min(start, len(message) - _PIECE)
                if any(message[n : n + _PIECE] in text for n in range(first, last + 1)):
                    return True
    return False
