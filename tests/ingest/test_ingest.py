"""Adding documents through a writer that is a dictionary."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecdb_rerank.embedders.function import FunctionEmbedder
from vecdb_rerank.errors import ConfigurationError, DatabaseError, EmbedderError, IngestError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.flow.steps import Call, Flow, Wait
from vecdb_rerank.ingest.flow import ingest
from vecdb_rerank.ingest.model import (
    Cause,
    Document,
    DocumentId,
    Failure,
    IngestOptions,
    IngestReport,
    Writer,
    WriteResult,
    stable_uuid,
)
from vecdb_rerank.model import Candidate, Ranking
from vecdb_rerank.protocols import Embedder, FirstPass, Vector
from vecdb_rerank.request import Mode, Search
from vecdb_rerank.search.connector import Connector
from vecdb_rerank.search.core import Core
from vecdb_rerank.search.store import ShardKey, Store
from vecdb_rerank.text_fields import TextFields

Drive = Callable[[Flow[Any]], Any]
Item = tuple[DocumentId, str, Vector | None]


def drive_async(flow: Flow[Any]) -> Any:
    return asyncio.run(run_async(flow))


DRIVERS = pytest.mark.parametrize("drive", [run, drive_async], ids=["sync", "async"])


class Away(Exception):
    """The server is not there for now."""


class Refused(Exception):
    """The server takes no batch with such a document."""


class Forbidden(Exception):
    """The server takes nothing from us."""


class TooLarge(Exception):
    """The request is over a limit."""


class Late(Exception):
    """There was no answer in time."""


CAUSES: dict[type[Exception], Cause] = {
    Away: "transient",
    Refused: "document",
    TooLarge: "too_large",
    Late: "timeout",
}


class Shelf:
    """A writer: keeps what it is given, unless ``answer`` overrides it."""

    def __init__(
        self, answer: Callable[[int, Sequence[Item]], WriteResult | None] = lambda *_: None
    ) -> None:
        self._answer = answer
        self.calls: list[list[DocumentId]] = []
        self.held: dict[DocumentId, Item] = {}

    def item(self, document: Document, text: str, vector: Vector | None) -> Item:
        if document.payload.get("unfit"):
            raise ValueError(f"it is {document.payload['unfit']}")
        return (document.id, text, vector)

    def write(self, items: Sequence[Item]) -> Flow[WriteResult]:
        def call() -> WriteResult:
            self.calls.append([item[0] for item in items])
            result = self._answer(len(self.calls), items) or WriteResult()
            kept = [item for n, item in enumerate(items) if n not in result.rejected | result.busy]
            self.held |= {item[0]: item for item in kept}
            return result

        return (yield Call(call))

    def stored(self, items: Sequence[Item]) -> Flow[set[int]]:
        def call() -> set[int]:
            return {n for n, item in enumerate(items) if self.held.get(item[0]) == item}

        return (yield Call(call))

    def cause(self, error: Exception) -> Cause:
        return CAUSES.get(type(error), "fatal")

    def describe_error(self, error: Exception) -> str:
        return f"refused by the shelf: {error}"


def payloads(n: int) -> list[dict[str, Any]]:
    return [{"id": i, "text": f"text {i}"} for i in range(n)]


def added(
    drive: Drive,
    shelf: Shelf,
    source: Iterable[Document | Mapping[str, Any]],
    embedder: Embedder | None = None,
    **options: Any,
) -> IngestReport:
    flow = ingest(shelf, source, embedder, TextFields(), IngestOptions(**options))
    report: IngestReport = drive(flow)
    return report


# -- batches


@DRIVERS
def test_documents_are_written_in_batches_in_their_order(drive: Drive) -> None:
    shelf = Shelf()
    report = added(drive, shelf, payloads(7), batch_size=3)
    assert shelf.calls == [[0, 1, 2], [3, 4, 5], [6]]
    assert (report.added, report.failed, report.retries) == (7, (), 0)
    assert report.seconds >= 0
    assert shelf.held[6] == (6, "text 6", None)


@DRIVERS
def test_nothing_to_add_writes_nothing(drive: Drive) -> None:
    shelf = Shelf()
    assert added(drive, shelf, []).added == 0
    assert shelf.calls == []


@DRIVERS
def test_a_batch_ends_at_its_size_too_whatever_field_is_large(drive: Drive) -> None:
    shelf = Shelf()
    sizes = [400, 400, 400, 5000, 10]
    source: list[Any] = [{"id": n, "html": "x" * size} for n, size in enumerate(sizes)]
    source.append(Document(9, {"text": "x"}, [0.5] * 100))
    added(drive, shelf, source, batch_bytes=1000)
    assert shelf.calls == [[0, 1], [2], [3], [4], [9]]


@DRIVERS
def test_the_source_is_read_as_documents_are_written(drive: Drive) -> None:
    # Bounded memory: at most the batch at hand, one that is embedded, and one document.
    taken = 0
    ahead: list[int] = []

    def source() -> Iterator[dict[str, Any]]:
        nonlocal taken
        for payload in payloads(100):
            taken += 1
            yield payload

    def answer(_call: int, items: Sequence[Item]) -> None:
        ahead.append(taken - len(shelf.held) - len(items))

    for embedder, most in ((None, 1), (FunctionEmbedder(wide), 9)):
        taken = 0
        ahead.clear()
        shelf = Shelf(answer)
        assert added(drive, shelf, source(), embedder, batch_size=8).added == 100
        assert max(ahead) <= most


@DRIVERS
def test_progress_is_told_after_each_batch(drive: Drive) -> None:
    progress: list[int] = []
    added(drive, Shelf(), payloads(7), batch_size=3, on_progress=progress.append)
    assert progress == [3, 6, 7]


@pytest.mark.parametrize("name", ["batch_size", "batch_bytes", "give_up_after"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_wrong_option_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{name}: "):
        IngestOptions(**{name: value})


# -- vectors


def wide(texts: list[str]) -> list[list[float]]:
    return [[float(len(text))] for text in texts]


@DRIVERS
def test_documents_are_embedded_a_batch_at_a_time(drive: Drive) -> None:
    batches: list[list[str]] = []

    def embed(texts: list[str]) -> list[list[float]]:
        batches.append(texts)
        return wide(texts)

    shelf = Shelf()
    added(drive, shelf, payloads(3), FunctionEmbedder(embed), batch_size=2)
    assert batches == [["text 0", "text 1"], ["text 2"]]
    assert shelf.held[0][2] == [6.0]


@DRIVERS
def test_a_document_that_brings_its_vector_is_not_embedded(drive: Drive) -> None:
    shelf = Shelf()
    source = [Document(1, {"text": "own"}, [9.0]), Document(2, {"text": "none"})]
    added(drive, shelf, source, FunctionEmbedder(wide))
    assert (shelf.held[1][2], shelf.held[2][2]) == ([9.0], [4.0])

    def unasked(_: list[str]) -> list[list[float]]:
        raise AssertionError("nothing to embed")

    added(drive, shelf, source[:1], FunctionEmbedder(unasked))


class Waiting(Shelf):
    """A shelf that takes each batch only when the next one is embedded."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self._last = batches
        self.embedded = 0

    def embed(self, texts: list[str]) -> list[list[float]]:
        self.embedded += 1
        return wide(texts)

    def write(self, items: Sequence[Item]) -> Flow[WriteResult]:
        wanted = min(len(self.calls) + 2, self._last)
        for _ in range(1000):
            if self.embedded == wanted:
                break
            yield Wait(0.01)
        assert self.embedded == wanted
        return (yield from super().write(items))


@DRIVERS
def test_a_batch_is_embedded_while_the_one_before_it_is_written(drive: Drive) -> None:
    shelf = Waiting(4)
    report = added(drive, shelf, payloads(7), FunctionEmbedder(shelf.embed), batch_size=2)
    assert report.added == 7
    assert shelf.calls == [[0, 1], [2, 3], [4, 5], [6]]
    assert all(item[2] == [6.0] for item in shelf.held.values())


@DRIVERS
def test_batches_before_an_error_of_embedding_or_reading_are_written(drive: Drive) -> None:
    def embed(texts: list[str]) -> list[list[float]]:
        if "text 4" in texts:
            raise EmbedderError("out of memory")
        return wide(texts)

    shelf = Shelf()
    with pytest.raises(IngestError, match=r"out of memory.* 4 documents"):
        added(drive, shelf, payloads(9), FunctionEmbedder(embed), batch_size=2)
    assert shelf.calls == [[0, 1], [2, 3]]

    def source() -> Iterator[dict[str, Any]]:
        yield from payloads(5)
        raise FileNotFoundError("corpus.jsonl")

    shelf = Shelf()
    with pytest.raises(FileNotFoundError):
        added(drive, shelf, source(), FunctionEmbedder(wide), batch_size=2)
    assert shelf.calls == [[0, 1], [2, 3]]


@DRIVERS
def test_nothing_is_written_after_a_batch_that_could_not_be(drive: Drive) -> None:
    def answer(call: int, _items: Sequence[Item]) -> None:
        if call == 2:
            raise Forbidden("read only")

    shelf = Shelf(answer)
    with pytest.raises(IngestError, match=r"read only.* 2 documents"):
        added(drive, shelf, payloads(9), FunctionEmbedder(wide), batch_size=2)
    assert shelf.calls == [[0, 1], [2, 3]]


@DRIVERS
def test_failures_are_those_of_their_documents(drive: Drive) -> None:
    shelf = Shelf(lambda call, _: WriteResult(rejected={0: "too old"}) if call == 2 else None)
    source = [*payloads(3), {"id": 3, "text": "x", "unfit": "odd"}, *payloads(6)[4:]]
    report = added(drive, shelf, source, FunctionEmbedder(wide), batch_size=2)
    assert report.failed == (Failure(3, "it is odd"), Failure(2, "too old"))
    assert sorted(map(str, shelf.held)) == ["0", "1", "4", "5"]


# -- ids


def test_the_id_is_the_payloads_own_and_underscore_id_is_not_stored() -> None:
    assert Document.from_payload({"_id": "x", "id": 3, "text": "t"}) == Document(
        "x", {"id": 3, "text": "t"}
    )
    assert Document.from_payload({"id": 3, "text": "t"}) == Document(3, {"id": 3, "text": "t"})
    assert Document.from_payload({"id": 0}).id == 0


def test_without_an_id_the_content_makes_one() -> None:
    payload = {"text": "t", "at": {"b": 1, "a": [None]}}
    made = Document.from_payload(payload).id
    assert uuid.UUID(str(made)).version == 5
    assert Document.from_payload(dict(reversed(payload.items()))).id == made
    assert Document.from_payload({**payload, "text": "other"}).id != made


class Colour(StrEnum):
    RED = "red"


GIVEN = uuid.UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
IDS: list[tuple[Any, int | str]] = [
    (7, 7),
    (-1, -1),
    (2**80, 2**80),
    ("seven", "seven"),
    (" ", " "),
    (GIVEN, str(GIVEN)),
    (np.int64(7), 7),
    (np.uint8(7), 7),
    (np.str_("x"), "x"),
    (Colour.RED, "red"),
]


@pytest.mark.parametrize(("given", "expected"), IDS, ids=repr)
def test_ids_of_all_kinds_become_plain_ones(given: Any, expected: int | str) -> None:
    for source in ([{"id": given}], [{"_id": given}], [Document(given, {})]):
        shelf = Shelf()
        assert added(run, shelf, source).added == 1
        ((doc_id, *_),) = shelf.held.values()
        assert (doc_id, type(doc_id)) == (expected, type(expected))


def test_the_id_of_a_payload_is_stored_as_a_plain_value() -> None:
    numpy_id = Document.from_payload({"id": np.uint64(2**64 - 1), "text": "one"})
    assert (numpy_id.payload["id"], type(numpy_id.payload["id"])) == (2**64 - 1, int)
    other_field = Document.from_payload({"_id": "a", "id": Decimal(7)})
    assert other_field.payload == {"id": Decimal(7)}


class Odd:
    """Nothing that stands for a document."""


NO_IDS: list[Any] = [
    True,
    np.True_,
    1.0,
    np.float32(1),
    Decimal(7),
    Fraction(7),
    7j,
    None,
    "",
    b"seven",
    [7],
    (7,),
    {"a": 7},
    np.array([7]),
    np.timedelta64(7, "s"),
    10**5_000,
    datetime(2026, 1, 1, tzinfo=UTC),
    Odd(),
]
MAKE: list[Callable[[Any], Any]] = [
    lambda wrong: {"id": wrong},
    lambda wrong: {"_id": wrong},
    lambda wrong: Document(wrong, {}),
]


@pytest.mark.parametrize("wrong", NO_IDS, ids=lambda wrong: type(wrong).__name__)
@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("as_list", [True, False])
def test_any_other_id_is_refused_with_the_documents_number(
    wrong: Any, make: Callable[[Any], Any], as_list: bool
) -> None:
    shelf = Shelf()
    source = [*payloads(2), make(wrong)]
    with pytest.raises(ConfigurationError, match=r"str\(\)") as error:
        added(run, shelf, source if as_list else iter(source))
    assert error.value.key in ("documents[2].id", "documents[2]._id")
    assert shelf.calls == []


def test_documents_of_an_iterator_are_refused_before_their_own_batch() -> None:
    shelf = Shelf()
    with pytest.raises(ConfigurationError) as error:
        added(run, shelf, iter([*payloads(5), {"id": None}]), batch_size=2)
    assert error.value.key == "documents[5].id"
    assert shelf.calls == [[0, 1], [2, 3]]


@pytest.mark.parametrize("wrong", ["text", 7, None, ("id", 1), [1]], ids=repr)
def test_what_is_no_document_is_refused_with_its_number(wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as error:
        added(run, Shelf(), [*payloads(1), wrong])
    assert error.value.key.startswith("documents[1]")


@DRIVERS
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_the_report_counts_documents_not_writes(drive: Drive, batch_size: int) -> None:
    shelf = Shelf()
    given: list[Any] = [(7, "a"), ("7", "b"), (8, ""), (np.int64(7), "c")]
    source = [{"id": doc_id, "text": text} for doc_id, text in given]
    report = added(drive, shelf, source, batch_size=batch_size)
    assert (report.added, report.without_text) == (2, 1)
    assert shelf.held[7][1] == "c"


def test_made_ids_are_the_same_in_every_version() -> None:
    # Adding the same corpus again after an upgrade must overwrite, not double, it.
    assert stable_uuid("name") == "dee0a5a6-783b-5863-854b-430d1481253b"


@given(
    st.dictionaries(
        st.text().filter(lambda key: key not in ("id", "_id")),
        st.one_of(st.none(), st.text(), st.floats(), st.binary()),
    )
)
def test_any_plain_payload_becomes_a_document(payload: dict[str, Any]) -> None:
    first, again = Document.from_payload(payload), Document.from_payload(dict(payload))
    assert first.id == again.id


# -- documents that cannot be stored


@DRIVERS
def test_a_refused_batch_is_halved_down_to_the_bad_document(drive: Drive) -> None:
    def answer(_call: int, items: Sequence[Item]) -> None:
        if any(item[0] == 5 for item in items):
            raise Refused("a value is too long")

    shelf = Shelf(answer)
    report = added(drive, shelf, payloads(8), batch_size=8)
    assert report.added == 7
    assert report.failed == (Failure(5, "refused by the shelf: a value is too long"),)
    assert sorted(shelf.held, key=str) == [0, 1, 2, 3, 4, 6, 7]
    assert len(shelf.calls) <= 2 * 3 + 1  # halving, not one by one
    assert report.retries == 0


@DRIVERS
def test_each_bad_document_of_a_batch_is_found(drive: Drive) -> None:
    def answer(_call: int, items: Sequence[Item]) -> None:
        bad = [item[0] for item in items if item[0] in (0, 3, 9)]
        if bad:
            raise Refused(f"bad: {bad[0]}")

    report = added(drive, Shelf(answer), payloads(10), batch_size=10)
    assert [(f.id, f.reason) for f in report.failed] == [
        (n, f"refused by the shelf: bad: {n}") for n in (0, 3, 9)
    ]
    assert report.added == 7


@DRIVERS
def test_rejected_items_of_a_batch_are_reported_with_their_reason(drive: Drive) -> None:
    def answer(call: int, items: Sequence[Item]) -> WriteResult:
        return WriteResult(rejected={1: "not a date"} if call == 1 else {})

    report = added(drive, Shelf(answer), payloads(4), batch_size=2)
    assert (report.added, report.failed) == (3, (Failure(1, "not a date"),))


@DRIVERS
def test_documents_that_the_writer_cannot_take_are_reported_and_the_others_stored(
    drive: Drive,
) -> None:
    shelf = Shelf()
    source = [{"id": 1, "text": "fine"}, {"id": 2, "unfit": "too wide"}, {"id": 3, "text": "fine"}]
    report = added(drive, shelf, source)
    assert report.added == 2
    assert report.failed == (Failure(2, "it is too wide"),)
    assert list(shelf.held) == [1, 3]


@DRIVERS
def test_a_batch_of_unfit_documents_is_not_written(drive: Drive) -> None:
    shelf = Shelf()
    report = added(drive, shelf, [{"id": 1, "unfit": "too wide"}])
    assert (report.added, shelf.calls) == (0, [])


# -- servers that are busy, away, or refuse


@DRIVERS
def test_busy_items_are_tried_again_alone(drive: Drive) -> None:
    def answer(call: int, items: Sequence[Item]) -> WriteResult:
        busy = {1: {1: "queue full", 3: "queue full"}, 2: {0: "queue full"}}
        return WriteResult(busy=busy.get(call, {}))

    shelf = Shelf(answer)
    report = added(drive, shelf, payloads(4))
    assert shelf.calls == [[0, 1, 2, 3], [1, 3], [1]]
    assert (report.added, report.failed, report.retries) == (4, (), 2)


@DRIVERS
def test_items_rejected_beside_busy_ones_are_reported_once(drive: Drive) -> None:
    def answer(call: int, items: Sequence[Item]) -> WriteResult:
        if call == 1:
            return WriteResult(rejected={0: "bad"}, busy={2: "queue full"})
        return WriteResult(rejected={0: "bad too"})

    shelf = Shelf(answer)
    report = added(drive, shelf, payloads(3))
    assert shelf.calls == [[0, 1, 2], [2]]
    assert report.failed == (Failure(0, "bad"), Failure(2, "bad too"))
    assert report.added == 1


@DRIVERS
def test_a_server_that_comes_back_gets_the_batch_again(drive: Drive) -> None:
    def answer(call: int, items: Sequence[Item]) -> None:
        if call == 2:
            raise Away("restarting")

    shelf = Shelf(answer)
    report = added(drive, shelf, payloads(6), batch_size=3)
    assert shelf.calls == [[0, 1, 2], [3, 4, 5], [3, 4, 5]]
    assert (report.added, report.retries) == (6, 1)


@DRIVERS
def test_a_server_that_stays_away_ends_it_with_the_number_stored(drive: Drive) -> None:
    def answer(call: int, items: Sequence[Item]) -> WriteResult:
        if call == 1:
            return WriteResult(rejected={0: "bad"})
        raise Away("gone")

    shelf = Shelf(answer)
    with pytest.raises(
        IngestError, match=r"refused by the shelf: gone; 2 documents are stored"
    ) as error:
        added(drive, shelf, payloads(9), batch_size=3, give_up_after=0.05)
    assert isinstance(root_cause(error.value), Away)
    assert sorted(shelf.held, key=str) == [1, 2]


@DRIVERS
def test_a_server_that_stays_busy_ends_it_with_its_own_words(drive: Drive) -> None:
    def answer(_call: int, items: Sequence[Item]) -> WriteResult:
        return WriteResult(busy={0: "queue full"})

    with pytest.raises(IngestError, match="queue full"):
        added(drive, Shelf(answer), payloads(2), give_up_after=0.05)


@DRIVERS
def test_a_fatal_error_ends_it_at_once(drive: Drive) -> None:
    def answer(_call: int, items: Sequence[Item]) -> None:
        raise Forbidden("no key")

    shelf = Shelf(answer)
    with pytest.raises(IngestError, match=r"refused by the shelf: no key; 0 documents are stored"):
        added(drive, shelf, payloads(4))
    assert len(shelf.calls) == 1


@DRIVERS
def test_a_request_that_is_too_large_is_halved_and_the_limit_learned(drive: Drive) -> None:
    def answer(_call: int, items: Sequence[Item]) -> None:
        if len(items) > 3:
            raise TooLarge("over the limit")

    shelf = Shelf(answer)
    report = added(drive, shelf, payloads(24), batch_size=8)
    assert (report.added, report.retries, report.failed) == (24, 0, ())
    refused = [call for call in shelf.calls if len(call) > 3]
    assert len(refused) <= 3  # 8, and its two halves


@DRIVERS
def test_a_document_that_is_too_large_alone_is_a_failure(drive: Drive) -> None:
    def answer(_call: int, items: Sequence[Item]) -> None:
        if any(item[0] == 2 for item in items):
            raise TooLarge("over the limit")

    report = added(drive, Shelf(answer), payloads(4))
    assert [failure.id for failure in report.failed] == [2]
    assert report.added == 3


@DRIVERS
def test_a_request_that_takes_too_long_is_halved(drive: Drive) -> None:
    def answer(_call: int, items: Sequence[Item]) -> None:
        if len(items) > 2:
            raise Late("no answer")

    shelf = Shelf(answer)
    report = added(drive, shelf, payloads(8), give_up_after=30.0)
    assert (report.added, report.retries) == (8, 0)
    assert [len(call) for call in shelf.calls] == [8, 4, 2, 2, 4, 2, 2]


@DRIVERS
def test_a_server_that_never_answers_in_time_ends_it(drive: Drive) -> None:
    def answer(_call: int, items: Sequence[Item]) -> None:
        raise Late("no answer")

    with pytest.raises(IngestError, match="0 documents are stored"):
        added(drive, Shelf(answer), payloads(8), give_up_after=0.05)


@DRIVERS
@pytest.mark.parametrize("failure", [Away, Late])
def test_documents_whose_answer_was_lost_are_counted(
    drive: Drive, failure: type[Exception]
) -> None:
    def answer(call: int, items: Sequence[Item]) -> None:
        if call > 1:
            shelf.held |= {item[0]: item for item in items}
            raise failure("the answer is lost")

    shelf = Shelf(answer)
    with pytest.raises(IngestError, match="4 documents are stored"):
        added(drive, shelf, payloads(6), batch_size=2, give_up_after=0.01)


@DRIVERS
def test_a_count_that_cannot_be_had_is_a_lower_bound(drive: Drive) -> None:
    class Dark(Shelf):
        def stored(self, items: Sequence[Item]) -> Flow[set[int]]:
            yield Call(lambda: None)
            raise Away("gone")

    def answer(call: int, items: Sequence[Item]) -> None:
        if call > 1:
            raise Away("gone")

    with pytest.raises(IngestError, match="at least 2 documents are stored"):
        added(drive, Dark(answer), payloads(4), batch_size=2, give_up_after=0.01)


@DRIVERS
def test_a_fatal_batch_counts_what_it_stored(drive: Drive) -> None:
    def answer(_call: int, items: Sequence[Item]) -> WriteResult:
        return WriteResult(rejected={1: "blocked"}, fatal="the shelf is blocked")

    shelf = Shelf(answer)
    with pytest.raises(IngestError, match="1 documents are stored"):
        added(drive, shelf, payloads(6), batch_size=2)
    assert len(shelf.calls) == 1


def root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


# -- through a connector


class ShelfStore(Store[list[Any]]):
    """Just enough of a database to add documents."""

    name = "shelf"

    def __init__(self, shelf: Shelf, refresh: Callable[[], None] = lambda: None) -> None:
        self._shelf = shelf
        self._refresh = refresh

    def writer(self, mode: Mode, shard_key: ShardKey | None = None) -> Writer[Any]:
        return self._shelf

    def refresh(self) -> Flow[None]:
        yield Call(self._refresh)

    def describe_error(self, error: Exception) -> str:
        return self._shelf.describe_error(error)

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[list[Any]]]:
        yield from ()
        return FirstPass([])

    def candidates(
        self, first: FirstPass[list[Any]], text_fields: TextFields
    ) -> Sequence[Candidate]:
        return []

    def rebuild(self, first: FirstPass[list[Any]], ranking: Ranking) -> list[Any]:
        return []


def connected(shelf: Shelf, embedder: Embedder | None = None, **store: Any) -> Connector[list[Any]]:
    return Connector(Core(ShelfStore(shelf, **store), reranker=None, embedder=embedder))


def test_a_connector_adds_and_makes_visible() -> None:
    shelf, refreshed = Shelf(), list[str]()
    report = connected(shelf, refresh=lambda: refreshed.append("yes")).add(payloads(3))
    assert (report.added, refreshed) == (3, ["yes"])


def test_an_error_of_the_source_is_not_blamed_on_the_database() -> None:
    def source() -> Iterator[dict[str, Any]]:
        yield {"id": 1, "text": "fine"}
        raise FileNotFoundError("corpus.jsonl")

    with pytest.raises(FileNotFoundError, match=r"^corpus.jsonl$"):
        connected(Shelf()).add(source())


def test_an_error_of_the_embedder_is_not_blamed_on_the_database() -> None:
    def embed(_: list[str]) -> list[list[float]]:
        raise LookupError("no GPU today")

    with pytest.raises(LookupError, match=r"^'?no GPU today'?$"):
        connected(Shelf(), FunctionEmbedder(embed)).add(payloads(1))


def test_an_error_of_the_refresh_is_the_databases() -> None:
    def refuse() -> None:
        raise Forbidden("no key")

    with pytest.raises(DatabaseError, match="refused by the shelf: no key"):
        connected(Shelf(), refresh=refuse).add(payloads(1))
