from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.backends import (
    OPENSEARCH,
    SERVED,
    Backend,
    Remembering,
    opened,
    opensearch_client,
    qdrant_client,
    qdrant_names,
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A ``qdrant`` or ``opensearch`` is each kind of it in turn, a ``backend`` each of both."""
    kinds = {"qdrant": qdrant_names(), "opensearch": OPENSEARCH}
    kinds["backend"] = [name for names in kinds.values() for name in names]
    for fixture, names in kinds.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def models() -> Remembering:
    return Remembering()


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest, ran: Counter[str]) -> Iterator[Backend]:
    name: str = request.param
    with opened(name, _client(name, request)) as opened_backend:
        ran.setdefault(name, 0)
        yield opened_backend


# Bound to one of the two databases by its kinds alone.
qdrant = opensearch = backend


def _client(name: str, request: pytest.FixtureRequest) -> Any:
    if name in OPENSEARCH:
        return opensearch_client(name, request.getfixturevalue("opensearch_url"))
    server = request.getfixturevalue("qdrant_server") if name in SERVED else ()
    return qdrant_client(name, *server)
