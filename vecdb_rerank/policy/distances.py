"""Distances between dates, numbers and places, as settings and stored documents write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Literal, cast

from vecdb_rerank._checks import at_least, shown
from vecdb_rerank.errors import ConfigurationError

Place = tuple[float, float]  # latitude, longitude, in degrees
Kind = Literal["date", "number", "place"]
# What a distance is measured from: "now", a date, a number, or latitude and longitude.
Origin = str | date | float | Sequence[float] | Mapping[str, float]

_UNITS: Mapping[Kind, Mapping[str, float]] = {
    "date": {"s": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800},
    "place": {"m": 1, "km": 1_000, "mi": 1_609.344},
    "number": {},
}
_LENGTH = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*")
_POINT = re.compile(r"\s*POINT\s*\(\s*([^\s()]+)\s+([^\s()]+)[^()]*\)\s*", re.IGNORECASE)  # WKT
# A larger number of seconds is past the year 5000, so it is milliseconds.
_MILLISECONDS_FROM = 1e11
_EARTH_RADIUS = 6_371_008.8  # metres; mean radius (IUGG)
_LATEST = 253_402_300_799.0  # the last second of the year 9999


def kind_of(key: str, origin: object) -> Kind:
    """Return what kind of value ``origin`` is; raise `ConfigurationError` if it is none."""
    if isinstance(origin, str | date):
        if origin == "now" or moment(origin) is not None:
            return "date"
    elif isinstance(origin, int | float) and not isinstance(origin, bool):
        if math.isfinite(origin):
            return "number"
    elif place_of_setting(origin) is not None:
        return "place"
    raise ConfigurationError(
        key, f'must be "now", a date, a number, or [lat, lon]; got {shown(origin)}'
    )


def length(key: str, given: object, kind: Kind) -> float:
    """Return a distance of at least 0 in seconds, metres or plain numbers.

    0 needs no unit. Raises `ConfigurationError` if ``given`` is not a distance of that kind.
    """
    units = _UNITS[kind]
    if isinstance(given, timedelta) and kind == "date":
        given = given.total_seconds()
        at_least(key, given, 0)
        return given
    if isinstance(given, str) and units:
        found = _LENGTH.fullmatch(given)
        if found and found[2] in units:
            return float(found[1]) * units[found[2]]
    elif isinstance(given, int | float) and (not units or given == 0):
        at_least(key, given, 0)
        return float(given)
    wanted = f"a number with a unit ({', '.join(units)})" if units else "a number without a unit"
    raise ConfigurationError(
        key, f"must be {wanted}, because the origin is a {kind}; got {shown(given)}"
    )


def moment(value: object) -> float | None:
    """Return the seconds since 1970 of a stored date; None if it is none."""
    if isinstance(value, str):
        if value.isdecimal() and len(value) > 8:  # shorter ones are dates such as 20240501
            return moment(float(value))
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    number = plain_number(value)
    if number is None:
        return None
    seconds = number / 1e3 if abs(number) > _MILLISECONDS_FROM else number
    return seconds if abs(seconds) <= _LATEST else None


def plain_number(value: object) -> float | None:
    """Return a stored number, which may be a string; None for all else, and if not finite."""
    if type(value) is float or type(value) is int or type(value) is str:
        try:
            number = float(value)
        except (OverflowError, ValueError):
            return None
        return number if math.isfinite(number) else None
    return None


def place(value: object) -> Place | None:
    """Return a stored place; None if it is none.

    Places are ``lat`` and ``lon``, ``"lat,lon"``, ``[lon, lat]``, GeoJSON or WKT.
    """
    if isinstance(value, Mapping):
        if "coordinates" in value:
            return place(value["coordinates"])
        return _checked(value.get("lat"), value.get("lon"))
    if isinstance(value, str):
        if found := _POINT.fullmatch(value):
            return _checked(found[2], found[1])
        latitude, _, longitude = value.partition(",")
        return _checked(latitude, longitude)
    if isinstance(value, list | tuple) and len(value) in (2, 3):  # the third is the altitude
        return _checked(value[1], value[0])
    return None


def place_of_setting(value: object) -> Place | None:
    """Return a place in settings: ``[lat, lon]``, or a form of `place` that names the two."""
    if isinstance(value, list | tuple):
        return _checked(value[0], value[1]) if len(value) == 2 else None
    return place(value)


def metres(one: Place, other: Place) -> float:
    """Return the distance of two places on a sphere (haversine)."""
    (a, b), (c, d) = (map(math.radians, one), map(math.radians, other))
    h = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * _EARTH_RADIUS * math.asin(min(1.0, math.sqrt(h)))


def _checked(latitude: object, longitude: object) -> Place | None:
    found = plain_number(latitude), plain_number(longitude)
    if None in found:
        return None
    north, east = cast("Place", found)
    return (north, east) if abs(north) <= 90 and abs(east) <= 180 else None
