"""Find the expressions of a code base that are clients of a database."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from vecdb_rerank.scan.scopes import Bound, FunctionNode, Imported, Scope, Self, Typed, Value

Database = Literal["qdrant", "opensearch"]
_QDRANT = ("qdrant_client", "vecdb_rerank_qdrant")
_OPENSEARCH = ("opensearchpy", "vecdb_rerank_opensearch")
# Clients and drop-in clients, with the packages that they come from.
_CLASSES: Mapping[str, tuple[tuple[str, ...], Database]] = {
    "QdrantClient": (_QDRANT, "qdrant"),
    "AsyncQdrantClient": (_QDRANT, "qdrant"),
    "RerankingQdrantClient": (_QDRANT, "qdrant"),
    "AsyncRerankingQdrantClient": (_QDRANT, "qdrant"),
    "OpenSearch": (_OPENSEARCH, "opensearch"),
    "AsyncOpenSearch": (_OPENSEARCH, "opensearch"),
    "RerankingOpenSearch": (_OPENSEARCH, "opensearch"),
    "AsyncRerankingOpenSearch": (_OPENSEARCH, "opensearch"),
}
# Annotations whose value is, may be or becomes what is inside.
_WRAPPERS = (
    "Annotated Optional Union Final ClassVar Iterator Iterable Generator AsyncIterator "
    "AsyncIterable AsyncGenerator Awaitable Coroutine ContextManager AbstractContextManager "
    "AsyncContextManager AbstractAsyncContextManager Mapped InstanceOf SkipValidation"
).split()
_DEPTH = 12  # steps that are followed from name to name


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """An object of a class of the code base itself."""

    scope: Scope


Kind = Database | Instance | Scope | None  # a scope: the function, class or module itself


class Project:
    """The scanned modules by dotted path; finds what their expressions stand for."""

    def __init__(self, modules: Mapping[str, Scope]) -> None:
        self._modules = modules

    def client(self, expression: ast.expr, scope: Scope) -> Database | None:
        """Return the database whose client ``expression`` is in ``scope``; None for no client."""
        kind = self.kind(expression, scope)
        return kind if isinstance(kind, str) else None

    def path(self, expression: ast.expr, scope: Scope) -> str:
        """Return the dotted path of an imported name; an empty string for anything else."""
        match expression:
            case ast.Name(name):
                holder = scope.where(name)
                bounds = holder.names[name] if holder else []
                return next((b.path for b in bounds if isinstance(b, Imported)), "")
            case ast.Attribute(value=inner, attr=attribute):
                base = self.path(inner, scope)
                return f"{base}.{attribute}" if base else ""
        return ""

    def kind(self, expression: ast.expr, scope: Scope, depth: int = _DEPTH) -> Kind:
        """Return what ``expression`` stands for; None if not a client or of the code base."""
        if depth == 0:
            return None
        depth -= 1
        match expression:
            case ast.Name(name):
                holder = scope.where(name)
                return self._first(holder.names[name], holder, depth) if holder else None
            case ast.Attribute(value=inner, attr=attribute):
                if path := self.path(expression, scope):
                    return self._imported(path, depth)
                return self._attribute(self.kind(inner, scope, depth), attribute, depth)
            case ast.Call(func=function):
                if database := _client_class(self.path(function, scope)):
                    return database
                return self._result(self.kind(function, scope, depth), depth)
            case ast.Await(inner) | ast.NamedExpr(value=inner):
                return self.kind(inner, scope, depth)
            case ast.IfExp(body=one, orelse=other):
                return self.kind(one, scope, depth) or self.kind(other, scope, depth)
            case ast.BoolOp(values=values):
                kinds = (self.kind(value, scope, depth) for value in values)
                return next((kind for kind in kinds if kind is not None), None)
        return None

    def _first(self, bounds: list[Bound], holder: Scope, depth: int) -> Kind:
        kinds = (self._bound(bound, holder, depth) for bound in bounds)
        return next((kind for kind in kinds if kind is not None), None)

    def _bound(self, bound: Bound, holder: Scope, depth: int) -> Kind:
        match bound:
            case Value(expression, scope):
                return self.kind(expression, scope, depth)
            case Typed(annotation, scope):
                return self._annotated(annotation, scope, depth)
            case Imported(path):
                return self._imported(path, depth)
            case Self():
                own = holder.own_class()
                return Instance(own) if own else None
            case Scope():
                return bound
        return None

    def _annotated(self, annotation: ast.expr, scope: Scope, depth: int) -> Kind:
        """Return what a value of this annotation is."""
        for part in _parts(annotation):
            if database := _client_class(self.path(part, scope)):
                return database
            kind = self.kind(part, scope, depth)
            if isinstance(kind, Scope) and kind.is_class:
                return Instance(kind)
        return None

    def _imported(self, path: str, depth: int) -> Kind:
        """Return what a dotted path leads to in the scanned modules."""
        if not depth:
            return None
        parts = path.split(".")
        for cut in range(len(parts), -1, -1):
            if (found := self._module(".".join(parts[:cut]))) is None:
                continue
            kind: Kind = found
            for attribute in parts[cut:]:
                kind = self._attribute(kind, attribute, depth - 1)
            return kind
        return None

    def _module(self, path: str) -> Scope | None:
        """Return a scanned module; the scanned folder may be anywhere inside the packages."""
        if path in self._modules:
            return self._modules[path]
        ends = (m for name, m in self._modules.items() if name and path.endswith(f".{name}"))
        starts = (m for name, m in self._modules.items() if name.endswith(f".{path}"))
        return next(ends, None) or next(starts, None)

    def _attribute(self, base: Kind, attribute: str, depth: int) -> Kind:
        if isinstance(base, Instance):
            for owner in self._bases(base.scope, depth):
                if attribute in owner.names:
                    kind = self._first(owner.names[attribute], owner, depth)
                    return self._result(kind, depth) if _is_property(kind) else kind
            return None
        if isinstance(base, Scope) and not isinstance(base.node, FunctionNode):
            return self._first(base.names.get(attribute, []), base, depth)
        return None

    def _bases(self, scope: Scope, depth: int) -> Iterator[Scope]:
        """Yield a class and those it inherits from, as far as they are in the code base."""
        yield scope
        if depth and isinstance(scope.node, ast.ClassDef) and scope.parent:
            for base in scope.node.bases:
                kind = self.kind(base, scope.parent, depth - 1)
                if isinstance(kind, Scope) and kind.is_class:
                    yield from self._bases(kind, depth - 1)

    def _result(self, called: Kind, depth: int) -> Kind:
        """Return what a call of a class or function of the code base returns."""
        if not isinstance(called, Scope) or not depth:
            return None
        if called.is_class:
            return Instance(called)
        node = called.node
        if isinstance(node, ast.Lambda):
            return self.kind(node.body, called, depth)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return None
        if node.returns is not None:
            return self._annotated(node.returns, called, depth)
        given = (
            n.value for n in called.nodes() if isinstance(n, ast.Return | ast.Yield) and n.value
        )
        kinds = (self.kind(value, called, depth) for value in given)
        return next((kind for kind in kinds if kind is not None), None)


def _client_class(path: str) -> Database | None:
    package, _, name = path.partition(".")
    roots, database = _CLASSES.get(name.rpartition(".")[2], ((), None))
    return database if package in roots else None


def _is_property(kind: Kind) -> bool:
    node = kind.node if isinstance(kind, Scope) else None
    names = {ast.unparse(d).rpartition(".")[2] for d in getattr(node, "decorator_list", [])}
    return bool(names & {"property", "cached_property"})


def _parts(annotation: ast.expr) -> Iterator[ast.expr]:
    """Yield the types that a value of this annotation may have."""
    match annotation:
        case ast.Constant(str(text)):
            try:
                yield from _parts(ast.parse(text, mode="eval").body)
            except SyntaxError:
                return
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from _parts(left)
            yield from _parts(right)
        case ast.Subscript(value=outer, slice=inner):
            if ast.unparse(outer).rpartition(".")[2] in _WRAPPERS:
                for part in inner.elts if isinstance(inner, ast.Tuple) else [inner]:
                    yield from _parts(part)
        case _:
            yield annotation
