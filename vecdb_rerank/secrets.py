"""Which values are secret, and how they are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SECRET = re.compile(r"(^|[_-])(key|password|secret|token)$", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether a setting or a parameter of this name holds what nobody may see."""
    return _SECRET.search(name) is not None


def concealed(key: str, value: Any) -> Any:
    """``value`` as it may be shown: without what a plug-in's key or a URL keeps secret."""
    if isinstance(value, Mapping):
        return {inner: concealed(str(inner), shown) for inner, shown in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(concealed(key, shown) for shown in value)
    if not isinstance(value, str):
        return value
    if is_secret(key):
        return "**********"
    return re.sub(r"(?<=//)[^/]*@", "**********@", value)
