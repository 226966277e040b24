"""Measure, without judgments, whether both branches of a hybrid search work in a collection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from vecdb_rerank.flow.steps import Flow
from vecdb_rerank.policy import Policy
from vecdb_rerank.ranking import branch_weights
from vecdb_rerank.request import BRANCHES, Fusion, Mode, Search
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.search.store import Finding, Store
from vecdb_rerank.text_fields import TextFields

R = TypeVar("R")
DOCUMENTS, MIN_DOCUMENTS = 32, 8
_SAMPLE = 8 * DOCUMENTS  # stored documents that are read, some of which are too short
_HITS = 10
_MODES: tuple[Mode, Mode] = ("bm25", "dense")
_POLICY = Policy(deadline=None, branch_evidence=False)
# A sentence is long enough to say something, and leaves most of its document out.
_SENTENCE = re.compile(r"[^.!?。！？\n]{20,300}")  # noqa: RUF001 - full-width signs end sentences
_MAX_SHARE = 0.5
_CLOSE = 0.1  # a difference in weight that is worth no warning
_SUBJECT = "self-retrieval"
_REMEDIES = {
    "bm25": "correct backend.language, and the fields of the text",
    "dense": "use the embedder of the stored vectors, and one that knows the texts' language",
}


def self_retrieval(pipeline: Pipeline, store: Store[R]) -> Flow[tuple[float, float] | None]:
    """Return how well (bm25, dense) find a stored document by a sentence of it (0 to 1 each).

    That is the mean reciprocal rank of up to 32 documents among ten hits: the value of
    `Fusion.self_retrieval`. A branch that works finds most of them; one whose vectors are of
    another model finds none. None if fewer than eight documents hold several sentences.

    Nothing is written. Two searches a document are sent, without rerank.
    """
    payloads = yield from store.sample(_SAMPLE)
    probes = list(_probes(payloads, pipeline.text_fields))[:DOCUMENTS]
    if len(probes) < MIN_DOCUMENTS:
        return None
    found = dict.fromkeys(_MODES, 0.0)
    for text, sentence in probes:
        for mode in _MODES:
            search = Search(
                sentence, k=_HITS, limit=_HITS, offset=0, mode=mode, depth=_HITS, fusion=Fusion()
            )
            done = yield from pipeline.search(store, search, policy=_POLICY, rerank=False)
            texts = [hit.candidate.text for hit in done.ranking.hits]
            found[mode] += 1 / (1 + texts.index(text)) if text in texts else 0.0
    bm25, dense = (round(found[mode] / len(probes), 2) for mode in _MODES)
    return bm25, dense


def finding(found: tuple[float, float], fusion: Fusion) -> Finding:
    """Return what `self_retrieval` means for a collection that is searched with ``fusion``."""
    bm25, dense = found
    if not any(found):
        detail = "neither branch finds a stored document by a sentence of it"
        return Finding(_SUBJECT, "warning", detail, "add the documents again with this embedder")
    measured = Fusion(self_retrieval=found)
    weak = branch_weights.weak_branch(measured)
    detail = weak or f"mean reciprocal rank of a document by a sentence: bm25 {bm25}, dense {dense}"
    if fusion.fixed is not None or _close(measured, fusion):
        return Finding(_SUBJECT, "ok" if weak is None else "note", detail)
    remedy = setting("self_retrieval", found, fusion)
    if weak is not None:
        remedy = f"{_REMEDIES[BRANCHES[found.index(min(found))]]}; until then, {remedy}"
    return Finding(_SUBJECT, "warning", detail, remedy)


def setting(name: str, found: tuple[float, float], fusion: Fusion) -> str:
    """Return the setting of ``fusion`` that makes ``found`` count, as the settings file has it."""
    rrf = 'method = "rrf" and ' if fusion.method == "dbsf" else ""  # dbsf takes no weights
    return f"{rrf}{name} = [{found[0]}, {found[1]}] in [search.fusion]"


def _close(one: Fusion, other: Fusion) -> bool:
    """Check whether both fusions weigh the branches about the same before a search."""
    return abs(branch_weights.prior(one)[0] - branch_weights.prior(other)[0]) < _CLOSE


def _probes(
    payloads: Iterable[Mapping[str, object]], text_fields: TextFields
) -> Iterator[tuple[str, str]]:
    """Yield the text of each document that holds several sentences, and the middle one."""
    for payload in payloads:
        text = text_fields.text(payload)
        if sentence := _middle(_SENTENCE.findall(text), _MAX_SHARE * len(text)):
            yield text, sentence


def _middle(sentences: Sequence[str], longest: float) -> str | None:
    short = [s.strip() for s in sentences if len(s) <= longest and s.strip()]
    return short[len(short) // 2] if short else None
