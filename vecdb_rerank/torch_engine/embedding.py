"""An engine that makes one vector of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vecdb_rerank.torch_engine.engine import Call, Computed, Engine

if TYPE_CHECKING:
    from vecdb_rerank.torch_engine.text_vectors import Array, EmbeddingRunner


class EmbeddingEngine(Engine["Array"]):
    """Embeds texts; they are the documents of a call without a query."""

    def embed(self, call: Call) -> list[Array]:
        """Return the unit vectors of a call's documents; fewer if it is cancelled."""
        return [one.value for one in self.compute(call, b"") if one is not None]

    def _new_runner(self) -> EmbeddingRunner:
        from vecdb_rerank.torch_engine.text_vectors import EmbeddingRunner

        return EmbeddingRunner(self.spec)

    @staticmethod
    def _size(computed: Computed[Array]) -> int:
        return int(computed.value.nbytes)
