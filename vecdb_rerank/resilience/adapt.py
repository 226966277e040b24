"""Rerankers that others wrote, as `BaseReranker`: signatures are checked before any call."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Compute, Flow, Request
from vecdb_rerank.flow.threads import in_thread
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import AnyReranker, AsyncReranker, BaseReranker, Reranker

T = TypeVar("T")


def adapt(reranker: AnyReranker) -> BaseReranker:
    """Return ``reranker`` as a `BaseReranker`; nothing is called.

    Raises `ConfigurationError` (key ``reranker``) if it has neither ``score`` nor ``score_async``,
    or if one of them does not accept a query and texts. A `BaseReranker` must override ``score`` or
    ``steps``, each of which calls the other by default.
    """
    if isinstance(reranker, type):
        raise ConfigurationError("reranker", f"got the class {reranker.__name__}; create an object")
    if isinstance(reranker, BaseReranker):
        kind = type(reranker)
        if kind.score is BaseReranker.score and kind.steps is BaseReranker.steps:
            raise ConfigurationError(
                "reranker",
                f"{kind.__name__} must override score or steps; one with score_async alone needs "
                "no base class",
            )
        if not _accepts_deadline(reranker.score, f"{reranker.name}.score"):
            raise ConfigurationError("reranker", f"{reranker.name}.score must accept deadline=")
        return reranker
    if not isinstance(reranker, Reranker | AsyncReranker):
        raise ConfigurationError(
            "reranker",
            f"got {reranker!r}; define score(query, texts), or async def score_async(query, texts)",
        )
    return _Adapted(reranker)


class _Adapted(BaseReranker):
    """A reranker that is only a `Reranker` or an `AsyncReranker`."""

    def __init__(self, reranker: AnyReranker) -> None:
        name = getattr(reranker, "name", None)
        self._name = name if isinstance(name, str) and name else type(reranker).__name__
        self._reranker = reranker
        self._score: Callable[..., object] | None = None
        self._score_async: Callable[..., Awaitable[object]] | None = None
        if isinstance(reranker, Reranker):
            self._score = self._checked(reranker.score, "score")
        if isinstance(reranker, AsyncReranker):
            self._score_async = self._checked(reranker.score_async, "score_async")
        self.local = self._score_async is None

    def _checked(self, method: Callable[..., T], name: str) -> Callable[..., T]:
        """Return ``method`` as one that takes a deadline, whether it uses it or not."""
        described = f"{type(self._reranker).__name__}.{name}"
        if name == "score" and inspect.iscoroutinefunction(method):
            raise ConfigurationError("reranker", f"{described} is async; name it score_async")
        if _accepts_deadline(method, described):
            return method
        return lambda query, texts, deadline: method(query, texts)  # noqa: ARG005

    @property
    def name(self) -> str:
        """The reranker's own name, or its class's."""
        return self._name

    def __repr__(self) -> str:
        return repr(self._reranker)

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """Call ``score_async`` on an event loop, ``score`` in a thread."""
        left = deadline.remaining()
        score, score_async = self._score, self._score_async
        if score_async is None:
            assert score is not None
            work = score
            return (yield Compute(lambda: work(query, documents, deadline=deadline), left))

        def blocking() -> object:
            if score is not None:
                return score(query, documents, deadline=deadline)
            return asyncio.run(on_loop())

        async def on_loop() -> object:
            return await score_async(query, documents, deadline=deadline)

        timeout = None if math.isinf(left) else left
        # Blocking work runs in a thread: this one may run an event loop, and must leave in time.
        return (yield Request(lambda: in_thread(blocking).result(timeout), on_loop, left))


def _accepts_deadline(method: Callable[..., object], described: str) -> bool:
    """Whether ``method`` takes a deadline beside a query and texts.

    Raises `ConfigurationError` if it does not take those.
    """
    try:
        signature = inspect.signature(method)
    except ValueError:  # written in C: nothing to inspect
        return False
    for accepts, extra in ((True, {"deadline": None}), (False, {})):
        try:
            signature.bind("query", ["text"], **extra)
        except TypeError:
            continue
        return accepts
    raise ConfigurationError(
        "reranker", f"{described}{signature} must accept (query, texts), and may accept deadline="
    )
