"""What a parser of the sources cannot see, or sees and should not."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import griffe


class Seen(griffe.Extension):
    """Corrects what griffe has read."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Called by griffe for each class that it has read."""
        cls.members.pop("__pydantic_config__", None)  # which it takes for a field
        if cls.name.endswith("Connector") and cls.path.startswith("vecdb_rerank_"):
            # A connector's docstring is put together when it is imported.
            runtime = getattr(importlib.import_module(cls.module.path), cls.name)
            cls.docstring = griffe.Docstring(inspect.getdoc(runtime) or "", parent=cls)
