"""Evaluate the arguments of a call to plain values, as far as they are literal or constant.

A call of a model of qdrant-client becomes the mapping of its fields, which is its JSON. What is not
literal becomes an `Unknown`, and a mapping that may hold more than is seen an `Open`. Both raise
`Undecided` when the answer to a question depends on what they stand for, so that code written for
plain values can read them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NoReturn, TypeGuard

from vecdb_rerank.scan.clients import Project
from vecdb_rerank.scan.scopes import Scope, Value

_DEPTH = 12
_MODELS = "qdrant_client."
_POLICIES = ("vecdb_rerank.Policy", "vecdb_rerank.policy.Policy")


class Undecided(Exception):
    """The answer depends on the value of ``source``, which only a run knows."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.source = source


class Unknown(str):
    """A value that is decided elsewhere; the string is the expression that stands for it.

    In the place of a text it is one: it can be stripped. Any other question about it raises
    `Undecided`, also whether it is of a class.
    """

    __slots__ = ()

    def _undecided(self, *_: object) -> NoReturn:
        raise Undecided(str.__str__(self))

    __class__ = property(_undecided)  # what `isinstance` asks
    __bool__ = __eq__ = __ne__ = __int__ = __iter__ = split = _undecided  # type: ignore[assignment]
    __hash__ = str.__hash__


class Open(Mapping[str, object]):
    """A mapping that may hold more than the ``known`` keys."""

    def __init__(self, known: Mapping[str, object]) -> None:
        self.known = dict(known)

    def __getitem__(self, key: str) -> object:
        if key not in self.known:
            raise Undecided("**")
        return self.known[key]

    def __iter__(self) -> Iterator[str]:
        raise Undecided("**")

    def __len__(self) -> int:
        raise Undecided("**")


def is_unknown(value: object) -> TypeGuard[Unknown]:
    """Check whether ``value`` is an `Unknown`, without asking it for its class."""
    return type(value) is Unknown


def source(value: Unknown) -> str:
    """Return the expression that stands for ``value``."""
    return str.__str__(value)


def as_list(value: object) -> list[object] | None:
    """Return ``value`` if it is a list; None for anything else, an `Unknown` too."""
    return value if type(value) is list else None


def evaluate(expression: ast.expr, scope: Scope, project: Project, depth: int = _DEPTH) -> object:
    """Return the value of ``expression``."""
    unknown = Unknown(ast.unparse(expression))
    if depth == 0:
        return unknown

    def inner(part: ast.expr) -> object:
        return evaluate(part, scope, project, depth - 1)

    match expression:
        case ast.Constant(value):
            return value
        case ast.Dict(keys=keys, values=values):
            return _mapping(zip(keys, values, strict=True), inner)
        case ast.List(items) | ast.Tuple(items):
            return [inner(item) for item in items]
        case ast.Call(func=function, args=[], keywords=keywords):
            path = project.path(function, scope)
            if path in _POLICIES:
                return True
            is_dict = isinstance(function, ast.Name) and function.id == "dict"
            if path.startswith(_MODELS) or is_dict:
                pairs = [(k.arg and ast.Constant(k.arg), k.value) for k in keywords]
                return _mapping(pairs, inner)
        case ast.Name(name):
            return _named(name, unknown, scope, project, depth - 1)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(int() | float() as number)):
            return -number
    return unknown


def _named(name: str, unknown: Unknown, scope: Scope, project: Project, depth: int) -> object:
    """Return the value of a name that is assigned once, with what is stored in it afterwards."""
    holder = scope.where(name)
    if holder is None or len(holder.names[name]) != 1:
        return unknown
    [bound] = holder.names[name]
    if not isinstance(bound, Value):
        return unknown
    value = evaluate(bound.expression, bound.scope, project, depth)
    if is_unknown(value):
        return unknown
    if isinstance(value, dict | Open):
        stored = {k: evaluate(e, holder, project, depth) for k, e in holder.items.get(name, ())}
        return _merged(value, stored, is_open=name in holder.touched)
    return unknown if name in holder.touched else value


def _mapping(
    pairs: Iterable[tuple[object, ast.expr]], inner: Callable[[ast.expr], object]
) -> Mapping[str, object]:
    found: Mapping[str, object] = {}
    for key, expression in pairs:
        value = inner(expression)
        if isinstance(key, ast.Constant):
            found = _merged(found, {str(key.value): value})
        elif key is None and not is_unknown(value) and isinstance(value, dict | Open):
            found = _merged(found, value)
        else:  # a computed key, or ** of something unknown
            found = _merged(found, {}, is_open=True)
    return found


def _merged(
    one: Mapping[str, object], other: Mapping[str, object], *, is_open: bool = False
) -> Mapping[str, object]:
    """Return both; what may hold more than is seen may also replace what is seen before it."""
    known = {**known_part(one), **known_part(other)}
    is_open = is_open or isinstance(one, Open) or isinstance(other, Open)
    return Open(known) if is_open else known


def known_part(mapping: Mapping[str, object]) -> Mapping[str, object]:
    """Return the keys and values of a mapping that are seen."""
    return mapping.known if isinstance(mapping, Open) else mapping
