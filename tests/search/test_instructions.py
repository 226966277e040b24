"""Instructions: from a search, a connector or a drop-in call to the rerankers that follow them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from vecdb_rerank import ConfigurationError, FunctionReranker, SearchDefaults, observe, rerank_query
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run, run_async
from vecdb_rerank.model import Scores
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.passages import Passages
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.rerankers.cascade import CascadeReranker
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.search.rerank_list import ListReranker
from vecdb_rerank.testing import HashEmbedder
from vecdb_rerank_qdrant import (
    AsyncRerankingQdrantClient,
    QdrantConnector,
    RerankingQdrantClient,
)

DOCUMENTS = [
    {"id": n, "text": text}
    for n, text in enumerate(["bread from a blog", "bread from the documentation", "bread, boiled"])
]
REPLACE = Policy(blend=Blend("replace"))


class Obedient:
    """Finds relevant what holds the last word of the instruction."""

    name = "obedient"

    def __init__(self) -> None:
        self.given: list[str] = []

    def score(self, query: str, texts: Sequence[str], *, instruction: str = "blog") -> list[float]:
        self.given.append(instruction)
        return [0.9 if instruction.split()[-1] in text else 0.1 for text in texts]


class Deaf:
    """Takes no instruction."""

    name = "deaf"

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        return [0.5 - n / 10 for n in range(len(texts))]


class Failing:
    """Takes an instruction, and fails."""

    name = "failing"

    def score(self, query: str, texts: Sequence[str], *, instruction: str = "") -> list[float]:
        raise RuntimeError("out of order")


class Bound(BaseReranker):
    """A subclass with an instruction of its own."""

    takes_instruction = True

    def __init__(self, instruction: str = "own") -> None:
        self.instruction = instruction

    def with_instruction(self, instruction: str) -> Bound:
        return Bound(instruction)

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        return Scores.from_relevance([0.5] * len(documents), billed=len(self.instruction))


def connector(reranker: Any, **options: Any) -> QdrantConnector:
    made = QdrantConnector(
        QdrantClient(":memory:"),
        "d",
        embedder=HashEmbedder(),
        reranker=reranker,
        policy=REPLACE,
        close_client=True,
        **options,
    )
    made.create()
    made.add(DOCUMENTS)
    return made


def first(response: Any) -> str:
    return str(response.points[0].payload["text"])


# -- searches of a connector


def test_a_search_has_an_instruction_of_its_own() -> None:
    reranker = Obedient()
    with connector(reranker) as searched:
        assert "blog" in first(searched.search("bread"))
        assert "documentation" in first(searched.search("bread", instruction="the documentation"))
        assert "boiled" in first(searched.search("bread", instruction="what is boiled"))
    assert reranker.given == ["blog", "the documentation", "what is boiled"]


def test_that_of_the_connector_holds_for_searches_without_one() -> None:
    reranker = Obedient()
    defaults = SearchDefaults(instruction="the documentation")
    with connector(reranker, defaults=defaults) as searched:
        assert "documentation" in first(searched.search("bread"))
        assert "boiled" in first(searched.search("bread", instruction="what is boiled"))
        assert "blog" in first(searched.search("bread", instruction=""))  # none
        searched.search("bread", rerank=False)
    assert reranker.given == ["the documentation", "what is boiled", "blog"]


@pytest.mark.parametrize("place", ["connector", "search"])
def test_an_instruction_that_no_reranker_has_a_place_for_is_refused(place: str) -> None:
    given: dict[str, Any] = {"instruction": "the documentation"}
    with pytest.raises(ConfigurationError) as caught, observe() as outcomes:
        if place == "connector":
            connector(Deaf(), defaults=SearchDefaults(**given))
        with connector(Deaf()) as searched:
            searched.search("bread", **given)
    assert caught.value.key == "instruction"
    assert "deaf" in caught.value.problem
    assert not outcomes


@pytest.mark.parametrize("wrong", [5, b"x", ["x"], "\ud800"])
def test_an_instruction_is_a_text(wrong: Any) -> None:
    with connector(Obedient()) as searched, pytest.raises(ConfigurationError) as caught:
        searched.search("bread", instruction=wrong)
    assert caught.value.key == "instruction"


def test_a_search_that_is_not_reranked_may_have_one() -> None:
    with connector(None) as searched:
        assert searched.search("bread", instruction="the documentation").points
    with connector(Deaf()) as searched:
        assert searched.search("bread", instruction="x", rerank=False).points


def test_a_fallback_without_a_place_reads_the_query_alone_and_says_so() -> None:
    with connector([Failing(), Deaf()]) as searched, observe() as outcomes:
        searched.search("bread", instruction="the documentation")
        searched.search("bread")
    noted, plain = outcomes
    assert (noted.reranker, plain.reranker) == ("deaf", "deaf")
    assert "deaf" in noted.notes["instruction_unused"]
    assert "instruction_unused" not in plain.notes


# -- rerankers


def ask(chain: Chain, instruction: str | None, policy: Policy = REPLACE, api: str = "sync") -> Any:
    def flow() -> Any:
        texts = [str(one["text"]) for one in DOCUMENTS]
        return chain.ask("bread", texts, Deadline(), policy, instruction=instruction)

    return run(flow()) if api == "sync" else asyncio.run(run_async(flow()))


@pytest.mark.parametrize("api", ["sync", "async"])
def test_functions_of_both_kinds_are_given_it(api: str) -> None:
    async def later(query: str, texts: Sequence[str], *, instruction: str = "") -> list[float]:
        return [0.1 * len(instruction)] * len(texts)

    def at_once(query: str, texts: Sequence[str], *, instruction: str = "") -> list[float]:
        return [0.1 * len(instruction)] * len(texts)

    for function in (later, at_once):
        reranker: Any = FunctionReranker(function)
        chain = Chain([reranker])
        for instruction, expected in (("four", 0.4), ("", 0.0), (None, 0.0)):
            answer = ask(chain, instruction, api=api)
            assert list(answer.scores.relevance) == pytest.approx([expected] * 3)


def test_a_subclass_keeps_its_own_until_there_is_another() -> None:
    chain = Chain([Bound()])
    billed = [ask(chain, one).scores.billed for one in (None, "longer", "")]
    assert billed == [3, 6, 0]


def test_passages_are_read_with_it() -> None:
    reranker = Obedient()
    policy = Policy(blend=Blend("replace"), passages=Passages())
    assert ask(Chain([reranker]), "the documentation", policy).scores.relevance[1] == 0.9


@pytest.mark.parametrize("places", [(Deaf, Obedient), (Obedient, Deaf), (Obedient, Obedient)])
def test_a_cascade_gives_it_to_those_that_take_it(places: tuple[type[Any], type[Any]]) -> None:
    one, other = (kind() for kind in places)
    answer = ask(Chain([CascadeReranker(one, other, best=2)]), "the documentation")
    assert answer.scores is not None
    assert "instruction_unused" not in answer.scores.notes
    for reranker in (one, other):
        assert getattr(reranker, "given", ["the documentation"]) == ["the documentation"]
    with pytest.raises(ConfigurationError):
        Chain([CascadeReranker(Deaf(), Deaf())]).check_instruction("x")


def test_a_list_is_reranked_by_it() -> None:
    texts = [str(one["text"]) for one in DOCUMENTS]
    listed = ListReranker("test", Obedient(), REPLACE, "what is boiled")
    for given, expected in ((None, 2), ("the documentation", 1), ("", 0)):
        places = run(listed.steps("bread", texts, [None] * 3, instruction=given))
        assert places[0].position == expected
    with pytest.raises(ConfigurationError):
        ListReranker("test", Deaf(), REPLACE, "x")


# -- drop-in clients


@pytest.fixture
def stored() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    fill(client)
    yield client
    client.close()


def points() -> list[models.PointStruct]:
    return [
        models.PointStruct(id=int(str(one["id"])), vector=[1.0, 0.1 * n], payload=dict(one))
        for n, one in enumerate(DOCUMENTS)
    ]


def fill(client: QdrantClient) -> None:
    size = models.VectorParams(size=2, distance=models.Distance.DOT)
    client.create_collection("d", vectors_config=size)
    client.upsert("d", points())


ASKED: dict[str, Any] = {"query": [1.0, 0.0], "rerank_query": "bread"}


def test_a_call_beats_the_block_and_the_block_the_client(stored: QdrantClient) -> None:
    client = RerankingQdrantClient(
        stored, Obedient(), policy=REPLACE, instruction="the documentation"
    )
    assert "documentation" in first(client.query_points("d", **ASKED))
    with rerank_query(instruction="what is boiled"):
        assert "boiled" in first(client.query_points("d", **ASKED))
        assert "blog" in first(client.query_points("d", **ASKED, instruction="the blog"))
        assert "blog" in first(client.query_points("d", **ASKED, instruction=""))
    assert "documentation" in first(client.query_points("d", **ASKED))


def test_a_block_gives_text_and_instruction(stored: QdrantClient) -> None:
    client = RerankingQdrantClient(stored, Obedient(), policy=REPLACE)
    with rerank_query("bread", instruction="what is boiled"):
        with rerank_query("more bread"):  # the inner one leaves the instruction as it is
            assert "boiled" in first(client.query_points("d", query=[1.0, 0.0]))
        with rerank_query(instruction="the documentation"):
            assert "documentation" in first(client.query_points("d", query=[1.0, 0.0]))
    with pytest.raises(ConfigurationError), rerank_query(instruction=5):  # type: ignore[arg-type]
        pass


def test_batches_and_groups_take_one(stored: QdrantClient) -> None:
    client = RerankingQdrantClient(stored, Obedient(), policy=REPLACE)
    requests = [models.QueryRequest(query=[1.0, 0.0], with_payload=True)] * 2
    found = client.query_batch_points(
        "d", requests, rerank_query="bread", instruction="what is boiled"
    )
    assert ["boiled" in first(response) for response in found] == [True, True]
    groups = client.query_points_groups(
        "d", "id", query=[1.0, 0.0], rerank_query="bread", instruction="the documentation"
    )
    assert "documentation" in str(groups.groups[0].hits[0].payload)


async def test_an_asynchronous_client_takes_one() -> None:
    native = AsyncQdrantClient(":memory:")
    size = models.VectorParams(size=2, distance=models.Distance.DOT)
    await native.create_collection("d", vectors_config=size)
    await native.upsert("d", points())
    client = AsyncRerankingQdrantClient(native, Obedient(), policy=REPLACE)
    found = await client.query_points("d", **ASKED, instruction="what is boiled")
    assert "boiled" in first(found)
    await client.close()


def test_a_call_that_no_reranker_has_a_place_for_is_refused(stored: QdrantClient) -> None:
    client = RerankingQdrantClient(stored, Deaf())
    with pytest.raises(ConfigurationError) as caught:
        client.query_points("d", **ASKED, instruction="the documentation")
    assert caught.value.key == "instruction"
    assert client.query_points("d", **ASKED, instruction="x", rerank=False).points
    with pytest.raises(ConfigurationError):
        RerankingQdrantClient(stored, Deaf(), instruction="the documentation")
    with pytest.raises(ConfigurationError) as caught:
        client.query_points("d", **ASKED, instruction=5)  # type: ignore[arg-type]
    assert caught.value.key == "instruction"
