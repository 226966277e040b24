"""The contract of a connector."""

from __future__ import annotations

from vecdb_rerank.testing.fusing import Fusing
from vecdb_rerank.testing.searching import Searching
from vecdb_rerank.testing.storing import Storing


class ConnectorContract(Storing, Searching, Fusing):
    """Tests for a synchronous or an asynchronous connector; they create their own collections.

    Define the fixture ``connect`` and the method ``filter_by``. ``call`` runs what the methods of
    an asynchronous connector return, all on one event loop::

        class TestMyConnector(ConnectorContract):
            response_type = MyResponse

            @pytest.fixture(scope="class")
            @classmethod
            def connect(cls, call):
                client = MyAsyncClient()
                yield lambda collection, **options: MyConnector(client, collection, **options)
                call(client.close())

            def filter_by(self, field, value):
                return {"term": {field: value}}

    Override the fixtures ``embedder`` and ``reranker`` to use real models.
    """
