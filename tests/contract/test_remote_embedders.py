"""The contract suite over embedders behind HTTP, against services that hash words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tests.embedders.embed_server import embeds, made
from tests.scripted_server import scripted_server
from vecdb_rerank.embedders.remote import RemoteEmbedder
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.testing import EmbedderContract, HashEmbedder


def by_words(text: str, _kind: str) -> Sequence[float]:
    return HashEmbedder().embed_query(text)


class TestRemoteEmbedder(EmbedderContract):
    @pytest.fixture(scope="class", params=["openai", "cohere", "tei", "voyage", "jina"])
    @classmethod
    def embedder(cls, request: pytest.FixtureRequest) -> Iterator[RemoteEmbedder]:
        with scripted_server(embeds(request.param, by_words)) as server:
            one = made(request.param, server.url)
            yield one
            run(one.closing())
