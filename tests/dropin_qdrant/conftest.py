from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import pytest

from tests.contract.backends import SERVED, qdrant_names
from tests.dropin_qdrant.collection import World, opened

SCOPES: Mapping[str, Literal["session", "module", "function"]] = {
    "world": "session",
    "pages": "module",
    "raw": "function",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    synchronous = [name for name in qdrant_names() if not name.endswith("async")]
    for fixture in {"world", "pages", "raw"} & set(metafunc.fixturenames):
        metafunc.parametrize(fixture, synchronous, indirect=True, scope=SCOPES[fixture])


@pytest.fixture(scope="session")
def world(request: pytest.FixtureRequest, ran: set[str]) -> Iterator[World]:
    name: str = request.param
    server = request.getfixturevalue("qdrant_server") if name in SERVED else ()
    with opened(name, *server) as filled:
        ran.add(name)
        yield filled
        if filled.generated:
            ran.discard(name)
            ran.add(f"{name} ({filled.generated} generated requests)")
