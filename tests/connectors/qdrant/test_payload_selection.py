"""Selectors that bring the text to rerank, and payloads as the caller asked for them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client.http import models

from vecdb_rerank.text_fields import TextFields, lookup
from vecdb_rerank_qdrant.payload_selection import Projection, project, selections

PATHS = ("title", "meta.summary")
SUMMARY = ['"meta.summary"', "meta.summary", "meta[].summary"]
WHOLE = {"title": "T", "lang": "en", "meta": {"summary": "S", "year": 2024}}


def include(*paths: str) -> models.PayloadSelectorInclude:
    return models.PayloadSelectorInclude(include=list(paths))


def exclude(*paths: str) -> models.PayloadSelectorExclude:
    return models.PayloadSelectorExclude(exclude=list(paths))


def shown(projection: Projection, payload: Any, **options: bool) -> Any:
    """What a caller sees of one payload, which stays as it is."""
    before = deepcopy(payload)
    (seen,) = projection.shown([payload], **options)
    assert payload == before
    return seen


@pytest.mark.parametrize("selector", [None, True])
def test_the_whole_payload_is_brought_by_default(selector: bool | None) -> None:
    assert project(selector, PATHS) == Projection(True)
    assert shown(Projection(True), WHOLE) is WHOLE


def test_no_payload_brings_the_text_alone_and_takes_it_out_again() -> None:
    projection = project(False, PATHS)
    assert projection.selector == include("title", *SUMMARY)
    assert shown(projection, {"title": "T", "meta": {"summary": "S"}}) is None


@pytest.mark.parametrize("given", [["lang", "title"], ("lang", "title"), include("lang", "title")])
def test_a_selection_is_widened_by_what_it_lacks(given: Any) -> None:
    projection = project(given, PATHS)
    assert projection.selector == include("lang", "title", *SUMMARY)
    assert shown(projection, WHOLE) == {"lang": "en", "title": "T"}


@pytest.mark.parametrize("given", [["title", "meta", '"meta.summary"'], ["title", *SUMMARY, "x"]])
def test_a_selection_that_holds_the_text_is_left_alone(given: list[str]) -> None:
    assert project(given, PATHS) == Projection(given)


def test_an_exclusion_lets_the_text_through_and_takes_it_out_again() -> None:
    projection = project(exclude("secret", "meta", "tags[].a"), PATHS)
    assert projection.selector == exclude("secret", "tags[].a")
    assert shown(projection, WHOLE) == {"title": "T", "lang": "en"}


def test_an_exclusion_beside_the_text_is_left_alone() -> None:
    given = exclude("secret", "meta.other")
    assert project(given, PATHS) == Projection(given)


def test_only_the_forced_part_of_an_object_is_taken_out() -> None:
    assert shown(project(["meta.year"], PATHS), WHOLE) == {"meta": {"year": 2024}}


def test_an_empty_payload_is_none_over_grpc() -> None:
    projection = project(["nothing"], PATHS)
    assert shown(projection, WHOLE) == {}
    assert shown(projection, WHOLE, over_grpc=True) is None
    assert shown(projection, None) is None


@pytest.mark.parametrize("selector", ["title", {"include": [1]}, object()])
def test_a_selector_of_an_unknown_kind_is_left_to_the_client(selector: Any) -> None:
    assert project(selector, PATHS) == Projection(selector)


def test_a_field_that_no_path_leads_to_is_not_asked_for() -> None:
    assert list(selections('say "hi"')) == []
    assert list(selections("two words")) == ['"two words"']


keys = st.sampled_from(("a", "b", "a.b", "b.a"))
values = st.recursive(
    st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)
names = st.sampled_from(("a", "b", "a.b", "b.a", "a.b.a"))


@settings(deadline=None)  # YAML loads on first use
@given(st.dictionaries(keys, values, max_size=4), names)
def test_what_a_document_reads_is_among_what_is_selected(payload: Any, name: str) -> None:
    # A list in a list is out of reach of any path: Qdrant's own have a step for each.
    found = lookup(payload, name)
    projection = Projection(None, "only", tuple(selections(name)))
    if nested(payload):
        return
    assert lookup(shown(projection, payload), name) == found
    assert TextFields((name,)).text(shown(projection, payload)) == TextFields((name,)).text(payload)


def nested(value: Any) -> bool:
    """Whether a list is an item of a list."""
    if isinstance(value, dict):
        return any(map(nested, value.values()))
    return isinstance(value, list) and any(isinstance(v, list) or nested(v) for v in value)
