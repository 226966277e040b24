"""The body of a search."""

from __future__ import annotations

from typing import Any

import pytest

from vecdb_rerank.server.errors import ApiError
from vecdb_rerank.server.search.body import SearchRequest


def test_a_whole_body() -> None:
    body = {"query": "bees", "k": 20, "limit": 5, "offset": 3, "mode": "bm25", "explain": True}
    read = SearchRequest.of({**body, "filter": {"must": []}})
    assert read == SearchRequest("bees", 20, 5, 3, "bm25", {"must": []}, explain=True)
    assert SearchRequest.of({"query": "bees", "k": None, "filter": None}) == SearchRequest("bees")


def _deep(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {"must": [value]}
    return value


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"query": ""}, "query"),
        ({"query": None}, "query"),
        ({"query": ["bees"]}, "query"),
        ({"query": "x" * 10_001}, "query"),
        ({"k": 0}, "k"),
        ({"k": 101}, "k"),
        ({"k": 3.5}, "k"),
        ({"k": "5"}, "k"),
        ({"limit": True}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": 10**30}, "offset"),
        ({"mode": "sparse"}, "mode"),
        ({"filter": "year:2024"}, "filter"),
        ({"filter": _deep(5_000)}, "filter"),
        ({"filter": {"must": ["\ud800"]}}, "filter"),
        ({"explain": 1}, "explain"),
        ({"collection": "others"}, "collection"),
        ({"rerank": False}, "rerank"),
    ],
)
def test_the_error_names_the_field(given: dict[str, Any], key: str) -> None:
    with pytest.raises(ApiError) as caught:
        SearchRequest.of({"query": "bees", **given}, max_k=100)
    assert (caught.value.status, caught.value.field) == (422, key)
