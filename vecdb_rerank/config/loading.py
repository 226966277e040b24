"""Read the settings from file, environment and arguments, with errors that name key and source."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from vecdb_rerank import registry
from vecdb_rerank._checks import shown
from vecdb_rerank.config import schema
from vecdb_rerank.config.settings import ENV_DELIMITER, ENV_PREFIX, Settings, section_types
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.ingest.language import CODES

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

DEFAULT_FILE = "vecdb_rerank.toml"

Layer = Mapping[str, object]  # the settings of one source, nested


@dataclass(frozen=True, slots=True)
class Loaded:
    """Validated settings, and the layers they come from by name, strongest first."""

    settings: Settings
    layers: Mapping[str, Layer] = field(repr=False)  # as given, secrets included

    def origin(self, *path: str) -> str:
        """Return the name of the layer that set the value at ``path``, or ``default``."""
        return _origin(self.layers, path)


def load(file: Path | str | None = None, **arguments: object) -> Loaded:
    """Read the settings from ``file``, the environment and ``arguments`` (nested mappings).

    Without ``file``, reads ``vecdb_rerank.toml`` in the current folder if it exists. Raises
    `ConfigurationError` that names the key, the source and, for a typo, the nearest key.
    """
    if file is not None and not isinstance(file, str | os.PathLike):
        raise ConfigurationError(
            "file",
            f"must be the path of a configuration file, got {shown(file)}; give settings by name: "
            'backend={"type": "qdrant"}',
        )
    path = Path(file) if file is not None else Path(DEFAULT_FILE)
    layers = {
        "arguments": arguments,
        "environment": _environment(),
        str(path): _toml(path, required=file is not None),
    }
    return _validated(layers)


def load_environment(sections: Collection[str] | None = None, /, **arguments: object) -> Settings:
    """Return the settings of the environment and ``arguments``, of no file; raises like `load`.

    Of the environment, only these ``sections`` are read, by default all.
    """
    found = _environment()
    if sections is not None:
        found = {name: value for name, value in found.items() if name in sections}
    return _validated({"arguments": arguments, "environment": found}).settings


def check(**arguments: object) -> Settings:
    """Return the settings of ``arguments`` alone; raises like `load`."""
    return _validated({"arguments": arguments}).settings


def _validated(layers: Mapping[str, Layer]) -> Loaded:
    layers = _for_backend(layers)
    merged: Layer = {}
    for layer in reversed(layers.values()):
        merged = _merged(merged, layer)
    try:
        return Loaded(Settings.model_validate(merged), layers)
    except ValidationError as error:
        raise _explain(error, layers) from None


# -- layers


def _toml(path: Path, *, required: bool) -> Layer:
    if not path.is_file():
        if required:
            raise ConfigurationError(str(path), "this configuration file does not exist")
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        hint = "; strings need quotes" if "Invalid value" in str(error) else ""
        raise ConfigurationError(str(path), f"not valid TOML: {error}{hint}") from error
    except RecursionError:
        raise ConfigurationError(str(path), "TOML that is nested too deeply") from None
    except OSError as error:
        raise ConfigurationError(str(path), f"{error.strerror}") from error


def _environment() -> Layer:
    for name in os.environ:
        _require_section(name)
    return {name: _decoded(value) for name, value in _Environment(Settings)().items()}


def _require_section(variable: str) -> None:
    """Raise `ConfigurationError` if a variable looks like a setting and is none."""
    stem = ENV_PREFIX.rstrip("_")
    name = variable.upper()
    prefix, delimiter, rest = name.partition(ENV_DELIMITER)
    if delimiter and prefix != stem and get_close_matches(prefix, [stem], cutoff=0.85):
        names_section = rest.lower().partition(ENV_DELIMITER)[0] in Settings.model_fields
        meant = rest if names_section else "SECTION__KEY"
        raise ConfigurationError(variable, f"did you mean {ENV_PREFIX}{meant}?")
    if not name.startswith(f"{stem}_"):
        return
    section, _, key = name[len(stem) :].lstrip("_").lower().partition(ENV_DELIMITER)
    if name.startswith(ENV_PREFIX) and section in Settings.model_fields:
        return
    for known in sorted(Settings.model_fields, key=len, reverse=True):
        if section == known or section.startswith(f"{known}_"):  # one underscore instead of two
            rest = section.removeprefix(known).strip("_")
            meant = ENV_DELIMITER.join(filter(None, (known, rest, key))).upper()
            raise ConfigurationError(variable, f"did you mean {ENV_PREFIX}{meant}?")
    if elsewhere := schema.paths(Settings, section):  # without the section
        names = (ENV_PREFIX + path.replace(".", ENV_DELIMITER).upper() for path in elsewhere)
        raise ConfigurationError(variable, f"did you mean {' or '.join(names)}?")
    is_prefixed = name.startswith(ENV_PREFIX)
    if is_prefixed or get_close_matches(section, Settings.model_fields, cutoff=0.8):
        hint = registry.nearest(section, list(Settings.model_fields))
        raise ConfigurationError(variable, f"no such section (environment variable); {hint}")


class _Environment(EnvSettingsSource):
    """Keeps values that are not JSON as they are: their validation names the key."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: object) -> object:
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


def _decoded(value: object) -> object:
    """Decode lists and objects in variables; pydantic-settings skips those of unions."""
    if isinstance(value, Mapping):
        return {key: _decoded(inner) for key, inner in value.items()}
    if isinstance(value, str) and value.startswith(("[", "{")):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _for_backend(layers: Mapping[str, Layer]) -> dict[str, Layer]:
    """Return the layers with the keys of the chosen backend's own table, ``[backend.qdrant]``."""
    chosen = _value(layers, ("backend", "type")) or next(iter(section_types("backend")))
    flat = dict(layers)
    for name, layer in layers.items():
        backend = layer.get("backend")
        if not isinstance(backend, Mapping):
            continue
        tables = {
            kind: backend[kind]
            for kind in registry.names("connectors")
            if isinstance(backend.get(kind), Mapping)
        }
        shared = {key: value for key, value in backend.items() if key not in tables}
        own = tables.pop(str(chosen), {})
        for kind, table in tables.items():
            _require_known(kind, table, name)
        flat[name] = {**layer, "backend": {**shared, **own}}
    return flat


def _require_known(kind: str, table: Layer, layer: str) -> None:
    """Raise `ConfigurationError` for a typo in the table of a backend that is not chosen."""
    known = schema.keys(section_types("backend").get(kind))
    for key in table:
        if known and key not in known:
            why = registry.nearest(key, known)
            raise ConfigurationError(f"backend.{kind}.{key}", f"no such key; {why} ({layer})")


def _merged(weak: Layer, strong: Layer) -> dict[str, object]:
    """Merge nested mappings; a value of ``strong`` wins."""
    return {**weak, **{key: _both(weak.get(key), value) for key, value in strong.items()}}


def _both(weak: object, strong: object) -> object:
    """Merge two values; a mapping of indices, from the environment, updates a list."""
    if not isinstance(strong, Mapping):
        return strong
    if strong and all(str(key).isdecimal() for key in strong):
        listed = list(weak) if isinstance(weak, list | tuple) else []
        for key in sorted(strong, key=int):
            known = listed[int(key)] if int(key) < len(listed) else None
            listed[int(key) : int(key) + 1] = [_both(known, strong[key])]
        return listed
    return _merged(weak, strong) if isinstance(weak, Mapping) else dict(strong)


def _origin(layers: Mapping[str, Layer], path: tuple[str, ...]) -> str:
    named = ((name, _value({name: layer}, path)) for name, layer in layers.items())
    return next((name for name, value in named if value is not None), "default")


def _value(layers: Mapping[str, Layer], path: tuple[str, ...]) -> object:
    """Return the value at ``path`` of the strongest layer that has one; else None."""
    for layer in layers.values():
        value: object = layer
        for key in path:
            value = _inside(value, key)
        if value is not None:
            return value
    return None


def _inside(value: object, key: str) -> object:
    """Return what a mapping has under ``key``, or a list under it as an index; else None."""
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, list | tuple) and key.isdecimal() and int(key) < len(value):
        return value[int(key)]
    return None


# -- errors


def _explain(error: ValidationError, layers: Mapping[str, Layer]) -> ConfigurationError:
    """Return one error for all problems, with the key of the first."""
    problems = dict(_explain_one(problem, layers) for problem in _of_given_form(error.errors()))
    (key, first), *others = problems.items()
    return ConfigurationError(key, "; ".join([first, *(f"{k}: {p}" for k, p in others)]))


def _of_given_form(problems: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Leave out what is wrong with a table as a word, and with a word as a table."""
    for problem in problems:
        kind, given = problem["type"], problem["input"]
        if kind == "literal_error" and isinstance(given, Mapping):
            continue
        if kind == "dataclass_type" and isinstance(given, str) and len(problem["loc"]) > 2:
            continue
        yield problem


def _explain_one(problem: ErrorDetails, layers: Mapping[str, Layer]) -> tuple[str, str]:
    """Return the key of a problem, and what is wrong with its value and where it was set."""
    location = problem["loc"]
    path, section = schema.place(Settings, location)
    message = problem["msg"].removeprefix("Value error, ")
    cause = problem.get("ctx", {}).get("error")
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        message = f"no such key; {_meant(path, _known(location))}"
    elif problem["type"] == "literal_error":
        message = _word(problem)
    elif problem["type"] in _NO_TABLE:
        message = f"must be a table, [{'.'.join(path)}]"
    elif isinstance(cause, ConfigurationError):  # of a section's own check
        message = cause.problem
        named = cause.key.rpartition(".")[2]
        if cause.key.startswith(".".join((*path, ""))):  # of a stage in a list
            path = tuple(cause.key.split("."))
        elif named in schema.keys(section):
            path = (*path, named)
    source = _origin(layers, path[:-1] if problem["type"] == "missing" else path)
    where = "" if source == "default" else f" ({source})"
    return ".".join(path), f"{message}{where}"


def _word(problem: ErrorDetails) -> str:
    """Propose the allowed value nearest to a word, which may be a language's code; else all."""
    allowed = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
    given = str(problem["input"])
    return f"no such value: {registry.nearest(CODES.get(given, given), allowed)}"


_NO_TABLE = ("model_type", "model_attributes_type", "dataclass_type", "dict_type")


def _meant(path: Sequence[str], allowed: Sequence[str]) -> str:
    """Return the places of a key that stands in a wrong one, else the nearest allowed key."""
    name = path[-1]
    elsewhere = schema.paths(Settings, name)
    if name in registry.names("connectors"):
        elsewhere.append(f"backend.{name}")
    if elsewhere and ".".join(path) not in elsewhere:  # a key of another type is in its place
        return f"did you mean {' or '.join(elsewhere)}?"
    return registry.nearest(name, allowed)


def _known(location: tuple[str | int, ...]) -> list[str]:
    """Return the keys that are allowed beside the unknown one."""
    section = schema.place(Settings, location[:-1]).section
    is_backend = section in section_types("backend").values()
    return [*schema.keys(section), *(registry.names("connectors") if is_backend else [])]
