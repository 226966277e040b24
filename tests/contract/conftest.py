from __future__ import annotations

from collections.abc import Iterator

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
    if "qdrant" in metafunc.fixturenames:
        metafunc.parametrize("qdrant", qdrant_names(), indirect=True, scope="session")


@pytest.fixture(scope="session")
def models() -> Remembering:
    return Remembering()


@pytest.fixture(scope="session")
def qdrant(request: pytest.FixtureRequest, ran: set[str]) -> Iterator[Backend]:
    name: str = request.param
    server = request.getfixturevalue("qdrant_server") if name in SERVED else ()
    with opened(name, qdrant_client(name, *server)) as backend:
        ran.add(name)
        yield backend


@pytest.fixture(scope="session", params=OPENSEARCH)
def opensearch(
    request: pytest.FixtureRequest, ran: set[str], opensearch_url: str
) -> Iterator[Backend]:
    name: str = request.param
    with opened(name, opensearch_client(name, opensearch_url)) as backend:
        ran.add(name)
        yield backend
