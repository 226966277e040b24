"""The sections of rerankers and embedders have the arguments of the classes they describe."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from vecdb_rerank import registry
from vecdb_rerank.config.settings import section_types

KINDS: tuple[tuple[str, registry.Kind], ...] = (
    ("reranker", "rerankers"),
    ("embedder", "embedders"),
)


def sections() -> Iterator[tuple[registry.Kind, str]]:
    for section, kind in KINDS:
        yield from ((kind, name) for name in section_types(section) if name != "none")


def described(kind: registry.Kind, name: str) -> type[BaseModel]:
    return section_types({kind: section for section, kind in KINDS}[kind])[name]


@pytest.mark.parametrize(("kind", "name"), list(sections()))
def test_every_key_is_an_argument_with_the_same_default(kind: registry.Kind, name: str) -> None:
    arguments = inspect.signature(registry.find(kind, name)).parameters
    for key, field in described(kind, name).model_fields.items():
        if key == "type":
            continue
        default = arguments[key].default
        if field.is_required():
            assert default is inspect.Parameter.empty, key
        elif isinstance(field.get_default(call_default_factory=True), BaseModel):
            continue  # a cascade's first reranker
        else:
            # An empty table is None in code, where a default must not be mutable.
            assert (field.get_default(call_default_factory=True) or None) == (default or None), key


@pytest.mark.parametrize(("kind", "name"), list(sections()))
def test_every_argument_is_a_key(kind: registry.Kind, name: str) -> None:
    """Except a ready client, which only code can give."""
    arguments = set(inspect.signature(registry.find(kind, name)).parameters) - {"client"}
    assert arguments == set(described(kind, name).model_fields) - {"type"}
