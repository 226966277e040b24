"""Read or change the clauses of a query that score its hits: pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

# Where a clause keeps the clauses that score. Those that only filter (`bool.filter`, `must_not`)
# are left out: they decide which hits there are, not what they are about.
INNER: Mapping[str, tuple[str, ...]] = {
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
VECTORS = ("knn", "neural", "neural_sparse")


def each(query: object) -> Iterator[tuple[str, object]]:
    """Yield the clauses of one query, or of a list of them, as name and parameters."""
    if isinstance(query, list | tuple):
        for one in query:
            yield from each(one)
    elif isinstance(query, Mapping):
        yield from query.items()


def scoring(query: object) -> Iterator[tuple[str, object]]:
    """Yield each clause that scores, outer ones first, as name and parameters."""
    for name, parameters in each(query):
        yield name, parameters
        for inner in INNER.get(name, ()):
            if isinstance(parameters, Mapping):
                yield from scoring(parameters.get(inner))


def changed(query: object, change: Callable[[str, object], object]) -> object:
    """Return the query with ``change(name, parameters)`` for each clause that scores.

    Inner clauses are changed first. What needs no change is returned itself, not copied.
    """
    if isinstance(query, list | tuple):
        clauses = [changed(one, change) for one in query]
        return query if _same(clauses, query) else clauses
    if not isinstance(query, Mapping):
        return query
    rebuilt = {name: change(name, _inside(name, value, change)) for name, value in query.items()}
    return query if _same(rebuilt.values(), query.values()) else rebuilt


def _inside(name: str, parameters: object, change: Callable[[str, object], object]) -> object:
    if not isinstance(parameters, Mapping):
        return parameters
    inner = {at: parameters[at] for at in INNER.get(name, ()) if at in parameters}
    rebuilt = {at: changed(query, change) for at, query in inner.items()}
    return parameters if _same(rebuilt.values(), inner.values()) else {**parameters, **rebuilt}


def _same(left: Iterable[object], right: Iterable[object]) -> bool:
    return all(one is other for one, other in zip(left, right, strict=True))
