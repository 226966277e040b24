"""Checkpoints that several tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transformers import dynamic_module_utils

from benchmarks.checkpoints import minilm
from tests.torch_engine import checkpoints


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from the name of an architecture to a small random checkpoint."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            write = getattr(checkpoints, name.replace("-", "_"))
            made[name] = write(tmp_path_factory.mktemp(name))
        return made[name]

    return make


@pytest.fixture(scope="session", autouse=True)
def _code_of_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Copy the code of models to a temporary folder instead of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("code")
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(folder))
        patch.syspath_prepend(folder)
        yield


@pytest.fixture(scope="session")
def real() -> Path:
    """Return ms-marco-MiniLM-L-12-v2 in safetensors, with the bundled weights."""
    return minilm()
