"""JSON of stored documents."""

from __future__ import annotations

import json
from uuid import UUID

from vecdb_rerank.server.json_text import MAX_DEPTH, dumps, is_deep

ID = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


def test_what_a_document_may_hold_is_written() -> None:
    assert json.loads(dumps({"a": [1, "ä", None], "id": ID})) == {
        "a": [1, "ä", None],
        "id": str(ID),
    }
    assert json.loads(dumps({"a": 2**70, "b": ID})) == {"a": 2**70, "b": str(ID)}
    assert json.loads(dumps({"a": "x\ud800", "b": "ä"})) == {"a": "x?", "b": "ä"}


def test_depth_counts_objects_and_lists() -> None:
    value: object = "text"
    for _ in range(MAX_DEPTH):
        value = [value] if isinstance(value, dict) else {"a": value}
    assert not is_deep(value)
    assert is_deep({"a": value})
    assert not is_deep(["many"] * 1000)
