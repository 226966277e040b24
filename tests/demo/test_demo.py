"""The demo shows what it says it shows, on the real models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from vecdb_rerank.cli import common
from vecdb_rerank.cli import demo as command
from vecdb_rerank.cli.app import app
from vecdb_rerank.cli.terminal import SafeConsole
from vecdb_rerank.demo import handbook, measure, session
from vecdb_rerank.evaluation.connector import EvaluatedConnector


@pytest.fixture(scope="module")
def connector() -> Iterator[EvaluatedConnector]:
    with session.opened() as opened:
        yield opened


@pytest.fixture(scope="module")
def answers(connector: EvaluatedConnector) -> Mapping[str, session.Answer]:
    known = {question.id: question for question in handbook.questions()}
    return {name: session.ask(connector, known[name]) for name in command.SHOWN}


def test_nothing_that_is_held_out_is_shown() -> None:
    known = {question.id: question for question in handbook.questions()}
    assert not any(known[name].held_out for name in command.SHOWN)
    assert len({known[name].kind for name in command.SHOWN}) >= 3


def test_a_win_an_exact_name_a_negation_and_a_loss_are_shown(
    answers: Mapping[str, session.Answer],
) -> None:
    win, exact, negation, loss = (answer.first_answer for answer in answers.values())
    assert win["reranked"] == 1
    assert (win["hybrid"] or 99) >= 3
    assert exact["bm25"] == exact["reranked"] == 1
    assert (negation["reranked"] or 99) < (negation["hybrid"] or 0)
    assert (loss["reranked"] or 99) > (loss["hybrid"] or 99)


def test_the_question_in_the_help_is_the_win() -> None:
    [win, *_] = command.SHOWN
    [text] = [question.text for question in handbook.questions() if question.id == win]
    assert f'"{text}"' in (command.command.__doc__ or "")


def test_an_answer_has_all_candidates_with_both_ranks(
    answers: Mapping[str, session.Answer],
) -> None:
    for answer in answers.values():
        assert [hit.rank for hit in answer.hits] == list(range(1, session.K + 1))
        assert {hit.was for hit in answer.hits} == set(range(1, session.K + 1))
        first = min(hit.rank for hit in answer.hits if hit.grade == 2)
        assert answer.first_answer["reranked"] == first


def test_as_many_questions_are_measured_as_the_time_allows() -> None:
    questions = handbook.answered(held_out=False)
    assert len(measure.sample(questions, 10_000)) == measure.AT_LEAST >= 60
    assert len(measure.sample(questions, 1)) == len(questions)
    assert measure.AT_LEAST < len(measure.sample(questions, 300)) < len(questions)
    assert measure.sample(questions, 300) == measure.sample(questions, 300)
    assert not any(question.held_out for question in measure.sample(questions, 1))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Measure four questions; nothing of the user's is read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measure, "AT_LEAST", 4)
    monkeypatch.setattr(measure, "SECONDS", 0.0)


def test_the_demo_from_its_first_line_to_the_next_commands(short: None, tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["demo", "--svg", "picture.svg"])
    assert ended.exit_code == 0, ended.output
    lines = ended.stdout.splitlines()
    assert "handbook" in lines[0]
    for kind in command.SHOWN.values():
        assert kind in ended.stdout
    for row in ("bm25", "dense", "hybrid", "tuned fusion", "reranked"):
        assert row in ended.stdout
    assert " index " in lines[-2]
    assert " adopt " in lines[-1]
    assert "\x1b" not in ended.stdout
    picture = (tmp_path / "picture.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(picture)
    assert "font-face" not in picture
    assert "picture.svg" in ended.stderr
    assert "reranked" in picture


def test_an_own_question_is_answered_without_a_table(short: None) -> None:
    ended = CliRunner().invoke(app, ["demo", "undo [/b] a commit that was pushed"])
    assert ended.exit_code == 0
    assert "“undo [/b] a commit that was pushed”" in ended.stdout
    assert "git revert" in ended.stdout
    assert "tuned fusion" not in ended.stdout


@pytest.mark.parametrize("option", [["--all"], ["--held-out"], ["--svg", "picture.svg"]])
def test_options_of_the_tour_take_no_own_question(option: list[str], short: None) -> None:
    assert CliRunner().invoke(app, ["demo", "undo a commit", *option]).exit_code == 2
    assert not Path("picture.svg").exists()


def test_the_held_out_third_is_measured_and_not_shown(
    short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = handbook.answered(held_out=True)[:3]
    monkeypatch.setattr(handbook, "answered", lambda *, held_out: few if held_out else [])
    ended = CliRunner().invoke(app, ["demo", "--held-out"])
    assert ended.exit_code == 0
    assert "3 judged questions" in ended.stdout
    assert "tuned fusion" in ended.stdout
    assert not any(question.text in ended.stdout for question in few)


def test_a_narrow_terminal_is_not_overrun(short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "out", SafeConsole(width=60))
    ended = CliRunner().invoke(app, ["demo", "undo a commit"])
    lines = ended.stdout.partition("”")[2].splitlines()
    assert sum(line.strip()[:1].isdigit() for line in lines) == 5
    assert max(map(len, lines)) <= 60
