"""Ids as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.server.errors import ApiError
from vecdb_rerank.server.mcp.document_ids import read, written


@given(st.integers(0, 2**64 - 1) | st.text(min_size=1, max_size=512))
def test_every_id_comes_back_with_its_type(id: int | str) -> None:
    assert read(written(id)) == id
    assert type(read(written(id))) is type(id)


@pytest.mark.parametrize(
    "text", ["", "1", "str:", "int:", "int:one", "int:1.5", "int:" + "9" * 30, "x" * 5_000]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(text)
    assert caught.value.field == "id"
