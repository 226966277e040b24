"""What the site's pages take from elsewhere: README, CHANGELOG, settings, commands, docstrings.

A page says where by a comment, ``<!-- generated: settings -->``, which mkdocs replaces here.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import griffe
from pydantic import BaseModel, SecretStr, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

import vecdb_rerank
from vecdb_rerank.config.settings import ENV_DELIMITER, ENV_PREFIX, TYPES, Settings

ROOT = Path(__file__).parents[1]
_MARK = re.compile(r"<!-- generated: (\w+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return _MARK.sub(lambda found: PARTS[found[1]](), markdown)


# -- files of the repository


def _file(name: str) -> str:
    """A file beside the folder of the pages, with its links as seen from here."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\]\((?:docs/)?([\w/]+\.md)", lambda m: f"]({m[1].lower()}", text)


# -- settings


def settings() -> str:
    """Every section with its keys."""
    return "\n".join(_sections())


def _sections() -> Iterator[str]:
    for name in Settings.model_fields:
        path = (name,)
        yield f"## `[{name}]`\n\n{meaning(Settings, name)}\n"
        if name == "rerankers":
            yield _CHAIN
        elif name in TYPES:
            for kind, section in TYPES[name].items():
                yield f'### `type = "{kind}"` {{ #{name}-{kind} }}\n'
                yield from _section(section, path)
        elif (plain := part(Settings, name)) is not None:
            yield from _section(plain, path)


_CHAIN = """The keys of each `[[rerankers]]` are those of [`[reranker]`](#reranker). In the
environment it is JSON: `VECDB_RERANK__RERANKERS='[{"type": "cohere"}, {"type": "onnx"}]'`.
"""


def _section(section: type[Any], path: tuple[str, ...]) -> Iterator[str]:
    """A section's docstring and keys, then the sections in it."""
    yield f"{_unindented(section.__doc__)}\n"
    if not keys(section):
        return
    yield "| key | type | default | meaning |\n| --- | --- | --- | --- |"
    inner = {}
    for key in keys(section):
        if (nested := part(section, key)) is not None:
            inner[key] = nested
            continue
        variable = ENV_PREFIX + ENV_DELIMITER.join((*path, key)).upper()
        cells = (
            f"`{key}`",
            type_name(section, key),
            _literal(default(section, key)),
            f"{meaning(section, key)}<br><small>`{variable}`</small>",
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
    for key, nested in inner.items():
        named = "" if default(section, key) != {} else "NAME"
        inside = (*path, key, named) if named else (*path, key)
        off = " Off unless it is given." if default(section, key) is None else ""
        yield f"#### `[{'.'.join(inside)}]`\n\n{meaning(section, key)}{off}\n"
        yield from _section(nested, inside)


def keys(section: type[Any]) -> list[str]:
    """The keys that a file may hold; what is a function can only be given in code."""
    named = (key for key in fields(section) if key != "type")  # which the heading has
    return [key for key in named if _schema(section, key) is not None]


def fields(section: type[Any]) -> list[str]:
    """All fields of a section."""
    if issubclass(section, BaseModel):
        return list(section.model_fields)
    return [entry.name for entry in dataclasses.fields(section)]


def default(section: type[Any], key: str) -> Any:
    """The key's default; `dataclasses.MISSING` where it has to be given."""
    if issubclass(section, BaseModel):
        field = section.model_fields[key]
        if field.is_required():
            return dataclasses.MISSING
        return field.get_default(call_default_factory=True, validated_data={})
    entry = section.__dataclass_fields__[key]
    made = entry.default_factory
    return entry.default if made is dataclasses.MISSING else made()


def meaning(section: type[Any], key: str) -> str:
    """The docstring below the field, wherever in the bases that is; empty without one."""
    for base in section.__mro__:
        if base.__module__.startswith("vecdb_rerank"):
            field = _package()[f"{base.__module__}.{base.__name__}".partition(".")[2]]
            if key in field.members and field.members[key].docstring:
                return " ".join(field.members[key].docstring.value.split())
    return ""


@cache
def _package() -> Any:
    return griffe.load("vecdb_rerank", search_paths=[str(ROOT)])


def type_name(section: type[Any], key: str) -> str:
    """A key's type in words."""
    annotation = get_type_hints(section, include_extras=True)[key]
    if SecretStr in (annotation, *get_args(annotation)):
        return "secret string"
    return _words(_schema(section, key) or {})


def _schema(section: type[Any], key: str) -> Mapping[str, Any] | None:
    """JSON schema of one key; None where JSON cannot hold it."""
    if issubclass(section, BaseModel) and part(section, key) is None and key != "bm25":
        schema = section.model_json_schema()
        own = schema.get("$defs", {}).get(section.__name__, schema)  # of one that holds itself
        return dict(own["properties"][key])
    try:
        return TypeAdapter(get_type_hints(section, include_extras=True)[key]).json_schema()
    except PydanticInvalidForJsonSchema:
        return None


def part(section: type[Any], key: str) -> type[Any] | None:
    """The class of a key that is itself a section, or holds some by name."""
    annotation = get_type_hints(section)[key]
    inside = get_origin(annotation) in (Union, types.UnionType, Mapping)
    for kind in get_args(annotation) if inside else (annotation,):
        if dataclasses.is_dataclass(kind):
            return kind  # type: ignore[return-value]
    return None


_NAMES = {
    "array": "list",
    "boolean": "true or false",
    "integer": "whole number",
    "object": "table",
    "null": "",
}


def _words(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(filter(None, map(_words, schema["anyOf"]))))
    if "const" in schema:
        return f'`"{schema["const"]}"`'
    if "enum" in schema:
        return ", ".join(f'`"{value}"`' for value in schema["enum"])
    if "oneOf" in schema:  # sections of several types
        return "table"
    if schema.get("format") in ("path", "file-path"):
        return "path"
    kind = str(schema.get("type", "any"))
    if kind == "array":
        held = schema.get("items") or schema.get("prefixItems", [{}])[0]
        return f"list of {_words(held)}s"
    return _NAMES.get(kind, kind) + _range(schema)


def _range(schema: Mapping[str, Any]) -> str:
    words = {
        "exclusiveMinimum": "above {:g}",
        "minimum": "from {:g}",
        "maximum": "to {:g}",
    }
    parts = [text.format(schema[name]) for name, text in words.items() if name in schema]
    return f", {' '.join(parts)}" if parts else ""


def _literal(value: Any) -> str:
    if value is dataclasses.MISSING:
        return "required"
    if isinstance(value, BaseModel):
        return f"`{json.dumps(value.model_dump(include={'type'}))}`"
    if value is None or value in ((), {}):
        return "none"
    return f"`{json.dumps(value)}`"


def _unindented(text: str | None) -> str:
    return re.sub(r"\n +", "\n", (text or "").strip())


# -- commands


def commands() -> str:
    """Every command's help, as typer writes it."""
    done = subprocess.run(
        [sys.executable, "-m", "typer", "vecdb_rerank.cli", "utils", "docs", "--name=vecdb-rerank"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout.partition("\n")[2]  # without its title


# -- docstrings


def api() -> str:
    """Every public name, under the first line of its module's docstring."""
    return "\n".join([*map(_api_of, _CONNECTORS), *_api_of_core(), _api_of("vecdb_rerank.testing")])


_CONNECTORS = ("vecdb_rerank_qdrant", "vecdb_rerank_opensearch")
# What most programs name; the other modules follow in the order of the alphabet.
_FIRST = {
    f"vecdb_rerank.{module}"
    for module in ("config.factory", "outcome", "policy", "request", "text_fields", "policy.blend")
}


def _api_of_core() -> Iterator[str]:
    by_module: dict[str, list[str]] = {}
    for name in dir(vecdb_rerank):
        if module := getattr(getattr(vecdb_rerank, name), "__module__", None):
            by_module.setdefault(module, []).append(name)
    for module in sorted(by_module, key=lambda module: (module not in _FIRST, module)):
        yield _listed(_title(module), module, by_module[module])


def _api_of(module: str) -> str:
    return _listed(_title(module), module, importlib.import_module(module).__all__)


def _title(module: str) -> str:
    doc = importlib.import_module(module).__doc__ or module
    return doc.strip().partition("\n")[0].rstrip(".")


def _listed(title: str, module: str, names: Iterable[str]) -> str:
    listed = "\n".join(f"::: {module}.{name}" for name in sorted(names))
    return f"## {title}\n\n`{module}`\n\n{listed}\n"


PARTS: Mapping[str, Callable[[], str]] = {
    "readme": lambda: _file("README.md"),
    "changes": lambda: _file("CHANGELOG.md"),
    "contributing": lambda: _file("CONTRIBUTING.md"),
    "settings": settings,
    "commands": commands,
    "api": api,
}
