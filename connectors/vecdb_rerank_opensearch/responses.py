"""Read OpenSearch's responses as candidates, and put them in order: pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from vecdb_rerank.model import Candidate, HitId, Ranking
from vecdb_rerank.protocols import Evidence, FirstPass
from vecdb_rerank.ranking import fusion
from vecdb_rerank.request import Fusion
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_opensearch import conditions
from vecdb_rerank_opensearch.source_selection import NOTHING, Forced

Response = dict[str, Any]


def candidates(first: FirstPass[Response], text_fields: TextFields) -> list[Candidate]:
    """Return the response's hits as candidates, in its order; their ids are those of `ids`."""
    hits = _hits(first.response)
    return [
        _candidate(position, hit, hit_id, first.evidence, text_fields)
        for position, (hit, hit_id) in enumerate(zip(hits, ids(hits), strict=True))
    ]


def ids(hits: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return an id for each hit: its `_id`, or ``index/_id`` if hits of several indices share it.

    All of those get the long form, because their order differs from call to call. If the caller of
    a drop-in client hides the index, the position in the response (from 0) replaces it.
    """
    count = Counter(hit["_id"] for hit in hits)
    return [
        hit["_id"] if count[hit["_id"]] == 1 else f"{hit.get('_index', position)}/{hit['_id']}"
        for position, hit in enumerate(hits)
    ]


def _hits(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the hits of a response; one without hits may lack the key."""
    hits: list[dict[str, Any]] = (response.get("hits") or {}).get("hits") or []
    return hits


def _candidate(
    position: int,
    hit: Mapping[str, Any],
    hit_id: str,
    evidence: Evidence,
    text_fields: TextFields,
) -> Candidate:
    shown = hit.get("_source") or {}
    if "fields" in hit:
        shown = _merged(shown, unflatten(hit["fields"] or {}))
    key = _key(hit) if evidence else ""
    return Candidate(
        position=position,
        id=hit_id,
        text=text_fields.text(shown),
        score=hit["_score"] if hit.get("_score") is not None else 0.0,
        payload=shown,
        branches={name: hits[key] for name, hits in evidence.items() if key in hits},
    )


def _merged(source: object, fields: object) -> object:
    """Return the source, with what it lacks from the hit's ``fields``."""
    if not (isinstance(source, Mapping) and isinstance(fields, Mapping)):
        return source
    joined = {key: _merged(source[key], fields.get(key)) for key in source}
    return {**joined, **{key: value for key, value in fields.items() if key not in source}}


def rebuild(first: FirstPass[Response], ranking: Ranking) -> Response:
    """Return the response with the ranking's hits, in its order, with its scores."""
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
    """Return the rank and score of each hit in each branch."""
    return {
        name: fusion.branch((_key(hit), hit["_score"]) for hit in response["hits"]["hits"])
        for name, response in branches.items()
    }


def vectors(hits: Sequence[Mapping[str, Any]], field: str) -> dict[int, Sequence[float]]:
    """Return the vectors of hits by their places, as far as their source holds them."""
    found = ((place, (hit.get("_source") or {}).get(field)) for place, hit in enumerate(hits))
    return {place: vector for place, vector in found if isinstance(vector, list) and vector}


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
    """Fuse bm25 and dense for a server that cannot; the rest is the BM25 branch's.

    Facets and ``hits.total`` are those of the branches' ``union`` if there is one; else the total
    is computed from the branches' own hits and totals.
    """
    bm25, dense = branches["bm25"], branches["dense"]
    by_key: dict[HitId, dict[str, object]] = {
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
    """Return ``hits.total`` of the union of the branches, which has ``seen`` distinct hits.

    It is a lower bound, because each branch counts what both found past these hits; it is exact if
    there is nothing past them.
    """
    found = [response["hits"] for response in branches.values()]
    if any("total" not in hits for hits in found):  # track_total_hits: false
        return None
    exact = all(hits["total"] == {"value": len(hits["hits"]), "relation": "eq"} for hits in found)
    value = max(seen, *(hits["total"]["value"] for hits in found))
    return {"value": value, "relation": "eq" if exact else "gte"}


def _key(hit: Mapping[str, object]) -> str:
    """Return a key unique to a hit: behind an alias, two indices may hold the same id."""
    return f"{hit['_id']} {hit['_index']}"


def unflatten(fields: Mapping[str, object]) -> dict[str, Any]:
    """Return ``fields`` of a hit (dotted names, lists of values) as a nested payload."""
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
            if isinstance(values, list) and len(values) == 1:
                [values] = values
            level.setdefault(leaf, values)
    return payload


def _without(hit: Mapping[str, Any], injected_fields: Forced) -> Mapping[str, Any]:
    hit = conditions.stripped(hit)
    if not injected_fields.paths or "fields" not in hit:
        return hit
    kept = {name: values for name, values in hit["fields"].items() if name not in injected_fields}
    cut = {**hit, "fields": kept}  # in its place
    return cut if kept else {key: value for key, value in cut.items() if key != "fields"}


class OpenSearchHits:
    """Reads the hits of OpenSearch's responses and puts them in order."""

    name = "opensearch"

    def candidates(
        self, first: FirstPass[Response], text_fields: TextFields
    ) -> Sequence[Candidate]:
        """Return the response's hits as candidates."""
        return candidates(first, text_fields)

    def rebuild(self, first: FirstPass[Response], ranking: Ranking) -> Response:
        """Return the response with the ranking's hits."""
        return rebuild(first, ranking)
