from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dropin.opensearch import world as worlds


@pytest.fixture(scope="session")
def world(opensearch_url: str) -> Iterator[worlds.World]:
    with worlds.world(opensearch_url) as made:
        yield made
