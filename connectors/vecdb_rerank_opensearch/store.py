"""One OpenSearch index as the pipeline sees it: requests, calls, responses."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from vecdb_rerank.adopt.description import Description
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.model import HitId, Ranking
from vecdb_rerank.protocols import FirstPass, Vector
from vecdb_rerank.request import BRANCHES, MAX_K, Mode, Search
from vecdb_rerank.search import misfit
from vecdb_rerank.search.expiring import Expiring
from vecdb_rerank.search.misfit import Misfit
from vecdb_rerank.search.payload_size import PayloadSize
from vecdb_rerank.search.store import Finding, Store, call_client
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_opensearch import (
    caller_filter,
    check,
    conditions,
    describe,
    errors,
    page_source,
    queries,
    responses,
    schema,
    source_selection,
    stored_ids,
    writer,
)
from vecdb_rerank_opensearch.client import Client, address, timeout
from vecdb_rerank_opensearch.layout import Layout
from vecdb_rerank_opensearch.page_source import PageSource
from vecdb_rerank_opensearch.queries import URL_PARAMS, Body
from vecdb_rerank_opensearch.responses import OpenSearchHits, Response
from vecdb_rerank_opensearch.source_selection import fields_of

T = TypeVar("T")

log: logging.Logger = logging.getLogger("vecdb_rerank")


@dataclass(frozen=True, slots=True)
class _Known:
    """The layout completed by the index's mapping, and what each branch lacks."""

    layout: Layout
    bm25_problems: Sequence[Misfit] = ()
    dense_problems: Sequence[Misfit] = ()


@dataclass(frozen=True, slots=True)
class _Sending:
    """One search in progress: its request, its address and its deadline."""

    search: Search
    vector: Vector | None
    layout: Layout
    shape: Body
    params: Mapping[str, object]
    deadline: Deadline

    def body(self) -> Body:
        """Return the body of the whole search."""
        return queries.body(self.search, self.vector, self.layout, self.shape)

    def branches(self, shape: Body) -> list[Body]:
        """Return the bodies of the branches alone."""
        return [
            queries.branch_body(name, self.search, self.vector, self.layout, shape)
            for name in BRANCHES
        ]


class OpenSearchStore(OpenSearchHits, Store[Response]):
    """One OpenSearch index (alias, pattern) behind a sync or async client.

    Hybrid queries need the server's neural-search plugin, RRF its version 2.19; without them both
    branches are sent in one ``_msearch`` and fused here.
    """

    def __init__(self, client: Client, layout: Layout, text_fields: TextFields) -> None:
        self._client = client
        self._layout = layout
        self.language = layout.language
        self._text_fields = text_fields
        self.branches = layout.branches
        self._where = address(client)
        self._client_timeout = timeout(client)
        self._fuses_hybrid = True  # until the server refuses
        self._payload_size = PayloadSize()
        self._mapping: Expiring[_Known] = Expiring()
        self._window: Expiring[int] = Expiring()

    def of_collection(self, name: str) -> OpenSearchStore:
        """Return the store of another index of the same layout, over the same client."""
        return OpenSearchStore(self._client, replace(self._layout, index=name), self._text_fields)

    def check_filters(self, filters: Mapping[str, object]) -> None:
        """Raise `ConfigurationError` for a filter of a boost that is none."""
        conditions.check(filters)

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[Response]]:
        """Send one request: the fused query, with both branches beside it as evidence if wanted.

        Before the first search, and every ten minutes, the index's mapping is read. An index whose
        ``max_result_window`` is below ``k`` is searched as deep as it allows.

        Raises `FirstPassTimeoutError` if the client's own timeout is over before the deadline,
        and `SchemaError` if the index lacks what the search needs.
        """
        known = yield from self._known_mapping(search.mode, deadline)
        notes = {}
        if search.mode != "dense" and known.bm25_problems:
            found = misfit.finding(self._layout.subject, known.bm25_problems)
            notes["dead_branch"] = f"{found.subject}: {found.detail}"
        allowed = self._allowed(search)
        try:
            first = yield from self._send(allowed, vector, known.layout, deadline)
        except Exception as error:
            if known.dense_problems and search.mode != "bm25" and errors.is_refused(error):
                raise misfit.error(self._layout.subject, known.dense_problems) from error
            if not errors.exceeds_window(error):
                raise
            self._window.set((yield from self._read_window(deadline)))
            allowed = self._allowed(search)
            first = yield from self._send(allowed, vector, known.layout, deadline)
        if allowed.k < search.k:
            notes["limited_depth"] = (
                f"the index's max_result_window allows {allowed.k} candidates, not {search.k}"
            )
        return replace(first, notes={**first.notes, **notes}) if notes else first

    def _allowed(self, search: Search) -> Search:
        """Return the search within the index's ``max_result_window``, as far as it is known."""
        most = self._window.get() or search.k
        if search.k <= most and search.depth <= most:
            return search
        k = min(search.k, most)
        return replace(search, k=k, depth=min(search.depth, most), limit=min(search.limit, k))

    def _read_window(self, deadline: Deadline) -> Flow[int]:
        """Return the smallest ``max_result_window`` of the indices."""
        index, name, params = self._layout.index, "index.max_result_window", self._limit(deadline)
        found = yield from self._call(
            lambda: self._client.indices.get_settings(index=index, name=name, params=params),
            deadline,
        )
        # Indices with the default are not in the answer.
        settings = [each["settings"].get("index", {}) for each in found.values()]
        return min((int(each.get("max_result_window", MAX_K)) for each in settings), default=MAX_K)

    def _known_mapping(self, mode: Mode, deadline: Deadline) -> Flow[_Known]:
        """Return the layout of the mapping; the plain one if the user may not read the mapping."""
        known = self._mapping.get()
        if known is None:
            index, params = self._layout.index, self._limit(deadline)
            try:
                mappings = yield from self._call(
                    lambda: self._client.indices.get_mapping(index=index, params=params), deadline
                )
            except Exception as error:
                if not errors.is_forbidden(error):
                    raise
                known = _Known(self._layout)
            else:
                located = self._layout.located(mappings)
                bm25 = schema.bm25_misfits(mappings, self._layout)
                known = _Known(located, bm25, schema.dense_misfits(mappings, self._layout))
            self._mapping.set(known)
        if mode == "bm25" and len(known.bm25_problems) >= len(self._layout.bm25_fields):
            self._mapping = Expiring()  # look again: the next search may come after a correction
            raise misfit.error(self._layout.subject, known.bm25_problems)
        return known

    def _send(
        self, search: Search, vector: Vector | None, layout: Layout, deadline: Deadline
    ) -> Flow[FirstPass[Response]]:
        params = {name: search.native[name] for name in URL_PARAMS if name in search.native}
        shape = {**search.native.get("body", {})}
        shape |= {n: v for n, v in search.native.items() if n not in (*URL_PARAMS, "body")}
        extras, given = search.extras, shape.get("_source")
        paths = (*self._text_fields.paths, *fields_of(extras))
        dense = self._layout.dense_vector or ""
        # Vectors of the whole source come with the first pass if a stage compares them.
        with_vectors = extras.vectors and given is True
        first_paths = (*paths, dense) if with_vectors and dense else paths
        later, notes = self._page_source(search, shape, first_paths)
        projection = source_selection.project(shape, paths, self._layout)
        shape |= {**projection.parts, **conditions.asking(shape, extras.filters)}
        if later is not None:
            shape["_source"] = later.first
        sending = _Sending(search, vector, layout, shape, params, deadline)
        first = yield from self._fused_or_not(sending)
        hits = first.response["hits"]["hits"]
        first = replace(
            first,
            response=conditions.aggregations_stripped(first.response, len(extras.filters)),
            injected_fields=projection.injected_fields,
            notes={**first.notes, **notes},
            matching=conditions.matching(hits, len(extras.filters)),
            vectors=responses.vectors(hits, dense) if extras.vectors else {},
        )
        if later is not None:
            complete = partial(self._complete, first.response, later, params)
            return replace(first, complete=lambda p, d: self.completing(complete(p, d), d))
        if given in (None, True):
            self._payload_size.measure([hit.get("_source") for hit in hits], paths)
        return first

    def _page_source(
        self, search: Search, shape: Mapping[str, object], paths: Sequence[str]
    ) -> tuple[PageSource | None, Mapping[str, str]]:
        """Return what of the source comes for the page alone, and notes.

        It is None if all comes with the first pass.
        """
        if search.limit >= search.k or not self._payload_size.by_page(search):
            return None, {}
        if (reason := page_source.reason_for_all(shape, {})) is not None:
            return None, page_source.note(reason) if search.payload == "page" else {}
        given = shape.get("_source")
        hidden = source_selection.hidden(self._layout) if given is None else ()
        return PageSource.of(given, paths, hidden), {}

    def _complete(
        self,
        response: Response,
        later: PageSource,
        params: Mapping[str, object],
        page: Ranking,
        deadline: Deadline,
    ) -> Flow[Response]:
        """Bring the source of the page."""
        positions = [hit.candidate.position for hit in page.hits]
        body = later.request([response["hits"]["hits"][n] for n in positions])
        url = {**params, **self._limit(deadline)}
        answer = yield from self._call(
            lambda: self._client.search(body=body, index=self._layout.index, params=url), deadline
        )
        return page_source.filled(response, positions, errors.whole(answer))

    def _fused_or_not(self, sending: _Sending) -> Flow[FirstPass[Response]]:
        search = sending.search
        if search.mode != "hybrid":
            response = yield from self._search(sending)
            evidence = responses.evidence({search.mode: response})
            return FirstPass(response, "none", evidence, notes=responses.notes([response]))
        if queries.fused_by_database(search.fusion) and self._fuses_hybrid:
            try:
                return (yield from self._fused(sending))
            except Exception as error:
                if not errors.cannot_fuse(error):
                    raise
                self._fuses_hybrid = False
                log.warning(
                    "OpenSearch at %s cannot fuse a hybrid search (%s): fused here from now on",
                    self._where,
                    errors.reason(error),
                )
        return (yield from self._fused_here(sending))

    def _fused(self, sending: _Sending) -> Flow[FirstPass[Response]]:
        if not sending.search.evidence:
            response = yield from self._search(sending)
            return FirstPass(response, "database", notes=responses.notes([response]))
        bodies = [sending.body(), *sending.branches({"_source": False})]
        response, *both = yield from self._msearch(bodies, sending)
        evidence = responses.evidence(dict(zip(BRANCHES, both, strict=True)))
        notes = responses.notes([response, *both])
        return FirstPass(response, "database", evidence, notes=notes)

    def _fused_here(self, sending: _Sending) -> Flow[FirstPass[Response]]:
        """Send both branches, and their union if facets are wanted, which neither of them has."""
        search = sending.search
        plain, facets = queries.without_facets(sending.shape)
        bodies = sending.branches(plain)
        if facets:
            bodies.append(queries.union_body(search, sending.vector, sending.layout, sending.shape))
        found = yield from self._msearch(bodies, sending)
        bm25, dense, *union = found
        branches = {"bm25": bm25, "dense": dense}
        fused = responses.fuse(branches, search.fusion, search.k, *union)
        evidence = responses.evidence(branches)
        return FirstPass(fused, "client", evidence, notes=responses.notes(found))

    def _search(self, sending: _Sending) -> Flow[Response]:
        body, index = sending.body(), self._layout.index
        params = {**sending.params, **self._limit(sending.deadline)}
        response = yield from self._call(
            lambda: self._client.search(body=body, index=index, params=params), sending.deadline
        )
        return errors.whole(response)

    def _msearch(self, bodies: Sequence[Body], sending: _Sending) -> Flow[list[Response]]:
        lines = queries.msearch(self._layout, sending.params, bodies)
        params = self._limit(sending.deadline)
        answer = yield from self._call(
            lambda: self._client.msearch(body=lines, params=params), sending.deadline
        )
        return errors.responses(answer, len(bodies))

    def _limit(self, deadline: Deadline) -> Mapping[str, float]:
        """Return the limit of one request as an argument of the client."""
        left = min(deadline.remaining(), self._client_timeout)
        return {} if math.isinf(left) else {"request_timeout": max(left, 0.001)}

    def _call(self, run: Callable[[], T | Awaitable[T]], deadline: Deadline) -> Flow[T]:
        """Call the client within the deadline and the client's own timeout."""
        return (
            yield from call_client(
                run,
                deadline,
                self._client_timeout,
                is_timeout=errors.is_timeout,
                describe=self.describe_error,
            )
        )

    def describe_error(self, error: Exception) -> str:
        """Return one line for a foreign error."""
        return errors.describe(error, self._where)

    def caller_filter(self, given: object, required: object = None) -> list[object] | None:
        """Return the filter of a search for a caller who is not trusted."""
        return caller_filter.combined(given, required)

    def document(
        self, id: HitId, filter: object, deadline: Deadline
    ) -> Flow[Mapping[str, object] | None]:
        """Return the source of a document that matches ``filter``, or None."""
        wanted: list[object] = [{"ids": {"values": [str(id)]}}]
        if filter is not None:
            wanted += filter if isinstance(filter, list) else [filter]
        shown = source_selection.project({}, self._text_fields.paths, self._layout).parts
        body = {"query": {"bool": {"filter": wanted}}, "size": 1, **shown}
        index, params = self._layout.index, self._limit(deadline)
        answer = yield from self._call(
            lambda: self._client.search(body=body, index=index, params=params), deadline
        )
        hits = errors.whole(answer)["hits"]["hits"]
        return hits[0].get("_source", {}) if hits else None

    def is_refused(self, error: BaseException | None) -> bool:
        """Check whether OpenSearch refused a request for what it asks for."""
        return isinstance(error, Exception) and errors.is_refused(error)

    def create(self, dimension: int | None, mode: Mode) -> Flow[bool]:
        """Create the index if it is missing."""
        return schema.create(self._client, self._layout, dimension, mode)

    def writer(self, mode: Mode, shard_key: int | str | None = None) -> writer.OpenSearchWriter:
        """Return what writes documents, with ``shard_key`` as their routing if there is one."""
        routing = None if shard_key is None else str(shard_key)
        return writer.OpenSearchWriter(
            self._client, self._layout, self.describe_error, mode, routing
        )

    def check(self, dimension: int | None, mode: Mode, k: int) -> Flow[list[Finding]]:
        """Check connection, version, plugins, index, and whether it allows ``k`` candidates."""
        findings = yield from check.check(
            self._client, self._layout, dimension, mode, self._where, self.describe_error
        )
        if any(finding.level == "error" for finding in findings):
            return findings
        return [*findings, *(yield from self._window_findings(k))]

    def _window_findings(self, k: int) -> Flow[list[Finding]]:
        try:
            window = yield from self._read_window(Deadline())
        except Exception as error:
            if errors.is_forbidden(error):
                return []
            raise
        if window >= k:
            return []
        detail = f"max_result_window is {window}: searches cannot rerank {k} hits"
        fix = f"raise index.max_result_window to {k}"
        return [Finding(f"index {self._layout.index!r}", "warning", detail, fix)]

    def sample(self, count: int) -> Flow[Sequence[Mapping[str, object]]]:
        """Return the sources of the first documents, as a search shows them."""
        shown = source_selection.project({}, self._text_fields.paths, self._layout).parts
        body = {"size": count, **shown}
        answer: Response = yield Call(
            lambda: self._client.search(body=body, index=self._layout.index)
        )
        return [hit.get("_source", {}) for hit in answer["hits"]["hits"]]

    def count(self) -> Flow[int]:
        """Return the number of documents."""
        answer: Response = yield Call(lambda: self._client.count(index=self._layout.index))
        return int(answer["count"])

    def held(self, ids: Sequence[str], field: str | None) -> Flow[set[str] | None]:
        """Return those of ``ids`` that documents have, as their ``_id`` or in ``field``."""
        if field is None:
            return (yield from stored_ids.own(self._client, self._layout.index, ids))
        return (yield from stored_ids.in_field(self._client, self._layout.index, field, ids))

    def collections(self) -> Flow[list[str]]:
        """Return the names of the indices."""
        return describe.collections(self._client)

    def describe(self) -> Flow[Description]:
        """Return what a search has to know about the index."""
        return describe.describe(self._client, self._layout)

    def delete(self) -> Flow[None]:
        """Delete the index."""
        yield Call(lambda: self._client.indices.delete(index=self._layout.index))

    def refresh(self) -> Flow[None]:
        """Refresh the index: documents are not searchable before."""
        yield Call(lambda: self._client.indices.refresh(index=self._layout.index))

    def close(self) -> Awaitable[None] | None:
        """Close the client."""
        closing: Awaitable[None] | None = self._client.close()
        return closing
