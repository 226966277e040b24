"""Rerankers that others wrote, as `BaseReranker`: signatures are checked before any call."""

from __future__ import annotations

import asyncio
import copy
import inspect
import math
import re
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import TypeVar

from vecdb_rerank.errors import ConfigurationError, InvalidRerankerError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Compute, Flow, Request
from vecdb_rerank.flow.threads import in_thread
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import AnyReranker, AsyncReranker, BaseReranker, Reranker

T = TypeVar("T")


def adapt(reranker: AnyReranker) -> BaseReranker:
    """Return ``reranker`` as a `BaseReranker`; nothing is called.

    Raises `ConfigurationError` (key ``reranker``) if it has neither ``score`` nor ``score_async``,
    if one of them does not accept a query and texts, or if its name is not a text. A `BaseReranker`
    must override ``score`` or ``steps``, each of which calls the other by default.
    """
    if isinstance(reranker, type):
        raise ConfigurationError("reranker", f"got the class {reranker.__name__}; create an object")
    kind = type(reranker).__name__
    if isinstance(reranker, BaseReranker):
        _check_base(reranker, kind)
        return reranker
    if not isinstance(reranker, Reranker | AsyncReranker):
        raise ConfigurationError(
            "reranker",
            f"got a {kind}; define score(query, texts), or async def score_async(query, texts)",
        )
    return _Adapted(reranker)


def _check_base(reranker: BaseReranker, kind: str) -> None:
    """Raise `ConfigurationError` for a subclass that no search could call."""
    if not isinstance(reranker.name, str) or not reranker.name:
        raise ConfigurationError("reranker", f"{kind}.name must be a non-empty str")
    overridden = False
    for name in ("score", "steps"):
        method = getattr(reranker, name)
        if inspect.iscoroutinefunction(method):
            raise ConfigurationError("reranker", f"{kind}.{name} must not be async")
        if not _accepts_deadline(method, f"{kind}.{name}"):
            raise ConfigurationError("reranker", f"{kind}.{name} must accept deadline=")
        overridden |= getattr(method, "__func__", method) is not getattr(BaseReranker, name)
    if not overridden:
        raise ConfigurationError("reranker", f"{kind} must override score or steps")


def call_steps(
    reranker: BaseReranker, query: str, documents: Sequence[str], deadline: Deadline
) -> Flow[object]:
    """Return what the flow of ``reranker`` returns.

    Raises `InvalidRerankerError` if ``steps`` is not a flow.
    """
    flow: object = reranker.steps(query, documents, deadline=deadline)
    if not isinstance(flow, Generator):
        raise InvalidRerankerError(
            "reranker", f"{reranker.name}.steps must be a generator, got {type(flow).__name__}"
        )
    return (yield from flow)


class _Adapted(BaseReranker):
    """A reranker that is only a `Reranker` or an `AsyncReranker`."""

    def __init__(self, reranker: AnyReranker) -> None:
        name = getattr(reranker, "name", None)
        self._name = name if isinstance(name, str) and name else type(reranker).__name__
        self._reranker = reranker
        self._instruction = ""
        self._score: Callable[..., object] | None = None
        self._score_async: Callable[..., Awaitable[object]] | None = None
        if isinstance(reranker, Reranker):
            self._score = self._checked(reranker.score, "score")
        if isinstance(reranker, AsyncReranker):
            self._score_async = self._checked(reranker.score_async, "score_async")
        self.local = self._score_async is None

    def with_instruction(self, instruction: str) -> _Adapted:
        """Return this reranker as one whose method is given ``instruction``."""
        if instruction and not self.takes_instruction:
            super().with_instruction(instruction)
        other = copy.copy(self)
        other._instruction = instruction
        return other

    def _checked(self, method: Callable[..., T], name: str) -> Callable[..., T]:
        """Return ``method`` as one that takes a deadline, whether it uses it or not."""
        described = f"{type(self._reranker).__name__}.{name}"
        if not callable(method):
            raise ConfigurationError("reranker", f"{described} must be a method")
        if name == "score" and inspect.iscoroutinefunction(method):
            raise ConfigurationError("reranker", f"{described} is async; name it score_async")
        takes_deadline = _accepts_deadline(method, described)
        self.takes_instruction = _accepts_instruction(method)

        def checked(
            query: str, texts: Sequence[str], *, deadline: Deadline, instruction: str = ""
        ) -> T:
            extra: dict[str, object] = {"deadline": deadline} if takes_deadline else {}
            if instruction:
                extra["instruction"] = instruction
            try:
                return method(query, texts, **extra)
            except TypeError as error:
                if not _is_about_arguments(error):
                    raise
                raise InvalidRerankerError(
                    "reranker",
                    f"calling {described}(query, texts{', deadline=' if takes_deadline else ''}) "
                    f"failed: {error}",
                ) from error

        return checked

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
        extra = {"deadline": deadline, "instruction": self._instruction}
        if score_async is None:
            assert score is not None
            work = score
            return (yield Compute(lambda: work(query, documents, **extra), left))

        def blocking() -> object:
            if score is not None:
                return score(query, documents, **extra)
            return asyncio.run(on_loop())

        async def on_loop() -> object:
            answer: object = score_async(query, documents, **extra)
            if not isinstance(answer, Awaitable):
                raise InvalidRerankerError(
                    "reranker",
                    f"{self.name}.score_async must be a coroutine function; "
                    f"it returned {type(answer).__name__}",
                )
            return await answer

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


def _accepts_instruction(method: Callable[..., object]) -> bool:
    """Whether ``method`` names an argument for the instruction."""
    try:
        parameters = inspect.signature(method).parameters
    except ValueError:
        return False
    return "instruction" in parameters


# How Python says that a call does not fit a signature. Inspection cannot find these calls: the
# method is written in C, or it takes any argument and passes them on.
_ABOUT_ARGUMENTS = re.compile(
    r"unexpected keyword argument|required (positional|keyword-only) argument|multiple values for"
    r"|takes .*argument|expected .* arguments?, got"
)


def _is_about_arguments(error: TypeError) -> bool:
    """Check whether a call was refused by its signature, or by C code that was called directly."""
    traceback = error.__traceback__
    is_direct = traceback is not None and traceback.tb_next is None
    return is_direct or _ABOUT_ARGUMENTS.search(str(error)) is not None
