"""Headers of a configuration, and which of their values are secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from vecdb_rerank._checks import check_type
from vecdb_rerank.errors import ConfigurationError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a name of a header (RFC 9110)
_OURS = {"content-length", "content-type", "host", "transfer-encoding", "connection"}
_SHORT = 4  # characters; a shorter value of a header or parameter is no secret


def check_headers(
    headers: Mapping[str, str], *, of_key: str | None = None, key: str = "headers"
) -> None:
    """Raise `ConfigurationError`, without the values, for headers that cannot be sent.

    ``of_key`` is the header of the API key, if there is one. ``key`` names the setting.
    """
    check_texts(key, headers)
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise ConfigurationError(key, f"{name!r} cannot be set")
        if not (value.isascii() and value.isprintable()) or value != value.strip():
            raise ConfigurationError(
                key, f"the value of {name} must be printable ASCII without spaces at its ends"
            )
        if of_key is not None and name.lower() == of_key.lower():
            raise ConfigurationError(
                key, f"{of_key} is the header of api_key; leave one of them out"
            )


def check_texts(key: str, given: Mapping[str, str]) -> None:
    """Raise `ConfigurationError` unless ``given`` maps names to texts."""
    check_type(key, given, Mapping)
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str) or not name:
            raise ConfigurationError(key, "must map names to str; write numbers as str, too")


def has_header(headers: Mapping[str, str], name: str) -> bool:
    """Return whether ``headers`` has one of this name, in whatever case."""
    return any(given.lower() == name.lower() for given in headers)


def secrets_in(values: Iterable[str]) -> list[str]:
    """Return what no message may repeat of the ``values`` of headers or parameters."""
    found = [part for value in values for part in (value, *value.split()[1:])]  # Bearer <token>
    return [part for part in found if len(part) >= _SHORT]
