"""Filters of callers who are not trusted."""

from __future__ import annotations

import pytest
from qdrant_client.http import models

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank_qdrant.caller_filter import combined

TENANT = {"must": [{"key": "tenant", "match": {"value": "a"}}]}
WIDE = {
    "should": [{"key": "tenant", "match": {"value": "b"}}],
    "min_should": {"conditions": [{"has_id": [1]}], "min_count": 0},
}


def test_both_filters_are_conditions_of_their_own() -> None:
    found = combined(WIDE, TENANT)
    tenant, wide = models.Filter.model_validate(TENANT), models.Filter.model_validate(WIDE)
    assert found == models.Filter(must=[tenant, wide])
    assert combined(None, TENANT) == models.Filter(must=[tenant])
    assert combined(None) is None


@pytest.mark.parametrize(
    "given",
    [
        {"script": {}},
        {"must": [{"key": "a", "match": {"value": 1, "boost": 2}}]},
        {"must": [{"key": "a", "lookup_from": {"collection": "others"}}]},
        [TENANT],
        "a",
    ],
)
def test_unknown_fields_are_refused(given: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        combined(given, TENANT)
    assert caught.value.key.startswith("filter")
