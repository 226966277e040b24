"""Which fields hold the text, by payloads in the form of well-known stores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.adopt.description import BYTES, POINTS, next_batch
from vecdb_rerank.adopt.fields import chosen, plain_text, text_fields

TEXT = "Honey bees tell each other by a dance, in the dark, where the flowers are."
OTHER = "Bread needs flour, water and salt; it rests for an hour in a warm place."
ID = "0b9a3c6e-6d1f-4a58-9f1c-0d1f5c0e7b11"


def payloads(form: Any) -> list[Mapping[str, Any]]:
    return [form(TEXT), form(OTHER)]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (
            lambda t: {"page_content": t, "metadata": {"source": "docs/a b c.md", "page": 3}},
            ["page_content"],
        ),
        (
            lambda t: {"page_content": t, "group_id": ID, "metadata": {"doc_id": ID}},
            ["page_content"],
        ),
        (
            lambda t: {"_node_content": json.dumps({"id_": ID, "text": t}), "doc_id": ID},
            ["_node_content.text"],
        ),
        (lambda t: {"content": t, "_node_content": json.dumps({"text": t})}, ["content"]),
        (lambda t: {"content": t, "meta": {"title": t[:10]}, "id": ID}, ["meta.title", "content"]),
        (
            lambda t: {
                "title": "A page",
                "text": t,
                "url": "file:///a.txt",
                "wordCount": 14,
                "docAuthor": "no author",
            },
            ["title", "text"],
        ),
        (
            lambda t: {
                "content_with_weight": t,
                "content_ltks": t.lower().replace(",", ""),
                "docnm_kwd": "a.pdf",
            },
            ["content_with_weight"],
        ),
        (lambda t: {"question": "How do bees talk?", "answer": t}, ["question", "answer"]),
        (lambda t: {"chunks": [{"text": t, "n": 1}, {"text": t[::-1], "n": 2}]}, ["chunks.text"]),
        (lambda t: {"a.b": {"c": t}, "n": 1, "none": None, "flag": True}, ["a.b.c"]),
        (lambda t: {"text": "如何撤销一次提交而不丢失更改", "id": ID}, ["text"]),
        (lambda t: {"n": 1, "id": ID, "path": "/usr/bin/env"}, []),
        (lambda t: {}, []),
    ],
)
def test_the_text_is_found_by_what_fields_hold(form: Any, expected: list[str]) -> None:
    assert list(chosen(text_fields(payloads(form)))) == expected


def test_a_field_that_few_documents_have_is_no_text() -> None:
    found = text_fields([{"body": TEXT}, {"body": OTHER}, {"body": OTHER, "note": TEXT}])
    assert [field.path for field in found] == ["body"]
    assert found[0].share == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(st.text(max_size=8), JSON, max_size=4), max_size=4))
def test_any_payload_is_read(given_payloads: list[dict[str, Any]]) -> None:
    for path in chosen(text_fields(given_payloads)):
        for payload in given_payloads:
            plain_text(payload, path)


@given(st.lists(st.integers(0, 2 * BYTES), max_size=POINTS))
def test_a_description_reads_little(sizes: list[int]) -> None:
    count = next_batch(sizes)
    assert 0 <= count <= POINTS - len(sizes)
    if not sizes:
        assert count == 1  # nothing is known of the size of the first
    else:
        assert sum(sizes) + count * 2 * max(sizes) <= max(BYTES, sum(sizes))
