"""Generate parts of the site: from README, CHANGELOG, settings, commands and docstrings.

A page marks the place with a comment, ``<!-- generated: settings -->``.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import griffe
from pydantic import BaseModel, SecretStr, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

import vecdb_rerank
from vecdb_rerank.config.section import Section
from vecdb_rerank.config.settings import ENV_DELIMITER, ENV_PREFIX, Settings, section_types

ROOT = Path(__file__).parents[1]
_MARK = re.compile(r"<!-- generated: (\w+) -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page; mkdocs calls this for each page."""
    return _MARK.sub(lambda found: PARTS[found[1]](), markdown)


# -- files of the repository


def _file(name: str) -> str:
    """Return a file of the repository's root with links relative to the pages."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = text.replace("](docs/assets/", "](assets/")
    return re.sub(r"\]\((?:docs/)?([\w/]+\.md)", lambda m: f"]({m[1].lower()}", text)


# -- settings


def settings() -> str:
    """Return every section with its keys."""
    return "\n".join(_sections())


def _sections() -> Iterator[str]:
    for name in Settings.model_fields:
        path = (name,)
        yield f"## `[{name}]`\n\n{meaning(Settings, name)}\n"
        if name == "rerankers":
            yield _CHAIN
        elif known := section_types(name):
            for kind, section in known.items():
                yield f'### `type = "{kind}"` {{ #{name}-{kind} }}\n'
                yield from _section(section, path)
        elif (plain := part(Settings, name)) is not None:
            yield from _section(plain, path)


_CHAIN = """The keys of each `[[rerankers]]` are those of [`[reranker]`](#reranker). In the
environment it is JSON: `VECDB_RERANK__RERANKERS='[{"type": "cohere"}, {"type": "onnx"}]'`.
"""


def _section(section: type[Any], path: tuple[str, ...], *, in_list: bool = False) -> Iterator[str]:
    """Yield a section's docstring and keys, then the sections in it.

    The keys of one ``in_list`` have no variables.
    """
    yield f"{_unindented(section.__doc__)}\n"
    if not keys(section):
        return
    yield "| key | type | default | meaning |\n| --- | --- | --- | --- |"
    inner = {}
    listed = {}
    for key in keys(section):
        if found := kinds(section, key):
            listed[key] = found
            continue
        if (nested := part(section, key)) is not None:
            inner[key] = nested
            continue
        named = ENV_PREFIX + ENV_DELIMITER.join((*path, key)).upper()
        variable = "" if in_list else f"<br><small>`{named}`</small>"
        cells = (
            f"`{key}`",
            type_name(section, key),
            _literal(default(section, key)),
            f"{meaning(section, key)}{variable}",
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
    for key, nested in inner.items():
        named = "" if default(section, key) != {} else "NAME"
        inside = (*path, key, named) if named else (*path, key)
        given = default(section, key)
        off = " Off by default." if given is None else ""
        word = f" Default: `{key} = {json.dumps(given)}`." if isinstance(given, str) else ""
        yield f"#### `[{'.'.join(inside)}]`\n\n{meaning(section, key)}{off}{word}\n"
        yield from _section(nested, inside)
    for key, classes in listed.items():
        inside = (*path, key)
        yield f"#### `[[{'.'.join(inside)}]]`\n\n{meaning(section, key)}\n"
        for kind in classes:
            if "type" in fields(kind):
                yield f'##### `type = "{default(kind, "type")}"`\n'
            yield from _section(kind, inside, in_list=True)


def keys(section: type[Any]) -> list[str]:
    """Return the keys that a file can hold; functions can only be given in code."""
    named = (key for key in fields(section) if key != "type")  # which the heading has
    return [key for key in named if _schema(section, key) is not None]


def fields(section: type[Any]) -> list[str]:
    """Return all fields of a section."""
    if issubclass(section, BaseModel):
        return list(section.model_fields)
    return [entry.name for entry in dataclasses.fields(section)]


def default(section: type[Any], key: str) -> Any:
    """Return the key's default, or `dataclasses.MISSING` if it is required."""
    if issubclass(section, BaseModel):
        field = section.model_fields[key]
        if field.is_required():
            return dataclasses.MISSING
        return field.get_default(call_default_factory=True, validated_data={})
    entry = section.__dataclass_fields__[key]
    made = entry.default_factory
    return entry.default if made is dataclasses.MISSING else made()


def meaning(section: type[Any], key: str) -> str:
    """Return the docstring below the field, or the constructor's entry for that argument."""
    for base in section.__mro__:
        if base.__module__.startswith("vecdb_rerank"):
            field = _package()[f"{base.__module__}.{base.__name__}".partition(".")[2]]
            if key in field.members and field.members[key].docstring:
                return " ".join(field.members[key].docstring.value.split())
    return _arguments(section).get(key, "")


def _arguments(section: type[Any]) -> Mapping[str, str]:
    """Return the arguments of the class that a section's ``type`` names, as it documents them.

    A class without such documentation has that of its base class.
    """
    for name, group in (("reranker", "rerankers"), ("embedder", "embedders")):
        for kind, known in section_types(name).items():
            if known is section and kind != "none":
                [point] = entry_points(group=f"vecdb_rerank.{group}", name=kind)
                module = point.module.partition(".")[2]
                named = _package()[f"{module}.{point.attr}"]
                documented = (dict(_documented(one)) for one in (named, *named.mro()))
                return next(filter(None, documented), {})
    return {}


def _documented(constructed: griffe.Class) -> Iterator[tuple[str, str]]:
    docstring = constructed.docstring
    for part in docstring.parse("google", warnings=False) if docstring else ():
        if isinstance(part, griffe.DocstringSectionParameters):
            for argument in part.value:
                text = " ".join(argument.description.split())
                for name in argument.name.split(", "):
                    yield name, f"{text[:1].upper()}{text[1:]}"


@cache
def _package() -> Any:
    return griffe.load("vecdb_rerank", search_paths=[str(ROOT)])


def type_name(section: type[Any], key: str) -> str:
    """Return a key's type in words."""
    annotation = get_type_hints(section, include_extras=True)[key]
    if SecretStr in (annotation, *get_args(annotation)):
        return "secret string"
    return _words(_schema(section, key) or {})


def _schema(section: type[Any], key: str) -> Mapping[str, Any] | None:
    """Return the JSON schema of one key, or None if JSON cannot represent it."""
    if issubclass(section, BaseModel) and part(section, key) is None and key != "bm25":
        schema = section.model_json_schema()
        own = schema.get("$defs", {}).get(section.__name__, schema)  # of one that holds itself
        return dict(own["properties"][key])
    try:
        return TypeAdapter(get_type_hints(section, include_extras=True)[key]).json_schema()
    except PydanticInvalidForJsonSchema:
        return None


def kinds(section: type[Any], key: str) -> list[type[Any]]:
    """Return the classes of the sections that a key holds as a list, each of another ``type``."""
    annotation = get_type_hints(section)[key]
    if get_origin(annotation) is tuple and _is_section(get_args(annotation)[0]):
        return [get_args(annotation)[0]]
    if get_origin(annotation) is not Sequence:
        return []
    found: tuple[type[Any], ...] = get_args(get_args(annotation)[0])
    return [kind for kind in found if dataclasses.is_dataclass(kind)]


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def part(section: type[Any], key: str) -> type[Any] | None:
    """Return the class of a key that is a section, or that holds sections by name."""
    annotation = get_type_hints(section)[key]
    if _is_section(annotation):
        return annotation
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
    """Return every command's help, as typer writes it."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "typer",
            "vecdb_rerank.cli.app",
            "utils",
            "docs",
            "--name=vecdb-rerank",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout.partition("\n")[2]  # without its title


# -- docstrings


def api() -> str:
    """Return every public name, under the first line of its module's docstring."""
    return "\n".join([*map(_api_of, _CONNECTORS), *_api_of_core(), _api_of("vecdb_rerank.testing")])


_CONNECTORS = ("vecdb_rerank_qdrant", "vecdb_rerank_opensearch")
# The modules that most programs use; the others follow in alphabetical order.
_FIRST = {
    f"vecdb_rerank.{module}"
    for module in ("config.factory", "outcome", "policy", "request", "text_fields", "policy.blend")
}


def _api_of_core() -> Iterator[str]:
    modules: Mapping[str, str] = vars(vecdb_rerank)["_MODULES"]  # the stub hides it
    by_module: dict[str, list[str]] = {}
    for name in dir(vecdb_rerank):
        if name != "__version__":
            by_module.setdefault(modules[name], []).append(name)
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
