"""The contract of a connector: creating a collection and adding documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from vecdb_rerank.errors import IngestError, SchemaError
from vecdb_rerank.ingest.model import Document
from vecdb_rerank.model import DOC_ID
from vecdb_rerank.testing.base import (
    Call,
    Connect,
    ConnectorFixtures,
    ConnectorUnderTest,
    everything,
    ids,
    new_name,
    one_line,
    payloads,
)
from vecdb_rerank.testing.corpus import CORPUS
from vecdb_rerank.testing.doubles import HashEmbedder

RICH: Mapping[str, object] = {
    "title": "Ünïcödé \N{GRINNING FACE} 日本語 \u202e end",
    "text": 'quotes " and \\ and a\nline break',
    "empty": None,
    "flag": True,
    "amount": 12.5,
    "big": 2**53 - 1,
    "list": ["a", "b", "ç"],
    "none": [],
    "meta": {"deep": {"er": ["x", "y"], "nothing": None}, "key with spaces": "v"},
}
AWKWARD: Mapping[str, Mapping[str, object]] = {
    "no-text": {"subject": "nothing to read"},
    "empty": {"title": "", "text": ""},
    "blank": {"title": "  ", "text": " \n\t "},
    "null": {"title": None, "text": None},
    "twin-1": {"title": "Twin", "text": "the very same words"},
    "twin-2": {"title": "Twin", "text": "the very same words"},
    "huge": {"title": "Huge", "text": "many different words " * 10_000},
    "one-word": {"title": "Word", "text": "z" * 200_000},
    "stop-words": {"title": "the", "text": "of and to the"},
    "punctuation": {"title": "!", "text": "?!... ---"},
    "control": {"title": "control", "text": "tab\t null\u0000 bell\u0007"},
    "surrogate": {"title": "surrogate", "text": "lone surrogate \ud800 here"},
}


class Storing(ConnectorFixtures):
    """Creating a collection and adding documents."""

    def test_create_is_idempotent(self, make: Connect, call: Call) -> None:
        """``create`` returns True only if it created the collection."""
        connector = make(new_name())
        assert call(connector.create()) is True
        assert call(connector.create()) is False
        call(connector.delete())
        assert call(connector.create()) is True
        call(connector.delete())

    def test_other_dimension(
        self, make: Connect, call: Call, fresh: ConnectorUnderTest, filled: str
    ) -> None:
        """A collection of another dimension raises an error of one line with the dimension."""
        call(fresh.create())
        other = make(filled, embedder=HashEmbedder(7))
        with pytest.raises(SchemaError, match=r"(?s)7") as caught:
            call(other.create())
        assert one_line(caught.value)

    def test_missing_vector(self, make: Connect, call: Call, filled: str) -> None:
        """A collection without the vectors raises an error of one line that names them."""
        for option in self.other_vectors():
            with pytest.raises(SchemaError, match="elsewhere") as caught:
                call(make(filled, **option).create())
            assert one_line(caught.value)

    def other_vectors(self) -> list[Mapping[str, object]]:
        """Return options of ``connect`` for a vector or field called ``elsewhere``."""
        return [{"dense_vector": "elsewhere"}]

    def test_check_finds_nothing(self, call: Call, connector: ConnectorUnderTest) -> None:
        """``check`` finds no problem in a collection that ``create`` and ``add`` made."""
        assert [finding for finding in call(connector.check()) if not finding.ok] == []

    def test_check_finds_a_missing_collection(self, make: Connect, call: Call) -> None:
        """``check`` names a missing collection and the fix."""
        name = new_name()
        wrong = [finding for finding in call(make(name).check()) if not finding.ok]
        assert len(wrong) == 1
        assert name in wrong[0].subject
        assert wrong[0].fix

    def test_nothing_is_added_to_a_missing_collection(self, make: Connect, call: Call) -> None:
        """``add`` before ``create`` raises an error that names the collection, and creates none."""
        name = new_name()
        connector = make(name)
        with pytest.raises(IngestError, match=name):
            call(connector.add(CORPUS[:3], give_up_after=2.0))
        assert call(connector.create())

    def test_ids_of_all_kinds(self, call: Call, fresh: ConnectorUnderTest) -> None:
        """Integers, UUIDs and other strings are ids; adding a document again changes nothing."""
        given: list[int | str] = [
            0,
            7,
            2**63,
            2**64,
            -(2**70),
            "0f8fad5b-d9cb-469f-a165-70867728950e",
            "plain",
            "with spaces/and?signs#",
            "日本語-\N{GRINNING FACE}",
            "x" * 300,
        ]

        def documents() -> Iterator[Document]:
            for number, doc_id in enumerate(given):
                yield Document(doc_id, {"title": f"Number {number}", "text": f"text {number}"})

        assert call(fresh.add(documents(), batch_size=3)).added == len(given)
        assert call(fresh.add(documents(), batch_size=5)).added == len(given)
        found = ids(fresh, everything(fresh, call))
        assert sorted(found) == sorted(map(str, given))

    def test_plain_mappings(self, call: Call, fresh: ConnectorUnderTest) -> None:
        """Mappings are stored under ``_id``, ``id`` or a hash of their content."""
        documents = [
            {"_id": "a", "text": "first"},
            {"id": "b", "text": "second"},
            {"text": "third"},
            {"text": "fourth"},
        ]
        for _ in range(2):
            assert call(fresh.add(documents)).added == 4
        found = ids(fresh, everything(fresh, call))
        assert len(found) == 4
        assert {"a", "b"} < set(found)

    def test_adding_overwrites(self, call: Call, fresh: ConnectorUnderTest) -> None:
        """Adding the same id again replaces the document."""
        call(fresh.add([Document("one", {"text": "before", "old": True})]))
        call(fresh.add([Document("one", {"text": "after"})]))
        (payload,) = payloads(fresh, everything(fresh, call)).values()
        assert {k: v for k, v in payload.items() if k != DOC_ID} == {"text": "after"}

    def test_nothing_to_add(self, call: Call, fresh: ConnectorUnderTest) -> None:
        """An empty iterator adds nothing."""
        report = call(fresh.add(iter(())))
        assert (report.added, report.failed) == (0, ())

    def test_payload_survives(self, call: Call, fresh: ConnectorUnderTest) -> None:
        """Nulls, nesting, numbers and Unicode are returned as they were added, reranked or not."""
        call(fresh.add([Document("rich", RICH)]))
        for rerank in (False, True):
            response = call(fresh.search("quotes", rerank=rerank))
            (payload,) = payloads(fresh, response).values()
            assert {k: v for k, v in payload.items() if k != DOC_ID} == RICH

    def test_what_cannot_be_stored(self, call: Call, fresh: ConnectorUnderTest) -> None:
        """Documents that cannot be stored are reported with a reason; the others are stored."""
        good = [Document(f"good-{n}", {"text": f"good {n}"}) for n in range(9)]
        bad = [
            Document("short", {"text": "a vector of two numbers"}, vector=[0.5, 0.5]),
            Document("object", {"text": "not JSON", "value": object()}),
        ]
        report = call(fresh.add([*good[:3], bad[0], *good[3:6], bad[1], *good[6:]]))
        assert {failure.id for failure in report.failed} == {"short", "object"}
        assert all(failure.reason for failure in report.failed)
        assert report.added == len(good)
        assert set(ids(fresh, everything(fresh, call))) == {str(d.id) for d in good}

    def test_progress(self, call: Call, fresh: ConnectorUnderTest) -> None:
        """``on_progress`` is called after each batch."""
        counts: list[int] = []
        documents = [Document(n, {"text": f"number {n}"}) for n in range(7)]
        call(fresh.add(documents, batch_size=3, on_progress=counts.append))
        assert counts == [3, 6, 7]

    @pytest.mark.parametrize("mode", ["hybrid", "dense", "bm25"])
    def test_awkward_documents(self, call: Call, fresh: ConnectorUnderTest, mode: str) -> None:
        """Missing, empty, equal and very long texts are stored and found."""
        documents = [Document(name, payload) for name, payload in AWKWARD.items()]
        numbers = [Document("list", {"text": ["one", "two"]}), Document("map", {"text": {"a": 1}})]
        storable = [d for d in documents if d.id != "surrogate"]
        report = call(fresh.add(documents))
        refused = {failure.id for failure in report.failed}
        assert refused <= {"surrogate"}, report.failed
        odd = call(fresh.add(numbers))  # a schema may require text to be a string
        assert odd.added + len(odd.failed) == len(numbers)
        response = call(fresh.search("the very same different words", mode=mode, k=50, limit=50))
        found = ids(fresh, response)
        assert len(found) == len(set(found))
        assert {"twin-1", "twin-2", "huge"} <= set(found)
        if mode != "bm25":
            assert {str(d.id) for d in storable} <= set(found)
