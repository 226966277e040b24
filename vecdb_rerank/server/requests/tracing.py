"""The caller's trace (W3C Trace Context): taken over, logged and sent on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from vecdb_rerank.http.forwarding import forwarding

# It alone: baggage would carry what a caller likes to every server behind.
_TRACE = TraceContextTextMapPropagator()


@contextmanager
def trace_of_caller(headers: Mapping[str, str], request_id: str) -> Iterator[str | None]:
    """Continue the caller's trace in the block, and yield its id, None without a valid one.

    Requests that the block causes carry it, and ``x-request-id``.
    """

    def sent_on() -> dict[str, str]:
        found = {"x-request-id": request_id}
        _TRACE.inject(found)
        return found

    with forwarding(sent_on):
        if "traceparent" not in headers:
            yield None
            return
        found = _TRACE.extract(headers)
        span = trace.get_current_span(found).get_span_context()
        token = context.attach(found)
        try:
            yield trace.format_trace_id(span.trace_id) if span.is_valid else None
        finally:
            context.detach(token)
