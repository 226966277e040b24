"""The base of rerankers with a torch model; they share the engines of the process."""

from __future__ import annotations

import asyncio
import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from vecdb_rerank._optional import require_installed
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.flow.steps import Flow, Request
from vecdb_rerank.flow.threads import in_thread
from vecdb_rerank.model import Scores, Span
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.request import check_instruction
from vecdb_rerank.text_fields import valid_unicode
from vecdb_rerank.torch_engine.checkpoints.files import download
from vecdb_rerank.torch_engine.spec import LIBRARIES, Spec

if TYPE_CHECKING:
    from vecdb_rerank.torch_engine.registry import AnyEngine
    from vecdb_rerank.torch_engine.tokens import CachedEncoder


class TorchReranker(BaseReranker, ABC):
    """A reranker that scores with the model of a `Spec`, which is loaded on first use.

    A model of the hub is downloaded when the reranker is made. Raises `MissingDependencyError` if
    torch is not installed, `ConfigurationError` if the download fails.
    """

    keeps_deadline = True
    local = True

    def __init__(self, spec: Spec, instruction: str | None = None) -> None:
        for library in LIBRARIES:
            require_installed(library, "torch")
        self._spec = spec
        self.takes_instruction: bool = spec.prompt is not None and spec.prompt.takes_instruction
        self._instruction = self._checked(instruction or "")
        download(spec)

    def with_instruction(self, instruction: str) -> Self:
        """Return a reranker of the same model that follows ``instruction``."""
        other = copy.copy(self)
        other._instruction = self._checked(instruction)
        return other

    def _checked(self, instruction: str) -> str:
        check_instruction(instruction)
        if instruction and not self.takes_instruction:
            raise ConfigurationError(
                "instruction", "the prompt has no place for one; it needs {instruction}"
            )
        return instruction

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name for outcomes and logs."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._spec.model!r})"

    @property
    def engine(self) -> AnyEngine:
        """The engine of this process, shared by all rerankers with the same arguments."""
        from vecdb_rerank.torch_engine.registry import get_engine

        return get_engine(self._spec)

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self.engine.ready

    def warmup(self, *, deadline: Deadline | None = None) -> bool:
        """Load the model and score documents of several lengths; return whether it was in time.

        A server calls it before it reports that it is ready. Raises `ConfigurationError` if the
        model cannot be loaded.
        """
        return self.engine.warmup(deadline or Deadline())

    def room(self, query: str) -> int:
        """Return how many tokens of a long document are read together with ``query``."""
        return self._encoder.document_limit(valid_unicode(query), self._instruction)

    def token_offsets(self, text: str) -> Sequence[Span]:
        """Return the span of characters of ``text`` that each token stands for."""
        return self._encoder.offsets(valid_unicode(text))

    @property
    def _encoder(self) -> CachedEncoder:
        runner = self.engine.runner(Deadline())
        assert runner is not None  # without a deadline it is loaded, or raises
        return runner.encoder

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Return the scores of the documents; None for the last ones if the deadline passes."""
        return run(self.steps(query, documents, deadline=deadline))

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """Do the same as a flow; cancelling an asynchronous search ends the computation."""
        from vecdb_rerank.torch_engine.engine import Call

        call = Call(query, documents, deadline, self._instruction)
        engine = self.engine

        async def score_async() -> Scores:
            try:
                return await asyncio.wrap_future(in_thread(lambda: engine.score(call)))
            except asyncio.CancelledError:
                call.cancel()
                raise

        scores: Scores = yield Request(lambda: engine.score(call), score_async)
        return scores
