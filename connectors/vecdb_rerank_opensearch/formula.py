"""Read how a caller composes the score of a search from relevance and more: pure functions.

The parts that do not depend on relevance (the value of all functions of a `function_score`, the
score of a boosting clause, whether a hit is demoted, the score of a rescore query) are queries of
their own. OpenSearch scores them beside the search (`native_scores`), so that no field has to be
read here. The arithmetic that joins them follows its documentation:
https://docs.opensearch.org/latest/query-dsl/compound/ and
https://docs.opensearch.org/latest/search-plugins/searching-data/rescore/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vecdb_rerank_opensearch import clauses, composed_order
from vecdb_rerank_opensearch.depth import window_size
from vecdb_rerank_opensearch.named_queries import silent
from vecdb_rerank_opensearch.query_text import RELEVANCE

Named = Mapping[str, float]
# What a query makes of a native score and the scores of the named queries, times a boost.
Score = Callable[[float, Named, float], float]
Body = Mapping[str, Any]

NATIVE = "native"
_OPERATIONS: Mapping[str, Callable[[float, float], float]] = {
    "multiply": lambda a, b: a * b,
    "sum": lambda a, b: a + b,
    "total": lambda a, b: a + b,
    "avg": lambda a, b: (a + b) / 2,
    "min": min,
    "max": max,
}
# Parts of a `function_score` that the value of its functions does not depend on.
_NO_FUNCTION = ("query", "boost", "boost_mode", "min_score")
# Clauses whose hits are others than those that match a text.
_NEVER = ("percolate", "pinned", "sltr")
_SCRIPTS = ("random_score", "script", "script_score")


@dataclass(frozen=True, slots=True)
class Composition:
    """How the score of a search is composed.

    ``asked`` are the queries whose scores are needed, by name; `NATIVE` is the relevance. ``score``
    joins them. ``window`` is the number of hits of each shard that a rescore scores, if there is
    one.
    """

    asked: Mapping[str, object]
    score: Score
    window: int | None = None

    def value(self, native: float, named: Named) -> float:
        """Return the score of a hit with another native score; `ValueError` if it has none."""
        try:
            return self.score(native, named, 1.0)
        except (KeyError, TypeError) as error:
            raise ValueError(f"a part of it is missing: {error}") from error


class NotKept(Exception):
    """A composed order that cannot be kept in force after reranking; the message says why."""


def read(body: Body, texts: Sequence[str]) -> Composition | None:
    """Return how the score of a search is composed; None if it is the relevance alone.

    ``texts`` are the query texts of the body. Raises `NotKept`.
    """
    if composed_order.reason(body, texts) is None:
        return None
    if (why := composed_order.beside_query(body)) is not None:
        raise NotKept(why)
    reading = _Reading(tuple(texts))
    score, window = reading.rescored(body)
    return Composition(reading.asked, score, window)


@dataclass(slots=True)
class _Reading:
    """The queries that are asked while one body is read."""

    texts: tuple[str, ...]
    asked: dict[str, object] = field(default_factory=dict)

    def rescored(self, body: Body) -> tuple[Score, int | None]:
        """Read a body: its query, and its rescore if there is one."""
        first = self.part(body.get("query"))
        if not _rescores(body):
            return first, None
        rescore, *others = _rescores(body)
        how = rescore.get("query") if isinstance(rescore, Mapping) else None
        if others or not isinstance(how, Mapping):
            raise NotKept("rescore: several, or not by a query")
        if (script := _script(how.get("rescore_query"))) is not None:
            raise NotKept(f"rescore: {script} computes a score")
        name = self.ask(how.get("rescore_query"))
        operation = _operation("rescore", how.get("score_mode", "total"))
        weight, second_weight = how.get("query_weight", 1), how.get("rescore_query_weight", 1)

        def score(native: float, named: Named, boost: float) -> float:
            own = first(native, named, boost) * float(weight)
            return operation(own, named[name] * float(second_weight)) if name in named else own

        return score, window_size(body)

    def part(self, query: object) -> Score:
        """Read the query whose relevance everything else is joined to."""
        found = self.composed(query)
        if found is not None:
            return found
        if NATIVE in self.asked:
            raise NotKept("query: several of its clauses are about relevance")
        self.asked[NATIVE] = silent(query)
        return lambda native, _, boost: native * boost

    def composed(self, query: object) -> Score | None:
        """Read a query; None if its score is the relevance alone."""
        if not isinstance(query, Mapping) or len(query) != 1:
            return None
        ((name, parameters),) = query.items()
        why = composed_order.reason({"query": query}, self.texts)
        if why is None or not isinstance(parameters, Mapping):
            return None
        if name == "function_score":
            return self.functions(parameters)
        if name == "boosting":
            return self.demoted(parameters)
        if name == "bool":
            return self.summed(parameters)
        raise NotKept(why)

    def functions(self, parameters: Body) -> Score:
        """Read a `function_score`: all of its functions are one query, of their value alone."""
        given = {n: value for n, value in parameters.items() if n not in _NO_FUNCTION}
        inner, mode = parameters.get("query"), parameters.get("boost_mode", "multiply")
        if (script := _script([given, *_listed(given.get("functions"))])) is not None:
            raise NotKept(f"function_score: {script} computes a score")
        if inner is None or mode == "replace":
            raise NotKept("function_score: the score is that of its functions")
        below, boost = self.part(inner), parameters.get("boost", 1)
        operation = _operation("function_score", mode)
        if not composed_order.has_functions(parameters):
            return lambda native, named, outer: below(native, named, outer * float(boost))
        alone = {**given, "query": {"match_all": {}}, "boost_mode": "replace"}
        value = self.ask({"function_score": alone})
        # The boost counts for the query alone.
        return lambda native, named, outer: operation(
            below(native, named, outer * float(boost)), named[value]
        )

    def demoted(self, parameters: Body) -> Score:
        """Read a `boosting`: a hit that matches the negative query has a part of its score."""
        below, negative = (
            self.part(parameters.get("positive")),
            self.ask(parameters.get("negative")),
        )
        boost, factor = parameters.get("boost", 1), parameters.get("negative_boost", 1)

        def score(native: float, named: Named, outer: float) -> float:
            own = below(native, named, outer * float(boost))
            return own * float(factor) if negative in named else own

        return score

    def summed(self, parameters: Body) -> Score:
        """Read a `bool`: its relevance, and clauses that add something else to that."""
        musts, shoulds = (_listed(parameters.get(name)) for name in ("must", "should"))
        alone = len(musts) + len(shoulds) == 1
        kinds = [(clause, self.kind(clause, optional=False)) for clause in musts]
        kinds += [(clause, self.kind(clause, optional=not alone)) for clause in shoulds]
        about = [clause for clause, kind in kinds if kind != "addend"]
        addends = [clause for clause, kind in kinds if kind == "addend"]
        if not about:
            raise NotKept("bool: none of its clauses is about relevance")
        if len(about) > 1 and any(kind == "composed" for _, kind in kinds):
            raise NotKept("bool: a composed score stands beside other clauses about relevance")
        below = self.part(about[0] if len(about) == 1 else {"bool": {"should": about}})
        boost = parameters.get("boost", 1)
        added = self.ask({"bool": {"should": addends}}) if addends else ""

        def score(native: float, named: Named, outer: float) -> float:
            inner = outer * float(boost)
            return below(native, named, inner) + named.get(added, 0.0) * inner

        return score

    def kind(self, clause: object, *, optional: bool) -> Literal["relevance", "composed", "addend"]:
        """Return what a clause of a `bool` is: relevance, that and more, or something else."""
        why = composed_order.reason_of(clause, self.texts, optional=optional)
        if why is None:
            return "relevance"
        if any(name in RELEVANCE for name, _ in clauses.scoring(clause)):
            return "composed"
        if why.startswith(_NEVER):
            raise NotKept(why)
        if (script := _script(clause)) is not None:
            raise NotKept(f"bool: {script} computes a score")
        return "addend"

    def ask(self, query: object) -> str:
        """Have the score of a query come, and return its name."""
        name = f"part {len(self.asked)}"
        self.asked[name] = silent(query)
        return name


def _rescores(body: Body) -> list[object]:
    return _listed(body.get("rescore"))


def _listed(given: object) -> list[object]:
    return list(given) if isinstance(given, list | tuple) else [given] if given else []


def _operation(where: str, name: object) -> Callable[[float, float], float]:
    found = _OPERATIONS.get(name) if isinstance(name, str) else None
    if found is None:
        raise NotKept(f"{where}: its mode is not known")
    return found


def _script(value: object) -> str | None:
    """Return the name of a script or random score somewhere inside ``value``."""
    if isinstance(value, str):
        return None
    if isinstance(value, Mapping):
        inner = (_script(one) for one in value.values())
        return next((n for n in _SCRIPTS if n in value), None) or next(filter(None, inner), None)
    if isinstance(value, list | tuple):
        return next(filter(None, map(_script, value)), None)
    return None
