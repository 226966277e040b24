"""Metrics of the service by OpenTelemetry, and all of this process in Prometheus' format.

Labels have values that the configuration names, or ``other``; callers cannot add any.
"""

from __future__ import annotations

from functools import cache

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from vecdb_rerank._version import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST
_NAME = "vecdb_rerank.http"
# Seconds: from an answer of a cached model to the longest deadline.
_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)


class _Instruments:
    def __init__(self) -> None:
        meter = metrics.get_meter(_NAME, __version__)
        self.requests = meter.create_counter(f"{_NAME}.requests", description="Requests answered")
        self.refused = meter.create_counter(
            f"{_NAME}.refused", description="Connections and requests refused before their route"
        )
        self.duration = meter.create_histogram(
            f"{_NAME}.duration",
            unit="s",
            description="Time from a request's head to its answer",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )


_instruments = cache(_Instruments)


@cache
def install() -> CollectorRegistry:
    """Collect the metrics of this process, of searches and rerankers as well; return where."""
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(
        disable_target_info=True, scope_info_enabled=False, registry=registry
    )
    metrics.set_meter_provider(MeterProvider([reader]))
    return registry


def page() -> bytes:
    """Return all metrics in Prometheus' text format."""
    return generate_latest(install())


def count_request(route: str, status: int, caller: str, seconds: float) -> None:
    """Count an answer, and its time."""
    instruments = _instruments()
    instruments.requests.add(1, {"route": route, "status": status, "caller": caller})
    instruments.duration.record(seconds, {"route": route})


def count_refused(status: int) -> None:
    """Count a connection, or a request without a route, that was answered with an error."""
    _instruments().refused.add(1, {"status": status})
