"""What rerankers with a model in torch share: the engine of this process, in both colours."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

from vecdb_rerank._optional import require_installed
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.flow.steps import Flow, Request
from vecdb_rerank.flow.threads import in_thread
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.text_fields import valid_unicode
from vecdb_rerank.torch_engine.spec import LIBRARIES, Spec

Device = str
DType = Literal["auto", "float32", "bfloat16", "float16"]


class TorchReranker(BaseReranker, ABC):
    """A reranker whose model is the one of ``_spec``, loaded on first use."""

    keeps_deadline = True
    local = True

    def __init__(self, spec: Spec) -> None:
        """`MissingDependencyError` where torch is not installed, rather now than in a search."""
        for library in LIBRARIES:
            require_installed(library, "torch")
        self._spec = spec

    @property
    @abstractmethod
    def name(self) -> str:
        """A short name for outcomes and logs."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._spec.model!r})"

    @property
    def engine(self) -> Any:
        """The engine of this process, shared by all rerankers with the same arguments."""
        from vecdb_rerank.torch_engine import engine

        return engine.of(self._spec)

    @property
    def ready(self) -> bool:
        """Whether the model is loaded; it stays False until a first call or `warmup`."""
        is_ready: bool = self.engine.ready
        return is_ready

    def warmup(self, *, deadline: Deadline | None = None) -> bool:
        """Load the model and compute something of each size; whether that was done in time.

        For the start of a server, before it says that it is ready. Raises `ConfigurationError`
        where the model does not load.
        """
        done: bool = self.engine.warmup(deadline or Deadline())
        return done

    def room(self, query: str) -> int:
        """The tokens of a document that are read beside ``query``."""
        tokens: int = self.engine.runner(Deadline()).tokens.room(valid_unicode(query))
        return tokens

    def token_offsets(self, text: str) -> Sequence[tuple[int, int]]:
        """Where in ``text`` (characters) each of its tokens is."""
        offsets: Sequence[tuple[int, int]]
        offsets = self.engine.runner(Deadline()).tokens.offsets(valid_unicode(text))
        return offsets

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        """Logits of the documents; those the deadline overtakes stay None, later ones first."""
        return run(self.steps(query, documents, deadline=deadline))

    def steps(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Flow[Scores]:
        """`score` as a flow: an asynchronous search that is cancelled is computed no further."""
        from vecdb_rerank.torch_engine.engine import Call

        call = Call(query, documents, deadline)
        engine = self.engine

        async def score_async() -> Scores:
            try:
                return await asyncio.wrap_future(in_thread(lambda: engine.score(call)))
            except asyncio.CancelledError:
                call.cancel()
                raise

        scores: Scores = yield Request(lambda: engine.score(call), score_async)
        return scores
