from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.contract.backends import SERVED, qdrant_names
from tests.dropin.qdrant.collection import World, opened


def synchronous() -> list[str]:
    """The kinds of Qdrant that have a synchronous client."""
    return [name for name in qdrant_names() if not name.endswith("async")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world" in metafunc.fixturenames:
        metafunc.parametrize("world", synchronous(), indirect=True, scope="session")


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest, ran: Counter[str]) -> Iterator[World]:
    name: str = request.param
    server = request.getfixturevalue("qdrant_server") if name in SERVED else ()
    with opened(name, *server) as filled:
        yield filled
        ran[name] += filled.generated
