"""The names that users rely on, in text files: settings, commands, telemetry.

A change of one of these files is a change for users: CHANGELOG lists it. ``python -m tests.pins``
writes settings and commands again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, is_dataclass
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import to_json
from typer.core import TyperGroup

from vecdb_rerank.cli.app import app
from vecdb_rerank.config import schema
from vecdb_rerank.config.settings import Settings, section_types
from vecdb_rerank.policy.stages import TYPES

FOLDER = Path(__file__).parent
IN_CODE_ONLY = "on_outcome"


def pinned(name: str) -> list[str]:
    """Return the lines of a file."""
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def settings() -> Iterator[str]:
    """Yield every key with its default as JSON, the sections with a ``type`` once for each."""
    for name in Settings.model_fields:
        kinds = section_types(name)
        for kind in kinds:
            yield f"[{name}] type = {kind}"
            yield from _keys((name,), (name, kind))
        if not kinds:
            yield f"[{name}]"
            yield from _keys((name,), (name,))


def _keys(path: tuple[str, ...], location: tuple[str, ...]) -> Iterator[str]:
    section = schema.place(Settings, location).section
    if section is None:
        yield f"{'.'.join(path)} = {_json(_default(Settings, path[-1]))}"
        return
    for key in schema.keys(section):
        if schema.place(Settings, (*location, key)).section is not None:
            yield from _keys((*path, key), (*location, key))
            default = _default(section, key)
            if default is None or isinstance(default, str):
                yield f"{'.'.join((*path, key))} = {_json(default)}"
        elif key == "after":
            for word, kind in TYPES.items():
                for name in (each for each in schema.keys(kind) if each != "type"):
                    default = _json(_default(kind, name))
                    yield f"{'.'.join((*path, key))}.{word}.{name} = {default}"
        elif key not in ("type", IN_CODE_ONLY):
            yield f"{'.'.join((*path, key))} = {_json(_default(section, key))}"
            if schema.place(Settings, (*location, key, "NAME")).section is not None:
                yield from _keys((*path, key, "NAME"), (*location, key, "NAME"))


def _default(section: type[Any], key: str) -> object:
    if issubclass(section, BaseModel):
        field = section.model_fields[key]
        if field.is_required():
            return MISSING
        return field.get_default(call_default_factory=True, validated_data={})
    assert is_dataclass(section)
    entry = section.__dataclass_fields__[key]
    return entry.default if entry.default_factory is MISSING else entry.default_factory()


def _json(default: object) -> str:
    return "(required)" if default is MISSING else to_json(default).decode()


def commands() -> Iterator[str]:
    """Yield every command with its arguments, options and their defaults."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    yield from _parameters(group)
    yield from _commands(group)


def _commands(group: TyperGroup, path: str = "") -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        yield f"[{path}{name}]"
        yield from _parameters(command)
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{path}{name} ")


def _parameters(command: Any) -> Iterator[str]:  # typer's click or click's own, by its version
    for parameter in command.params:
        spelt = ", ".join([*parameter.opts, *parameter.secondary_opts])
        if parameter.param_type_name == "argument":
            spelt = spelt.upper()
        more = "..." if parameter.multiple or parameter.nargs == -1 else ""
        default = "(required)" if parameter.required else to_json(parameter.default).decode()
        yield f"{spelt}{more} = {default}"


def main() -> None:
    """Write the files again."""
    for name, lines in (("settings", settings()), ("commands", commands())):
        (FOLDER / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
