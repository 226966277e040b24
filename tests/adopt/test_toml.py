"""The configuration that is written."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.adopt.choices import Setting
from vecdb_rerank.adopt.toml import written

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=3))
def test_names_of_a_server_do_not_break_the_file(name: str, why: str, fields: list[str]) -> None:
    settings = [
        Setting("backend", "dense_vector", name, why),
        Setting("backend", "text_index", name, why, is_hint=True),
        Setting("text_fields", "fields", fields, why),
        Setting("embedder", "type", "none", why),
    ]
    backend = {"type": "qdrant", "collection": name}
    assert tomllib.loads(written(name, backend, settings)) == {
        "backend": {"type": "qdrant", "collection": name, "dense_vector": name},
        "text_fields": {"fields": fields},
        "embedder": {"type": "none"},
    }
