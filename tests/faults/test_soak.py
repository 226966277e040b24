"""A short soak: whatever the server does, nothing is lost and nothing is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.cases import APIS

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
@pytest.mark.skipif(not SOAK.exists(), reason="only a checkout has the benchmarks")
@pytest.mark.parametrize("api", APIS)
def test_nothing_is_lost_and_nothing_is_left(api: str, tmp_path: Path) -> None:
    file = tmp_path / "numbers.json"
    options = "--seconds 2 --settle 0.5 --concurrent 8 --pause 0.05 --faults 0.4 --no-breaker"
    command = [sys.executable, str(SOAK), *options.split(), "--api", api, "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert file.exists(), done.stderr
    numbers = json.loads(file.read_text())
    assert numbers["failed_requests"] > 0
    assert numbers["statuses"].keys() >= {"reranked", "fell_back"}
    assert [numbers[name] for name in ("lost", "duplicated", "disordered")] == [0, 0, 0]
    assert max(numbers["left"].values()) <= 0
    assert numbers["complaints"] == {}
