"""Turn a search into Qdrant's own requests: pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from qdrant_client.http import models

from vecdb_rerank._checks import shown
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.protocols import Vector
from vecdb_rerank.ranking import branch_weights
from vecdb_rerank.request import BRANCHES, Fusion, Search
from vecdb_rerank_qdrant.layout import Layout

# Qdrant orders equal RRF scores (ranks a and b, b and a) differently from call to call. With this
# many more hits, the k-th place is decided by (score, id) on our side.
TIES = 8
# Arguments of `query_points` under their names in a `QueryRequest`; the rest go with the call.
BATCH_NAMES = {
    "query": "query",
    "using": "using",
    "prefetch": "prefetch",
    "query_filter": "filter",
    "search_params": "params",
    "limit": "limit",
    "offset": "offset",
    "with_payload": "with_payload",
    "with_vectors": "with_vector",
    "score_threshold": "score_threshold",
    "lookup_from": "lookup_from",
    "shard_key_selector": "shard_key",
}
# How BM25's query is sent: as a sparse vector, or as text for a text index.
Encoder = Callable[[str], Any]


_PLAIN = ("bool", "int", "str")
# What is wrong with the JSON of a filter, by pydantic's name for it.
_PROBLEMS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "extra_forbidden": "is not a key of a condition",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "missing": "is missing",
    "model_type": "must be an object",
    "string_type": "must be a string",
}


def native_filter(given: models.Filter | Mapping[str, Any] | None) -> models.Filter | None:
    """Return Qdrant's filter, also if it was given as JSON.

    Raises `ConfigurationError` if the JSON is not a filter.
    """
    if given is None or isinstance(given, models.Filter):
        return given
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            "filter", f"must be a Filter or its JSON form, a mapping; got {type(given).__name__}"
        )
    try:
        return models.Filter.model_validate(given)
    except ValidationError as error:
        first, *_ = error.errors()
    if first["loc"][0] not in models.Filter.model_fields:
        raise ConfigurationError(
            "filter",
            f"has the unknown key {shown(first['loc'][0])}; its keys are "
            f"{', '.join(models.Filter.model_fields)}, each with a list of conditions",
        )
    # The path through the JSON, without the names of the types that were tried.
    place = [
        str(part) for part in first["loc"] if str(part).isidentifier() or part.__class__ is int
    ]
    path = [part for part in place if not part[:1].isupper() and part not in _PLAIN]
    problem = _PROBLEMS.get(first["type"], first["msg"])
    raise ConfigurationError(
        ".".join(["filter", *path]),
        problem if place[-1] not in _PLAIN else "must be a string, a number, or true or false",
    )


def fused_here(fusion: Fusion, evidence: bool) -> bool:
    """Check whether both branches are sent alone and fused by this package.

    Qdrant lacks min_max and l2, and its weighted RRF is another formula
    (``1 / (rank / weight + k - 1)``). Plain RRF gives the same result on both sides, so if the
    branches are wanted as evidence, nothing else has to be sent.
    """
    if fusion.method == "dbsf":
        return False
    return fusion.method != "rrf" or branch_weights.in_fusion(fusion) or evidence


def query(search: Search, vector: Vector | None, layout: Layout, encode: Encoder) -> dict[str, Any]:
    """Return the arguments of ``query_points`` for k hits, `TIES` more if it is hybrid."""
    if search.mode != "hybrid":
        return branch(search.mode, search, vector, layout, encode, search.k)
    return {
        "collection_name": layout.collection,
        "prefetch": [
            _prefetch(branch(name, search, vector, layout, encode, search.depth))
            for name in BRANCHES
        ],
        "query": fusion_query(search.fusion),
        "limit": search.k + TIES,
        **{name: v for name, v in search.native.items() if name != "search_params"},
    }


def branch(
    name: str,
    search: Search,
    vector: Vector | None,
    layout: Layout,
    encode: Encoder,
    limit: int,
) -> dict[str, Any]:
    """Return the arguments of ``query_points`` for one branch alone."""
    native = dict(search.native)
    if name == "bm25":
        native.pop("search_params", None)  # they tune the dense index
    return {
        "collection_name": layout.collection,
        "query": encode(search.query) if name == "bm25" else list(vector or ()),
        "using": layout.bm25_name if name == "bm25" else layout.dense_vector,
        "query_filter": native_filter(search.filter),
        "limit": limit,
        **native,
    }


def batch(requests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return several ``query_points`` calls on a collection as one ``query_batch_points``."""
    shared = {
        name: requests[0][name]
        for name in ("collection_name", "consistency", "timeout")
        if name in requests[0]
    }
    return {**shared, "requests": [_query_request(request) for request in requests]}


def timeout(remaining: float) -> int | None:
    """Return the time left as Qdrant takes it: whole seconds, at least one."""
    return None if math.isinf(remaining) else max(1, math.ceil(remaining))


def fusion_query(fusion: Fusion) -> models.FusionQuery | models.RrfQuery:
    """Return the fusion in Qdrant's terms; its ranks start at 0."""
    if fusion.method == "dbsf":
        return models.FusionQuery(fusion=models.Fusion.DBSF)
    return models.RrfQuery(rrf=models.Rrf(k=fusion.rank_constant + 1))


def _prefetch(request: Mapping[str, Any]) -> models.Prefetch:
    return models.Prefetch(
        query=request["query"],
        using=request["using"],
        filter=request["query_filter"],
        params=request.get("search_params"),
        limit=request["limit"],
    )


def _query_request(request: Mapping[str, Any]) -> models.QueryRequest:
    # By default a batch returns no payload, and a single call does.
    named = {"with_payload": True, **request}
    return models.QueryRequest(
        **{theirs: named[ours] for ours, theirs in BATCH_NAMES.items() if ours in named}
    )
