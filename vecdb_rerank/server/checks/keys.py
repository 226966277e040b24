"""The keys of callers, what each may use, and how often."""

from __future__ import annotations

import hmac
import logging
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from vecdb_rerank.config.serve import KeySettings, checked_keys
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.server.errors import ApiError
from vecdb_rerank.server.files import state

log = logging.getLogger("vecdb_rerank")
_LOOK_AGAIN = 1.0  # seconds between two looks at the file


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is and what it may use; ``models`` is empty for all.

    ``collection`` replaces the configured one, ``filter`` is added to each of its searches.
    """

    name: str
    models: Sequence[str] = ()
    collection: str | None = None
    filter: Mapping[str, object] | None = field(default=None, repr=False)

    def may_use(self, model: str) -> bool:
        """Return whether it may use the model of this name."""
        return not self.models or model in self.models


ANONYMOUS = Caller("anonymous")


class KeyRing:
    """The keys of the settings and of a file, which is read again when it changes.

    Without any, everyone is `ANONYMOUS`. Keys that ``before`` had as well keep what they have used
    of their rate. Raises `ConfigurationError` if the file is wrong; if it becomes wrong later, the
    keys that it had stay in force.
    """

    def __init__(
        self, keys: Sequence[KeySettings], file: Path | None, before: KeyRing | None = None
    ) -> None:
        self._given = keys
        self._file = file
        self._buckets: dict[bytes, _Bucket] = before._buckets if before is not None else {}
        self._state = state(file)
        self._problem = ""  # of the file as it is now, which was logged
        self._entries = self._made(() if file is None else _read(file))
        self._look_at = time.monotonic() + _LOOK_AGAIN

    @property
    def required(self) -> bool:
        """Whether callers need a key."""
        return bool(self._given) or self._file is not None

    def caller(self, authorization: Sequence[str], api_key: Sequence[str]) -> Caller:
        """Return whose key the headers ``Authorization`` and ``x-api-key`` hold.

        Raises `ApiError`: 401 without a known key, 429 for a caller over its rate.
        """
        if not self.required:
            return ANONYMOUS
        self._refresh()
        digest = sha256(_token(authorization, api_key).encode()).digest()
        found: _Entry | None = None
        for entry in self._entries:  # all of them: the time must not tell which one is near
            if hmac.compare_digest(entry.digest, digest):
                found = entry
        if found is None:
            raise ApiError(401, "send a valid key as Authorization: Bearer KEY")
        if found.bucket is not None and (wait := found.bucket.take()) > 0:
            raise ApiError(429, f"{found.caller.name} is over its rate", retry_after=wait)
        return found.caller

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._file is None or now < self._look_at:
            return
        self._look_at = now + _LOOK_AGAIN
        found = state(self._file)
        if found == self._state:
            return
        try:
            self._entries = self._made(_read(self._file))
        except ConfigurationError as error:  # perhaps for a moment: it is read again
            if str(error) != self._problem:
                log.error("%s; the keys read before stay in force", error)
            self._problem = str(error)
        else:
            self._state, self._problem = found, ""
            log.info("%s was read again: %d keys", self._file, len(self._entries))

    def _made(self, more: Iterable[KeySettings]) -> list[_Entry]:
        """Return the entries of all keys; a key that stays keeps what it has used of its rate."""
        entries = []
        for number, one in enumerate((*self._given, *more), start=1):
            digest = sha256(one.key.get_secret_value().encode()).digest()
            caller = Caller(one.name or f"key-{number}", one.models, one.collection, one.filter)
            entries.append(_Entry(digest, caller, self._bucket(digest, one.rate)))
        self._buckets = {each.digest: each.bucket for each in entries if each.bucket is not None}
        return entries

    def _bucket(self, digest: bytes, rate: float | None) -> _Bucket | None:
        if rate is None:
            return None
        kept = self._buckets.get(digest)
        return kept if kept is not None and kept.rate == rate else _Bucket(rate)


class _Bucket:
    """Tokens that refill at ``rate`` per second, at most a second's worth, and at least one."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._most = max(1.0, rate)
        self._left = self._most
        self._at = time.monotonic()

    def take(self) -> float:
        """Take one and return 0, or return the seconds until there is one."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self.rate


@dataclass(frozen=True, slots=True)
class _Entry:
    digest: bytes = field(repr=False)
    caller: Caller
    bucket: _Bucket | None


def _token(authorization: Sequence[str], api_key: Sequence[str]) -> str:
    if len(authorization) + len(api_key) != 1:
        return ""
    if api_key:
        return api_key[0]
    scheme, _, token = authorization[0].partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _read(file: Path) -> tuple[KeySettings, ...]:
    try:
        return checked_keys(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError("serve.keys_file", f"{file}: {error.strerror}") from None
    except ValidationError as error:
        [first, *_] = error.errors(include_input=False, include_url=False)
        where = ".".join(map(str, first["loc"]))
        raise ConfigurationError("serve.keys_file", f"{file}: {where}: {first['msg']}") from None
    except ValueError:  # whose message may hold a key
        raise ConfigurationError("serve.keys_file", f"{file}: not valid TOML") from None
