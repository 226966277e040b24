"""What an argument of a call is, as far as the code says it in one place."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vecdb_rerank.scan.clients import Project
from vecdb_rerank.scan.scopes import Scope, Value

_DEPTH = 12


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that is decided elsewhere, by the ``source`` that stands for it.

    ``computed`` tells a call or an arithmetic from a bare name, which may be anything.
    """

    source: str
    computed: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """A call of something imported, such as a model of a client's library."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    positional: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class _Open:
    """The key of a mapping that may hold more than is seen."""


OPEN = _Open()


def is_open(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping may hold more keys than are seen."""
    return OPEN in value


def evaluate(expression: ast.expr, scope: Scope, project: Project, depth: int = _DEPTH) -> Any:
    """The value of ``expression``: plain data with `Unknown` and `Made` where it is none."""
    unknown = Unknown(ast.unparse(expression), not isinstance(expression, ast.Name))
    if depth == 0:
        return unknown

    def inner(part: ast.expr) -> Any:
        return evaluate(part, scope, project, depth - 1)

    match expression:
        case ast.Constant(value):
            return value
        case ast.Dict(keys=keys, values=values):
            return _mapping(zip(keys, values, strict=True), inner)
        case ast.List(items) | ast.Tuple(items):
            return [inner(item) for item in items]
        case ast.Call(func=ast.Name("dict"), args=[], keywords=keywords):
            pairs = [(k.arg and ast.Constant(k.arg), k.value) for k in keywords]
            return _mapping(pairs, inner)
        case ast.Call(func=function, args=arguments, keywords=keywords):
            path = project.path(function, scope)
            if not path:
                return unknown
            named = {k.arg: inner(k.value) for k in keywords if k.arg}
            if any(k.arg is None for k in keywords):
                named[OPEN] = True  # type: ignore[index]  # no name that a call could have
            return Made(path, named, tuple(map(inner, arguments)))
        case ast.Name(name):
            return _named(name, scope, project, depth - 1) or unknown
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(int() | float() as number)):
            return -number
    return unknown


def _named(name: str, scope: Scope, project: Project, depth: int) -> Any:
    """The value of a name that is assigned once, with what is stored in it afterwards."""
    holder = scope.where(name)
    if holder is None or len(holder.names[name]) != 1:
        return None
    [bound] = holder.names[name]
    if not isinstance(bound, Value):
        return None
    value = evaluate(bound.expression, bound.scope, project, depth)
    if isinstance(value, dict):
        stored = {k: evaluate(e, holder, project, depth) for k, e in holder.items.get(name, ())}
        value = {**value, **stored, **({OPEN: True} if name in holder.touched else {})}
    elif name in holder.touched:
        return None
    return value if value is not None else None


def _mapping(pairs: Any, inner: Any) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, expression in pairs:
        value = inner(expression)
        if key is None:  # **value
            found |= value if isinstance(value, dict) else {OPEN: True}
        elif isinstance(key, ast.Constant):
            found[key.value] = value
        else:
            found[OPEN] = True
    return found
