"""Write the same document as plain text, as lines, as YAML and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

from vecdb_rerank.text_fields import TextFields, as_text

Fields = Mapping[str, object]
PLAIN = "plain text"
TEXT = "text"


def parsed_fields(document: Fields) -> dict[str, object]:
    """Return a document without its id, with each JSON object or list in a string parsed."""
    return {name: _parsed(value) for name, value in document.items() if name != "_id"}


def _parsed(value: object) -> object:
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _plain(fields: Fields) -> str:
    return "\n".join(filter(None, (as_text(value) for _, value in _leaves(fields))))


def _lines(fields: Fields) -> str:
    named = ((path, _on_one_line(value)) for path, value in _leaves(fields))
    return "\n".join(f"{path}: {text}" for path, text in named if text)


def _json(fields: Fields) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


# `TextFields` writes a structure as YAML and a string as it is.
RENDERINGS: Mapping[str, Callable[[Fields], str | Fields]] = {
    PLAIN: _plain,
    "key: value": _lines,
    "YAML": lambda fields: fields,
    "JSON": _json,
}


class Renderer:
    """Renders documents with the limits of a search: valid Unicode, at most ``max_chars``."""

    def __init__(self, max_chars: int) -> None:
        self._text_fields = TextFields(fields=(TEXT,), max_chars=max_chars)

    def text(self, rendering: str, fields: Fields) -> str:
        """Return one document in one of `RENDERINGS`."""
        return self._text_fields.text({TEXT: RENDERINGS[rendering](fields)})

    def plain(self, documents: Mapping[str, Fields]) -> dict[str, str]:
        """Return plain texts by id, without the documents that have none."""
        texts = {i: self.text(PLAIN, fields) for i, fields in documents.items()}
        return {i: text for i, text in texts.items() if text}


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values of a structure with their dotted paths; a list of plain values is one."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        for item in value:
            yield from _leaves(item, path)
    else:
        yield path, value


def _on_one_line(value: object) -> str:
    return ", ".join(filter(None, map(as_text, value if isinstance(value, list) else [value])))
