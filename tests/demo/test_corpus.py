"""The demo's documents and questions fit together on every supported Python."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Sequence
from typing import get_args

import pytest

from vecdb_rerank.demo.corpus import MIN_TEXT, Entry, Kind, standard_library
from vecdb_rerank.demo.questions import Question, questions

WELL_KNOWN = [
    ("argparse.ArgumentParser.add_argument", "method"),
    ("asyncio.gather", "function"),
    ("asyncio.TaskGroup", "class"),
    ("collections.abc.Mapping", "class"),
    ("collections.OrderedDict", "class"),
    ("concurrent.futures.ThreadPoolExecutor", "class"),
    ("datetime.datetime.strptime", "method"),
    ("dict.fromkeys", "method"),
    ("functools.lru_cache", "function"),
    ("itertools.chain", "class"),
    ("itertools.chain.from_iterable", "method"),
    ("json", "module"),
    ("json.dumps", "function"),
    ("list.reverse", "method"),
    ("math.isclose", "function"),
    ("open", "function"),
    ("OSError", "class"),
    ("os.path", "module"),
    ("os.path.join", "function"),
    ("pathlib.Path.glob", "method"),
    ("random.randint", "function"),
    ("re.Pattern.sub", "method"),
    ("socket.socket.recv", "method"),
    ("sqlite3.connect", "function"),
    ("str.join", "method"),
    ("str.maketrans", "method"),
    ("typing.Optional", "class"),
]

# The same objects under the names of the modules that hold or copy them.
OTHER_NAMES = [
    "asyncio.tasks.gather",
    "builtins.str",
    "collections.deque.__len__",
    "genericpath.exists",
    "IOError",
    "json.encoder.JSONEncoder",
    "multiprocessing.context.BaseContext.Pool",
    "os.error",
    "posix.stat",
    "posixpath.join",
    "random.Random.randint",
    "unittest.case.TestCase",
]


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return list(standard_library())


@pytest.fixture(scope="module")
def by_id(entries: Sequence[Entry]) -> dict[str, Entry]:
    return {entry.id: entry for entry in entries}


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    return questions()


def test_corpus_is_large_and_its_ids_are_unique_and_sorted(entries: Sequence[Entry]) -> None:
    ids = [entry.id for entry in entries]
    assert len(ids) > 4_500
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)


@pytest.mark.parametrize(("identifier", "kind"), WELL_KNOWN)
def test_well_known_objects_are_listed(
    by_id: dict[str, Entry], identifier: str, kind: Kind
) -> None:
    assert by_id[identifier].kind == kind


@pytest.mark.parametrize("identifier", OTHER_NAMES)
def test_objects_have_one_name(by_id: dict[str, Entry], identifier: str) -> None:
    assert identifier not in by_id


def test_entries_are_complete(entries: Sequence[Entry]) -> None:
    for entry in entries:
        assert entry.kind in get_args(Kind)
        assert len(entry.text) >= MIN_TEXT
        assert entry.signature == "" or entry.signature.startswith("(")
        assert " at 0x" not in entry.signature
        assert not any(part.startswith("_") for part in entry.id.split("."))


def test_methods_are_shown_without_self(by_id: dict[str, Entry]) -> None:
    assert by_id["str.removeprefix"].signature == "(prefix, /)"
    assert by_id["pathlib.Path.iterdir"].signature == "()"
    assert by_id["typing.Optional"].signature == ""


def test_payload_holds_what_a_result_shows(by_id: dict[str, Entry]) -> None:
    entry = by_id["str.removeprefix"]
    assert entry.payload() == {
        "title": "str.removeprefix(prefix, /)",
        "kind": "method",
        "module": "builtins",
        "text": entry.text,
    }


def test_corpus_is_the_same_again(entries: Sequence[Entry]) -> None:
    assert list(standard_library()) == entries


def test_warning_filters_are_left_alone() -> None:
    before = list(warnings.filters)
    iterator = standard_library()
    next(iterator)
    assert list(warnings.filters) == before


def test_nothing_is_printed() -> None:
    # In a new interpreter: here, most modules have been imported before.
    code = (
        "import warnings\n"
        "from vecdb_rerank.demo.corpus import standard_library\n"
        "warnings.simplefilter('always')\n"
        "assert list(standard_library())\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_questions_are_many_and_distinct(asked: Sequence[Question]) -> None:
    assert len(asked) >= 60
    assert len({question.id for question in asked}) == len(asked)
    assert len({question.text.casefold() for question in asked}) == len(asked)
    assert all(question.text.strip() == question.text != "" for question in asked)


def test_each_question_has_an_answer(asked: Sequence[Question]) -> None:
    for question in asked:
        grades = set(question.relevant.values())
        assert 2 in grades, question.id
        assert grades <= {1, 2}, question.id


def test_judged_entries_exist(asked: Sequence[Question], by_id: dict[str, Entry]) -> None:
    judged = {identifier for question in asked for identifier in question.relevant}
    assert sorted(judged - by_id.keys()) == []
