"""When a search is not reranked by rule."""

from __future__ import annotations

from typing import Any

import pytest

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.model import BranchHit, Candidate
from vecdb_rerank.policy.skip import Skip
from vecdb_rerank.ranking.skip_rules import rule


def candidates(scores: list[float], **branches: list[float]) -> list[Candidate]:
    return [
        Candidate(
            n,
            n,
            "text",
            score,
            branches={
                name: BranchHit(1 + sorted(own, reverse=True).index(own[n]), own[n])
                for name, own in branches.items()
            },
        )
        for n, score in enumerate(scores)
    ]


MANY = candidates([1.0 - n / 50 for n in range(40)])


def test_nothing_is_skipped_by_default() -> None:
    assert rule('"ERR_4032"', MANY, Skip()) is None
    assert rule('"ERR_4032"', MANY[:1], Skip()) is None


@pytest.mark.parametrize(
    ("query", "skipped"),
    [
        ("ERR_4032", True),
        ('"connection refused" ERR_4032, utf8!', True),
        ("what is ERR_4032", False),
        ("undo a commit", False),
        ("?!", False),
    ],
)
def test_queries_of_exact_terms_alone(query: str, skipped: bool) -> None:
    assert (rule(query, MANY, Skip(exact=True)) is not None) is skipped


def test_few_hits() -> None:
    assert str(rule("q", MANY[:5], Skip(few=5))).startswith("few")
    assert rule("q", MANY[:6], Skip(few=5)) is None


def test_a_decisive_margin() -> None:
    rules = Skip(margin=0.5)
    assert "0.75" in str(rule("q", candidates([1.0, 0.4, 0.3, 0.2]), rules))
    assert rule("q", candidates([1.0, 0.9, 0.3, 0.2]), rules) is None
    assert rule("q", candidates([1.0, 1.0, 1.0]), rules) is None
    assert rule("q", candidates([1.0]), rules) is not None


def test_the_margin_is_that_of_every_branch() -> None:
    rules = Skip(margin=0.5)
    clear, close = [9.0, 2.0, 1.0], [0.9, 0.88, 0.1]
    fused = [0.03, 0.02, 0.01]
    assert rule("q", candidates(fused, bm25=clear, dense=clear), rules) is not None
    assert rule("q", candidates(fused, bm25=clear, dense=close), rules) is None
    assert rule("q", candidates(fused, bm25=clear, dense=[0.1, 0.9, 0.2]), rules) is None


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"few": 0}, "few"), ({"margin": 0.0}, "margin"), ({"margin": 2}, "margin")],
)
def test_wrong_rules_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Skip(**wrong)
    assert caught.value.key == f"policy.skip.{named}"
