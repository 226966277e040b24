"""What orders a page besides relevance: stages between the final score and the page."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal, get_args

from vecdb_rerank._checks import (
    above,
    in_range,
    integer,
    is_text,
    one_of,
    shown,
)
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.policy.distances import Origin, kind_of, length

Shape = Literal["exp", "gauss", "linear"]
Curve = Literal["saturation", "log"]
Part = Literal["value", "host"]
MAX_PINS, MAX_BURIED = 10, 1_000  # ids of one stage


@dataclass(frozen=True, slots=True)
class Boost:
    """Multiply the score of hits that match ``filter`` by ``factor``, or raise it by ``add``.

    Give one of the two. A score may then exceed 1. A factor leaves a score below 0 as it is.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    filter: object
    """A filter in the database's own terms, as for ``search``."""
    factor: float | None = None
    """What the score is multiplied by (0 to 10); below 1 it lowers the score."""
    add: float | None = None
    """What is added to the score (-1 to 1)."""
    type: Literal["boost"] = dataclasses.field(default="boost", init=False, repr=False)

    def __post_init__(self) -> None:
        if self.filter is None:
            raise ConfigurationError("filter", "must be a filter in the database's own terms")
        if (self.factor is None) == (self.add is None):
            raise ConfigurationError("factor", "give either factor or add")
        if self.factor is not None:
            in_range("factor", self.factor, 0, 10)
        if self.add is not None:
            in_range("add", self.add, -1, 1)


@dataclass(frozen=True, slots=True)
class Decay:
    """Lower the score of hits whose ``field`` is far from ``origin``: a date, a number or a place.

    The score is multiplied by ``1 - weight * (1 - value)``. The value is 1 up to ``offset`` from
    the origin, and ``midpoint`` at ``scale`` beyond that. ``exp``, ``gauss`` and ``linear`` are the
    decay functions of Elasticsearch's function_score query. If a field has several values, the
    nearest one counts.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    field: str
    """The field, as a dotted path: dates (ISO 8601, or seconds or milliseconds since 1970; without
    a time zone in UTC), numbers, or places (``lat`` and ``lon``, ``"lat,lon"``, GeoJSON,
    WKT). Numbers may be strings."""
    scale: float | str | timedelta
    """The distance from the offset at which the value is ``midpoint``; with the default one, the
    half-life. ``"12h"``, ``"30d"`` or ``"2w"`` for dates, ``"500m"`` or ``"5km"`` for places."""
    weight: float
    """The largest share of the score that is lost (0 to 1)."""
    origin: Origin = "now"
    """Where the value is 1: ``"now"``, a date, a number, or a place as ``[lat, lon]``."""
    offset: float | str | timedelta = 0
    """The distance from the origin up to which the value stays 1, in the units of ``scale``."""
    shape: Shape = "exp"
    """The curve: ``exp`` falls fastest near the origin, ``linear`` reaches 0."""
    midpoint: float = 0.5
    """The value at ``scale`` (above 0, below 1)."""
    missing: float = 0.5
    """The value of hits without the field (0 to 1)."""
    type: Literal["decay"] = dataclasses.field(default="decay", init=False, repr=False)

    def __post_init__(self) -> None:
        _check_field(self.field)
        kind = kind_of("origin", self.origin)
        above("scale", length("scale", self.scale, kind), 0)
        length("offset", self.offset, kind)
        one_of("shape", self.shape, get_args(Shape))
        in_range("weight", self.weight, 0, 1)
        above("midpoint", self.midpoint, 0)
        if self.midpoint >= 1:
            raise ConfigurationError("midpoint", f"must be below 1, got {shown(self.midpoint)}")
        in_range("missing", self.missing, 0, 1)


@dataclass(frozen=True, slots=True)
class FieldSignal:
    """Lower the score of hits with a small number in ``field``, such as sales or a rating.

    The score is multiplied by ``1 - weight * (1 - value)``. The value grows with the number from 0
    over 1/2 at ``pivot`` towards 1: ``saturation`` is ``n / (n + pivot)``, as in OpenSearch's
    rank_feature query; ``log`` is ``ln(1 + n) / ln(1 + pivot) / 2``, at most 1. Negative numbers
    count as 0. If a field has several numbers, the largest one counts.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    field: str
    """The field, as a dotted path. Its numbers may be strings."""
    pivot: float
    """The number whose value is 1/2 (above 0)."""
    weight: float
    """The largest share of the score that is lost (0 to 1)."""
    curve: Curve = "saturation"
    """How the value grows: ``saturation`` or ``log``."""
    missing: float = 0.0
    """The value of hits without the field (0 to 1)."""
    type: Literal["field"] = dataclasses.field(default="field", init=False, repr=False)

    def __post_init__(self) -> None:
        _check_field(self.field)
        above("pivot", self.pivot, 0)
        in_range("weight", self.weight, 0, 1)
        one_of("curve", self.curve, get_args(Curve))
        in_range("missing", self.missing, 0, 1)


@dataclass(frozen=True, slots=True)
class Pin:
    """Put the hits with these ids at ``place`` and the places after it, in the order of ``ids``.

    A document that the first pass did not find is not added.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    ids: Sequence[int | str]
    """Up to 10 ids, as the documents were added."""
    query: str | None = None
    """A regular expression, found anywhere in the query, in any case; all queries if None."""
    place: int = 1
    """The rank of the first of them (1 to 10)."""
    type: Literal["pin"] = dataclasses.field(default="pin", init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", _ids(self.ids, MAX_PINS))
        _check_pattern(self.query)
        object.__setattr__(self, "place", integer("place", self.place, 1, MAX_PINS))


@dataclass(frozen=True, slots=True)
class Bury:
    """Put the hits with these ids after all others of the window."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    ids: Sequence[int | str]
    """Up to 1,000 ids, as the documents were added."""
    query: str | None = None
    """A regular expression, found anywhere in the query, in any case; all queries if None."""
    type: Literal["bury"] = dataclasses.field(default="bury", init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", _ids(self.ids, MAX_BURIED))
        _check_pattern(self.query)


@dataclass(frozen=True, slots=True)
class Mmr:
    """Trade relevance for variety: maximal marginal relevance (Carbonell and Goldstein, 1998).

    The next hit is the one with the largest ``lambda_mult * score - (1 - lambda_mult) * s``, where
    s is its largest similarity to a hit before it (0 to 1): the cosine of their stored vectors if
    the caller requests these, else that of their texts, as in `Blend`. The 128 best hits take part;
    the others follow.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    lambda_mult: float = 0.7
    """The weight of the score against the similarity (0 to 1); 1 changes nothing."""
    type: Literal["mmr"] = dataclasses.field(default="mmr", init=False, repr=False)

    def __post_init__(self) -> None:
        in_range("lambda_mult", self.lambda_mult, 0, 1)


@dataclass(frozen=True, slots=True)
class MaxPer:
    """Keep at most ``n`` hits with the same value of ``field``; the others follow after the rest.

    Hits without the field are not limited. Several values in a field count as one combined value.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    field: str
    """The field, as a dotted path: a source, a brand, the parent of a passage."""
    n: int = 1
    """The most hits of one value (at least 1)."""
    part: Part = "value"
    """What is compared: the ``value``, or the ``host`` of a URL, without a leading ``www.``."""
    type: Literal["max_per"] = dataclasses.field(default="max_per", init=False, repr=False)

    def __post_init__(self) -> None:
        _check_field(self.field)
        object.__setattr__(self, "n", integer("n", self.n, 1))
        one_of("part", self.part, get_args(Part))


Stage = Boost | Decay | FieldSignal | Pin | Bury | Mmr | MaxPer


def _check_field(given: object) -> None:
    is_text("field", given, "the name of a field")
    if "*" in str(given) or "[]" in str(given):
        raise ConfigurationError(
            "field", f"must be one dotted path, without * and []; got {shown(given)}"
        )


def _ids(given: object, most: int) -> tuple[int | str, ...]:
    ids = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else None
    if not ids or not all(isinstance(i, int | str) and not isinstance(i, bool) for i in ids):
        raise ConfigurationError(
            "ids", f"must be a list of at least one id, each an int or a str; got {shown(given)}"
        )
    if len(ids) > most:
        raise ConfigurationError("ids", f"must hold at most {most}, got {len(ids)}")
    return tuple(dict.fromkeys(ids))


def _check_pattern(given: object) -> None:
    if given is None:
        return
    is_text("query", given, "a regular expression")
    try:
        re.compile(str(given))
    except re.error as error:
        raise ConfigurationError("query", f"must be a regular expression: {error}") from None
