"""Warn about models that must not be used commercially."""

from __future__ import annotations

import logging
import re
from pathlib import Path

log = logging.getLogger(__name__)
_LICENCE = re.compile(r"^license:\s*['\"]?([\w.-]+)", re.MULTILINE)
_warned: set[str] = set()


def warn_non_commercial(model: str, folder: Path) -> None:
    """Log a warning, once per process and model, if its model card names such a licence."""
    licence = read_licence(folder / "README.md")
    if licence is None or "-nc" not in licence.lower() or model in _warned:
        return
    _warned.add(model)
    log.warning(
        "%s is licensed under %s: commercial use needs the permission of its authors",
        model,
        licence,
    )


def read_licence(card: Path) -> str | None:
    """Return the licence in the front matter of a model card, or None."""
    try:
        text = card.read_text(errors="replace")
    except OSError:
        return None
    head = text.split("---", 2)[1] if text.startswith("---") else ""
    found = _LICENCE.search(head)
    return found and found[1]
