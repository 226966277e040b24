"""What a measurement depends on besides the collection: settings, versions and the machine."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TypedDict

from vecdb_rerank._version import __version__
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.onnx.runtime import cores
from vecdb_rerank.secrets import shown


class Environment(TypedDict):
    """When, with which versions and where something was measured; ``time`` is UTC in ISO 8601."""

    time: str
    version: str
    python: str
    machine: str
    cores: int


def environment() -> Environment:
    """Return the environment of this process."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
    }


def measured_settings(settings: Settings) -> dict[str, object]:
    """Return the settings that decide the order, without secrets, as JSON values."""
    sections = settings.model_dump(
        mode="json", include={"search", "text_fields", "embedder", "reranker", "rerankers"}
    )
    sections.pop("reranker" if settings.rerankers else "rerankers")
    sections["blend"] = asdict(settings.policy.blend)
    if settings.policy.after:
        dumped = settings.model_dump(mode="json", include={"policy": {"after"}})
        sections["after"] = dumped["policy"]["after"]
    return {name: shown(name, value) for name, value in sections.items()}
