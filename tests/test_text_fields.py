"""From a payload to the text that models read."""

from __future__ import annotations

import datetime as dt
import json
import math
import time
from collections import OrderedDict
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.text_fields import TextFields, as_text, lookup, valid_unicode

# Everything, also what neither JSON nor a database holds: a test or a script may put it there.
any_text = st.text(st.characters(), max_size=20)  # with lone surrogates
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    any_text,
    st.binary(max_size=20),
    st.dates(),
    st.datetimes(),
)
payloads: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(any_text, st.sampled_from(["a", "b", "a.b"])), inner, max_size=4),
    ),
    max_leaves=20,
)


def test_fields_are_joined_by_line_breaks_in_the_order_named() -> None:
    payload = {"text": "Body.", "title": "Title", "other": "no"}
    assert TextFields().text(payload) == "Title\nBody."
    assert TextFields(("text", "title")).text(payload) == "Body.\nTitle"


@pytest.mark.parametrize("empty", [None, "", "  \n", [], [None, ""]])
def test_empty_fields_leave_no_empty_line(empty: Any) -> None:
    assert TextFields().text({"title": empty, "text": "Body."}) == "Body."


@pytest.mark.parametrize("payload", [None, {}, {"other": 1}, {"title": None, "text": ""}])
def test_a_payload_without_its_fields_has_empty_text(payload: dict[str, Any] | None) -> None:
    assert TextFields().text(payload) == ""
    assert TextFields(template="Title: {title}").text(payload) == ""


def test_a_field_named_twice_is_read_once() -> None:
    assert TextFields(("text", "text")).text({"text": "Body."}) == "Body."


def test_dotted_paths_reach_into_objects() -> None:
    payload = {"meta": {"summary": {"en": "Short."}}}
    assert TextFields(("meta.summary.en",)).text(payload) == "Short."
    assert TextFields(("meta.summary.de",)).text(payload) == ""
    assert TextFields(("meta.summary.en.more",)).text(payload) == ""


def test_dotted_paths_reach_into_each_object_of_a_list() -> None:
    payload = {"parts": [{"text": "One."}, {"other": 1}, "no object", {"text": "Two."}]}
    assert TextFields(("parts.text",)).text(payload) == "One.\nTwo."
    assert TextFields(("parts.missing",)).text(payload) == ""


def test_dotted_paths_reach_through_lists_of_lists() -> None:
    assert lookup({"a": [[{"b": 1}], [{"b": 2}]]}, "a.b") == [[1], [2]]


def test_a_key_that_holds_dots_wins_over_nesting() -> None:
    assert lookup({"a.b": "flat", "a": {"b": "nested"}}, "a.b") == "flat"
    assert lookup({"a": {"b.c": "flat below"}}, "a.b.c") == "flat below"


def test_dotted_paths_reach_into_json_strings() -> None:
    inner = json.dumps({"text": "Deep.", "parts": ["no object", {"text": "Deeper."}]})
    payload = {"_node_content": json.dumps({"id_": "n1", "text": "Body.", "more": inner})}
    assert TextFields(("_node_content.text",)).text(payload) == "Body."
    assert TextFields(("_node_content.more.text",)).text(payload) == "Deep."
    assert TextFields(("_node_content.more.parts.text",)).text(payload) == "Deeper."
    assert TextFields(template="<{_node_content.text}>").text(payload) == "<Body.>"
    assert TextFields(("_node_content.missing",)).text(payload) == ""
    assert lookup({"a": ['{"b": 1}', "x", '[{"b": 2}]']}, "a.b") == [1, [2]]


@pytest.mark.parametrize(
    "text",
    ["", "plain", "{", "[1, 2", "{'a': 1}", "[" * 100_000, '{"b": ' + "9" * 5_000 + "}", "[[1]]"],
)
def test_strings_that_hold_no_json_have_nothing_at_a_path(text: str) -> None:
    payload = {"a": text, "text": "Body."}
    assert TextFields(("a.b", "text")).text(payload) == "Body."


def test_lists_of_plain_values_are_a_line_each() -> None:
    assert as_text(["One.", None, "", " Two. ", 3]) == "One.\nTwo.\n3"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("  text ", "text"),
        (7, "7"),
        (1.5, "1.5"),
        (True, "True"),
        (math.nan, "nan"),
        (dt.date(2024, 2, 29), "2024-02-29"),
        (b"bytes", "bytes"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (("a", "b"), "a\nb"),
    ],
)
def test_other_values_are_written_as_text(value: Any, text: str) -> None:
    assert as_text(value) == text


def test_structures_are_yaml_with_their_keys_in_stored_order() -> None:
    value = {"zebra": 1, "apple": {"y": [1, 2], "x": "é"}}
    text = as_text(value)
    assert text.index("zebra") < text.index("apple") < text.index("y:") < text.index("x:")
    assert "é" in text
    assert yaml.safe_load(text) == value


@pytest.mark.parametrize("value", [OrderedDict(b=1, a=2), [OrderedDict(b=1, a=2)]])
def test_kinds_of_dict_are_written_like_a_dict(value: Any) -> None:
    plain = {"b": 1, "a": 2}
    assert as_text(value) == as_text([plain] if isinstance(value, list) else plain)


def test_objects_that_occur_twice_are_written_twice() -> None:
    same = {"name": "again"}
    text = as_text({"first": same, "second": same})
    assert text.count("again") == 2
    assert "&" not in text


def test_long_lines_are_not_wrapped() -> None:
    assert "\n" not in as_text({"text": "word " * 1000})


def test_a_template_places_its_fields() -> None:
    text_fields = TextFields(template="{title}: {meta.summary} ({{literal}})")
    payload = {"title": "T", "meta": {"summary": "S"}}
    assert text_fields.paths == ("title", "meta.summary")
    assert text_fields.text(payload) == "T: S ({literal})"


def test_a_template_leaves_missing_fields_empty() -> None:
    assert TextFields(template="{title}: {text}").text({"title": "T"}) == "T:"


def test_braces_in_the_data_are_data() -> None:
    assert TextFields(template="{title}").text({"title": "{text} {0} {"}) == "{text} {0} {"


def test_the_text_is_cut_at_max_chars() -> None:
    assert TextFields(max_chars=5).text({"text": "abcdefgh"}) == "abcde"
    assert len(TextFields().text({"text": "x" * 10_000_000})) == 32_768


WIDE: list[Any] = [
    {f"k{n}": {"text": "word " * 10, "list": [1, None, True]} for n in range(30_000)},
    [{"": ""}] * 300_000,
    {"list": [[]] * 300_000},
    {"k" * 3_000_000: 1},
    {"text": "a: '\n" * 1_000_000},
    {"numbers": [[1.5], *range(300_000)]},
    {"bytes": b"x" * 3_000_000},
]


@pytest.mark.parametrize("value", WIDE, ids=range(len(WIDE)))
def test_a_structure_is_cut_before_it_is_written(value: Any) -> None:
    started = time.process_time()
    text = TextFields().text({"text": value})
    assert time.process_time() - started < 2  # seconds; writing all of it takes 10 or more
    assert len(text) == 32_768


@pytest.mark.parametrize("chars", [1, 30, 500, 5_000])
def test_a_structure_that_is_cut_begins_like_the_whole(chars: int) -> None:
    value = {f"k{n}": {"text": "word " * 5, "list": [1, None, [n, n]]} for n in range(99)}
    whole = as_text(value)
    assert len(whole) > 5_000
    assert TextFields(("a",), max_chars=chars).text({"a": value}) == whole[:chars]


def test_lone_surrogates_are_replaced() -> None:
    assert TextFields().text({"text": "a\ud800b"}) == "a?b"
    assert valid_unicode("ünï\N{PILE OF POO}") == "ünï\N{PILE OF POO}"


def test_structures_as_deep_as_a_database_takes_are_written() -> None:
    value: Any = "deep"
    for _ in range(128):
        value = {"in": value}
    assert "deep" in TextFields(("a",)).text({"a": value})


@given(payloads)
def test_no_data_raises_and_every_text_can_be_encoded(value: Any) -> None:
    payload = {"title": value, "a": value, "text": "Body."}
    for text_fields in (
        TextFields(),
        TextFields(("a", "a.b", "a.a", "title.b")),
        TextFields(template="{title} {a.b}"),
    ):
        text = text_fields.text(payload)
        text.encode()
        assert len(text) <= text_fields.max_chars
    assert TextFields().text(payload).endswith("Body.")


@given(payloads)
def test_the_same_data_gives_the_same_text(value: Any) -> None:
    assert TextFields(("a",)).text({"a": value}) == TextFields(("a",)).text({"a": value})


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"fields": ()}, "text_fields.fields"),
        ({"fields": "title"}, "text_fields.fields"),
        ({"max_chars": 0}, "text_fields.max_chars"),
        ({"template": "no field"}, "text_fields.template"),
        ({"template": ""}, "text_fields.template"),
        ({"template": "{}"}, "text_fields.template"),
        ({"template": "{title"}, "text_fields.template"),
        ({"template": "title}"}, "text_fields.template"),
        ({"template": "{title!r}"}, "text_fields.template"),
        ({"template": "{title:>10}"}, "text_fields.template"),
    ],
)
def test_wrong_configuration_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TextFields(**wrong)
    assert caught.value.key == named


def test_structures_too_deep_to_walk_are_no_text() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"in": deep}
    assert TextFields(fields=("deep",)).text({"deep": deep}) == ""
