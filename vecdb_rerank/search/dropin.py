"""What the drop-in clients of all databases share.

A drop-in client reads a native request (`RequestInfo`), makes a `Plan` for it, sends it, and
returns the native response, reranked. Each database reads, deepens and rebuilds requests its own
way; what is reranked, when, and with which outcome is decided here.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache, partial
from types import UnionType
from typing import Generic, Literal, TypeVar, cast, get_args

from vecdb_rerank import telemetry
from vecdb_rerank._checks import check_type, integer, one_of, shown
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.steps import Call, Flow, together
from vecdb_rerank.outcome import publish
from vecdb_rerank.policy import Policy
from vecdb_rerank.policy.stages import extras
from vecdb_rerank.protocols import FirstPass, Hits
from vecdb_rerank.request import MAX_K, Extras, NativeSearch, check_instruction
from vecdb_rerank.search.arguments import (
    AnyPolicy,
    Rerank,
    Rerankers,
    make_chain,
    make_policy,
    make_rerank,
)
from vecdb_rerank.search.clock import Clock, SearchRun
from vecdb_rerank.search.learned import Learned
from vecdb_rerank.search.pipeline import Pipeline
from vecdb_rerank.search.result import CompletedSearch, deliver
from vecdb_rerank.text_fields import TextFields, valid_unicode

log = logging.getLogger("vecdb_rerank")
R = TypeVar("R")
AnswerT = TypeVar("AnswerT")
T = TypeVar("T")
MissingQuery = Literal["pass", "raise"]
# Which hits bring what the caller asked for with the first pass: all, or those of the page later.
DropInPayload = Literal["all", "page"]
# Whether a request is made as deep as the window, or reranked as deep as it is.
RerankDepth = Literal["window", "own"]

_ambient: ContextVar[str | None] = ContextVar("rerank_query", default=None)
_ambient_instruction: ContextVar[str | None] = ContextVar("instruction", default=None)


@contextmanager
def rerank_query(text: str | None = None, *, instruction: str | None = None) -> Iterator[None]:
    """Set the query text of all drop-in calls in the block that are not given one themselves.

    ``instruction`` says what counts as relevant, for the rerankers. For calls that a framework
    makes, which cannot pass the arguments on. Safe under threads and tasks. Raises
    `ConfigurationError` if ``text`` or ``instruction`` is not a str.
    """
    check_type("rerank_query", text, str)
    if instruction is not None:
        check_instruction(instruction)
    set_text = _ambient.set(_ambient.get() if text is None else text)
    set_instruction = _ambient_instruction.set(
        _ambient_instruction.get() if instruction is None else instruction
    )
    try:
        yield
    finally:
        _ambient.reset(set_text)
        _ambient_instruction.reset(set_instruction)


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """A native request, in terms that are the same for every database.

    ``limit`` hits from ``offset`` (from 0). ``texts`` are the query texts found in it,
    ``obstacle`` is the reason why it cannot be reranked, ``note`` a reason for the outcome if it
    has no other. ``tail_follows`` means that hits past the window follow in the database's order,
    ``deterministic_ties`` that hits of equal scores have the same order at any depth. ``notes``
    are those of the `Outcome`. With ``own_depth`` the request is not made deeper: the hits of its
    response are what is reranked, and ``offset`` is 0 whatever page they are. There are at most
    ``available`` hits, if the request itself limits them; the deeper one would find more.
    """

    mode: str
    limit: int
    offset: int = 0
    texts: Sequence[str] = ()
    obstacle: str | None = None
    note: str | None = None
    tail_follows: bool = True
    deterministic_ties: bool = False
    own_depth: bool = False
    available: int | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """How one native request is handled: reranked, or passed through for a ``reason``."""

    search: NativeSearch
    pipeline: Pipeline
    policy: Policy
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Job(Generic[R]):
    """A planned request, and how to read its response.

    ``first`` turns the response into a first pass, or returns the reason why there is nothing to
    rerank; the response is then returned as it is. It is called only if the plan is to rerank.
    """

    plan: Plan
    hits: Hits[R]
    first: Callable[[R], FirstPass[R] | str]

    def passed(self, reason: str) -> Job[R]:
        """Return the job that passes the response through, for its own reason or ``reason``."""
        return replace(self, plan=replace(self.plan, reason=self.plan.reason or reason))


@dataclass(frozen=True, slots=True)
class DropIn:
    """How a client's searches are reranked; created once, shared by threads and tasks.

    ``k`` hits (1 to 10,000) are reranked. If no query text is found, ``on_missing_query`` passes
    the call through or raises `ConfigurationError`. With ``rerank_depth="own"`` no request is
    made deeper. With ``payload="page"`` the first pass brings only the text to rerank, and a
    second request the rest for the hits of the page. ``instruction`` holds for calls that are not
    given one of their own (``of_call``). The rest is what the answers have shown of the database:
    which searches go to ``several_shards``, how many hits a search of a collection or index may
    ask for (``depths``), which hybrid searches cannot be deeper (``shallow``), and which vectors
    are compared by ``distances``.
    """

    pipeline: Pipeline
    k: int
    on_missing_query: MissingQuery
    rerank_depth: RerankDepth = "window"
    payload: DropInPayload = "all"
    instruction: str | None = None
    of_call: str | None = None
    several_shards: Learned[bool] = field(default_factory=Learned, compare=False)
    depths: Learned[int] = field(default_factory=Learned, compare=False)
    shallow: Learned[bool] = field(default_factory=Learned, compare=False)
    distances: Learned[bool] = field(default_factory=Learned, compare=False)

    @classmethod
    def of(
        cls,
        reranker: Rerankers,
        *,
        text_fields: TextFields | None,
        policy: AnyPolicy | None,
        k: int,
        on_missing_query: MissingQuery,
        rerank_depth: RerankDepth = "window",
        payload: DropInPayload = "all",
        instruction: str | None = None,
    ) -> DropIn:
        """Create one from the arguments of a drop-in client.

        Raises `ConfigurationError` for a wrong argument.
        """
        one_of("on_missing_query", on_missing_query, get_args(MissingQuery))
        one_of("rerank_depth", rerank_depth, get_args(RerankDepth))
        one_of("payload", payload, get_args(DropInPayload))
        check_type("text_fields", text_fields, TextFields)
        pipeline = Pipeline(
            chain=make_chain(reranker),
            text_fields=text_fields or TextFields(),
            policy=make_policy(policy),
        )
        pipeline.check_instruction(instruction)
        hits = integer("k", k, 1, MAX_K)
        return cls(pipeline, hits, on_missing_query, rerank_depth, payload, instruction)

    def instructed(self, instruction: str | None) -> DropIn:
        """Return the same for one call, with the ``instruction`` that it was given.

        Raises `ConfigurationError` if it is not a text.
        """
        if instruction is None:
            return self
        check_instruction(instruction)
        return replace(self, of_call=instruction)

    def extras(self, rerank: Rerank) -> Extras:
        """Return what the stages of a call's policy need beside the text."""
        chosen = make_rerank(rerank, self.pipeline.policy)
        return Extras() if chosen is None else extras(chosen.after)

    def plan(
        self,
        info: RequestInfo,
        rerank: Rerank = True,
        query: str | None = None,
    ) -> Plan:
        """Return how to handle a request; ``query`` is the text that the call itself was given.

        A ``rerank`` policy holds for this call alone; circuits and billed units stay shared.
        Raises `ConfigurationError` for a wrong argument, and for a missing text if that is an
        error.
        """
        chosen = make_rerank(rerank, self.pipeline.policy)
        policy = chosen or self.pipeline.policy
        self.pipeline.check(policy)
        text = _text(query, info.texts)
        reason = self._reason_to_pass(info, text) if chosen else "rerank=False"
        search = replace(self._search(info, text or ""), instruction=self._instruction())
        if reason is None:
            self.pipeline.check_instruction(search.instruction)
        return Plan(search, self.pipeline, policy, reason)

    def _instruction(self) -> str | None:
        """Return the call's instruction, else the block's, else the client's."""
        given = (self.of_call, _ambient_instruction.get(), self.instruction)
        return next((one for one in given if one is not None), None)

    def learn_depth(self, target: str, depth: int) -> bool:
        """Remember that a search of ``target`` may ask for ``depth`` hits at most.

        Return False if that was known.
        """
        known = self.depths.get(target)
        if depth < 1 or (known is not None and known <= depth):
            return False
        self.depths.set(target, depth)
        return True

    def within(self, k: int, info: RequestInfo, limit: str) -> tuple[DropIn, RequestInfo]:
        """Return what reranks ``k`` hits at most, and ``info`` with a note that names ``limit``."""
        if k >= self.k:
            return self, info
        note = f"{limit}: {k} hits are reranked instead of {self.k}"
        noted = replace(info, notes={**info.notes, "limited_depth": note})
        return replace(self, k=k), noted

    @property
    def past(self) -> str:
        """Return why a page that begins after the window is passed through."""
        return f"the page lies past the {self.k} hits that are reranked"

    def by_page(self, info: RequestInfo) -> bool:
        """Check whether only the hits of the page bring what the caller asked for."""
        return self.payload == "page" and not info.own_depth and info.limit < self.k

    def closing(self) -> Flow[None]:
        """Close the rerankers' connections."""
        if self.pipeline.chain is not None:
            yield from self.pipeline.chain.closing()

    def _reason_to_pass(self, info: RequestInfo, text: str | None) -> str | None:
        if self.pipeline.chain is None:
            return "no reranker"
        if info.obstacle is not None:
            return info.obstacle
        if text is None:
            return self._missing(info)
        if info.offset >= self.k and info.tail_follows:
            return self.past
        return None

    def _missing(self, info: RequestInfo) -> str:
        holds = "holds several texts" if info.texts else "holds no text"
        if self.on_missing_query == "raise":
            raise ConfigurationError(
                "rerank_query",
                f"is not given and the request {holds}; give the text to rerank by, "
                "or rerank=False",
            )
        _warn_once(holds)
        return f"no query: the request {holds}, and no rerank_query was given"

    def _search(self, info: RequestInfo, text: str) -> NativeSearch:
        # A first page larger than the window is one response: no other page contradicts it.
        tail_follows = info.tail_follows or not info.offset
        ends = not tail_follows and info.offset + info.limit > self.k
        cut = f"pages end after the {self.k} hits that are reranked" if ends else None
        return NativeSearch(
            query=text,
            k=self.k,
            limit=info.limit,
            offset=info.offset,
            mode=info.mode,
            tail_follows=tail_follows,
            deterministic_ties=info.deterministic_ties,
            note="; ".join(filter(None, (info.note, cut))) or None,
            notes=info.notes,
        )


def single(job: Job[R], call: Callable[[], R | Awaitable[R]]) -> Flow[R]:
    """Return the flow of one native call: its value is the native response.

    ``call`` sends it; what it raises reaches the caller as it is.
    """
    return (yield from single_of(job, call, lambda response: response))


def single_of(
    job: Job[R],
    call: Callable[[], AnswerT | Awaitable[AnswerT]],
    response_of: Callable[[AnswerT], R],
) -> Flow[R]:
    """Return the flow of `single` for a call whose answer holds more than the response."""
    plan = job.plan
    with plan.pipeline.begin(job.hits.name, plan.search, policy=plan.policy) as run:
        answer = yield from _send(call, run.clock, job.hits.name)
        completed = yield from _complete(job, response_of(answer), run)
    return deliver(completed, plan.policy)


def batch(
    jobs: Sequence[Job[R]],
    call: Callable[[], AnswerT | Awaitable[AnswerT]],
    split: Callable[[AnswerT], Sequence[R]],
) -> Flow[tuple[AnswerT, list[R]]]:
    """Return the flow of several searches in one native call: its answer, and the responses.

    ``split`` takes the responses out of the answer, one per job. They are reranked concurrently.
    One that fails falls back alone, whatever its policy: an error would lose the others. Outcomes
    are published in the order of the jobs.
    """
    clock = Clock()
    answer = yield from _send(call, clock, jobs[0].hits.name if jobs else "")
    pairs = list(zip(jobs, split(answer), strict=True))
    flows = [partial(_complete_alone, job, response, clock.shared()) for job, response in pairs]
    completed = yield from _together(flows, [job.plan.reason is None for job, _ in pairs])
    for job, done in zip(jobs, completed, strict=True):
        publish(done.outcome, job.plan.policy.on_outcome)
    return answer, [done.response for done in completed]


def _send(
    call: Callable[[], AnswerT | Awaitable[AnswerT]], clock: Clock, name: str
) -> Flow[AnswerT]:
    try:
        with clock.stage("first_pass"):
            answer: AnswerT = yield Call(call)
            return answer
    except Exception as error:
        telemetry.count_failed(name, error)
        raise


def _complete(job: Job[R], response: R, run: SearchRun) -> Flow[CompletedSearch[R]]:
    plan = job.plan
    first = plan.reason if plan.reason is not None else job.first(response)
    if isinstance(first, str):
        return plan.pipeline.pass_through(job.hits, plan.search, response, first, run)
    return (yield from plan.pipeline.rerank(job.hits, plan.search, first, run))


def _complete_alone(job: Job[R], response: R, clock: Clock) -> Flow[CompletedSearch[R]]:
    plan = job.plan
    with plan.pipeline.begin(job.hits.name, plan.search, policy=plan.policy, clock=clock) as run:
        return (yield from _complete(job, response, run))


def _together(
    flows: Sequence[Callable[[], Flow[CompletedSearch[R]]]], reranked: Sequence[bool]
) -> Flow[list[CompletedSearch[R]]]:
    """Run the flows that do I/O concurrently, and the others one after another."""
    busy = [flow for flow, does in zip(flows, reranked, strict=True) if does]
    values = iter((yield from together(busy)) if busy else ())
    settled = []
    for flow, does in zip(flows, reranked, strict=True):
        settled.append(next(values) if does else (yield from flow()))
    return settled


def _text(given: str | None, found: Iterable[str]) -> str | None:
    """Return the text to rerank by: the call's, the block's, else the request's only one."""
    for text in (given, _ambient.get()):
        if text is not None and not isinstance(text, str):
            raise ConfigurationError("rerank_query", f"must be a str, got {shown(text)}")
        if text is not None and text.strip():
            return valid_unicode(text)
    distinct = {text for text in found if text.strip()}
    return valid_unicode(distinct.pop()) if len(distinct) == 1 else None


@cache
def _warn_once(holds: str) -> None:
    """Warn once per process: users of a drop-in client expect all searches to be reranked."""
    log.warning(
        "a search is not reranked: its request %s; give rerank_query=, or refuse such calls with "
        "on_missing_query='raise' (logged once)",
        holds,
    )


def each(name: str, given: T | Sequence[T], kind: type | UnionType, count: int) -> list[T]:
    """Return an argument for each request of a batch, given one for all or a list of them."""
    if isinstance(given, kind):
        return [cast("T", given)] * count
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise ConfigurationError(name, f"must be one value, or a list of them, got {shown(given)}")
    if len(given) != count:
        raise ConfigurationError(name, f"got {len(given)} values for {count} requests")
    return list(given)
