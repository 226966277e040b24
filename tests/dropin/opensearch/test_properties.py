"""What must hold of any search, checked on one recorded response each.

``VECDB_RERANK_TEST_EXAMPLES`` sets how many searches are generated for each property.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from opensearchpy.exceptions import OpenSearchException, RequestError

from tests.dropin.exceptions import documented
from tests.dropin.opensearch import generated, oracle
from tests.dropin.opensearch.generated import QUERY, Arguments
from tests.dropin.opensearch.world import World
from vecdb_rerank import Outcome, Policy, TextFields, observe
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.testing import KeepingReranker, RaisingReranker, ReversingReranker
from vecdb_rerank_opensearch import RerankingOpenSearch, deepen

EXAMPLES = int(os.environ.get("VECDB_RERANK_TEST_EXAMPLES", "40"))
properties = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES < 100,
    report_multiple_bugs=False,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
POLICY = Policy(deadline=None, breaker=None, blend=Blend("replace"))
# What some of the generated searches hold that is not looked for.
OBSTACLES = ("filter_path: ", "docvalue_fields: ", "script_fields: ", "hybrid: ")
RERANKERS: dict[str, Any] = {
    "keeping": KeepingReranker,
    "reversing": ReversingReranker,
    "failing": RaisingReranker,
}


def wrapped(world: World, how: str, text_fields: TextFields, k: int) -> Any:
    return RerankingOpenSearch(
        world.client, RERANKERS[how](), text_fields=text_fields, policy=POLICY, k=k
    )


def placed(world: World, arguments: Arguments) -> Arguments:
    """The arguments with the index that they are for."""
    return {**arguments, "index": world.targets[arguments["index"]]}


def check_scores(found: Sequence[Any]) -> None:
    scores = [hit["_score"] for hit in found]
    assert all(type(score) is float for score in scores)
    assert scores == sorted(scores, reverse=True)


@properties
@given(
    search=generated.searches(),
    text_fields=generated.text_fields,
    k=generated.depths,
    how=st.sampled_from(("keeping", "reversing", "failing")),
)
def test_a_response_is_the_recorded_one_reordered_and_nothing_else(
    world: World, search: Arguments, text_fields: TextFields, k: int, how: str
) -> None:
    arguments = placed(world, search)
    before = copy.deepcopy(arguments)
    client = wrapped(world, how, text_fields, k)
    with world.watched() as log, observe() as outcomes:
        try:
            response = client.search(**arguments, rerank_query=QUERY)
        except RequestError as error:
            check_refused(world, arguments, error)
            return
    assert arguments == before  # the caller's objects are not changed
    (outcome,) = outcomes
    event(outcome.status)
    if outcome.status == "skipped":
        event(str(outcome.reason).partition(":")[0])
    if is_past(arguments, k):
        assert outcome.status == "skipped"
        assert json.dumps(response) == json.dumps(log[-1].response)
        return
    *shards_learned, exchange = log
    assert len(shards_learned) <= 1
    recorded = exchange.response
    assert json.dumps(json.loads(json.dumps(response))) == json.dumps(response)
    if outcome.status == "skipped" and str(outcome.reason).startswith(OBSTACLES):
        assert json.dumps(response) == json.dumps(recorded)
        return
    expected = oracle.expected(recorded, arguments, k, how, text_fields, world)
    if outcome.status in ("fell_back", "skipped"):
        assert json.dumps(response) == json.dumps(expected)
    else:
        assert oracle.unscored(response) == oracle.unscored(expected)
        found = response["hits"]["hits"]
        check_scores(found)
        if found and not oracle.page(arguments)[0] and "max_score" in response["hits"]:
            assert response["hits"]["max_score"] == found[0]["_score"]


def is_past(arguments: Arguments, k: int) -> bool:
    """Whether a page lies past the window, where OpenSearch continues."""
    return oracle.page(arguments)[0] >= k


def check_refused(world: World, arguments: Arguments, error: RequestError) -> None:
    """What OpenSearch refuses is the caller's own request, with the error it has there."""
    event("refused")
    last = world.log[-1].sent
    with world.watched() as log, pytest.raises(RequestError) as raised:
        world.client.search(**arguments)
    assert log[-1].sent == last
    assert str(raised.value) == str(error)


@properties
@given(search=generated.searches(), text_fields=generated.text_fields, k=generated.depths)
def test_with_an_order_keeping_reranker_a_call_equals_the_raw_one(
    world: World, search: Arguments, text_fields: TextFields, k: int
) -> None:
    """But for the exceptions that docs/drop_in.md lists."""
    arguments = placed(world, search)
    raw = attempt(lambda: world.client.search(**arguments))
    client = wrapped(world, "keeping", text_fields, k)
    ours = attempt(lambda: client.search(**arguments, rerank_query=QUERY))
    check_equal(world, ours, raw, arguments, text_fields, k)


def check_equal(
    world: World, ours: Any, raw: Any, arguments: Arguments, text_fields: TextFields, k: int
) -> None:
    """An answer is the raw one, but for the documented exceptions."""
    allowed = set(oracle.exceptions(arguments))
    assert allowed | {"ties", "equal_texts", "no_text"} <= documented("OpenSearch")
    if isinstance(raw, Exception) or "error" in raw:
        event("refused")
        assert str(ours) == str(raw) or ("fused" in allowed and not oracle.hits(ours))
        return
    event(", ".join(sorted(allowed)) or "equal")
    assert oracle.rest(ours, arguments) == oracle.rest(raw, arguments)
    found, hits = oracle.hits(ours), oracle.hits(raw)
    assert len(found) == len(hits)
    if "fused" in allowed or "_id" not in (hits or [{"_id": ""}])[0]:
        return
    if oracle.unscored_hits(found) == oracle.unscored_hits(hits):
        return
    window = world.client.search(**oracle.widened(arguments, k))
    expected = oracle.expected(window, arguments, k, "keeping", text_fields, world)
    event("ties, equal_texts or no_text")
    assert oracle.unscored_hits(found) == oracle.unscored_hits(oracle.hits(expected)[: len(hits)])


@properties
@given(
    searches=st.lists(st.tuples(generated.bodies, st.integers(0, 5)), min_size=1, max_size=3),
    text_fields=generated.text_fields,
    k=generated.depths,
)
def test_so_does_an_msearch(world: World, searches: Any, text_fields: TextFields, k: int) -> None:
    calls = [{"body": body, "index": world.targets[target]} for body, target in searches]
    lines = [line for call in calls for line in ({"index": call["index"]}, call["body"])]
    raw = world.client.msearch(body=lines)["responses"]
    client = wrapped(world, "keeping", text_fields, k)
    ours = client.msearch(body=lines, rerank_query=QUERY)["responses"]
    for one, other, call in zip(ours, raw, calls, strict=True):
        check_equal(world, one, other, call, text_fields, k)


@properties
@given(search=generated.searches(), text_fields=generated.text_fields)
def test_hits_are_those_that_the_callers_own_search_brings(
    world: World, search: Arguments, text_fields: TextFields
) -> None:
    """But for scores, order and number, which one response does not show."""
    arguments = placed(world, search)
    client = wrapped(world, "reversing", text_fields, 50)
    try:
        response = client.search(**arguments, rerank_query=QUERY)
        wide = {**arguments["body"], "size": 200, "from": 0}
        plain = {n: v for n, v in arguments.items() if n not in ("size", "from_")}
        plain["params"] = {
            n: v for n, v in arguments.get("params", {}).items() if n not in ("size", "from_")
        }
        own = world.client.search(**{**plain, "body": wide})
    except RequestError:
        event("refused")
        return
    parts = {oracle_key(hit): static(hit) for hit in own.get("hits", {}).get("hits", ())}
    for hit in response.get("hits", {}).get("hits", ()):
        if oracle_key(hit) in parts:
            assert static(hit) == parts[oracle_key(hit)]


def oracle_key(hit: Any) -> Any:
    return hit.get("_index"), hit.get("_id")


def static(hit: Any) -> Any:
    """What a hit is, whatever it scores."""
    moving = ("_score", "_explanation", "inner_hits")
    return {name: value for name, value in hit.items() if name not in moving}


@properties
@given(search=st.one_of(generated.passed(), generated.searches()))
def test_a_call_without_rerank_is_sent_and_answered_as_by_the_raw_client(
    world: World, search: Arguments
) -> None:
    client = wrapped(world, "reversing", TextFields(), 20)
    outcomes = check_same_as_raw(world, client, placed(world, search), {"rerank": False})
    assert all(outcome.reason == "rerank=False" for outcome in outcomes)


@properties
@given(search=generated.passed())
def test_what_cannot_be_reranked_is_sent_and_answered_as_by_the_raw_client(
    world: World, search: Arguments
) -> None:
    client = wrapped(world, "reversing", TextFields(), 20)
    outcomes = check_same_as_raw(world, client, placed(world, search), {"rerank_query": QUERY})
    for outcome in outcomes:
        event(str(outcome.reason).partition(":")[0])


def check_same_as_raw(
    world: World, client: Any, arguments: Arguments, ours: Any
) -> Sequence[Outcome]:
    """The bytes that are sent, and the answer or the error, are the raw client's."""
    with world.watched() as log:
        raw_answer = attempt(lambda: world.client.search(**arguments))
        (raw,) = log
    with world.watched() as log, observe() as outcomes:
        answer = attempt(lambda: client.search(**arguments, **ours))
    (sent,) = log
    assert sent.sent == raw.sent
    for opened in (raw_answer, answer):  # a node has room for some hundreds of them
        if isinstance(opened, dict) and "_scroll_id" in opened:
            world.client.clear_scroll(body={"scroll_id": opened["_scroll_id"]})
    if isinstance(raw_answer, Exception):
        assert str(answer).partition("took")[0] == str(raw_answer).partition("took")[0]
        return ()
    assert [outcome.status for outcome in outcomes] == ["skipped"]
    assert json.dumps(answer) == json.dumps(sent.response)
    return outcomes


def attempt(call: Any) -> Any:
    try:
        return call()
    except OpenSearchException as error:
        return error


@properties
@given(
    items=st.lists(
        st.tuples(generated.bodies, st.integers(0, 5), st.sampled_from(("", "", "", "bad", "off"))),
        min_size=1,
        max_size=3,
    ),
    form=st.sampled_from(("list", "text", "bytes", "generator")),
    text_fields=generated.text_fields,
    k=generated.depths,
    how=st.sampled_from(("reversing", "failing")),
)
def test_each_answer_of_an_msearch_is_its_recorded_one_reordered(
    world: World, items: Any, form: str, text_fields: TextFields, k: int, how: str
) -> None:
    lines: list[Any] = []
    texts = []
    for body, target, what in items:
        index = world.targets[target]
        lines.append({"index": index})
        lines.append({**body, "from": 20_000} if what == "bad" else body)
        texts.append(None if what == "off" else QUERY)
    ndjson = "".join(json.dumps(line) + "\n" for line in lines)
    forms: dict[str, Any] = {
        "list": lines,
        "text": ndjson,
        "bytes": ndjson.encode(),
        "generator": iter(lines),
    }
    client = wrapped(world, how, text_fields, k)
    client.msearch(body=lines, rerank_query=texts)  # which indices have several shards
    with world.watched() as log, observe() as outcomes:
        answer = client.msearch(body=forms[form], rerank_query=texts)
    assert len(outcomes) == len(items)
    recorded = log[0].response["responses"]
    again = iter(log[1].response["responses"] if len(log) > 1 else ())
    for n, outcome in enumerate(outcomes):
        event(outcome.status)
        ours, theirs = answer["responses"][n], recorded[n]
        arguments = {"body": lines[2 * n + 1]}
        changed = json.loads(log[0].body.splitlines()[2 * n + 1]) != lines[2 * n + 1]
        if theirs["status"] == 400 and changed:
            event("sent again")
            assert json.dumps(ours) == json.dumps(next(again))
        elif (
            "error" in theirs
            or is_past(arguments, k)
            or str(outcome.reason).startswith(("no query", *OBSTACLES))
        ):
            assert outcome.status == "skipped"
            assert json.dumps(ours) == json.dumps(theirs)
        else:
            expected = oracle.expected(theirs, arguments, k, how, text_fields, world)
            assert oracle.unscored(ours) == oracle.unscored(expected)
            check_scores(ours["hits"]["hits"])
    assert not list(again)


@properties
@given(body=generated.bodies, k=generated.depths)
def test_widening_is_pure_and_widens_once(body: dict[str, Any], k: int) -> None:
    before = copy.deepcopy(body)
    deep = deepen(body, k)
    assert body == before
    if not deep.get("from"):
        assert deepen(deep, k) is deep
    assert deep.get("size", 10) >= min(k, body.get("size", 10))
