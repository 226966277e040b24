"""Write settings as TOML, each with the reason for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vecdb_rerank._optional import require
from vecdb_rerank.adopt.choices import Setting

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import Table

_SECTIONS = ("backend", "text_fields", "embedder")


def written(subject: str, backend: Mapping[str, str], settings: Sequence[Setting]) -> str:
    """Return the TOML of a connection (``backend``) and ``settings``, for `subject`.

    Raises `MissingDependencyError` without the extra ``cli``.
    """
    tomlkit = require("tomlkit", "cli")
    document: TOMLDocument = tomlkit.document()
    document.add(tomlkit.comment(_line(f"How to search {subject}. Written by vecdb-rerank adopt.")))
    document.add(tomlkit.comment("Keys and passwords belong in the environment:"))
    document.add(tomlkit.comment("VECDB_RERANK__BACKEND__API_KEY, VECDB_RERANK__BACKEND__PASSWORD"))
    for section in _SECTIONS:
        table: Table = tomlkit.table()
        if section == "backend":
            for key, value in backend.items():
                table.add(key, value)
        for setting in settings:
            if setting.section == section:
                _add(table, setting)
        document.add(section, table)
    text: str = tomlkit.dumps(document)
    return text


def with_self_retrieval(text: str, found: tuple[float, float], why: str) -> str:
    """Return the TOML ``text``, which has no section [search], with what was measured, and why."""
    bm25, dense = found
    section = f"[search.fusion]\nself_retrieval = [{bm25}, {dense}]  # of (bm25, dense)"
    return f"{text.rstrip()}\n\n# {_line(why)}\n{section}\n"


def _add(table: Table, setting: Setting) -> None:
    tomlkit = require("tomlkit", "cli")
    if setting.is_hint:
        assignment = tomlkit.dumps({setting.key: setting.value}).strip()
        table.add(tomlkit.comment(_line(f"{assignment}  # {setting.why}")))
        return
    item = tomlkit.item(setting.value)
    if setting.why:
        item.comment(_line(setting.why))
    table.add(setting.key, item)


def _line(text: str) -> str:
    """Return a comment without line breaks and control characters: names in it are untrusted."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)
