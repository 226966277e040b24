"""Write the chosen settings into a configuration file."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING

from vecdb_rerank._optional import require
from vecdb_rerank.config.settings import RerankerSettings, Settings
from vecdb_rerank.evaluation.tuning.collected import Collected
from vecdb_rerank.evaluation.tuning.grid import Setting, current
from vecdb_rerank.request import EVIDENCE, Fusion

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import InlineTable, Table


def configuration(
    file: Path | None, settings: Settings, collected: Collected, chosen: Setting
) -> str:
    """Return the TOML text of ``file`` (None: an empty one) with the chosen settings.

    Its first line says what was chosen, or that the current settings were kept. Comments and all
    other keys are kept. If several rerankers are configured, the chosen one comes first and the
    others follow in their order.
    """
    tomlkit = require("tomlkit", "evaluation")
    text = file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""
    document: TOMLDocument = tomlkit.parse(text)
    now = current(settings)
    if (chosen.k, chosen.depth) != (now.k, now.depth):
        search = _table(document, "search")
        search["k"] = chosen.k
        search.pop("depth", None)  # the default is k
        if chosen.depth != chosen.k:
            search["depth"] = chosen.depth
    if chosen.fusion != now.fusion:
        _replace(_table(document, "search"), "fusion", _fusion(chosen.fusion))
    if chosen.blend != now.blend:
        blend = {"method": chosen.blend.method, "weight": chosen.blend.weight}
        _replace(_table(document, "policy"), "blend", blend)
    _put_first(document, settings, collected.scorers[chosen.reranker].section)
    lines = document.as_string().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(_MARK)]
    return "".join([_said(collected, now, chosen), *kept])


_MARK = "# vecdb-rerank tune"


def _said(collected: Collected, now: Setting, chosen: Setting) -> str:
    """Return a comment on the choice; the collection's name may hold any character."""
    name = collected.scorers[chosen.reranker].name
    text = "kept the settings" if chosen == now else f"chose {name}, {chosen.described(now)}"
    line = f"{_MARK} {text}; {len(collected.queries)} queries of {collected.dataset}"
    return "".join(filter(str.isprintable, " ".join(line.split()))) + "\n"


def _put_first(document: TOMLDocument, settings: Settings, chosen: RerankerSettings) -> None:
    """Put the chosen reranker first, with its ``max_length`` if it has one."""
    configured = list(settings.chain)
    index = next(n for n, section in enumerate(configured) if _is_same(section, chosen))
    length = getattr(chosen, "max_length", None)
    has_new_length = length is not None and length != getattr(configured[index], "max_length", None)
    sections = document.get("rerankers")
    if sections is None:
        if has_new_length:
            _table(document, "reranker")["max_length"] = length
        return
    first = sections.pop(index)
    if has_new_length:
        first["max_length"] = length
    sections.insert(0, first)


def _is_same(section: RerankerSettings, chosen: RerankerSettings) -> bool:
    """Check whether two sections differ in ``max_length`` at most."""
    one, other = (s.model_dump(exclude={"max_length"}) for s in (section, chosen))
    return one == other


def _fusion(fusion: Fusion) -> dict[str, object]:
    found: dict[str, object] = {"method": fusion.method}
    if fusion.method == "rrf":
        found["rank_constant"] = fusion.rank_constant
    for name in ("fixed", *EVIDENCE):
        if (pair := getattr(fusion, name)) is not None:
            found["weights" if name == "fixed" else name] = list(pair)
    return found


def _table(document: TOMLDocument, name: str) -> MutableMapping[str, object]:
    """Return the table of this name; add it if it is missing."""
    if name not in document:
        document[name] = require("tomlkit", "evaluation").table()
    table: Table = document[name]
    return table


def _replace(table: MutableMapping[str, object], name: str, values: Mapping[str, object]) -> None:
    """Set a table inside a table to exactly these values."""
    tomlkit = require("tomlkit", "evaluation")
    table.pop(name, None)
    inner: Table | InlineTable = (
        tomlkit.inline_table() if isinstance(table, tomlkit.items.InlineTable) else tomlkit.table()
    )
    inner.update(values)
    table[name] = inner
