"""A small collection, served to two callers: one may see all of it, the other its own documents."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tests.server.running import Running
from vecdb_rerank import connect

ALL, OWN = "key-of-a-caller-who-sees-all", "key-of-a-caller-who-sees-b"
OTHER = "key-of-a-caller-with-another-collection"
UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
DOCUMENTS: list[dict[str, Any]] = [
    {
        "_id": 1,
        "title": "Undo a commit",
        "text": "git reset --soft HEAD~1 takes back the last commit and keeps your changes.",
        "url": "https://docs.example/undo",
        "tenant": "a",
        "year": 2024,
    },
    {
        "_id": "1b",
        "title": "Undo a push",
        "text": "git revert makes a new commit that undoes one which others have.",
        "tenant": "b",
        "year": 2023,
        "nothing": None,
    },
    {
        "_id": UUID,
        "text": "git branch -m old new renames a branch locally.",
        "tenant": "a",
        "year": 2022,
    },
    {"_id": 4, "title": "Save work", "text": "git stash puts work aside.", "tenant": "b"},
]
QUERY = "take back my last commit but keep the files"
# What a caller writes to see more than its own documents, and its own filter.
WIDE: Mapping[str, list[Any]] = {
    "qdrant": [
        {"should": [{"key": "tenant", "match": {"value": "a"}}]},
        {"must_not": [{"key": "tenant", "match": {"value": "b"}}], "should": []},
        {"min_should": {"conditions": [{"has_id": [1, UUID]}], "min_count": 1}},
        {},
    ],
    "opensearch": [
        {"bool": {"should": [{"match_all": {}}], "minimum_should_match": 0}},
        [{"match_all": {}}, {"bool": {"should": {"term": {"tenant.keyword": "a"}}}}],
        {"bool": {"must_not": {"term": {"tenant.keyword": "b"}}}},
    ],
}
TENANT_B: Mapping[str, dict[str, Any]] = {
    "qdrant": {"must": [{"key": "tenant", "match": {"value": "b"}}]},
    "opensearch": {"term": {"tenant.keyword": "b"}},
}


@dataclass(frozen=True)
class Searched:
    """A service, and what its connector returned for `QUERY` before."""

    name: str
    running: Running
    expected: Any

    @property
    def url(self) -> str:
        return self.running.url

    def headers(self, key: str = ALL) -> dict[str, str]:
        """The headers of a caller."""
        return {"authorization": f"Bearer {key}"}


def filled(backend: Mapping[str, Any], reranker: object) -> tuple[dict[str, Any], Any]:
    """The settings of a service over a new collection, and the connector's own answer."""
    own = TENANT_B[backend["type"]]
    other = f"{backend['collection']}-other"
    keys = [
        {"key": ALL, "name": "all"},
        {"key": OWN, "name": "b", "filter": own},
        {"key": OTHER, "collection": other},
    ]
    settings: dict[str, Any] = {"backend": backend, "reranker": reranker}
    with closing(connect(**settings)) as connector:
        for each in (connector, connector.of_collection(other)):
            each.create()
        assert not connector.add(DOCUMENTS).failed
        each.add([{"_id": 1, "title": "Elsewhere", "text": "git log", "tenant": "c"}])
    with closing(connect(**settings)) as connector:  # reads what was written, as the service does
        response = connector.search(QUERY, limit=3, offset=1)
    return {**settings, "serve": {"keys": keys}}, response
