"""What all requests to one service share: attempts with one owner of retries, and their errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import httpx

from vecdb_rerank.errors import ConfigurationError, VecdbRerankError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Compute, Flow
from vecdb_rerank.http.failures import Errors, advice, failure, masked_cause
from vecdb_rerank.http.retry import ServiceError, is_transient, retry, retry_after, within
from vecdb_rerank.http.server_messages import (
    embedded_status,
    find_message,
    names_error,
    presentable,
)
from vecdb_rerank.http.urls import names_server

T = TypeVar("T")
_INLINE = 256 * 1024  # bytes or characters; more work than this is kept off the event loop
_REJECTED = {400, 413, 422}  # statuses of a request that this server does not accept


@dataclass(frozen=True, slots=True)
class Service:
    """How one service is called, and what is said of its failures.

    ``errors`` are the errors that it raises, ``error_path`` is where its error responses have the
    message. ``secrets`` are masked in every message. ``timeout`` (seconds) bounds one request.
    """

    errors: Errors
    timeout: float
    error_path: tuple[str, ...] = ()
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def attempts(
        self,
        attempt: Callable[[Deadline], Flow[T]],
        where: str,
        retries: int,
        deadline: Deadline,
    ) -> Flow[T]:
        """Return what ``attempt`` returns, after at most ``retries`` retries.

        Each attempt has its own deadline. Errors of httpx and timeouts become those of the service
        at ``where``.
        """

        def one() -> Flow[T]:
            try:
                return (yield from attempt(deadline.at_most(self.timeout)))
            except (TimeoutError, httpx.RequestError) as error:
                if isinstance(error, VecdbRerankError):
                    raise
                failed = failure(error, where, self.errors, deadline, self.secrets)
                cause = masked_cause(error, self.secrets)
            raise failed from cause

        return (yield from retry(one, within(deadline, retries)))

    def reading(
        self,
        parse: Callable[[object], T],
        answer: object,
        where: str,
        sent: Sequence[str],
        deadline: Deadline,
        *,
        has_results: Callable[[object], bool] = lambda _: False,
    ) -> Flow[T]:
        """Return what ``parse`` makes of ``answer``, the JSON of a response with status 200.

        If it raises an error of this package, raise the service's with the message that the answer
        holds instead, or with what is wrong with it.
        """
        try:
            return parse(answer)
        except VecdbRerankError as error:
            wrong = self.errors.failed(f"{where}: {error}")
        if names_error(answer, has_results=has_results(answer)):
            wrong = yield from self.refusal(httpx.codes.OK, {}, answer, where, sent, deadline)
        raise wrong

    def refusal(
        self,
        status: int,
        headers: Mapping[str, str],
        body: object,
        where: str,
        sent: Sequence[str],
        deadline: Deadline,
    ) -> Flow[ServiceError]:
        """Return the error for a response with this ``status`` and parsed ``body``.

        The message is the server's own, unless it repeats one of the texts that were ``sent``, or
        reading it takes too long.
        """
        found = find_message(body, self.error_path)

        def work() -> str:
            return presentable(found, self.secrets, sent)

        try:
            said = yield from off_loop(work, sum(map(len, sent)) if found else 0, deadline)
        except TimeoutError:
            said = ""
        inner = embedded_status(body) if status == httpx.codes.OK else None
        answered = f"{status} with error {inner}" if inner else str(status)
        effective = inner or status
        fix = advice(effective, self.errors.section)
        return self.errors.failed(
            f"{where} answered {answered}{fix}{f': {said}' if said else ''}",
            transient=is_transient(effective),
            retry_after=retry_after(headers.get("retry-after")),
            request_rejected=effective in _REJECTED,
            status=effective,
        )


def off_loop(work: Callable[[], T], size: int, deadline: Deadline) -> Flow[T]:
    """Return what ``work`` does; in a thread if its ``size`` (bytes, characters) may take long.

    Raise `TimeoutError` if it is still running at the deadline.
    """
    if size <= _INLINE:
        return work()
    result: T = yield Compute(work, deadline.remaining())
    return result


def clean_key(key: str | None, argument: str = "api_key") -> str | None:
    """Return ``key`` without surrounding whitespace; None if there is none.

    Raise `ConfigurationError`, without the key in it, if no header can hold it.
    """
    if key is not None and not isinstance(key, str):
        raise ConfigurationError(argument, f"must be a str, got {type(key).__name__}")
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError(argument, "must be printable ASCII without spaces")
    return key or None


def checked_url(url: str, argument: str = "url") -> str:
    """Return ``url`` if it names a server; `ConfigurationError` does not repeat it."""
    if not isinstance(url, str) or not names_server(url):
        raise ConfigurationError(argument, "must be http://host... or https://host...")
    return url
