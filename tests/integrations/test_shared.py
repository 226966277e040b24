"""A framework that is not installed is named with its extra."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from vecdb_rerank._optional import importing
from vecdb_rerank.errors import MissingDependencyError


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [
        ("langchain", "langchain_core", "langchain"),
        ("llama_index", "llama_index", "llama-index"),
        ("haystack", "haystack", "haystack"),
    ],
)
def test_a_missing_framework_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, module: str, library: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"vecdb_rerank.integrations.{module}", raising=False)
    with pytest.raises(MissingDependencyError) as caught:
        import_module(f"vecdb_rerank.integrations.{module}")
    assert caught.value.key == library
    assert f"vecdb-rerank[{extra}]" in caught.value.problem


def test_a_broken_framework_keeps_its_error() -> None:
    with (
        pytest.raises(ModuleNotFoundError, match="a_library_that_nobody_has") as caught,
        importing("langchain_core", extra="langchain"),
    ):
        import_module("a_library_that_nobody_has")
    assert not isinstance(caught.value, MissingDependencyError)
