"""Telling once that a model may not be used for everything."""

from __future__ import annotations

import logging
import re
from pathlib import Path

log = logging.getLogger(__name__)
_LICENCE = re.compile(r"^license:\s*['\"]?([\w.-]+)", re.MULTILINE)
_told: set[str] = set()


def tell(model: str, folder: Path) -> None:
    """Warn, once a process and model, where the model's card names a non-commercial licence."""
    licence = of_card(folder / "README.md")
    if licence is None or "-nc" not in licence.lower() or model in _told:
        return
    _told.add(model)
    log.warning(
        "%s is licensed under %s: not for commercial use without its makers' permission",
        model,
        licence,
    )


def of_card(card: Path) -> str | None:
    """The licence that the head of a model card names; None where there is none."""
    try:
        text = card.read_text(errors="replace")
    except OSError:
        return None
    head = text.split("---", 2)[1] if text.startswith("---") else ""
    found = _LICENCE.search(head)
    return found and found[1]
