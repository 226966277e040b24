"""Find what the names of a code base stand for, as far as simple data flow shows it.

Scopes hold what is bound to each name: values, annotations, imports, functions, classes. The order
of execution, branches and calls with arguments are not followed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A name assigned from an expression in ``scope``."""

    expression: ast.expr
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Typed:
    """A name with an annotation in ``scope``: a parameter or a field."""

    annotation: ast.expr
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """A name bound by something that is not followed: a parameter, a loop, an unpacking."""


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """An imported name: the dotted path of what it stands for."""

    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Self:
    """The first parameter of a method."""


Bound = Union[Value, Typed, Opaque, Imported, Self, "Scope"]  # a scope: a function or class


@dataclass(slots=True, eq=False)
class Scope:
    """A module, class or function, with what its own names are bound to.

    ``items`` are the values stored under constant keys of a name (``body["size"] = 10``);
    ``touched`` are names whose value is changed in a way that is not followed.
    """

    node: ast.Module | ast.ClassDef | FunctionNode
    module: str
    parent: Scope | None = None
    names: dict[str, list[Bound]] = field(default_factory=dict)
    items: dict[str, list[tuple[str, ast.expr]]] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    children: list[Scope] = field(default_factory=list)

    @property
    def is_class(self) -> bool:
        """Check whether this is the body of a class, whose names its methods do not see."""
        return isinstance(self.node, ast.ClassDef)

    def bind(self, name: str, bound: Bound) -> None:
        """Add one thing that ``name`` stands for."""
        self.names.setdefault(name, []).append(bound)

    def where(self, name: str) -> Scope | None:
        """Return the scope in which Python finds ``name``; None for an unknown name."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names and (scope is self or not scope.is_class):
                return scope
            scope = scope.parent
        return None

    def own_class(self) -> Scope | None:
        """Return the class that this scope is a method of, or is inside a method of."""
        scope: Scope | None = self
        while scope is not None and not scope.is_class:
            scope = scope.parent
        return scope

    def everything(self) -> Iterator[Scope]:
        """Yield this scope and all scopes inside."""
        yield self
        for child in self.children:
            yield from child.everything()

    def nodes(self) -> Iterator[ast.AST]:
        """Yield the nodes that belong to this scope and to no scope inside it."""
        body = self.node.body
        yield from _own_nodes(body if isinstance(body, list) else [body])


def _own_nodes(nodes: list[ast.AST] | list[ast.stmt] | list[ast.expr]) -> Iterator[ast.AST]:
    for node in nodes:
        yield node
        if isinstance(node, _NESTED):
            # Decorators and defaults are evaluated outside.
            outer = [*getattr(node, "decorator_list", []), *_defaults(node)]
            yield from _own_nodes(outer)
        else:
            yield from _own_nodes(list(ast.iter_child_nodes(node)))


def _defaults(node: ast.AST) -> list[ast.expr]:
    arguments = getattr(node, "args", None)
    if not isinstance(arguments, ast.arguments):
        return []
    return [*arguments.defaults, *(d for d in arguments.kw_defaults if d is not None)]


def module_name(file: Path, root: Path) -> str:
    """Return the dotted path of a file under ``root``: ``app.db`` for ``app/db.py``."""
    relative = file.relative_to(root) if file != root else Path(file.name)
    parts = [*relative.parts[:-1], *([] if relative.stem == "__init__" else [relative.stem])]
    return ".".join(parts)


def build(tree: ast.Module, module: str, *, is_package: bool = False) -> Scope:
    """Return the scope of a module, with those inside it."""
    scope = Scope(tree, module)
    _Builder(module if is_package else module.rpartition(".")[0]).fill(scope)
    return scope


class _Builder:
    """Fills scopes with their bindings; ``package`` is where relative imports start."""

    def __init__(self, package: str) -> None:
        self._package = package

    def fill(self, scope: Scope) -> None:
        if isinstance(scope.node, FunctionNode):
            self._parameters(scope, scope.node)
        for node in scope.nodes():
            self._bind(scope, node)

    def _parameters(self, scope: Scope, node: FunctionNode) -> None:
        arguments = node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        rest = [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
        for argument in (*positional, *arguments.kwonlyargs, *rest):
            annotation = argument.annotation
            scope.bind(argument.arg, Opaque() if annotation is None else Typed(annotation, scope))
        is_method = scope.parent is not None and scope.parent.is_class
        static = any(
            isinstance(d, ast.Name) and d.id == "staticmethod"
            for d in getattr(node, "decorator_list", [])
        )
        if is_method and not static and positional:
            scope.names[positional[0].arg] = [Self()]

    def _bind(self, scope: Scope, node: ast.AST) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                scope.bind(node.name, self._child(scope, node))
            case ast.Lambda():
                self._child(scope, node)
            case ast.Import():
                for alias in node.names:
                    head = alias.name.partition(".")[0]
                    scope.bind(alias.asname or head, Imported(alias.name if alias.asname else head))
            case ast.ImportFrom():
                for alias in node.names:
                    path = f"{self._origin(node)}.{alias.name}".lstrip(".")
                    scope.bind(alias.asname or alias.name, Imported(path))
            case ast.Assign():
                for target in node.targets:
                    self._assign(scope, target, node.value)
            case ast.AnnAssign():
                self._target(scope, node.target, Typed(node.annotation, scope))
                if node.value is not None:
                    self._assign(scope, node.target, node.value)
            case ast.AugAssign(target=ast.Name(name)):
                scope.touched.add(name)
            case ast.NamedExpr():
                self._assign(scope, node.target, node.value)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    if item.optional_vars is not None:
                        self._assign(scope, item.optional_vars, item.context_expr)
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                self._unpack(scope, node.target)
            case ast.Call(func=ast.Attribute(value=ast.Name(name), attr=changed)) if changed in (
                "update",
                "setdefault",
                "pop",
                "append",
                "extend",
            ):
                scope.touched.add(name)
            case ast.Delete():
                scope.touched |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}

    def _child(self, scope: Scope, node: ast.ClassDef | FunctionNode) -> Scope:
        child = Scope(node, scope.module, scope)
        scope.children.append(child)
        self.fill(child)
        return child

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = self._package.split(".") if self._package else []
        base = parts[: len(parts) - node.level + 1]
        return ".".join([*base, *([node.module] if node.module else [])])

    def _assign(self, scope: Scope, target: ast.expr, value: ast.expr) -> None:
        match target, value:
            case ((ast.Tuple(names) | ast.List(names)), (ast.Tuple(values) | ast.List(values))) if (
                len(names) == len(values)
            ):
                for one, its in zip(names, values, strict=True):
                    self._assign(scope, one, its)
            case ((ast.Tuple() | ast.List() | ast.Starred()), _):
                self._unpack(scope, target)
            case _:
                self._target(scope, target, Value(value, scope))

    def _target(self, scope: Scope, target: ast.expr, bound: Value | Typed) -> None:
        match target:
            case ast.Name(name):
                scope.bind(name, bound)
            case ast.Attribute(value=ast.Name(name), attr=attribute):
                own = scope.own_class()
                if own is not None and any(isinstance(b, Self) for b in scope.names.get(name, [])):
                    own.bind(attribute, bound)
            case ast.Subscript(value=ast.Name(name), slice=ast.Constant(str(key))) if isinstance(
                bound, Value
            ):
                scope.items.setdefault(name, []).append((key, bound.expression))
            case ast.Subscript(value=inner):
                scope.touched |= {n.id for n in ast.walk(inner) if isinstance(n, ast.Name)}

    def _unpack(self, scope: Scope, target: ast.expr) -> None:
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                scope.bind(node.id, Opaque())
