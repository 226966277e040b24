"""What importing the package costs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

CLIENTS_AND_MODELS = (
    "qdrant_client",
    "opensearchpy",
    "numpy",
    "onnxruntime",
    "tokenizers",
    "torch",
    "transformers",
    "sentence_transformers",
    "huggingface_hub",
    "grpc",
    "langchain_core",
    "llama_index",
    "haystack",
)
HEAVY = (*CLIENTS_AND_MODELS, "pydantic", "pydantic_settings", "httpx", "tenacity", "yaml", "rich")


def loaded_by(*arguments: str) -> set[str]:
    """Return the top-level modules that a new Python process loads."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
    )
    lines = done.stderr.splitlines()
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def among(loaded: set[str], unwanted: Iterable[str]) -> list[str]:
    return sorted(loaded & set(unwanted))


def test_importing_the_package_loads_no_library() -> None:
    loaded = loaded_by("-c", "import vecdb_rerank")
    assert "vecdb_rerank" in loaded
    assert among(loaded, HEAVY) == []


def test_importing_the_package_loads_itself_and_little_of_the_standard_library() -> None:
    """Counted and not timed: importing takes as long as there are modules."""
    before = loaded_by("-c", "pass")
    loaded = loaded_by("-c", "import vecdb_rerank") - before
    assert loaded <= {"vecdb_rerank", *sys.stdlib_module_names}
    assert len(loaded) < 40, sorted(loaded)


def test_the_data_model_and_the_errors_load_no_library() -> None:
    code = "from vecdb_rerank import Candidate, Deadline, Document, Outcome, Policy, RerankError"
    wanted_by_ingest = {"tenacity"}
    assert among(loaded_by("-c", code), set(HEAVY) - wanted_by_ingest) == []


def test_settings_load_no_client_and_no_model() -> None:
    code = "from vecdb_rerank.config.loading import load; load()"
    assert among(loaded_by("-c", code), CLIENTS_AND_MODELS) == []


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["search", "--help"]])
def test_the_command_line_loads_no_client_and_no_model_for_its_help(arguments: list[str]) -> None:
    script = Path(sys.executable).with_name("vecdb-rerank")
    loaded = loaded_by(str(script), *arguments)
    assert "typer" in loaded  # which may load pydantic itself, for options
    assert among(loaded, [*CLIENTS_AND_MODELS, "pydantic_settings", "httpx"]) == []


def test_importing_the_package_is_fast() -> None:
    """Under 100 ms of CPU time, beyond what Python itself needs to start."""
    code = (
        "import time; a = time.process_time(); import vecdb_rerank; print(time.process_time() - a)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(times) < 0.1
