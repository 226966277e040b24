"""``docker/compose.yaml`` as compose reads it, as far as the tests need: variables filled in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

FOLDER = Path(__file__).parents[1] / "docker"
FILE = FOLDER / "compose.yaml"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\}")


@dataclass(frozen=True)
class Compose:
    """The services by name, and the names of the volumes."""

    services: Mapping[str, Mapping[str, Any]]
    volumes: frozenset[str]

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> Compose:
        """The file with ``.env`` and, above it, ``environment``."""
        known = {**dotenv_values(FOLDER / ".env"), **environment}
        text = _VARIABLE.sub(lambda found: _value(found, known), FILE.read_text())
        described = yaml.safe_load(text)
        return cls(described["services"], frozenset(described["volumes"]))

    @staticmethod
    def mounted_files(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """The files of this folder that a service sees: path here, path there."""
        for volume in service.get("volumes", ()):
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                yield str((FOLDER / source).resolve()), target


def _value(found: re.Match[str], known: Mapping[str, str | None]) -> str:
    value = known.get(found["name"]) or found["default"]
    if value is None:
        raise KeyError(f"{found[0]} has no default and is not in .env")
    return value
