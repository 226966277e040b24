"""The OpenAPI document: it has all routes, and its examples are answered as it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from starlette.routing import Route

from tests.server.running import Running
from tests.server.searched import Searched
from vecdb_rerank.server.app import create_app
from vecdb_rerank.server.openapi.routes import describe

PATHS: dict[str, Any] = describe()["paths"]  # type: ignore[assignment]
UNLISTED = {"/mcp", "/openapi.json", "/docs"}


def examples() -> Iterator[tuple[str, str, Any, Any]]:
    """Yield path, method, body and the schema of the answer."""
    for path, methods in PATHS.items():
        for method, operation in methods.items():
            answers = operation["responses"]["200"]["content"]
            schema = answers["application/json"]["schema"]
            if method == "get":
                yield path, method, None, schema
                continue
            content = operation["requestBody"]["content"]["application/json"]
            for example in content["examples"].values():
                assert_valid(example["value"], content["schema"])
                yield path, method, example["value"], schema


def assert_valid(value: object, schema: object) -> None:
    jsonschema.validate(value, {"allOf": [schema], "components": describe()["components"]})


EXAMPLES = list(examples())


@pytest.mark.parametrize(
    ("path", "method", "body", "schema"), [one for one in EXAMPLES if one[0] != "/v1/search"]
)
def test_examples_are_answered_as_described(
    client: httpx.Client, path: str, method: str, body: object, schema: object
) -> None:
    answer = client.request(method, path, json=body)
    assert answer.status_code == 200
    assert_valid(answer.json(), schema)


def test_examples_of_searches_are_answered(searched: Searched) -> None:
    [(path, method, body, schema)] = [one for one in EXAMPLES if one[0] == "/v1/search"]
    answer = httpx.request(method, searched.url + path, json=body, headers=searched.headers())
    assert answer.status_code == 200
    assert_valid(answer.json(), schema)


def test_all_routes_are_described(running: Running) -> None:
    described = running.client.get("/openapi.json").json()
    assert described == describe()
    paths = {route.path for route in create_app(running.live).routes if isinstance(route, Route)}
    assert set(described["paths"]) == paths - UNLISTED


def test_an_error_is_as_described(client: httpx.Client) -> None:
    answer = client.post("/v1/rerank", json={})
    assert answer.status_code == 422
    assert_valid(answer.json(), {"$ref": "#/components/schemas/Error"})


def test_the_page_shows_the_routes(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert all(path in page.text for path in PATHS)
