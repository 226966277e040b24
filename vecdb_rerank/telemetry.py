"""OpenTelemetry spans and metrics if its API is installed, and a structured log record.

Spans: ``vecdb_rerank.search`` with the children ``embed``, ``first_pass`` and ``rerank``, and in
the last one an ``attempt`` for each request to a rerank server. They never hold keys or documents,
and queries only if `Policy` sets ``record_query``.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from vecdb_rerank._version import __version__
from vecdb_rerank.outcome import Outcome

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.metrics import Meter

log = logging.getLogger("vecdb_rerank")
_NAME = "vecdb_rerank"
# Seconds: from a search in memory to one that no user waits for.
_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
Attributes = Mapping[str, object]


class Span:
    """A span, or without OpenTelemetry nothing."""

    def __init__(self, inner: trace.Span | None = None) -> None:
        self._inner = inner

    def set(self, attributes: Attributes) -> None:
        """Set the attributes that are not None."""
        if self._inner is not None:
            self._inner.set_attributes(_named(attributes))


@contextmanager
def span(name: str, attributes: Attributes | None = None) -> Iterator[Span]:
    """Trace the block; record an error by its type alone, since messages may hold anything."""
    if (tracer := _tracer()) is None:
        yield Span()
        return
    from opentelemetry.trace import Status, StatusCode

    with tracer.start_as_current_span(
        f"{_NAME}.{name}",
        attributes=_named(attributes or {}),
        record_exception=False,
        set_status_on_exception=False,
    ) as inner:
        try:
            yield Span(inner)
        except Exception as error:
            inner.set_attribute("error.type", type(error).__name__)
            inner.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def count_failed(backend: str, error: Exception) -> None:
    """Count a search that ended without a response."""
    if (instruments := _instruments()) is not None:
        kind = {"backend": backend, "status": "failed", "error.type": type(error).__name__}
        instruments.searches.add(1, kind)


def count_retry(reranker: str) -> None:
    """Count a request that is made again."""
    if (instruments := _instruments()) is not None:
        instruments.retries.add(1, {"reranker": reranker})


_MOST_NOTED = 1_000  # sentences of one code that are logged, and remembered
_noted: defaultdict[str, set[str]] = defaultdict(set)
_noting = threading.Lock()


def publish_notes(notes: Mapping[str, str], *, backend: str) -> None:
    """Count each note of an outcome, and log it once per code and sentence, whatever its numbers.

    ``notes`` maps a code to a sentence that names the reranker or collection; ``backend`` is the
    database's name.
    """
    instruments = _instruments() if notes else None
    for code, sentence in notes.items():
        if instruments is not None:
            instruments.notes.add(1, {"code": code, "backend": backend})
        subject = re.sub(r"\d+", "#", sentence)
        with _noting:
            noted = _noted[code]
            is_new = subject not in noted and len(noted) < _MOST_NOTED
            if is_new:
                noted.add(subject)
        if is_new:
            log.warning("%s: %s", code, sentence, extra={_NAME: {"code": code}})


def record(outcome: Outcome, search: Span, query: str | None) -> None:
    """Record the outcome of a search: in its span, in metrics, in a log record at DEBUG."""
    attributes: dict[str, object] = {
        "status": outcome.status,
        "reason": outcome.reason,
        "reranker": outcome.reranker,
        "k": outcome.k,
        "seen": outcome.seen,
        "scored": outcome.scored,
        "estimated": outcome.estimated,
        "stopped": outcome.stopped,
        "truncated": outcome.truncated,
        "failed": ", ".join(outcome.failed) or None,
        "billed_units": sum(outcome.billed.values()) or None,
        "would_skip": outcome.would_skip,
        "skip_change": outcome.skip_change,
        "notes": ", ".join(outcome.notes) or None,
        "query": query,
    }
    search.set(attributes)
    publish_notes(outcome.notes, backend=outcome.backend)
    if (instruments := _instruments()) is not None:
        instruments.record(outcome)
    if log.isEnabledFor(logging.DEBUG):
        timings = {f"{stage}_ms": round(ms, 3) for stage, ms in outcome.timings.items()}
        what = f"{outcome.status}: {outcome.reason}" if outcome.reason else outcome.status
        log.debug("search %s", what, extra={_NAME: {**attributes, **timings}})


class _Instruments:
    def __init__(self, meter: Meter) -> None:
        self._duration = meter.create_histogram(
            f"{_NAME}.duration",
            unit="s",
            description="Time of a search by stage",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        self.searches = meter.create_counter(f"{_NAME}.searches", description="Searches by status")
        self.retries = meter.create_counter(f"{_NAME}.retries", description="Requests made again")
        self.notes = meter.create_counter(f"{_NAME}.notes", description="Notes of outcomes by code")
        self._fallbacks = meter.create_counter(
            f"{_NAME}.fallbacks", description="Rerankers that did not answer, by name"
        )
        self._units = meter.create_counter(
            f"{_NAME}.billed_units", description="Units billed by rerank services"
        )

    def record(self, outcome: Outcome) -> None:
        backend = {"backend": outcome.backend}
        for stage, milliseconds in outcome.timings.items():
            self._duration.record(milliseconds / 1e3, {**backend, "stage": stage})
        name = {"reranker": outcome.reranker}
        self.searches.add(1, {**backend, **name, "status": outcome.status})
        for reranker in outcome.failed:
            self._fallbacks.add(1, {"reranker": reranker})
        for reranker, units in outcome.billed.items():
            self._units.add(units, {"reranker": reranker})


@cache
def _tracer() -> trace.Tracer | None:
    if not _installed():
        return None
    from opentelemetry import trace

    return trace.get_tracer(_NAME, __version__)


@cache
def _instruments() -> _Instruments | None:
    if not _installed():
        return None
    from opentelemetry import metrics

    return _Instruments(metrics.get_meter(_NAME, __version__))


@cache
def _installed() -> bool:
    try:
        import opentelemetry.metrics
        import opentelemetry.trace  # noqa: F401 - only whether it is there
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        return False
    return True


def _named(attributes: Attributes) -> dict[str, Any]:
    """Return attributes under our name, or their own if it is one of the semantic conventions."""
    return {
        key if "." in key else f"{_NAME}.{key}": value
        for key, value in attributes.items()
        if value is not None
    }
