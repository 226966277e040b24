"""The chosen settings as a configuration file."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from vecdb_rerank._optional import require
from vecdb_rerank.config.settings import RerankerSettings, Settings
from vecdb_rerank.evaluation.tuning.collect import Collected
from vecdb_rerank.evaluation.tuning.grid import Setting, current
from vecdb_rerank.request import Fusion


def configuration(
    file: Path | None, settings: Settings, collected: Collected, chosen: Setting
) -> str:
    """The text of ``file`` (none: an empty one) with the chosen settings, in TOML.

    Comments and all other keys stay as they are. Where the rerankers are a chain, the chosen one
    comes first and the others follow in their order.
    """
    tomlkit = require("tomlkit", "evaluation")
    text = file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""
    document = tomlkit.parse(text)
    now = current(settings)
    if (chosen.k, chosen.depth) != (now.k, now.depth):
        search = _table(document, "search")
        search["k"] = chosen.k
        search.pop("depth", None)  # as deep as k, without one
        if chosen.depth != chosen.k:
            search["depth"] = chosen.depth
    if chosen.fusion != now.fusion:
        _replace(_table(document, "search"), "fusion", _fusion(chosen.fusion))
    if chosen.blend != now.blend:
        blend = {"method": chosen.blend.method, "weight": chosen.blend.weight}
        _replace(_table(document, "policy"), "blend", blend)
    _reranker(document, settings, collected.scorers[chosen.reranker].section)
    return str(tomlkit.dumps(document))


def _reranker(
    document: MutableMapping[str, Any], settings: Settings, chosen: RerankerSettings
) -> None:
    """Put the chosen reranker first, with its ``max_length`` where it has one."""
    configured = list(settings.chain)
    length = getattr(chosen, "max_length", None)
    at = next(n for n, section in enumerate(configured) if _same(section, chosen))
    sections = document.get("rerankers")
    if sections is None:
        if length is not None and length != getattr(configured[at], "max_length", None):
            _table(document, "reranker")["max_length"] = length
        return
    first = sections.pop(at)
    if length is not None and length != getattr(configured[at], "max_length", None):
        first["max_length"] = length
    sections.insert(0, first)


def _same(section: RerankerSettings, chosen: RerankerSettings) -> bool:
    """Whether these are one reranker, but for the length that it reads."""
    one, other = (s.model_dump(exclude={"max_length"}) for s in (section, chosen))
    return one == other


def _fusion(fusion: Fusion) -> dict[str, Any]:
    found: dict[str, Any] = {"method": fusion.method}
    if fusion.method == "rrf":
        found["rank_constant"] = fusion.rank_constant
    if fusion.weights is not None:
        found["weights"] = list(fusion.weights)
    return found


def _table(document: MutableMapping[str, Any], name: str) -> Any:
    """The table of this name, made where there is none."""
    if name not in document:
        document[name] = require("tomlkit", "evaluation").table()
    return document[name]


def _replace(table: MutableMapping[str, Any], name: str, values: Mapping[str, Any]) -> None:
    """Set a table inside a table to these values alone."""
    tomlkit = require("tomlkit", "evaluation")
    table.pop(name, None)
    inline = isinstance(table, tomlkit.items.InlineTable)
    inner = tomlkit.inline_table() if inline else tomlkit.table()
    inner.update(values)
    table[name] = inner
