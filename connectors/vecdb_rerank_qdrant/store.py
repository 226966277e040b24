"""One Qdrant collection as the pipeline sees it: requests, calls, responses."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from qdrant_client.http import models

from vecdb_rerank.adopt.description import Description
from vecdb_rerank.errors import ConfigurationError, SchemaError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.http.time_limit import until
from vecdb_rerank.model import Candidate, HitId, Ranking
from vecdb_rerank.protocols import FirstPass, Vector
from vecdb_rerank.request import BRANCHES, Mode, Search
from vecdb_rerank.search import misfit
from vecdb_rerank.search.expiring import Expiring
from vecdb_rerank.search.payload_size import PayloadSize
from vecdb_rerank.search.store import Finding, Store, call_client
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import (
    caller_filter,
    describe,
    errors,
    payload_selection,
    queries,
    responses,
    schema,
    stored_ids,
    text_index,
    writer,
)
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.check import Checked, check, empty_branches
from vecdb_rerank_qdrant.client import Client, address, grpc_address, is_grpc, is_local, timeout
from vecdb_rerank_qdrant.conditions import Conditions
from vecdb_rerank_qdrant.layout import Layout
from vecdb_rerank_qdrant.limits import Limits
from vecdb_rerank_qdrant.page_payload import PagePayload
from vecdb_rerank_qdrant.text_index import TextIndex, TextQuery

T = TypeVar("T")
_REFUSALS = 3  # of one search, by one limit each
_LOOK_AGAIN_AFTER = 60.0  # seconds; at a branch that found nothing


class QdrantStore(Store[models.QueryResponse]):
    """One Qdrant collection behind any client: REST, gRPC or local, sync or async."""

    name = "qdrant"

    def __init__(self, client: Client, layout: Layout, bm25: Bm25, text_fields: TextFields) -> None:
        self._client = client
        self._layout = layout
        self._bm25 = bm25
        self.language = bm25.language
        field = layout.text_index
        self._text_index = None if field is None else TextIndex(layout.collection, field)
        self._encode = TextQuery(bm25).query if self._text_index else bm25.query
        self.branches = layout.branches
        self._text_fields = text_fields
        self._local = is_local(client)
        self._over_grpc = is_grpc(client)
        self._where = address(client)
        self._client_timeout = math.inf if self._local else timeout(client)
        self._payload_size = PayloadSize()
        self._limits: Expiring[Limits] = Expiring()
        self._alive: Expiring[bool] = Expiring()
        self._dead: Expiring[Mapping[str, str]] = Expiring(_LOOK_AGAIN_AFTER)

    def of_collection(self, name: str) -> QdrantStore:
        """Return the store of another collection of the same layout, over the same client."""
        layout = replace(self._layout, collection=name)
        return QdrantStore(self._client, layout, self._bm25, self._text_fields)

    def check_filters(self, filters: Mapping[str, object]) -> None:
        """Raise `ConfigurationError` for a filter of a boost that cannot be evaluated."""
        Conditions.of(filters)

    def first_pass(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[models.QueryResponse]]:
        """Send one request: the fused query, or both branches if they are wanted as evidence.

        Plain RRF of the branches is the server's own result, so the branches alone are enough.
        A collection in strict mode is searched as deep as it allows.
        Before the first search by a text index, the server is asked whether it can; if not, a
        hybrid search is dense alone.

        Raises `FirstPassTimeoutError` if the client's own timeout is over before the deadline, and
        `SchemaError` if the collection lacks what the search needs.
        """
        cannot = yield from self._without_text_index(search, deadline)
        if cannot:
            search = replace(search, mode="dense")
        try:
            first = yield from self._limited(search, vector, deadline)
        except Exception as error:
            yield from self._explain(error, search.mode, deadline)
            raise
        return replace(first, notes={**first.notes, "dead_branch": cannot}) if cannot else first

    def _without_text_index(self, search: Search, deadline: Deadline) -> Flow[str]:
        """Return why a hybrid search is to leave out the text index; empty if it is not.

        Raises `SchemaError` if the search is nothing but BM25.
        """
        if self._text_index is None or search.mode == "dense":
            return ""
        why = yield from self._text_index.problem(partial(self._query, deadline=deadline))
        if why and search.mode == "bm25":
            raise SchemaError(f"{self._layout.subject}: {why}")
        return why

    def _explain(self, error: Exception, mode: Mode, deadline: Deadline) -> Flow[None]:
        """Raise `SchemaError` if a search was refused because the collection lacks something."""
        if not errors.is_refused(error):
            return
        try:
            info = yield from self._get_collection(deadline)
        except Exception:  # not allowed to read it: the refusal itself has to do
            return
        if problems := schema.misfits(info, self._layout, None, mode):
            raise misfit.error(self._layout.subject, problems) from error

    def _limited(
        self, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[models.QueryResponse]]:
        """Search as deep as the collection's limits allow."""
        refusals = 0
        while True:
            limits = self._limits.get() or Limits()
            try:
                first = yield from self._within(limits, search, vector, deadline)
                break
            except Exception as error:
                refusals += 1
                if refusals > _REFUSALS:
                    raise
                yield from self._learn_limit(error, limits, deadline)
        allowed = limits.within(search)
        if allowed.k < search.k:
            note = (
                f"the collection's max_query_limit is {limits.points}: "
                f"{allowed.k} candidates instead of {search.k}"
            )
            first = replace(first, notes={**first.notes, "limited_depth": note})
        dead = yield from self._dead_branches(first, search.mode, deadline)
        return replace(first, notes={**first.notes, **dead}) if dead else first

    def _learn_limit(self, error: Exception, limits: Limits, deadline: Deadline) -> Flow[None]:
        """Learn the collection's limits from a refusal; raise ``error`` if it is another one."""
        exceeded = errors.exceeded_limit(error)
        if exceeded is None or not Limits.knows(exceeded[0]):
            raise error
        try:
            info = yield from self._get_collection(deadline)
            limits = limits.updated(Limits.of(info))
        except Exception:  # not allowed to read it: one limit at a time
            pass
        self._limits.set(limits.refused(*exceeded))

    def _within(
        self, limits: Limits, search: Search, vector: Vector | None, deadline: Deadline
    ) -> Flow[FirstPass[models.QueryResponse]]:
        search = limits.within(search)
        conditions = Conditions.of(search.extras.filters)
        selector = search.native.get("with_payload", True)
        paths = (*self._text_fields.paths, *search.extras.fields, *conditions.fields)
        projection = payload_selection.project(selector, paths)
        native = {**search.native, "with_payload": projection.selector}
        later = self._page_payload(search, selector)
        if later is not None:
            projection = later.first(projection, paths)
            native["with_payload"] = projection.selector
            if not search.extras.vectors:
                native["with_vectors"] = False
        if not self._local:
            left = min(deadline.remaining(), self._client_timeout)
            native["timeout"] = queries.timeout(limits.seconds(left))
        parts = (replace(search, native=native), vector, self._layout, self._encode)
        if search.mode == "hybrid" and queries.fused_here(search.fusion, search.evidence):
            first = yield from self._branches(search, native, vector, deadline, limits)
        else:
            response = yield from self._query(queries.query(*parts), deadline)
            if search.mode == "dense":
                responses.require_similarity(response, self._where)
            first = responses.first_pass(search.mode, response)
        points, using = first.response.points, self._layout.dense_vector
        first = replace(
            first,
            injected_fields=projection,
            matching=conditions.matching(points),
            vectors=responses.dense_vectors(points, using) if search.extras.vectors else {},
        )
        if later is not None:
            complete = partial(self._complete, first.response, later)
            return replace(first, complete=lambda p, d: self.completing(complete(p, d), d))
        if projection.selector is True:
            self._payload_size.measure([p.payload for p in first.response.points], paths)
        return first

    def _page_payload(self, search: Search, selector: object) -> PagePayload | None:
        """Return what comes for the page alone; None if all comes with the first pass."""
        if search.limit >= search.k or not self._payload_size.by_page(search):
            return None
        arguments = {**search.native, "collection_name": self._layout.collection}
        return PagePayload.of(arguments, selector)

    def _complete(
        self,
        response: models.QueryResponse,
        later: PagePayload,
        page: Ranking,
        deadline: Deadline,
    ) -> Flow[models.QueryResponse]:
        """Bring payload and vectors of the page."""
        positions = [hit.candidate.position for hit in page.hits]
        bounded = deadline.at_most(self._client_timeout)
        retrieving = later.retrieve(
            self._client.retrieve, response.points, positions, bounded, over_grpc=self._over_grpc
        )
        points = yield from retrieving
        return response.model_copy(update={"points": points})

    def _branches(
        self,
        search: Search,
        native: Mapping[str, object],
        vector: Vector | None,
        deadline: Deadline,
        limits: Limits,
    ) -> Flow[FirstPass[models.QueryResponse]]:
        threshold = search.native.get("score_threshold")  # tests fused scores, not a branch's
        alone = replace(search, native={**native, "score_threshold": None})
        parts = (alone, vector, self._layout, self._encode)
        requests = [queries.branch(name, *parts, search.depth) for name in BRANCHES]
        answers: list[models.QueryResponse] = []
        if limits.allows_batch:
            batch = queries.batch(requests)
            answers = yield from self._call(
                lambda: self._client.query_batch_points(**batch), deadline
            )
        else:
            for request in requests:
                answers.append((yield from self._query(request, deadline)))
        if len(answers) != len(BRANCHES):
            raise errors.Malformed(f"expected {len(BRANCHES)} results, got {len(answers)}")
        branches: dict[str, models.QueryResponse] = dict(zip(BRANCHES, answers, strict=True))
        responses.require_similarity(branches["dense"], self._where)
        fused = responses.fuse(branches, search.fusion, search.k, threshold)
        return FirstPass(fused, "client", responses.evidence(branches))

    def _query(self, request: Mapping[str, Any], deadline: Deadline) -> Flow[models.QueryResponse]:
        return (yield from self._call(lambda: self._client.query_points(**request), deadline))

    def _get_collection(self, deadline: Deadline) -> Flow[models.CollectionInfo]:
        name = self._layout.collection
        return (yield from self._call(lambda: self._client.get_collection(name), deadline))

    def _call(self, run: Callable[[], T | Awaitable[T]], deadline: Deadline) -> Flow[T]:
        """Call the client within the deadline and the client's own timeout."""
        bounded = Deadline.after(min(deadline.remaining(), self._client_timeout))

        def call() -> T | Awaitable[T]:
            with until(bounded):
                return run()

        return (
            yield from call_client(
                call,
                deadline,
                self._client_timeout,
                is_timeout=errors.is_timeout,
                describe=self.describe_error,
            )
        )

    def _dead_branches(
        self, first: FirstPass[models.QueryResponse], mode: Mode, deadline: Deadline
    ) -> Flow[Mapping[str, str]]:
        """Return a note if a branch that found nothing can never find anything.

        A branch whose hits are not known (fused by the server) is looked at as well.
        """
        silent = [
            name
            for name in (BRANCHES if mode == "hybrid" else (mode,))
            if not first.evidence.get(name)
        ]
        if not silent or self._alive.get():
            return {}
        dead = self._dead.get()
        if dead is None:
            left = min(deadline.remaining(), self._client_timeout)
            try:
                empty = yield from empty_branches(self._client, self._layout, silent, left)
            except Exception:  # a search must not fail for a note
                return {}
            dead = {"dead_branch": empty} if empty else {}
            if dead:
                self._dead.set(dead)
            else:
                self._alive.set(True)
        return dead

    def candidates(
        self, first: FirstPass[models.QueryResponse], text_fields: TextFields
    ) -> Sequence[Candidate]:
        """Return the response's points as candidates."""
        return responses.candidates(first, text_fields)

    def rebuild(
        self, first: FirstPass[models.QueryResponse], ranking: Ranking
    ) -> models.QueryResponse:
        """Return the response with the ranking's points."""
        return responses.rebuild(first, ranking, self._over_grpc)

    def describe_error(self, error: Exception) -> str:
        """Return one line for a foreign error."""
        grpc = self._over_grpc and not errors.is_rest(error)
        return errors.describe(error, grpc_address(self._client) if grpc else self._where)

    def caller_filter(self, given: object, required: object = None) -> models.Filter | None:
        """Return the filter of a search for a caller who is not trusted."""
        return caller_filter.combined(given, required)

    def document(
        self, id: HitId, filter: object, deadline: Deadline
    ) -> Flow[Mapping[str, object] | None]:
        """Return the payload of a point that matches ``filter``, or None."""
        if not stored_ids.is_point_id(id):
            return None
        conditions: list[models.Condition] = [models.HasIdCondition(has_id=[id])]
        if isinstance(filter, models.Filter):
            conditions.append(filter)
        name, wanted = self._layout.collection, models.Filter(must=conditions)
        found: list[models.Record]
        found, _ = yield from self._call(
            lambda: self._client.scroll(name, wanted, limit=1), deadline
        )
        return found[0].payload or {} if found else None

    def rest(self, response: models.QueryResponse, seconds: float) -> object:
        """Return a response as Qdrant's REST API would."""
        result = response.model_dump(mode="json", exclude_none=True)
        return {"result": result, "status": "ok", "time": seconds}

    def is_refused(self, error: BaseException | None) -> bool:
        """Check whether Qdrant refused a request for what it asks for."""
        return isinstance(error, Exception) and errors.is_refused(error)

    def create(self, dimension: int | None, mode: Mode) -> Flow[bool]:
        """Create the collection if it is missing."""
        return schema.create(
            self._client, self._layout, dimension, mode, self._bm25, self._text_fields
        )

    def writer(self, mode: Mode, shard_key: int | str | None = None) -> writer.QdrantWriter:
        """Return what writes documents, into the shard ``shard_key`` if there is one."""
        return writer.QdrantWriter(
            self._client, self._layout, self._bm25.document, self.describe_error, mode, shard_key
        )

    def check(self, dimension: int | None, mode: Mode, k: int) -> Flow[list[Finding]]:
        """Check connection, version and collection."""
        checked = Checked(
            client=self._client,
            layout=self._layout,
            bm25=self._bm25,
            text_fields=self._text_fields,
            where=None if self._local else self._where,
            describe=self.describe_error,
            dimension=dimension,
            mode=mode,
            k=k,
        )
        return check(checked)

    def misread(self) -> Flow[str]:
        """Return a sentence if the BM25 vectors hold the stems of another language."""
        problems = yield from schema.language_misfits(
            self._client, self._layout, self._bm25, self._text_fields
        )
        return "; ".join(f"{problem.detail}: {problem.fix}" for problem in problems)

    def sample(self, count: int) -> Flow[Sequence[Mapping[str, object]]]:
        """Return the payloads of the first points; none if the read rate limit is reached."""
        points: list[models.Record]
        try:
            points, _ = yield Call(
                lambda: self._client.scroll(self._layout.collection, limit=count)
            )
        except Exception as error:
            if errors.is_rate_limited(error):
                return []
            raise
        return [point.payload or {} for point in points]

    def count(self) -> Flow[int]:
        """Return the number of points."""
        counted: models.CountResult = yield Call(
            lambda: self._client.count(self._layout.collection)
        )
        return counted.count

    def held(self, ids: Sequence[str], field: str | None) -> Flow[set[str] | None]:
        """Return those of ``ids`` that points have, as the document's id or in ``field``."""
        if field is None:
            return (yield from stored_ids.own(self._client, self._layout.collection, ids))
        return (yield from stored_ids.in_field(self._client, self._layout.collection, field, ids))

    def collections(self) -> Flow[list[str]]:
        """Return the names of the collections."""
        return describe.collections(self._client)

    def describe(self) -> Flow[Description]:
        """Return what a search has to know about the collection."""
        return describe.describe(self._client, self._layout)

    def create_text_index(self) -> Flow[None]:
        """Create the text index of the layout's field."""
        field = self._layout.text_index
        if field is None:
            fields = ", ".join(self._text_fields.paths)
            raise ConfigurationError(
                "backend.text_index",
                f"must name the field to index, one of: {fields}; remove backend.bm25_vector then",
            )
        return text_index.create(self._client, self._layout.collection, field, self._bm25.language)

    def delete(self) -> Flow[None]:
        """Delete the collection."""
        yield Call(lambda: self._client.delete_collection(self._layout.collection))

    def refresh(self) -> Flow[None]:
        """Do nothing: writes are waited for."""
        yield from ()

    def close(self) -> Awaitable[None] | None:
        """Close the client."""
        return self._client.close()
