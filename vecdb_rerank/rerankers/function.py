"""Use a plain function as a reranker."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from vecdb_rerank._checks import is_callable, is_text
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import AnyReranker, AsyncReranker, Reranker

Relevance = Scores | Sequence[float | None]


class FunctionReranker:
    """Scores with a function, or a coroutine function, of a query and texts.

    Args:
        function: returns one relevance (0 to 1) per text in their order, or `Scores`. It may
            accept a keyword argument ``deadline`` (`Deadline`) and return None for texts that it
            had no time for, and a keyword argument ``instruction``, what counts as relevant.
        name: a short name for outcomes and logs; by default the function's.

    Raises `ConfigurationError` if ``function`` cannot be called. A connector or client checks its
    arguments.

    """

    def __init__(
        self,
        function: Callable[..., Relevance] | Callable[..., Awaitable[Relevance]],
        *,
        name: str | None = None,
    ) -> None:
        is_callable("function", function)
        own = getattr(function, "__name__", type(function).__name__)
        self.name: str = ("function" if own == "<lambda>" else own) if name is None else name
        is_text("name", self.name)
        # One of the two: the name of the method says how it is called.
        call = getattr(function, "__call__", None)  # noqa: B004 - of an object, to look at
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
        setattr(self, "score_async" if is_async else "score", function)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def as_reranker(given: AnyReranker | Callable[..., Any]) -> AnyReranker:
    """Return ``given``, or a `FunctionReranker` if it is a function."""
    if isinstance(given, type | Reranker | AsyncReranker) or not callable(given):
        return cast("AnyReranker", given)  # a chain refuses what is no reranker
    return cast("AnyReranker", FunctionReranker(given))  # it has one of the two methods
