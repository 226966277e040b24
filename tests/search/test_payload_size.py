"""When payloads are large enough for a second request."""

from __future__ import annotations

from typing import Any

import pytest

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.request import Fusion, Search, SearchDefaults
from vecdb_rerank.search.payload_size import WORTHWHILE, PayloadSize

PATHS = ("title", "node.text")


def search(payload: Any = "auto", k: int = 50, limit: int = 10) -> Search:
    return Search("q", k, limit, 0, "bm25", k, Fusion(), payload=payload)


def measured(payload: dict[str, Any]) -> PayloadSize:
    size = PayloadSize()
    size.measure([payload] * 3, PATHS)
    return size


def test_nothing_is_known_before_the_first_response() -> None:
    assert not PayloadSize().by_page(search())
    assert PayloadSize().by_page(search("page"))
    assert not measured({"x": "x" * WORTHWHILE}).by_page(search("all"))


@pytest.mark.parametrize(
    "value", ["x" * 30_000, ["x" * 10] * 3_000, {"deep": [{"x": "x" * 30_000}]}]
)
def test_what_counts_are_the_bytes_of_the_hits_that_are_not_returned(value: Any) -> None:
    size = measured({"title": "T", "x": value})
    assert size.by_page(search(k=50, limit=10))
    assert not size.by_page(search(k=50, limit=30))
    assert not size.by_page(search(k=10, limit=10))


@pytest.mark.parametrize(
    "payload",
    [
        {"title": "x" * 90_000},
        {"node": {"text": "x" * 90_000}},
        {"node": '{"text": "' + "x" * 90_000 + '"}'},
        {"node.text": "x" * 90_000},
    ],
)
def test_the_text_does_not_count_since_it_comes_anyway(payload: dict[str, Any]) -> None:
    assert not measured(payload).by_page(search())


def test_another_value_is_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        SearchDefaults(payload="some")  # type: ignore[arg-type]
    assert caught.value.key == "payload"
