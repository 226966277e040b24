"""What all remote rerankers share: batches, one owner of retries, errors in one line."""

from __future__ import annotations

import base64
import json
import math
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import httpx

from vecdb_rerank import telemetry
from vecdb_rerank.errors import ConfigurationError, RerankError, RerankTimeoutError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.http.retry import ServiceError, is_passing, retry, retry_after, within
from vecdb_rerank.http.urls import names_server
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.rerankers.wire_formats import Format, Reply, Scale
from vecdb_rerank.secrets import is_secret
from vecdb_rerank.text_fields import valid_unicode

_SHORT, _PIECE = 3, 16  # characters: below, a text says nothing; above, a piece gives it away
_OF_REQUEST = {400, 413, 422}  # documents that this server does not take
Attempt = Callable[[Deadline], Flow[Reply]]


class RemoteReranker(BaseReranker, ABC):
    """Asks a server for scores, a batch after another, until the deadline.

    ``timeout`` (seconds) bounds one request, ``retries`` is how often it is made again,
    ``batch_size`` how many documents it has at most. `ConfigurationError` names the argument
    that is out of range.
    """

    keeps_deadline = True
    local = False
    bills = True

    def __init__(
        self, wire: Format, *, scale: Scale, timeout: float, retries: int, batch_size: int
    ) -> None:
        if not (math.isfinite(timeout) and timeout > 0):
            raise ConfigurationError("timeout", f"{timeout} is not a number of seconds above 0")
        if retries < 0:
            raise ConfigurationError("retries", f"{retries} is negative")
        if batch_size < 1:
            raise ConfigurationError("batch_size", f"{batch_size} is below 1")
        self._wire = wire
        self._scale = scale
        self._timeout = timeout
        self._retries = retries
        self._batch_size = batch_size

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name for outcomes and logs."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """The server's scores; those the deadline overtakes stay None, later ones first.

        Raises `RerankError` for a wrong answer or none, `RerankTimeoutError` where the deadline
        comes before any score.
        """
        return run(self.steps(query, documents, deadline=deadline))

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """`score` as a flow, for both colours."""
        query, documents = valid_unicode(query), [valid_unicode(text) for text in documents]
        found: list[float | None] = []
        billed = 0.0
        try:
            for batch in _batches(documents, self._batch_size):
                reply = yield from self._ask(query, batch, deadline)
                found += reply.scores
                billed += reply.billed
        except RerankTimeoutError:
            if not found:
                raise
        except RerankError as error:
            error.billed += billed
            raise
        found += [None] * (len(documents) - len(found))
        read = Scores.from_logits if self._scale == "logits" else Scores.from_relevance
        return read(found, billed=billed)

    def predicted_units(self, query: str, documents: Sequence[str]) -> float:
        """What the service will bill for one call, in its own units; 0 where it bills nothing."""
        batches = _batches(documents, self._batch_size)
        return sum(self._wire.units(query, batch) for batch in batches)

    @abstractmethod
    def _ask(self, query: str, batch: Sequence[str], deadline: Deadline) -> Flow[Reply]:
        """The scores of one batch."""

    def _tried(self, attempt: Attempt, where: str, deadline: Deadline) -> Flow[Reply]:
        """What ``attempt`` answers; tried again as the policy says, each time with a deadline."""
        tries = count(1)

        def one() -> Flow[Reply]:
            if (number := next(tries)) > 1:
                telemetry.count_retry(self.name)
            try:
                with telemetry.span("attempt", {"server.address": where, "number": number}):
                    return (yield from attempt(deadline.at_most(self._timeout)))
            except (TimeoutError, httpx.RequestError) as error:
                if isinstance(error, RerankError):
                    raise
                raise failure(error, where, deadline) from error

        return (yield from retry(one, within(deadline, self._retries)))


def _batches(documents: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (documents[start : start + size] for start in range(0, len(documents), size))


def failure(error: Exception, where: str, deadline: Deadline) -> RerankError:
    """The error for a request without a response."""
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        if deadline.remaining() < 1e-3:  # timers may be a little early
            return RerankTimeoutError(f"{where} did not answer in time")
        return ServiceError(f"{where} did not answer in time", passing=True)
    why = " ".join(str(error).split()) or "no more is known"
    if _is_tls(error):
        return ServiceError(
            f"{where}: no secure connection: {why} (set verify to the file of its authority, "
            "or check the url)"
        )
    passing = isinstance(error, httpx.TransportError) and not isinstance(
        error, httpx.UnsupportedProtocol | httpx.LocalProtocolError
    )
    kind = type(error).__name__
    return ServiceError(f"{where} cannot be reached ({kind}: {why})", passing=passing)


def _is_tls(error: BaseException | None) -> bool:
    """Whether a certificate, or no TLS on the other side, is the cause: both stay so."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            lasting = isinstance(error, ssl.SSLCertVerificationError)
            return lasting or "WRONG_VERSION_NUMBER" in str(error)
        error = error.__cause__ or error.__context__
    return False


def refusal(
    status: int,
    headers: Mapping[str, str],
    said: str,
    where: str,
    *,
    secrets: Sequence[str] = (),
    sent: Sequence[str] = (),
) -> ServiceError:
    """The error for a response that is no result; ``said`` is the server's own word.

    ``secrets`` (a key) are taken out of it, and it is left out where it repeats any of the texts
    that were ``sent``.
    """
    said = " ".join(said.split())
    for secret in filter(None, secrets):
        said = said.replace(secret, "***")
    said = "" if _repeats(said, sent) else said[:200]
    return ServiceError(
        f"{where} answered {status}{_advice(status)}{f': {said}' if said else ''}",
        passing=is_passing(status),
        retry_after=retry_after(headers.get("retry-after")),
        request_rejected=status in _OF_REQUEST,
    )


def _repeats(said: str, sent: Sequence[str]) -> bool:
    """Whether a message holds a whole short text of those sent, or a piece of a longer one."""
    for text in (" ".join(text.split()) for text in sent):
        if len(text) <= _PIECE:
            found = len(text) > _SHORT and text in said
        else:
            pieces = (said[n : n + _PIECE] for n in range(len(said) - _PIECE + 1))
            found = any(piece in text for piece in pieces)
        if found:
            return True
    return False


def _advice(status: int) -> str:
    if status in (401, 403):
        return " (set reranker.api_key)"
    if status == 404:
        return " (are the url, the format and the model right?)"
    if 300 <= status < 400:
        return " (a redirect: set the final url)"
    if status in (413, 422):
        return " (too many or too long documents: lower batch_size or text_fields.max_chars)"
    return ""


def message(body: Any) -> str:
    """The message inside an error's body; never all of it, which may repeat the documents."""
    if isinstance(body, bytes):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return ""
    if isinstance(body, str):  # a page
        return ""
    for key in ("message", "error", "detail", "msg"):
        if isinstance(body, Mapping) and key in body:
            body = body[key]
            if isinstance(body, list) and body:
                body = body[0]
    return body if isinstance(body, str) else ""


def clean_key(key: str | None) -> str | None:
    """``key`` as a header may hold it; None where there is none. Never part of an error."""
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError("api_key", "it holds characters that no key has")
    return key or None


def checked_url(url: str, argument: str = "url") -> str:
    """``url``, if it is one of a server; `ConfigurationError` does not repeat it."""
    if not names_server(url):
        raise ConfigurationError(argument, "is not http://host... or https://host...")
    for name, _ in parse_qsl(urlsplit(url).query):
        if is_secret(name):  # which httpx writes into its log with the rest of the url
            raise ConfigurationError(argument, f"put the value of {name!r} into api_key")
    return url


def without_user(url: str) -> tuple[str, str | None]:
    """``url`` without user and password, which httpx would log, and the header that says them."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    encoded = base64.b64encode(unquote(user).encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), f"Basic {encoded}"


def display_url(url: str) -> str:
    """The address without user, password and query."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
