from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.backends import QDRANT, SERVED
from tests.dropin_qdrant.collection import World, opened

SYNCHRONOUS = [name for name in QDRANT if not name.endswith("async")]


@pytest.fixture(scope="session", params=SYNCHRONOUS)
def world(request: pytest.FixtureRequest, ran: set[str]) -> Iterator[World]:
    name: str = request.param
    server = request.getfixturevalue("qdrant_server") if name in SERVED else ()
    with opened(name, *server) as filled:
        ran.add(name)
        yield filled
        if filled.generated:
            ran.discard(name)
            ran.add(f"{name} ({filled.generated} generated requests)")
