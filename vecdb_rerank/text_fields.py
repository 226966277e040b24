"""Read the text of a stored payload, as an embedder and a reranker see it."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, ClassVar

from vecdb_rerank._checks import integer, is_text, shown
from vecdb_rerank.errors import ConfigurationError

if TYPE_CHECKING:
    import yaml


@dataclass(frozen=True, slots=True)
class TextFields:
    """The fields of a payload that make up its text.

    A dotted path (``meta.summary``) reaches into nested objects, into each object of a list, and
    into a string that holds a JSON object or list (``_node_content.text``). Objects and lists of
    objects are written as YAML, keys in their stored order.

    Raises `ConfigurationError` if a value is out of range or no field is named.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    fields: tuple[str, ...] = ("title", "text")
    """The fields to read. Their texts are joined by line breaks; empty ones are left out."""
    template: str | None = None
    """A template used instead of ``fields``: ``"{title}: {meta.summary}"``."""
    max_chars: int = 32_768
    """The longest text in characters (at least 1); what follows is cut off."""

    def __post_init__(self) -> None:
        if isinstance(self.fields, str):
            raise ConfigurationError("text_fields.fields", f"must be a list: [{self.fields!r}]")
        try:
            fields = tuple(self.fields)
        except TypeError:
            raise ConfigurationError(
                "text_fields.fields", f"must be a list of names, got {shown(self.fields)}"
            ) from None
        for field in fields:
            is_text("text_fields.fields", field, "names of fields")
        if self.template is not None:
            is_text("text_fields.template", self.template)
        integer("text_fields.max_chars", self.max_chars, 1)
        if not self.paths:
            wrong = "fields" if self.template is None else "template"
            raise ConfigurationError(f"text_fields.{wrong}", "must name at least one field")

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that `text` reads, without duplicates."""
        return _paths(tuple(self.fields), self.template)

    def text(self, payload: Mapping[str, object] | None) -> str:
        """Return the payload's text, or ``""`` if it has none of the fields.

        The payload may hold anything; no value of it raises. A value that is nested too deeply to
        be walked counts as missing.
        """
        values = [self._value(payload, path) for path in self.paths]
        if self.template is None:
            text = "\n".join(filter(None, values))
        else:
            named = dict(zip(self.paths, values, strict=True))
            text = _fill(self.template, named) if any(values) else ""
        return valid_unicode(text[: self.max_chars])

    def _value(self, payload: Mapping[str, object] | None, path: str) -> str:
        try:
            return as_text(lookup(payload, path), self.max_chars)
        except RecursionError:  # hundreds of levels deep, or contains itself
            return ""


@lru_cache(maxsize=64)  # asked for each text
def _paths(fields: tuple[str, ...], template: str | None) -> tuple[str, ...]:
    names = fields if template is None else _names(template)
    return tuple(dict.fromkeys(names))


def lookup(payload: object, path: str) -> object:
    """Return the value at a dotted path, or None. A key that contains dots wins over nesting.

    In a list, the rest of the path is looked up in each item and the values found are returned as
    a list. A string that holds a JSON object or list is read as that.
    """
    if type(payload) is dict and path in payload:  # the usual case, which is asked for each text
        return payload[path]
    if isinstance(payload, str):
        payload = _decoded(payload)
    if isinstance(payload, list):
        found = [value for item in payload if (value := lookup(item, path)) is not None]
        return found or None
    if not isinstance(payload, Mapping):
        return None
    if path in payload:
        return payload[path]
    head, dot, rest = path.partition(".")
    return lookup(payload.get(head), rest) if dot else None


def _decoded(text: str) -> object:
    """Return the object or list that a JSON text holds; None for any other text."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def as_text(value: object, max_chars: int | None = None) -> str:
    """Return a stored value as text: lists one item per line, structures as YAML.

    With ``max_chars``, a structure is cut before it is written, so that the cost depends on
    ``max_chars`` and not on the size of ``value``. The text may still be longer.
    """
    if isinstance(value, str):
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="replace").strip()
    if isinstance(value, Sequence) and not any(isinstance(v, Mapping | list) for v in value):
        return "\n".join(filter(None, map(as_text, value)))
    if isinstance(value, Mapping | Sequence):
        return _yaml(value if max_chars is None else _Cutter(max_chars).cut(value))
    return str(value)


class _Cutter:
    """Copies a structure up to the point where its YAML is at least ``chars`` characters long."""

    def __init__(self, chars: int) -> None:
        self._left = chars

    def cut(self, value: object) -> object:
        """Return a copy of ``value``, as far as there are characters left."""
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, list | tuple):
            return self._list(value)
        kept = value[: max(0, self._left)] if isinstance(value, str | bytes) else value
        self._left -= len(kept) if isinstance(kept, str | bytes) else 1
        return kept

    def _mapping(self, value: Mapping[object, object]) -> dict[object, object]:
        found: dict[object, object] = {}
        for key, inner in value.items():
            if self._left <= 0:
                break
            name = key[: self._left] if isinstance(key, str) else key
            self._left -= len(str(name)) + 2  # the colon and a space or line break
            found[name] = self.cut(inner)
        return found

    def _list(self, value: Sequence[object]) -> list[object]:
        found: list[object] = []
        for inner in value:
            if self._left <= 0:
                break
            self._left -= 2  # the dash and a space
            found.append(self.cut(inner))
        return found


def _yaml(value: object) -> str:
    import yaml

    text: str = yaml.dump(
        value, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=1_000_000
    )
    return text.strip()


@cache
def _dumper() -> type[yaml.SafeDumper]:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes a value that YAML has no type for as its ``str()``, and never writes anchors."""

        def ignore_aliases(self, _data: object) -> bool:
            return True

    Dumper.add_multi_representer(dict, Dumper.represent_dict)
    Dumper.add_multi_representer(object, lambda dumper, data: dumper.represent_str(str(data)))
    return Dumper


def valid_unicode(text: str) -> str:
    """Return ``text`` with lone surrogates, which cannot be encoded, replaced by ``?``."""
    if text.isascii():  # known without a look at the characters
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text


def _names(template: str) -> list[str]:
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigurationError("text_fields.template", f"{error}") from error
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise ConfigurationError("text_fields.template", "must hold plain {field} names only")
    names = [name for _, name, _, _ in parts if name is not None]
    if "" in names:
        raise ConfigurationError("text_fields.template", "{} must name a field")
    return names


def _fill(template: str, values: Mapping[str, str]) -> str:
    return "".join(
        literal + (values[name] if name is not None else "")
        for literal, name, _, _ in string.Formatter().parse(template)
    ).strip()
