"""From a stored payload to the text that an embedder and a reranker read."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from vecdb_rerank.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class TextFields:
    """Which part of a payload is its text.

    A dotted path (``meta.summary``) reaches into nested objects and lists. Objects and lists of
    objects are written as YAML, keys in their stored order.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    fields: tuple[str, ...] = ("title", "text")
    """The fields that make up the text, joined by line breaks, empty ones left out."""
    template: str | None = None
    """An alternative that names the fields in braces: ``"{title}: {meta.summary}"``."""
    max_chars: int = 32_768
    """Characters after which the text is cut, far above what a model reads."""

    def __post_init__(self) -> None:
        if isinstance(self.fields, str):
            raise ConfigurationError("text_fields.fields", f"give a list: [{self.fields!r}]")
        if self.max_chars < 1:
            raise ConfigurationError("text_fields.max_chars", f"{self.max_chars} is below 1")
        if not self.paths:
            wrong = "fields" if self.template is None else "template"
            raise ConfigurationError(f"text_fields.{wrong}", "name at least one field")

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that `text` reads, each once."""
        names = self.fields if self.template is None else _names(self.template)
        return tuple(dict.fromkeys(names))

    def text(self, payload: Mapping[str, Any] | None) -> str:
        """The payload's text; empty when none of its fields is there. Never raises on data."""
        try:
            text = self._text(payload)
        except RecursionError:  # nested hundreds of levels deep, or in itself: no text for anyone
            return ""
        return valid_unicode(text[: self.max_chars])

    def _text(self, payload: Mapping[str, Any] | None) -> str:
        values = {path: as_text(lookup(payload, path)) for path in self.paths}
        if self.template is None:
            return "\n".join(value for value in values.values() if value)
        return _fill(self.template, values) if any(values.values()) else ""


def lookup(payload: Any, path: str) -> Any:
    """The value at a dotted path, or None; a key that itself holds dots wins over nesting.

    In a list, the path goes on in each of its objects, and the values come as a list.
    """
    if isinstance(payload, list):
        found = [value for item in payload if (value := lookup(item, path)) is not None]
        return found or None
    if not isinstance(payload, Mapping):
        return None
    if path in payload:
        return payload[path]
    head, dot, rest = path.partition(".")
    return lookup(payload.get(head), rest) if dot else None


def as_text(value: Any) -> str:
    """A stored value as text: strings as they are, lists a line each, structures as YAML."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bytes | bytearray):
        return value.decode(errors="replace").strip()
    if isinstance(value, Sequence) and not any(isinstance(v, Mapping | list) for v in value):
        return "\n".join(filter(None, map(as_text, value)))
    if isinstance(value, Mapping | Sequence):
        return _yaml(value)
    return str(value)


def _yaml(value: Any) -> str:
    import yaml

    text: str = yaml.dump(
        value, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=1_000_000
    )
    return text.strip()


@cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes what YAML has no type for by its str(), and never anchors."""

        def ignore_aliases(self, _data: Any) -> bool:
            return True

    Dumper.add_multi_representer(dict, Dumper.represent_dict)
    Dumper.add_multi_representer(object, lambda dumper, data: dumper.represent_str(str(data)))
    return Dumper


def valid_unicode(text: str) -> str:
    """``text`` with lone surrogates, which no encoder or tokenizer takes, replaced by ``?``."""
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
        raise ConfigurationError("text_fields.template", "only plain {field} names are allowed")
    names = [name for _, name, _, _ in parts if name is not None]
    if "" in names:
        raise ConfigurationError("text_fields.template", "{} is empty; name the field")
    return names


def _fill(template: str, values: Mapping[str, str]) -> str:
    return "".join(
        literal + (values[name] if name is not None else "")
        for literal, name, _, _ in string.Formatter().parse(template)
    ).strip()
