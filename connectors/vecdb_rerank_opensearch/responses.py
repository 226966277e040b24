"""From OpenSearch's responses to candidates and back: pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from vecdb_rerank.model import Candidate, HitId, Ranking
from vecdb_rerank.protocols import Evidence, FirstPass
from vecdb_rerank.ranking import fusion
from vecdb_rerank.request import Fusion
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_opensearch.source_selection import NOTHING, Forced

Response = dict[str, Any]


def candidates(first: FirstPass[Response], text_fields: TextFields) -> list[Candidate]:
    """The response's hits as candidates, in its order; their ids are those of `ids`."""
    hits = _hits(first.response)
    return [
        _candidate(position, hit, hit_id, first.evidence, text_fields)
        for position, (hit, hit_id) in enumerate(zip(hits, ids(hits), strict=True))
    ]


def ids(hits: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each hit is called: its `_id`, or ``index/_id`` where hits of several indices have that.

    All of them are called so, whichever comes first, since that differs from call to call. Where a
    drop-in's caller hides the index, the place in the response (from 0) stands for it.
    """
    count = Counter(hit["_id"] for hit in hits)
    return [
        hit["_id"] if count[hit["_id"]] == 1 else f"{hit.get('_index', position)}/{hit['_id']}"
        for position, hit in enumerate(hits)
    ]


def _hits(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The hits of a response, which need not say that it has none."""
    hits: list[dict[str, Any]] = (response.get("hits") or {}).get("hits") or []
    return hits


def _candidate(
    position: int,
    hit: Mapping[str, Any],
    hit_id: str,
    evidence: Evidence,
    text_fields: TextFields,
) -> Candidate:
    shown = _merged(hit.get("_source") or {}, unflatten(hit.get("fields") or {}))
    key = _key(hit) if evidence else ""
    return Candidate(
        position=position,
        id=hit_id,
        text=text_fields.text(shown),
        score=hit["_score"] if hit.get("_score") is not None else 0.0,
        payload=shown,
        branches={name: hits[key] for name, hits in evidence.items() if key in hits},
    )


def _merged(source: Any, fields: Any) -> Any:
    """The source, with what a narrowed one lacks from the hit's ``fields``."""
    if not (isinstance(source, Mapping) and isinstance(fields, Mapping)):
        return source
    joined = {key: _merged(source[key], fields.get(key)) for key in source}
    return {**joined, **{key: value for key, value in fields.items() if key not in source}}


def rebuild(first: FirstPass[Response], ranking: Ranking) -> Response:
    """The response with the ranking's hits, in its order, with its scores; nothing is added."""
    found, injected_fields = _hits(first.response), first.injected_fields or NOTHING
    hits = {**(first.response.get("hits") or {})}
    if "hits" not in hits:
        return first.response
    if "max_score" in hits:
        hits["max_score"] = ranking.max_score
    hits["hits"] = [
        {**_without(found[hit.candidate.position], injected_fields), "_score": hit.score}
        for hit in ranking.hits
    ]
    return {**first.response, "hits": hits}


def evidence(branches: Mapping[str, Response]) -> Evidence:
    """What each branch said of each hit."""
    return {
        name: fusion.branch((_key(hit), hit["_score"]) for hit in response["hits"]["hits"])
        for name, response in branches.items()
    }


def notes(parts: Sequence[Response]) -> dict[str, str]:
    """Return a note if a response lacks the hits of some shards or clusters."""
    found = list(dict.fromkeys(filter(None, map(_missing_part, parts))))
    return {"partial_first_pass": "; ".join(found)} if found else {}


def _missing_part(response: Response) -> str:
    """Return why a response is partial; empty if it is whole."""
    shards = response.get("_shards") or {}
    reasons: list[str] = []
    if failed := shards.get("failed"):
        failures = shards.get("failures") or [{}]
        why = (failures[0].get("reason") or {}).get("reason") or "no reason given"
        reasons.append(f"{failed} of {shards.get('total')} shards failed ({why})")
    if response.get("timed_out"):
        reasons.append("the server's own timeout was over before all shards answered")
    if skipped := (response.get("_clusters") or {}).get("skipped"):
        reasons.append(f"{skipped} remote clusters did not answer")
    return "; ".join(reasons)


def fuse(
    branches: Mapping[str, Response], how: Fusion, k: int, union: Response | None = None
) -> Response:
    """Fuse bm25 and dense here, as the server cannot; the rest is the BM25 branch's.

    Facets and ``hits.total`` are those of the branches' ``union`` where that was asked for; else
    the total is what the branches' own hits and totals tell of it.
    """
    bm25, dense = branches["bm25"], branches["dense"]
    by_key: dict[HitId, Any] = {
        _key(hit): hit for response in (dense, bm25) for hit in response["hits"]["hits"]
    }
    fused = fusion.fuse(list(evidence(branches).values()), how)[:k]
    hits = [{**by_key[key], "_score": score} for key, score in fused]
    top = fused[0][1] if fused else None
    whole = {**bm25, "hits": {**bm25["hits"], "max_score": top, "hits": hits}}
    total = _total(branches, len(by_key)) if union is None else union["hits"].get("total")
    if total is not None:
        whole["hits"]["total"] = total
    if union is not None and "aggregations" in union:
        whole["aggregations"] = union["aggregations"]
    parts = [*branches.values(), *([] if union is None else [union])]
    if any(response.get("timed_out") for response in parts):
        whole["timed_out"] = True
    for response in parts:
        if response.get("_shards", {}).get("failed"):  # a partial branch makes a partial whole
            whole["_shards"] = response["_shards"]
    return whole


def _total(branches: Mapping[str, Response], seen: int) -> dict[str, Any] | None:
    """``hits.total`` of the union of the branches, of which ``seen`` distinct hits are here.

    A lower bound, since what both found past these hits is counted in both; exact where there is
    nothing past them.
    """
    found = [response["hits"] for response in branches.values()]
    if any("total" not in hits for hits in found):  # track_total_hits: false
        return None
    exact = all(hits["total"] == {"value": len(hits["hits"]), "relation": "eq"} for hits in found)
    value = max(seen, *(hits["total"]["value"] for hits in found))
    return {"value": value, "relation": "eq" if exact else "gte"}


def _key(hit: Mapping[str, Any]) -> str:
    """What tells a hit from all others: behind an alias, two indices may hold the same id."""
    return f"{hit['_id']} {hit['_index']}"


def unflatten(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``fields`` of a hit (dotted names, lists of values) as a nested payload."""
    payload: dict[str, Any] = {}
    for name, values in sorted(fields.items()):  # text before its sub-field text.keyword
        *parents, leaf = name.split(".")
        level = payload
        for parent in parents:
            inner = level.setdefault(parent, {})
            if not isinstance(inner, dict):
                break
            level = inner
        else:
            single = isinstance(values, list) and len(values) == 1
            level.setdefault(leaf, values[0] if single else values)
    return payload


def _without(hit: Mapping[str, Any], injected_fields: Forced) -> Mapping[str, Any]:
    if not injected_fields.paths or "fields" not in hit:
        return hit
    kept = {name: values for name, values in hit["fields"].items() if name not in injected_fields}
    cut = {**hit, "fields": kept}  # in its place
    return cut if kept else {key: value for key, value in cut.items() if key != "fields"}


class OpenSearchHits:
    """How the hits of OpenSearch's responses are read and put in order."""

    name = "opensearch"

    def candidates(
        self, first: FirstPass[Response], text_fields: TextFields
    ) -> Sequence[Candidate]:
        """The response's hits as candidates."""
        return candidates(first, text_fields)

    def rebuild(self, first: FirstPass[Response], ranking: Ranking) -> Response:
        """The response with the ranking's hits."""
        return rebuild(first, ranking)
