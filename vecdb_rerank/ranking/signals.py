"""What the fields of documents say for the stages of `policy.after`: pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from vecdb_rerank.model import Candidate
from vecdb_rerank.policy import distances
from vecdb_rerank.policy.after import Decay, FieldSignal, MaxPer, Shape
from vecdb_rerank.text_fields import lookup

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

Payloads = Iterable[object]
# "now" moves in steps of a part of the scale, so that pages which are requested soon after each
# other have the same order.
_STEPS = 1_000


def decay_values(payloads: Payloads, stage: Decay, now: float) -> Array:
    """Return the value (0 to 1) of each payload; ``now`` is in seconds since 1970."""
    import numpy as np

    kind = distances.kind_of("origin", stage.origin)
    scale = distances.length("scale", stage.scale, kind)
    distance = np.array(_column(payloads, stage.field, _reader(stage, kind, scale, now), min))
    beyond = np.maximum(0.0, distance - distances.length("offset", stage.offset, kind))
    with np.errstate(over="ignore", under="ignore"):  # a payload may hold any number
        values = _curve(stage.shape, beyond / scale, stage.midpoint)
    return np.where(np.isnan(distance), stage.missing, values)


def field_values(payloads: Payloads, stage: FieldSignal) -> Array:
    """Return the value (0 to 1) of the number that each payload has in a field."""
    import numpy as np

    given = np.array(_column(payloads, stage.field, distances.plain_number, max))
    number = np.maximum(0.0, given)
    with np.errstate(over="ignore"):
        if stage.curve == "saturation":
            values = number / (number + stage.pivot)
        else:
            values = np.minimum(1.0, np.log1p(number) / math.log1p(stage.pivot) / 2)
    return np.where(np.isnan(given), stage.missing, values)


def group_keys(payloads: Payloads, stage: MaxPer) -> list[Hashable | None]:
    """Return what each payload has in common with others of its group; None for no group."""
    return [_key(lookup(payload, stage.field), stage) for payload in payloads]


def _key(value: object, stage: MaxPer) -> Hashable | None:
    if isinstance(value, list | tuple):
        keys = {repr(key): key for one in value if (key := _key(one, stage)) is not None}
        return tuple(sorted(keys)) if len(keys) > 1 else next(iter(keys.values()), None)
    if not isinstance(value, str):
        return value if isinstance(value, int | float | bool) else None
    if stage.part == "host":
        try:
            host = urlsplit(value if "//" in value else f"//{value}").hostname
        except ValueError:
            return None
        return host.removeprefix("www.") if host else None
    return value or None


def _column(
    payloads: Payloads,
    field: str,
    read: Callable[[object], float | None],
    best: Callable[[Sequence[float]], float],
) -> list[float]:
    """Return the number that ``read`` makes of each payload's field; NaN for none.

    Of several values the ``best`` counts.
    """
    column = []
    for payload in payloads:
        value = lookup(payload, field)
        number = None if value is None else read(value)
        if number is None and isinstance(value, list):
            numbers = [found for one in value if (found := read(one)) is not None]
            number = best(numbers) if numbers else None
        column.append(math.nan if number is None else number)
    return column


def _reader(
    stage: Decay, kind: distances.Kind, scale: float, now: float
) -> Callable[[object], float | None]:
    """Return the function from a stored value to its distance from the origin, None for none."""
    origin = stage.origin
    if kind == "place":
        at = distances.place_of_setting(origin)
        assert at is not None  # checked when the stage was made

        def from_place(value: object) -> float | None:
            place = distances.place(value)
            return None if place is None else distances.metres(place, at)

        return from_place
    read = distances.plain_number if kind == "number" else distances.moment
    step = scale / _STEPS
    zero = now // step * step if origin == "now" else read(origin) or 0.0

    def from_number(value: object) -> float | None:
        number = read(value)
        return None if number is None else abs(number - zero)

    return from_number


def _curve(shape: Shape, distance: Array, midpoint: float) -> Array:
    """Return the decay of distances in scales: 1 at 0, ``midpoint`` at 1."""
    import numpy as np

    result: Array
    if shape == "linear":
        result = np.maximum(0.0, 1 - (1 - midpoint) * distance)
    else:
        result = np.power(midpoint, distance if shape == "exp" else distance * distance)
    return result


def positions_of(ids: Sequence[int | str], candidates: Sequence[Candidate]) -> list[int]:
    """Return the places of the documents with these ``ids``, in the order of the ids.

    A document goes by the id it was added under. A number is the same id as its digits.
    """
    wanted = {str(one): n for n, one in enumerate(ids)}
    names = (str(candidate.doc_id) for candidate in candidates)
    found = [(wanted[name], place) for place, name in enumerate(names) if name in wanted]
    return [place for _, place in sorted(found)]
