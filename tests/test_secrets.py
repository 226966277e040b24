"""Which values of settings are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.secrets import HIDDEN, SHOWN, concealed, shown


@pytest.mark.parametrize(
    ("key", "value", "result"),
    [
        ("model", "rerank-v3.5", "rerank-v3.5"),
        ("timeout", 10.0, 10.0),
        ("hedge", True, True),
        ("api_key", "k", HIDDEN),
        ("anything", "a text", HIDDEN),
        ("pin_code", 1234, HIDDEN),
        ("anything", b"bytes", HIDDEN),
        ("anything", "", ""),
        ("url", "http://h:80/v2", "http://h:80/v2"),
        ("url", "https://u:pw@h/x", f"https://{HIDDEN}@h/x"),
        ("url", "https://h/x?api-version=1&sig=abc", f"https://h/x?api-version=1&sig={HIDDEN}"),
        ("url", ["https://h?code=1", "https://i"], [f"https://h?code={HIDDEN}", "https://i"]),
        ("extra_body", {"authorization": "Bearer k"}, {"authorization": HIDDEN}),
        ("headers", {"user": "abcd", "X-Team": "search"}, {"user": HIDDEN, "X-Team": HIDDEN}),
        ("query_params", {"version": "abcd"}, {"version": HIDDEN}),
        ("custom", {"results": "output.results"}, {"results": "output.results"}),
        (
            "extra_body",
            {"truncate": 512, "x": {"y": ["z"]}},
            {"truncate": 512, "x": {"y": [HIDDEN]}},
        ),
    ],
)
def test_a_value_is_shown_if_its_name_is_listed(key: str, value: object, result: object) -> None:
    assert shown(key, value) == result


@given(st.text(min_size=1, max_size=12), st.text(min_size=4, max_size=20))
def test_a_text_under_an_unknown_name_is_never_shown(key: str, value: str) -> None:
    if key not in SHOWN:
        assert shown(key, value) == HIDDEN
        assert shown("options", {key: [value]}) == {key: [HIDDEN]}


@pytest.mark.parametrize(
    "name",
    ["key", "apikey", "api_key", "auth", "authorization", "pwd", "code", "sig", "X-Amz-Signature"],
)
def test_names_of_secrets_are_recognised(name: str) -> None:
    assert concealed(name, "k") == HIDDEN
    assert concealed("options", {name: "k"}) == {name: HIDDEN}


@pytest.mark.parametrize("name", ["monkey", "model", "encoder", "design", "max_tokens"])
def test_other_names_are_not(name: str) -> None:
    assert concealed(name, "k") == "k"
