"""Paired comparisons against values known by hand or by theory."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from vecdb_rerank.evaluation.significance import paired, randomisation


def test_wins_losses_and_ties_are_counted() -> None:
    how = paired([0.5, -0.25, 0.0, 1e-12, 0.25, -1e-12])
    assert (how.wins, how.losses, how.ties) == (2, 1, 3)
    assert how.change == pytest.approx(0.5 / 6)


def test_p_is_exact_for_few_queries() -> None:
    # Of the 16 ways to sign four equal changes, the two that agree are as extreme.
    assert randomisation([0.1] * 4) == pytest.approx(2 / 16)
    # |sum| is 4 with 2 of 8 sign patterns, and 2 with 6 more: all are at least as large.
    assert randomisation([1.0, 1.0, 2.0]) == pytest.approx(2 / 8)
    assert randomisation([-1.0, -1.0, -2.0]) == pytest.approx(2 / 8)


def test_p_of_no_changes_is_one_and_of_many_equal_ones_small() -> None:
    assert randomisation([0.0] * 50) == 1.0
    assert randomisation([0.01] * 50) < 0.001
    assert randomisation([0.1, -0.1] * 50) > 0.9


def test_the_same_changes_give_the_same_answer() -> None:
    changes = [((n * 37) % 11 - 5) / 10 for n in range(60)]
    assert paired(changes) == paired(changes)


def test_the_plain_values_are_those_of_the_comparison() -> None:
    how = paired([0.1, -0.1, 0.3])
    assert how.as_dict() == asdict(how)
