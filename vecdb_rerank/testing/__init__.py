"""Contract suites: prove that a connector, reranker or embedder of your own fits.

Each is a class of pytest tests. Subclass it in a test module, give the fixture it asks for, and
run pytest (which has to be installed; this is the only package here that imports it)::

    from vecdb_rerank.testing import RerankerContract

    class TestMyReranker(RerankerContract):
        @pytest.fixture(scope="class")
        @classmethod
        def reranker(cls):
            return MyReranker()

`ConnectorContract` asks for ``connect`` and ``filter_by``, `EmbedderContract` for ``embedder``.
The suites come with a small corpus (`CORPUS`) and with stand-ins for models that need no
weights: `HashEmbedder`, `KeepingReranker`, `ReversingReranker`, `RaisingReranker`.
"""

import pytest

pytest.register_assert_rewrite(
    *(
        f"vecdb_rerank.testing.{name}"
        for name in ("base", "embedders", "fusing", "rerankers", "searching", "storing")
    )
)

from vecdb_rerank.testing.connectors import ConnectorContract  # noqa: E402 - after the rewriting
from vecdb_rerank.testing.corpus import CORPUS, QUERIES  # noqa: E402 - as above
from vecdb_rerank.testing.doubles import (  # noqa: E402 - as above
    HashEmbedder,
    KeepingReranker,
    RaisingReranker,
    ReversingReranker,
)
from vecdb_rerank.testing.embedders import EmbedderContract  # noqa: E402 - as above
from vecdb_rerank.testing.rerankers import RerankerContract  # noqa: E402 - as above

__all__ = [
    "CORPUS",
    "QUERIES",
    "ConnectorContract",
    "EmbedderContract",
    "HashEmbedder",
    "KeepingReranker",
    "RaisingReranker",
    "RerankerContract",
    "ReversingReranker",
]
