"""From OpenSearch's responses to candidates and back: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vecdb_rerank import fusion
from vecdb_rerank.candidates import BranchHit, Candidate, Ranking
from vecdb_rerank.documents import Documents
from vecdb_rerank.protocols import Evidence, FirstPass
from vecdb_rerank.search import Fusion

Response = dict[str, Any]


def candidates(first: FirstPass[Response], documents: Documents) -> list[Candidate]:
    """The response's hits as candidates, in its order."""
    return [
        _candidate(position, hit, first.evidence, documents)
        for position, hit in enumerate(first.response["hits"]["hits"])
    ]


def _candidate(
    position: int, hit: Mapping[str, Any], evidence: Evidence, documents: Documents
) -> Candidate:
    hit_id = hit["_id"]
    source = hit.get("_source") or {}
    shown = {**unflatten(hit.get("fields") or {}), **source}
    return Candidate(
        position=position,
        id=hit_id,
        text=documents.text(_deepest(source, hit.get("fields") or {})),
        score=hit["_score"] if hit.get("_score") is not None else 0.0,
        payload=shown,
        branches={name: hits[hit_id] for name, hits in evidence.items() if hit_id in hits},
    )


def _deepest(source: Mapping[str, Any], fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text's source: ``fields`` where they were asked for, since ``_source`` is narrowed."""
    return unflatten(fields) if fields else source


def rebuild(first: FirstPass[Response], ranking: Ranking) -> Response:
    """The response with the ranking's hits, in its order, with its scores."""
    hits = first.response["hits"]
    ranked = [
        {**_without(hits["hits"][hit.candidate.position], first.forced), "_score": hit.score}
        for hit in ranking.hits
    ]
    return {
        **first.response,
        "hits": {**hits, "max_score": ranking.max_score, "hits": ranked},
    }


def evidence(branches: Sequence[Response]) -> Evidence:
    """What the branches (bm25, dense) said of each hit."""
    return {
        name: {
            hit["_id"]: BranchHit(rank, hit["_score"])
            for rank, hit in enumerate(response["hits"]["hits"], start=1)
        }
        for name, response in zip(("bm25", "dense"), branches, strict=True)
    }


def fuse(branches: Sequence[Response], how: Fusion, k: int) -> Response:
    """Fuse the branches here, as the server cannot; all but the hits is the BM25 branch's."""
    bm25, dense = branches
    by_id = {hit["_id"]: hit for response in (dense, bm25) for hit in response["hits"]["hits"]}
    fused = fusion.fuse(list(evidence(branches).values()), how)[:k]
    hits = [{**by_id[hit_id], "_score": score} for hit_id, score in fused]
    top = fused[0][1] if fused else None
    return {**bm25, "hits": {**bm25["hits"], "max_score": top, "hits": hits}}


def unflatten(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` of a hit (dotted names, lists of values) as a nested payload."""
    payload: dict[str, Any] = {}
    for name, values in fields.items():
        *parents, leaf = name.split(".")
        level = payload
        for parent in parents:
            inner = level.setdefault(parent, {})
            if not isinstance(inner, dict):  # a field and its sub-field (text, text.keyword)
                break
            level = inner
        else:
            single = isinstance(values, list) and len(values) == 1
            level.setdefault(leaf, values[0] if single else values)
    return payload


def _without(hit: Mapping[str, Any], forced: Sequence[str]) -> Mapping[str, Any]:
    if not forced or "fields" not in hit:
        return hit
    kept = {
        name: values
        for name, values in hit["fields"].items()
        if not any(name == path or name.startswith(f"{path}.") for path in forced)
    }
    rest = {key: value for key, value in hit.items() if key != "fields"}
    return {**rest, "fields": kept} if kept else rest
