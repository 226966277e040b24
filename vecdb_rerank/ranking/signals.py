"""What the fields of documents say for the stages of `policy.after`: pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from urllib.parse import urlsplit

from vecdb_rerank.policy import distances
from vecdb_rerank.policy.after import Decay, FieldSignal, MaxPer, Shape
from vecdb_rerank.text_fields import lookup

Payloads = Iterable[object]
# "now" moves in steps of a part of the scale, so that pages which are requested soon after each
# other have the same order.
_STEPS = 1_000


def decay_values(payloads: Payloads, stage: Decay, now: float) -> list[float]:
    """Return the value (0 to 1) of each payload; ``now`` is in seconds since 1970."""
    distance, places = _distance(stage, now)
    kind = distances.kind_of("origin", stage.origin)
    offset = distances.length("offset", stage.offset, kind)
    curve = _curve(stage.shape, distances.length("scale", stage.scale, kind), stage.midpoint)
    values = []
    for payload in payloads:
        found = [d for one in _values(payload, stage.field, places) if (d := distance(one)) >= 0]
        values.append(curve(max(0.0, min(found) - offset)) if found else stage.missing)
    return values


def field_values(payloads: Payloads, stage: FieldSignal) -> list[float]:
    """Return the value (0 to 1) of the number that each payload has in a field."""
    pivot, half = stage.pivot, math.log1p(stage.pivot)
    values = []
    for payload in payloads:
        numbers = [distances.plain_number(one) for one in _values(payload, stage.field)]
        number = max((n for n in numbers if n is not None), default=None)
        if number is None:
            values.append(stage.missing)
        elif number <= 0:
            values.append(0.0)
        elif stage.curve == "saturation":
            values.append(number / (number + pivot))
        else:
            values.append(min(1.0, math.log1p(number) / half / 2))
    return values


def group_keys(payloads: Payloads, stage: MaxPer) -> list[Hashable | None]:
    """Return what each payload has in common with others of its group; None for no group."""
    return [_key(lookup(payload, stage.field), stage) for payload in payloads]


def _key(value: object, stage: MaxPer) -> Hashable | None:
    if isinstance(value, list | tuple):
        return tuple(sorted(repr(_key(one, stage)) for one in value)) or None
    if not isinstance(value, str):
        return value if isinstance(value, int | float | bool) else None
    if stage.part == "host":
        try:
            host = urlsplit(value if "//" in value else f"//{value}").hostname
        except ValueError:
            return None
        return host.removeprefix("www.") if host else None
    return value or None


def _values(payload: object, field: str, pairs: bool = False) -> Iterator[object]:
    """Yield the values of a field; with ``pairs``, a list of two numbers is one value."""
    value = lookup(payload, field)
    if not isinstance(value, list) or (pairs and distances.place(value) is not None):
        yield value
    else:
        yield from value


def _distance(stage: Decay, now: float) -> tuple[Callable[[object], float], bool]:
    """Return the distance of a stored value from the origin, -1 for none; and if it is a place."""
    origin = stage.origin
    if (at := distances.place_of_setting(origin)) is not None:
        return lambda value: _from_place(distances.place(value), at), True
    if isinstance(origin, int | float):
        number = float(origin)
        return lambda value: _from_number(distances.plain_number(value), number), False
    step = distances.length("scale", stage.scale, "date") / _STEPS
    moment = now // step * step if origin == "now" else distances.moment(origin)
    assert moment is not None  # checked when the stage was made
    return lambda value: _from_number(distances.moment(value), moment), False


def _from_number(value: float | None, origin: float) -> float:
    return -1.0 if value is None else abs(value - origin)


def _from_place(value: distances.Place | None, origin: distances.Place) -> float:
    return -1.0 if value is None else distances.metres(value, origin)


def _curve(shape: Shape, scale: float, midpoint: float) -> Callable[[float], float]:
    """Return the decay function of a distance: 1 at 0, ``midpoint`` at ``scale``."""
    rate = math.log(midpoint) / scale
    if shape == "exp":
        return lambda distance: math.exp(rate * distance)
    if shape == "gauss":
        return lambda distance: math.exp(rate / scale * distance * distance)
    slope = (1 - midpoint) / scale
    return lambda distance: max(0.0, 1 - slope * distance)


def positions_of(ids: Sequence[object], held: Iterable[Sequence[object]]) -> list[int]:
    """Return the places of documents with these ``ids``, in the order of the ids.

    ``held`` are the ids that each document goes by. A number is the same id as its digits.
    """
    places: dict[str, list[int]] = {}
    for place, names in enumerate(held):
        for name in dict.fromkeys(map(str, names)):
            places.setdefault(name, []).append(place)
    return list(dict.fromkeys(place for one in ids for place in places.get(str(one), ())))
