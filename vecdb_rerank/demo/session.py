"""Search the handbook in this process: an embedded Qdrant in memory and the bundled models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import cast

from vecdb_rerank.config import factory
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.demo.handbook import Passage, Question, passages, vectors
from vecdb_rerank.evaluation.connector import EvaluatedConnector, fill
from vecdb_rerank.model import HitId
from vecdb_rerank.outcome import Outcome, observe
from vecdb_rerank.protocols import Embedder, Vector

K = 50  # first-pass candidates, the default of a search


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage with its rank (from 1) after reranking, and its rank before."""

    passage: Passage
    rank: int
    was: int
    grade: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The reranked hits of a question, and where its first answer was.

    ``first_answer`` is the rank (from 1) of the first passage of grade 2 in each stage (``bm25``,
    ``dense``, ``hybrid``, ``reranked``); None if it is not among the candidates.
    """

    question: Question
    hits: Sequence[Hit]
    first_answer: Mapping[str, int | None]
    milliseconds: float


class HandbookEmbedder:
    """The bundled embedder; the passages' vectors come with the package.

    Embedding them takes seconds, and they are always the same.
    """

    def __init__(self, embedder: Embedder, texts: Sequence[str]) -> None:
        self._embedder = embedder
        self._known = dict(zip(texts, vectors().astype("float32").tolist(), strict=True))

    @property
    def dimension(self) -> int:
        """The length of every vector."""
        return self._embedder.dimension

    def embed_query(self, text: str) -> Vector:
        """Return the vector of a query."""
        return self._embedder.embed_query(text)

    def embed_documents(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return the vectors of passages, shape (len(texts), dimension)."""
        return [self._known[text] for text in texts]


@contextmanager
def opened() -> Iterator[EvaluatedConnector]:
    """Yield a connector over the handbook, in memory; nothing is written to disk."""
    connector: EvaluatedConnector = factory.build(
        Settings(
            backend={"type": "qdrant", "path": ":memory:", "collection": "handbook"},
            policy={"deadline": None},  # a slow machine must not change what is shown
        )
    )
    with closing(connector):
        documents = [passage.document() for passage in passages()]
        texts = [connector.pipeline.text_fields.text(document) for document in documents]
        embedder = HandbookEmbedder(cast("Embedder", connector.pipeline.embedder), texts)
        connector.pipeline = replace(connector.pipeline, embedder=embedder)
        fill(connector, documents, lambda _: None)
        yield connector


def ask(connector: EvaluatedConnector, question: Question) -> Answer:
    """Search for a question, and find where its answers were in each stage."""
    with observe() as outcomes:
        response = connector.search(question.text, k=K, limit=K, explain=True)
    [outcome] = outcomes
    names = {hit.id: str(hit.doc_id) for hit in connector.candidates(response)}
    known = {passage.id: passage for passage in passages()}
    hits = [
        Hit(
            known[names[hit.id]],
            hit.rank,
            hit.first_pass_rank,
            question.relevant.get(names[hit.id], 0),
        )
        for hit in outcome.hits
    ]
    return Answer(question, hits, _first_answer(question, names, outcome), outcome.timings["total"])


def _first_answer(
    question: Question, names: Mapping[HitId, str], outcome: Outcome
) -> dict[str, int | None]:
    answers = [hit for hit in outcome.hits if question.relevant.get(names[hit.id]) == 2]
    ranks = {
        branch: [hit.branches[branch].rank for hit in answers if branch in hit.branches]
        for branch in ("bm25", "dense")
    }
    ranks["hybrid"] = [hit.first_pass_rank for hit in answers]
    ranks["reranked"] = [hit.rank for hit in answers]
    return {stage: min(found, default=None) for stage, found in ranks.items()}
