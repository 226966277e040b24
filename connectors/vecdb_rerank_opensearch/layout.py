"""Where an index keeps what is searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.request import NONE, Branch, Language

# The field for the text that BM25 searches: what `TextFields` makes of a payload.
BM25_TEXT = "bm25_text"
# Its sub-field for names such as getUser and C++; the analyzer of the same name.
IDENTIFIERS = "identifiers"

_TEXT_TYPES = ("text", "match_only_text", "keyword")


@dataclass(frozen=True, slots=True)
class Layout:
    """Where an index keeps what is searched. ``bm25_fields`` may carry boosts (``title^2``).

    Without ``bm25_fields``, or without a ``dense_vector`` (None or ``"none"``), the other branch is
    searched alone. Raises `ConfigurationError` if nothing is left to search.
    ``language`` is that of the texts of an index that is created. ``nested`` are the paths of the
    index's nested objects, ``identifiers`` its fields of that analyzer, once its mapping is known.
    """

    index: str
    dense_vector: str | None = "dense"
    bm25_fields: tuple[str, ...] = (BM25_TEXT,)
    language: Language = "english"
    nested: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.dense_vector == NONE:
            object.__setattr__(self, "dense_vector", None)
        if not self.branches:
            raise ConfigurationError("bm25_fields", "is empty, and dense_vector is none: set one")

    @property
    def subject(self) -> str:
        """The index, as messages name it."""
        return f"index {self.index!r}"

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The branches that a search has."""
        bm25: tuple[Branch, ...] = ("bm25",) if self.bm25_fields else ()
        return bm25 if self.dense_vector is None else (*bm25, "dense")

    @property
    def keeps_text(self) -> bool:
        """Whether BM25 searches the field that `create` and `add` keep for it."""
        return any(fnmatchcase(BM25_TEXT, field_name(field)) for field in self.bm25_fields)

    def nested_path(self, field: str) -> str | None:
        """Return the innermost nested object that holds a field."""
        holding = [path for path in self.nested if field.startswith(f"{path}.")]
        return max(holding, key=len, default=None)

    def located(self, mappings: Mapping[str, Mapping[str, object]]) -> Layout:
        """Return the layout with what the index's mappings say of its fields."""
        found = mapped_fields(mappings)
        nested = tuple(name for name, field in found.items() if field.get("type") == "nested")
        layout = replace(self, nested=nested)
        fields = [
            each for field in self.bm25_fields for each in layout._nested_of_wildcard(field, found)
        ]
        plain = {field_name(field) for field in fields}
        identifiers = tuple(
            name
            for name, field in found.items()
            if field.get("analyzer") == IDENTIFIERS and name.rpartition(".")[0] in plain
        )
        return replace(layout, bm25_fields=tuple(fields), identifiers=identifiers)

    def _nested_of_wildcard(
        self, field: str, found: Mapping[str, Mapping[str, object]]
    ) -> Iterator[str]:
        """Yield ``field``, and if it is a wildcard the nested fields that it matches."""
        name, caret, boost = field.partition("^")
        if "*" not in name:
            yield field
            return
        matching = [each for each in text_fields(found) if fnmatchcase(each, name)]
        inside = [each for each in matching if self.nested_path(each) is not None]
        if len(inside) < len(matching) or not matching:
            yield field
        for each in inside:
            yield f"{each}{caret}{boost}"


def field_name(field: str) -> str:
    """Return a field without its boost."""
    return field.partition("^")[0]


def mapped_fields(
    mappings: Mapping[str, Mapping[str, object]],
) -> dict[str, Mapping[str, object]]:
    """Return the fields of all indices by their dotted path, sub-fields included."""
    found: dict[str, Mapping[str, object]] = {}
    for mapping in mappings.values():
        root = mapping.get("mappings")
        if isinstance(root, Mapping):
            found.update(_inner(root, ""))
    return found


def text_fields(found: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return the names of the fields that BM25 can search."""
    return [name for name, field in found.items() if field.get("type") in _TEXT_TYPES]


def _inner(field: Mapping[str, object], prefix: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    for kind in ("properties", "fields"):
        inner = field.get(kind)
        if not isinstance(inner, Mapping):
            continue
        for name, each in inner.items():
            yield f"{prefix}{name}", each
            yield from _inner(each, f"{prefix}{name}.")
