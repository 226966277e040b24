"""The clauses of a query that score hits, read or changed one by one: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Clause = Callable[[str, Any], Any]
# Where a clause keeps the clauses that score. What only filters (`bool.filter`, `must_not`) is not
# among them: it says which hits there are, not what they are about.
_INNER: Mapping[str, tuple[str, ...]] = {
    "bool": ("must", "should"),
    "boosting": ("positive",),
    "dis_max": ("queries",),
    "function_score": ("query",),
    "has_child": ("query",),
    "has_parent": ("query",),
    "hybrid": ("queries",),
    "nested": ("query",),
    "script_score": ("query",),
}


def scoring(query: Any) -> Iterator[tuple[str, Any]]:
    """Each clause that scores, outer ones first, as its name and its parameters."""
    if isinstance(query, list | tuple):
        for one in query:
            yield from scoring(one)
    elif isinstance(query, Mapping):
        for name, parameters in query.items():
            yield name, parameters
            for inner in _INNER.get(name, ()):
                if isinstance(parameters, Mapping):
                    yield from scoring(parameters.get(inner))


def changed(query: Any, change: Clause) -> Any:
    """The query with ``change(name, parameters)`` for each clause that scores, inner ones first.

    What needs no change is given back itself, not as a copy.
    """
    if isinstance(query, list | tuple):
        clauses = [changed(one, change) for one in query]
        return query if _same(clauses, query) else clauses
    if not isinstance(query, Mapping):
        return query
    rebuilt = {name: change(name, _inside(name, value, change)) for name, value in query.items()}
    return query if _same(rebuilt.values(), query.values()) else rebuilt


def _inside(name: str, parameters: Any, change: Clause) -> Any:
    if not isinstance(parameters, Mapping):
        return parameters
    inner = {at: parameters[at] for at in _INNER.get(name, ()) if at in parameters}
    rebuilt = {at: changed(query, change) for at, query in inner.items()}
    return parameters if _same(rebuilt.values(), inner.values()) else {**parameters, **rebuilt}


def _same(left: Any, right: Any) -> bool:
    return all(one is other for one, other in zip(left, right, strict=True))
