"""What a recorded response has to become, worked out another way than in the plugin."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from tests.dropin.opensearch.world import World
from vecdb_rerank.text_fields import TextFields

Hit = dict[str, Any]


def page(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Where the caller's page begins, and how long it is."""
    body = arguments["body"] or {}
    url = {**(arguments.get("params") or {}), **arguments}
    start = url.get("from_", url.get("from", body.get("from", 0)))
    return int(start), int(url.get("size", body.get("size", 10)))


def expected(
    recorded: Mapping[str, Any],
    arguments: Mapping[str, Any],
    k: int,
    order: str,
    text_fields: TextFields,
    world: World,
) -> dict[str, Any]:
    """The response cut to the caller's page, reordered, without the injected fields."""
    start, size = page(arguments)
    found = recorded.get("hits", {}).get("hits", [])
    window = reordered(by_score(found, k), order, text_fields, world)
    rest = found[k:] if start < k else []
    hits = [without(hit, asked_for(arguments)) for hit in [*window, *rest][start : start + size]]
    if "hits" not in recorded.get("hits", {}):
        return dict(recorded)
    return {**recorded, "hits": {**recorded["hits"], "hits": hits}}


def exceptions(arguments: Mapping[str, Any]) -> Iterator[str]:
    """The rows of docs/drop_in.md that say how a call may differ from the raw one."""
    if "hybrid" in (arguments["body"].get("query") or {}):
        yield "fused"
    if arguments["body"].get("explain") and "knn" in (arguments["body"].get("query") or {}):
        yield "explained"


def rest(response: Any, arguments: Mapping[str, Any]) -> Any:
    """A response without its hits, their scores, and what is measured anew at each call."""
    kept = {name: v for name, v in response.items() if name not in ("took", "profile", "hits")}
    found = response.get("hits", {})
    return kept, {n: v for n, v in found.items() if n not in ("hits", "max_score")}


def hits(response: Any) -> list[Hit]:
    found: list[Hit] = response.get("hits", {}).get("hits", [])
    return found


def unscored_hits(found: Sequence[Hit]) -> list[Hit]:
    """Hits without what the depth of the search changes."""
    return [{**hit, "_score": 0, "_explanation": None} for hit in found]


def widened(arguments: Mapping[str, Any], k: int) -> dict[str, Any]:
    """The caller's search as one page that holds the window and the caller's page."""
    start, size = page(arguments)
    names = ("size", "from", "from_")
    kept = {n: v for n, v in arguments.items() if n not in names}
    if "params" in kept:
        kept["params"] = {n: v for n, v in kept["params"].items() if n not in names}
    body = {**kept["body"], "size": max(k, start + size), "from": 0}
    return {**kept, "body": body}


def by_score(found: Sequence[Hit], k: int) -> list[Hit]:
    """The first ``k`` by score, equal ones by id; an id that several have has its index first."""
    count = Counter(hit["_id"] for hit in found)
    named = {
        hit["_id"] if count[hit["_id"]] == 1 else f"{hit.get('_index', n)}/{hit['_id']}": hit
        for n, hit in enumerate(found)
    }
    assert len(named) == len(found)
    window = list(named.items())[:k]
    return [hit for _, hit in sorted(window, key=lambda pair: (-pair[1]["_score"], pair[0]))]


def reordered(hits: list[Hit], order: str, text_fields: TextFields, world: World) -> list[Hit]:
    """Kept or reversed; equal texts come together, and hits without text last."""
    texts = {id(hit): text_fields.text(world.documents[key_of(hit, world)]) for hit in hits}
    distinct = list(dict.fromkeys(text for text in texts.values() if text))
    if order == "failing" or not distinct:
        return hits
    place = {text: n for n, text in enumerate(distinct)}
    sign = 1 if order == "keeping" else -1
    scored = [hit for hit in hits if texts[id(hit)]]
    empty = [hit for hit in hits if not texts[id(hit)]]
    return [*sorted(scored, key=lambda hit: sign * place[texts[id(hit)]]), *empty]


def key_of(hit: Hit, world: World) -> tuple[str, str]:
    return hit["_index"], hit["_id"]


def asked_for(arguments: Mapping[str, Any]) -> list[str]:
    """The patterns of the fields that the caller's own request brings."""
    body = arguments["body"] or {}
    url = {**(arguments.get("params") or {}), **arguments}

    def names() -> Iterator[Any]:
        for given in (body.get("fields"), body.get("docvalue_fields"), body.get("stored_fields")):
            yield from [given] if isinstance(given, str) else given or ()
        given = url.get("docvalue_fields") or ()
        yield from given.split(",") if isinstance(given, str) else given
        yield from body.get("script_fields") or ()
        if "collapse" in body:
            yield body["collapse"]["field"]

    return [name["field"] if isinstance(name, dict) else name for name in names()]


def without(hit: Hit, patterns: Sequence[str]) -> Hit:
    if "fields" not in hit:
        return hit
    kept = {
        name: value
        for name, value in hit["fields"].items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    pairs = ((name, kept if name == "fields" else value) for name, value in hit.items())
    return {name: value for name, value in pairs if value != {} or name != "fields"}


def unscored(response: Mapping[str, Any]) -> str:
    """The bytes of a response but for the scores."""
    found = response.get("hits", {})
    hits = [{**hit, "_score": 0} for hit in found.get("hits", ())]
    scored = {"max_score": 0} if "max_score" in found else {}
    return json.dumps({**response, "hits": {**found, **scored, "hits": hits}})
