"""Embedders of the tests are closed after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.embedders.embed_server import OPEN
from vecdb_rerank.flow.drivers import run


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Close what `embed_server.made` made."""
    yield
    while OPEN:
        run(OPEN.pop().closing())
