"""The keys of settings, read from the types of the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Tag


class Place(NamedTuple):
    """Where a setting is: the keys that lead there, and its class if it is a section."""

    path: tuple[str, ...]
    section: type | None


def place(root: type, location: Sequence[str | int]) -> Place:
    """Translate the location of a validation error below ``root``.

    Pydantic's locations also have the tags of unions and the names of a union's members, and lead
    into values that are one setting, such as a list of strings.
    """
    path: list[str] = []
    at: object = root
    for part in map(str, location):
        if part in (tagged := tags(at)):
            at = tagged[part]
            continue
        if part in _member_names(at):
            continue
        if (inside := _section(at)) is not None:
            at = _types(inside).get(part)
        elif (item := _item(at)) is not None:
            at = item
        else:
            break
        path.append(part)
    return Place(tuple(path), _section(at))


def keys(section: type | None) -> list[str]:
    """Return the keys of a model or dataclass."""
    if section is None:
        return []
    if issubclass(section, BaseModel):
        return list(section.model_fields)
    return [entry.name for entry in fields(section)] if is_dataclass(section) else []


def paths(root: type, name: str) -> list[str]:
    """Return the dotted paths below ``root`` that end in the key ``name``: the shortest ones."""
    found: dict[str, None] = {}

    def walk(section: type, path: tuple[str, ...], above: frozenset[type]) -> None:
        for key, annotation in _types(section).items():
            if key == name:
                found[".".join((*path, key))] = None
            inside = tags(annotation).values() or [_section(annotation)]
            for each in inside:
                if each is not None and each not in above:
                    walk(each, (*path, key), above | {each})

    walk(root, (), frozenset())
    least = min((path.count(".") for path in found), default=0)
    return [path for path in found if path.count(".") == least]


def tags(annotation: object) -> dict[str, type[BaseModel]]:
    """Return the members of a tagged union by their tags."""
    return {
        tag.tag: get_args(member)[0]
        for member in _members(_present(annotation))
        if get_origin(member) is Annotated
        for tag in get_args(member)[1:]
        if isinstance(tag, Tag)
    }


def _present(annotation: object) -> object:
    """Return ``annotation`` without None if one member is left."""
    members = [member for member in _members(annotation) if member is not NoneType]
    return members[0] if len(members) == 1 else annotation


def _types(section: type) -> Mapping[str, object]:
    if issubclass(section, BaseModel):
        return {name: field.annotation for name, field in section.model_fields.items()}
    return get_type_hints(section)


def _section(annotation: object) -> type | None:
    """Return the model or dataclass that ``annotation`` allows besides None."""
    only = _only(annotation)
    if isinstance(only, type) and (issubclass(only, BaseModel) or is_dataclass(only)):
        return only
    return None


def _item(annotation: object) -> object | None:
    """Return the type of what a mapping holds by name, or a tuple of sections by index."""
    only = _only(annotation)
    arguments = get_args(only)
    if isinstance(origin := get_origin(only), type) and issubclass(origin, Mapping):
        return arguments[1]
    if origin is tuple and (tags(arguments[0]) or _section(arguments[0])):
        return arguments[0]
    return None


def _only(annotation: object) -> object:
    """Return ``annotation`` without None and words, if one type is left, and without metadata."""
    members = [
        m for m in _members(annotation) if m is not NoneType and get_origin(m) is not Literal
    ]
    only = members[0] if len(members) == 1 else annotation
    return get_args(only)[0] if get_origin(only) is Annotated else only


def _member_names(annotation: object) -> list[str]:
    """Return what pydantic calls the members of a union of words and a section."""
    members = _members(annotation)
    words = [m for m in members if get_origin(m) is Literal]
    if len(members) == 1 or not words:
        return []
    named = [m.__name__ for m in members if isinstance(m, type)]
    return [*named, *(f"literal[{','.join(map(repr, get_args(m)))}]" for m in words)]


def _members(annotation: object) -> tuple[object, ...]:
    """Return the members of a union; any other type is the only one."""
    if get_origin(annotation) is Annotated:
        inner = get_args(annotation)[0]
        return _members(inner) if get_origin(inner) in (Union, UnionType) else (annotation,)
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
