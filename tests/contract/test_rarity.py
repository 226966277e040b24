"""How common terms are in a real index, and what the guard of exact terms makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.contract.backends import Backend
from vecdb_rerank.candidates import Scores
from vecdb_rerank.deadline import Deadline
from vecdb_rerank.flow import run, run_async
from vecdb_rerank.jargon import IndexRarity, Jargon
from vecdb_rerank.outcomes import observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.protocols import KnowsTerms
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank.testing.base import ids, new_name

COUNT = 60
HELD = {"ERR_4032": 6, "utf8": 18, "os.path": 12}  # by the first documents each


def text(n: int) -> str:
    held = " and ".join(term for term, count in HELD.items() if n < count)
    return f"Note {n} on disks: {held or 'nothing'} is what it says."


class Plain:
    """Prefers what holds no exact term, as a reranker that has never read one may."""

    name = "plain"

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        return Scores.from_relevance([0.1 if "ERR" in d else 0.9 for d in documents])


@pytest.fixture(scope="module")
def filled(backend: Backend) -> Iterator[tuple[Backend, str]]:
    """The backend, and a collection of it that holds the texts."""
    name = new_name()
    connector = backend.connect(name, embedder=HashEmbedder(), reranker=None)
    backend.call(connector.create())
    report = backend.call(connector.add({"id": n, "text": text(n)} for n in range(COUNT)))
    assert report.added == COUNT
    yield backend, name
    backend.call(connector.delete())


def shares(backend: Backend, name: str, terms: Sequence[str]) -> dict[str, float]:
    store = backend.connect(name, embedder=HashEmbedder(), reranker=None).store
    assert isinstance(store, KnowsTerms)
    assert store.collection == name
    drive = run_async if backend.name.endswith("async") else run
    found: dict[str, float] = backend.call(drive(store.term_shares(terms, Deadline.after(10))))
    return found


def searched(backend: Backend, name: str, index: IndexRarity | None) -> tuple[list[Any], Any]:
    policy = Policy(jargon=Jargon(index=index))
    connector = backend.connect(name, embedder=HashEmbedder(), reranker=Plain(), policy=policy)
    with observe() as outcomes:
        response = backend.call(connector.search("ERR_4032 on disks", k=20, limit=20, mode="bm25"))
    return ids(connector, response), outcomes[0]


def test_shares_are_those_of_the_documents(filled: tuple[Backend, str]) -> None:
    found = shares(*filled, ["ERR_4032", "utf8", "disks"])
    assert found == pytest.approx(
        {"ERR_4032": 6 / 60, "utf8": 18 / 60, "disks": 1.0}, abs=0.5 / COUNT + 1e-3
    )


def test_a_term_that_the_index_does_not_hold_is_left_out(filled: tuple[Backend, str]) -> None:
    assert shares(*filled, ["ERR_9876", "the"]).keys().isdisjoint({"the"})
    assert shares(*filled, ["zebra42"]) == {}


def test_a_term_rare_in_the_index_is_guarded_though_many_candidates_hold_it(
    filled: tuple[Backend, str],
) -> None:
    holders = set(range(6))
    alone, _ = searched(*filled, None)
    assert {int(i) for i in alone[-6:]} == holders  # six of twenty are not rare
    asked, outcome = searched(*filled, IndexRarity(share=0.15))
    assert {int(i) for i in asked[2:8]} == holders
    assert sorted(asked) == sorted(alone)
    assert outcome.timings["rarity"] > 0
    connector = filled[0].connect(
        filled[1],
        embedder=HashEmbedder(),
        reranker=Plain(),
        policy=Policy(jargon=Jargon(index=IndexRarity())),
    )
    with observe() as outcomes:
        filled[0].call(connector.search("what is said on disks?"))
    assert "rarity" not in outcomes[0].timings  # there is nothing to ask
    common, _ = searched(*filled, IndexRarity(share=0.05))
    assert common == alone


def test_an_index_that_cannot_be_asked_costs_nothing_but_the_guard(
    filled: tuple[Backend, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The real server refuses: the request is for a collection that is not there."""
    backend, name = filled
    connector = backend.connect(
        name,
        embedder=HashEmbedder(),
        reranker=Plain(),
        policy=Policy(jargon=Jargon(index=IndexRarity(share=0.15))),
    )
    other = backend.connect(f"{name}-gone", embedder=HashEmbedder(), reranker=None).store
    monkeypatch.setattr(connector.store, "term_shares", other.term_shares)
    with observe() as outcomes:
        response = backend.call(connector.search("ERR_4032 on disks", k=20, limit=20, mode="bm25"))
    assert outcomes[0].status == "reranked"
    assert ids(connector, response) == searched(backend, name, None)[0]
    assert "rarity of exact terms" in caplog.text
