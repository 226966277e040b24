"""Spans, metrics and log records of a search, and what is never in them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.faults.cases import APIS, CLIENTS, SECRET, TEXTS, Found, Shelf, search
from tests.faults.server import UNITS, fault_server
from tests.pins import pinned
from vecdb_rerank import FirstPassError
from vecdb_rerank.flow.drivers import run
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.request import Fusion, Search
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.telemetry import publish_notes
from vecdb_rerank.testing import HashEmbedder

QUERY = "number five"
SPANS = InMemorySpanExporter()
METRICS = InMemoryMetricReader()


@pytest.fixture(scope="module", autouse=True)
def sdk() -> None:
    """What an application sets up once."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(SPANS))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([METRICS]))


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    SPANS.clear()
    yield
    SPANS.clear()


def searched(fault: str, api: str, client: str = "http cohere", **rules: Any) -> Found:
    with fault_server(fault) as server:
        remote = CLIENTS[client](server.url, api_key=SECRET, retries=2)
        return search(remote, api, 3.0, **rules)


def tree() -> dict[str, list[ReadableSpan]]:
    """The spans by the path of their names."""
    spans = {span.context.span_id: span for span in SPANS.get_finished_spans() if span.context}
    found: dict[str, list[ReadableSpan]] = {}
    for span in spans.values():
        path, parent = span.name.removeprefix("vecdb_rerank."), span.parent
        while parent is not None:
            above = spans[parent.span_id]
            path, parent = f"{above.name.removeprefix('vecdb_rerank.')}/{path}", above.parent
        found.setdefault(path, []).append(span)
    return found


def points() -> dict[tuple[str, str], float]:
    """Counters and counts of histograms, by name and attributes."""
    data = METRICS.get_metrics_data()
    return {
        (metric.name, json.dumps(dict(point.attributes or {}), sort_keys=True)): getattr(
            point, "value", getattr(point, "count", 0)
        )
        for resource in (data.resource_metrics if data else [])
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_search_is_a_tree_of_spans(client: str, api: str) -> None:
    searched("ok", api, client)
    found = tree()
    assert {path: len(spans) for path, spans in found.items()} == {
        "search": 1,
        "search/first_pass": 1,
        "search/rerank": 1,
        "search/rerank/attempt": 1,
    }
    attributes = dict(found["search"][0].attributes or {})
    assert attributes["db.system.name"] == "shelf"
    assert attributes["vecdb_rerank.mode"] == "bm25"
    assert attributes["vecdb_rerank.status"] == "reranked"
    assert attributes["vecdb_rerank.scored"] == len(TEXTS)


@pytest.mark.parametrize("api", APIS)
def test_each_attempt_is_a_span_with_its_error(api: str) -> None:
    searched("503", api)
    attempts = tree()["search/rerank/attempt"]
    numbers = [dict(span.attributes or {})["vecdb_rerank.number"] for span in attempts]
    assert numbers == [1, 2, 3]
    assert {span.status.status_code for span in attempts} == {trace.StatusCode.ERROR}
    assert dict(attempts[0].attributes or {})["error.type"] == "RerankServiceError"
    [whole] = tree()["search"]
    assert whole.status.status_code is trace.StatusCode.UNSET  # there was a response
    assert dict(whole.attributes or {})["vecdb_rerank.status"] == "fell_back"


@pytest.mark.parametrize("api", APIS)
def test_searches_retries_fallbacks_and_units_are_counted(api: str) -> None:
    before = points()
    good, bad = searched("ok", api), searched("503", api)
    new = {key: value - before.get(key, 0) for key, value in points().items()}
    names = {"reranked": good.outcome.reranker, "fell_back": bad.outcome.reranker}

    def counted(metric: str, **attributes: str) -> float:
        return new[f"vecdb_rerank.{metric}", json.dumps(attributes, sort_keys=True)]

    assert bad.outcome.status == "fell_back"
    for status, name in names.items():
        assert counted("searches", backend="shelf", status=status, reranker=name) == 1
    for stage in ("first_pass", "rerank", "total"):
        assert counted("duration", backend="shelf", stage=stage) == 2
    assert counted("retries", reranker=names["fell_back"]) == 2
    assert counted("fallbacks", reranker=names["fell_back"]) == 1
    assert counted("billed_units", reranker=names["reranked"]) == UNITS


def test_notes_are_counted_and_logged_once_by_code_and_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = points()
    notes: dict[str, str] = {}
    for subject, count in (("one", 2), ("other", 3), ("one", 4)):
        notes = {
            "uncalibrated": f"{subject}: run calibrate",
            "partial_first_pass": f"{subject}: {count} shards failed",
        }
        publish_notes(notes, backend="shelf")
    publish_notes({}, backend="shelf")
    new = {key: value - before.get(key, 0) for key, value in points().items()}
    for code in notes:
        attributes = json.dumps({"backend": "shelf", "code": code}, sort_keys=True)
        assert new["vecdb_rerank.notes", attributes] == 3
        assert sum(code in record.getMessage() for record in caplog.records) == 2


def test_sentences_without_end_do_not_silence_other_notes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    letters = "abcdefghijklmnop"
    for each in map("".join, product(letters, repeat=3)):
        publish_notes({"flood": f"request {each} failed"}, backend="shelf")
    publish_notes({"after_the_flood": "a sentence"}, backend="shelf")
    messages = [record.getMessage() for record in caplog.records]
    assert sum("flood:" in message for message in messages) <= len(letters) ** 3 / 2
    assert "after_the_flood" in messages[-1]


def test_a_search_without_a_response_is_counted_and_its_span_says_so() -> None:
    class Broken(Shelf):
        def first_pass(self, *_: Any) -> Flow[Any]:
            yield Call(lambda: 1 / 0)

    before = points()
    asked = Search(QUERY, 5, 5, 0, "bm25", 5, Fusion())
    with pytest.raises(FirstPassError):
        run(Pipeline().search(Broken(), asked))
    kind = {"backend": "shelf", "error.type": "FirstPassError", "status": "failed"}
    key = "vecdb_rerank.searches", json.dumps(kind)
    assert points()[key] - before.get(key, 0) == 1
    [whole] = tree()["search"]
    assert whole.status.status_code is trace.StatusCode.ERROR


def test_spans_and_metrics_have_the_pinned_names() -> None:
    for fault in ("ok", "503"):
        searched(fault, "sync")
    run(
        Pipeline(embedder=HashEmbedder()).search(
            Shelf(), Search(QUERY, 5, 5, 0, "dense", 5, Fusion())
        )
    )
    publish_notes({"code": "a sentence"}, backend="shelf")
    spans = {f"span {span.name}" for span in SPANS.get_finished_spans()}
    metrics = {f"metric {name}" for name, _ in points()}
    assert sorted(spans | metrics) == pinned("telemetry")


def everything(caplog: pytest.LogCaptureFixture) -> str:
    """All that was logged and traced."""
    spans = "".join(span.to_json() for span in SPANS.get_finished_spans())
    records = "".join(str(record.__dict__) for record in caplog.records)
    data = METRICS.get_metrics_data()
    return spans + records + (data.to_json() if data else "")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("fault", ["ok", "401", "503", "NaN"])
def test_no_key_query_or_document_is_told(
    fault: str, client: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "vecdb_rerank"):
        searched(fault, "sync", client)
    logged = everything(caplog)
    assert "vecdb_rerank.search" in logged
    for secret in (SECRET, QUERY, *TEXTS):
        assert secret not in logged


def test_the_query_is_told_where_it_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "vecdb_rerank"):
        searched("ok", "sync", record_query=True)
    [record] = [r for r in caplog.records if r.getMessage() == "search reranked"]
    logged = record.__dict__["vecdb_rerank"]
    assert logged["query"] == QUERY
    assert logged["rerank_ms"] > 0
    assert dict(tree()["search"][0].attributes or {})["vecdb_rerank.query"] == QUERY
