"""The example programs, as a reader would run them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUESTION = "How do I change the message of my last commit?"
AMEND = "git commit --amend adds to the last commit."


def output(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """What a program prints, in this process: it has imported the frameworks already."""
    monkeypatch.setattr("sys.argv", [program, QUESTION])
    runpy.run_path(str(ROOT / "examples" / program), run_name="__main__")
    return capsys.readouterr().out.splitlines()


def test_rag_with_langchain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third, _, answer = output("rag_langchain/rag.py", monkeypatch, capsys)
    assert first.endswith(f"was 1  {AMEND}")
    assert answer == f"{AMEND} [1]"
    assert "  was 3  git reset" in second  # the reranker moved it up
    assert "  was 2  " in third


def test_query_engine_with_llama_index(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *rest = output("query_engine_llama_index/query.py", monkeypatch, capsys)
    assert first.endswith(f"was 1  amend: {AMEND}")
    assert AMEND in rest  # in the prompt, which MockLLM answers with
    assert f"Query: {QUESTION}" in rest
