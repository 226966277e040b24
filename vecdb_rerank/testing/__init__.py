"""Contract suites: tests for a connector, a reranker or an embedder of your own.

Each suite is a class of pytest tests. Subclass it in a test module, define its fixture, and run
pytest, which must be installed::

    from vecdb_rerank.testing import RerankerContract

    class TestMyReranker(RerankerContract):
        @pytest.fixture(scope="class")
        @classmethod
        def reranker(cls):
            return MyReranker()

`EmbedderContract` needs the fixture ``embedder``, `ConnectorContract` the fixture ``connect`` and
the method ``filter_by``. Whatever a protocol leaves optional, a suite tests only if it is there.

The suites use a small corpus (`CORPUS`, with a question per subject in `QUERIES`). `HashEmbedder`,
`KeepingReranker`, `ReversingReranker` and `RaisingReranker` replace models in tests of your own.
"""

import pytest

pytest.register_assert_rewrite(
    *(
        f"vecdb_rerank.testing.{name}"
        for name in ("base", "embedders", "fusing", "rerankers", "searching", "storing")
    )
)

from vecdb_rerank.testing.connectors import ConnectorContract  # noqa: E402 - after the registration
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
