"""Read the stages of `Policy.after`, and tell what they need of a first pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields

from vecdb_rerank._checks import check_names, one_of, shown
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.model import DOC_ID
from vecdb_rerank.policy.after import (
    Boost,
    Bury,
    Decay,
    FieldSignal,
    MaxPer,
    Mmr,
    Pin,
    Stage,
)
from vecdb_rerank.request import Extras

MAX_STAGES = 32
TYPES: Mapping[str, type[Stage]] = {
    "boost": Boost,
    "decay": Decay,
    "field": FieldSignal,
    "pin": Pin,
    "bury": Bury,
    "mmr": Mmr,
    "max_per": MaxPer,
}


def stages(given: object, key: str = "policy.after") -> tuple[Stage, ...]:
    """Return the stages that a list of stages or of mappings with a ``type`` stands for.

    Raises `ConfigurationError`, whose key names the place in the list (from 0) and the field.
    """
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise ConfigurationError(key, f"must be a list of stages, got {shown(given)}")
    if len(given) > MAX_STAGES:
        raise ConfigurationError(key, f"must hold at most {MAX_STAGES} stages, got {len(given)}")
    return tuple(_stage(one, f"{key}.{n}") for n, one in enumerate(given))


def extras(given: Sequence[Stage]) -> Extras:
    """Return what a first pass has to bring for these stages."""
    fields = [stage.field for stage in given if isinstance(stage, Decay | FieldSignal | MaxPer)]
    if any(isinstance(stage, Pin | Bury) for stage in given):
        fields.append(DOC_ID)
    filters = {
        f"policy.after.{n}.filter": stage.filter
        for n, stage in enumerate(given)
        if isinstance(stage, Boost)
    }
    variety = any(isinstance(stage, Mmr) for stage in given)
    return Extras(tuple(dict.fromkeys(fields)), filters, variety)


def _stage(given: object, key: str) -> Stage:
    if isinstance(given, Stage):
        return given
    if not isinstance(given, Mapping):
        known = ", ".join(kind.__name__ for kind in TYPES.values())
        raise ConfigurationError(key, f"must be one of: {known}; got {shown(given)}")
    values = dict(given)
    name = values.pop("type", None)
    one_of(f"{key}.type", name, TYPES)
    kind = TYPES[name]
    taken = {each.name: each for each in fields(kind) if each.init}
    check_names(values, taken, key)
    for each in taken.values():
        if each.name not in values and each.default is MISSING:
            raise ConfigurationError(f"{key}.{each.name}", f"is required for type {name!r}")
    try:
        return kind(**values)
    except ConfigurationError as error:
        raise error.within(key) from None
