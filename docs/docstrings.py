"""Correct what griffe, a parser of sources, cannot see or should not show."""

from __future__ import annotations

from typing import Any

import griffe


class Corrections(griffe.Extension):
    """Corrects the classes that griffe has read."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Correct one class; griffe calls this for each."""
        cls.members.pop("__pydantic_config__", None)  # not a field
