"""OpenSearch without the neural-search plugin: hybrid searches are fused here."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from opensearchpy import AsyncOpenSearch, OpenSearch

from tests.contract.backends import OPENSEARCH
from tests.integration.clients import Requests, opensearch
from tests.servers import Node
from vecdb_rerank.model import HitId
from vecdb_rerank.outcome import Outcome, observe
from vecdb_rerank.policy import Policy
from vecdb_rerank.request import Fusion
from vecdb_rerank.testing import CORPUS, QUERIES
from vecdb_rerank.testing.base import by_id, explained, ids, new_name
from vecdb_rerank.testing.searching import WIDE

backends = pytest.mark.parametrize("name", OPENSEARCH)


@backends
@pytest.mark.parametrize("evidence", [False, True])
def test_found_out_once(
    name: str, evidence: bool, second_node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    """The first hybrid search asks for a fusion in vain, no later one does."""
    requests, collection = Requests(), new_name()
    kind: Any = AsyncOpenSearch if name.endswith("async") else OpenSearch
    transport = requests.transport(name.endswith("async"))
    client = kind(second_node.url, transport_class=transport)
    options = {"client": client, "policy": Policy(branch_evidence=evidence)}
    with opensearch(name, second_node.url, collection, **options) as (connector, call):
        call(connector.create())
        assert call(connector.add(CORPUS)).added == len(CORPUS)
        findings = {f.subject: f for f in call(connector.check())}
        assert all(finding.ok for finding in findings.values())
        assert "fused by the client" in findings["plugin neural-search"].detail

        requests.made.clear()
        with observe() as outcomes:
            for query in QUERIES.values():
                assert ids(connector, call(connector.search(query)))
        assert {outcome.fused_by for outcome in outcomes} == {"client"}
        (message,) = [r.getMessage() for r in caplog.records if r.name == "vecdb_rerank"]
        assert "cannot fuse a hybrid search (unknown query [hybrid]" in message
        assert {outcome.status for outcome in outcomes} == {"reranked"}
        mapping = f"GET /{collection}/_mapping"  # read before the first search
        first = "GET /_msearch" if evidence else f"POST /{collection}/_search"
        assert _verbless(requests.made) == _verbless(
            [mapping, first, *["GET /_msearch"] * len(QUERIES)]
        )

        requests.made.clear()
        for mode in ("bm25", "dense"):
            call(connector.search(WIDE, mode=mode))
        assert _verbless(requests.made) == [f"/{collection}/_search"] * 2
        call(connector.delete())


@pytest.mark.parametrize(
    "fusion", [Fusion(), Fusion(rank_constant=10), Fusion("l2"), Fusion("min_max")], ids=str
)
def test_same_fusion_as_the_database(
    fusion: Fusion, second_node: Node, opensearch_url: str
) -> None:
    """What is fused here has the scores and the order of what neural-search fuses."""
    outcomes = []
    for url in (opensearch_url, second_node.url):
        with opensearch("opensearch", url, new_name()) as (connector, call):
            call(connector.create())
            call(connector.add(CORPUS))
            arguments = {"k": 40, "limit": 40, "depth": 15, "rerank": False}
            outcomes.append(explained(connector, call, WIDE, fusion=fusion, **arguments))
            call(connector.delete())
    theirs, ours = outcomes
    assert (theirs.fused_by, ours.fused_by) == ("database", "client")
    # neural-search gives the last hit of a min_max branch 0.001 instead of nothing.
    tolerance = 1.1e-3 if fusion.method == "min_max" else 1e-6
    expected, found = by_id(theirs), by_id(ours)
    assert found.keys() == expected.keys()
    # Which of two equal hits of a branch is the higher rank is the database's mood.
    clear = set(found) - (_tied(ours) if fusion.method == "rrf" else set())
    assert len(clear) > len(found) / 2
    for hit_id in clear:
        assert found[hit_id].score == pytest.approx(expected[hit_id].score, abs=tolerance)
    in_our_order = [expected[hit.id].score for hit in ours.hits if hit.id in clear]
    assert in_our_order == pytest.approx(sorted(in_our_order, reverse=True), abs=tolerance)


def _tied(outcome: Outcome) -> set[HitId]:
    """The hits that have the same score as another one in some branch."""
    scores = Counter((name, b.score) for hit in outcome.hits for name, b in hit.branches.items())
    return {
        hit.id
        for hit in outcome.hits
        for name, b in hit.branches.items()
        if scores[name, b.score] > 1
    }


def test_facets_filters_and_pages(second_node: Node) -> None:
    """What belongs to the whole response is there without a fused query too."""
    with opensearch("opensearch", second_node.url, new_name()) as (connector, call):
        call(connector.create())
        call(connector.add(CORPUS))
        native = {
            "filter": {"terms": {"subject.keyword": ["bees", "tax"]}},
            "aggs": {"subjects": {"terms": {"field": "subject.keyword"}}},
            "highlight": {"fields": {"bm25_text": {}}},
            "_source": ["number"],
        }
        query = "honey bees and income tax"
        whole = call(connector.search(query, k=10, limit=10, **native))
        assert len(ids(connector, whole)) == 10
        assert {b["key"] for b in whole["aggregations"]["subjects"]["buckets"]} == {"bees", "tax"}
        assert any("highlight" in hit for hit in whole["hits"]["hits"])
        for hit in whole["hits"]["hits"]:
            assert hit["_source"].keys() == {"number"}
            assert "fields" not in hit
        pages = [
            doc_id
            for offset in range(0, 10, 3)
            for doc_id in ids(
                connector, call(connector.search(query, k=10, limit=3, offset=offset, **native))
            )
        ]
        assert pages == ids(connector, whole)
        call(connector.delete())


def _verbless(requests: list[str]) -> list[str]:
    return [request.partition(" ")[2] for request in requests]
