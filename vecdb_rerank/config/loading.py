"""Reading the settings from file, environment and arguments, with errors that name the key."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource

from vecdb_rerank.config import registry
from vecdb_rerank.config.settings import (
    ENV_DELIMITER,
    ENV_PREFIX,
    PLUGIN,
    TYPES,
    PluginSettings,
    Settings,
    inside,
)
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.breaker import Breaker
from vecdb_rerank.policy.calibration import Calibration
from vecdb_rerank.policy.cost import Cost
from vecdb_rerank.policy.exact_terms import ExactTerms
from vecdb_rerank.policy.passages import Passages
from vecdb_rerank.policy.skip import Skip
from vecdb_rerank.request import Bm25Params, Fusion, SearchDefaults
from vecdb_rerank.text_fields import TextFields

_OFF = (False, "false", "none")  # TOML and the environment have no null
DEFAULT_FILE = "vecdb_rerank.toml"
_KINDS: dict[str, registry.Kind] = {
    "backend": "connectors",
    "embedder": "embedders",
    "reranker": "rerankers",
    "rerankers": "rerankers",
}
_NESTED = ("first", "then")  # keys of a reranker that are one


@dataclass(frozen=True, slots=True)
class Loaded:
    """Checked settings, and the layers they came from: name to nested values, strongest first."""

    settings: Settings
    layers: Mapping[str, Mapping[str, Any]] = field(repr=False)  # as given, secrets in clear

    def origin(self, *path: str) -> str:
        """The name of the layer that decided the value at ``path``."""
        for name, layer in self.layers.items():
            value: Any = layer
            for key in path:
                value = _inside(value, key)
            if value is not None:
                return name
        return "default"


def _inside(value: Any, key: str) -> Any:
    """What a mapping, or a list by its index, holds under ``key``; else None."""
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, list | tuple) and key.isdecimal() and int(key) < len(value):
        return value[int(key)]
    return None


def load(file: Path | str | None = None, **arguments: Any) -> Loaded:
    """Read the settings from ``file``, the environment and ``arguments`` (nested mappings).

    Without ``file``, ``vecdb_rerank.toml`` in this folder is read if it is there. Raises
    `ConfigurationError` that names the key, where it stands and, for a typo, what was meant.
    """
    path = Path(file) if file is not None else Path(DEFAULT_FILE)
    layers = {
        "arguments": arguments,
        "environment": _environment(),
        str(path): _toml(path, required=file is not None),
    }
    return _checked(layers)


def check(**arguments: Any) -> Settings:
    """The settings that ``arguments`` alone give: no file, no environment; errors as by `load`."""
    return _checked({"arguments": arguments}).settings


def _checked(layers: Mapping[str, dict[str, Any]]) -> Loaded:
    layers = _for_backend(layers)
    merged: dict[str, Any] = {}
    for layer in reversed(layers.values()):
        merged = _merged(merged, layer)
    if isinstance(policy := merged.get("policy"), dict) and policy.get("breaker") in _OFF:
        policy["breaker"] = None
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise _explain(error, merged, Loaded(Settings(), layers)) from None
    loaded = Loaded(settings, layers)
    if merged.get("rerankers") == []:
        raise ConfigurationError(
            "rerankers",
            f"is empty ({loaded.origin('rerankers')}); for none: reranker.type = 'none'",
        )
    if settings.rerankers and "reranker" in merged:
        raise ConfigurationError(
            "rerankers",
            f"give these ({loaded.origin('rerankers')}) or reranker "
            f"({loaded.origin('reranker')}), not both",
        )
    for keys, section in _sections(settings):
        kind = _KINDS[keys[0]]
        if isinstance(section, PluginSettings) and section.type not in registry.names(kind):
            why = registry.unknown(kind, section.type)
            origin = loaded.origin(*keys, "type")
            raise ConfigurationError(f"{'.'.join(keys)}.type", f"{why} ({origin})")
    return loaded


def _sections(settings: Settings) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Everything that may be a plug-in, with its path."""
    for name in TYPES:
        yield from inside(getattr(settings, name), (name,))
    for n, section in enumerate(settings.rerankers):
        yield from inside(section, ("rerankers", str(n)))


def _for_backend(layers: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each layer with the keys of the chosen backend's own table, ``[backend.qdrant]`` say."""
    given = {n: v["backend"] for n, v in layers.items() if isinstance(v.get("backend"), Mapping)}
    chosen = next((b["type"] for b in given.values() if "type" in b), "qdrant")
    flat = dict(layers)
    for name, backend in given.items():
        tables = {
            kind: backend[kind]
            for kind in registry.names("connectors")
            if isinstance(backend.get(kind), Mapping)
        }
        shared = {key: value for key, value in backend.items() if key not in tables}
        own = tables.pop(str(chosen), {})
        for kind, table in tables.items():
            _require_known(kind, table, name)
        flat[name] = {**layers[name], "backend": {**shared, **own}}
    return flat


def _require_known(kind: str, table: Mapping[str, Any], layer: str) -> None:
    """A typo in a backend's table is one, also while another backend is chosen."""
    known = _keys(TYPES["backend"].get(kind))
    for key in table:
        if known and key not in known:
            why = registry.nearest(key, known)
            raise ConfigurationError(f"backend.{kind}.{key}", f"no such key; {why} ({layer})")


def _merged(weak: Mapping[str, Any], strong: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; where both have a value, that of ``strong``."""
    both = {key: _both(weak.get(key), value) for key, value in strong.items()}
    return {**weak, **both}


def _both(weak: Any, strong: Any) -> Any:
    """One value of two; a mapping of indices (from the environment) goes into the list it means."""
    if not isinstance(strong, Mapping):
        return strong
    if strong and all(str(key).isdecimal() for key in strong):
        listed = list(weak) if isinstance(weak, list | tuple) else []
        for key in sorted(strong, key=int):
            known = listed[int(key)] if int(key) < len(listed) else None
            listed[int(key) : int(key) + 1] = [_both(known, strong[key])]
        return listed
    return _merged(weak, strong) if isinstance(weak, Mapping) else dict(strong)


def _toml(path: Path, *, required: bool) -> dict[str, Any]:
    if not path.is_file():
        if required:
            raise ConfigurationError(str(path), "this configuration file does not exist")
        return {}
    try:
        return TomlConfigSettingsSource(Settings, path)()
    except ValueError as error:
        raise ConfigurationError(str(path), f"not valid TOML: {error}") from error


def _environment() -> dict[str, Any]:
    for name in os.environ:
        if name.upper().startswith(ENV_PREFIX):
            section = name[len(ENV_PREFIX) :].lower().split(ENV_DELIMITER)[0]
            if section not in Settings.model_fields:
                hint = registry.nearest(section, list(Settings.model_fields))
                raise ConfigurationError(name, f"no such section (environment variable); {hint}")
    return {name: _decoded(value) for name, value in _Environment(Settings)().items()}


class _Environment(EnvSettingsSource):
    """Leaves what is not JSON as it is: the check of its type then names the key."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


def _decoded(value: Any) -> Any:
    """Lists and objects in a variable are JSON; pydantic-settings leaves those of unions alone."""
    if isinstance(value, Mapping):
        return {key: _decoded(inner) for key, inner in value.items()}
    if isinstance(value, str) and value.startswith(("[", "{")):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _explain(
    error: ValidationError, given: Mapping[str, Any], loaded: Loaded
) -> ConfigurationError:
    """Return one error for all problems, about the key of the first."""
    problems = dict(_explain_one(dict(problem), given, loaded) for problem in error.errors())
    (key, first), *others = problems.items()
    return ConfigurationError(key, "; ".join([first, *(f"{k}: {p}" for k, p in others)]))


def _explain_one(
    problem: Mapping[str, Any], given: Mapping[str, Any], loaded: Loaded
) -> tuple[str, str]:
    """Return the key of a problem, and what is wrong with its value and where it was set."""
    path = _path(problem["loc"], given)
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        message = f"no such key; {registry.nearest(path[-1], _known_keys(problem['loc']))}"
    if problem["type"] == "value_error":  # a section's own check names the field itself
        head, _, rest = message.partition(": ")
        named = head.rpartition(".")[2]
        if named in _keys(_section([str(part) for part in problem["loc"]])):
            path, message = [*path, named], rest
    origin = loaded.origin(*(path[:-1] if problem["type"] == "missing" else path))
    return ".".join(path), f"{message} ({origin})"


def _path(location: Sequence[str | int], given: Any) -> list[str]:
    """The keys of a location, without the tags of unions and what is inside a value."""
    path: list[str] = []
    for part in map(str, _untagged(location)):
        if not isinstance(given, Mapping) and path != ["rerankers"]:
            break
        path.append(part)
        given = _inside(given, part)
    return path


def _untagged(location: Sequence[str | int]) -> list[str | int]:
    """A location without the tags of unions."""
    return [part for n, part in enumerate(location) if not _is_tag(location, n)]


def _is_tag(location: Sequence[str | int], n: int) -> bool:
    """Whether a part is the tag of a union: after a section's name, index in a list, or key."""
    head = str(location[0])
    after = 2 if head == "rerankers" else 1
    nested = head.startswith("reranker") and location[n - 1] in _NESTED
    known = TYPES.get(head.removesuffix("s"), ())
    return (n == after or (n > after and nested)) and location[n] in (*known, PLUGIN)


_PLAIN: dict[str, type[Any]] = {
    "text_fields": TextFields,
    "search": SearchDefaults,
    "policy": Policy,
    "bm25": Bm25Params,
    "fusion": Fusion,
    "blend": Blend,
    "breaker": Breaker,
    "cost": Cost,
    "skip": Skip,
    "exact_terms": ExactTerms,
    "passages": Passages,
}


def _known_keys(location: Sequence[str | int]) -> list[str]:
    """The keys that are allowed where the unknown one stands."""
    *parents, _ = [str(part) for part in location]
    if not parents:
        return list(Settings.model_fields)
    tables = registry.names("connectors") if parents[:-1] == ["backend"] else []
    return [*_keys(_section(parents)), *tables]


def _section(location: Sequence[str]) -> type[Any] | None:
    """The class that says which keys there are at ``location``."""
    if _is_tag(location, len(location) - 1):
        return TYPES[location[0].removesuffix("s")].get(location[-1])
    if location[-2:-1] == ["calibration"]:  # by the reranker's name
        return Calibration
    return _PLAIN.get(location[-1])


def _keys(section: type[Any] | None) -> list[str]:
    if section is None:
        return []
    if issubclass(section, BaseModel):
        return list(section.model_fields)
    return [entry.name for entry in fields(section)]
