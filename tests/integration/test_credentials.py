"""Servers that refuse the credentials: one line that names what to set, and never the secret."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from opensearchpy import AsyncOpenSearch, OpenSearch
from pytest_httpserver import HTTPServer

from tests.contract.backends import OPENSEARCH
from tests.integration.clients import opensearch, qdrant
from vecdb_rerank.errors import DatabaseError, FirstPassError, IngestError
from vecdb_rerank.testing.base import one_line

SECRET = "s3cret-key"
NO_PERMISSION = "no permissions for [indices:data/read/search] and User [name=reader]"
FORBIDDEN = {
    "error": {
        "root_cause": [{"type": "security_exception", "reason": NO_PERMISSION}],
        "type": "security_exception",
        "reason": NO_PERMISSION,
    },
    "status": 403,
}


def refused(connector: Any, call: Any) -> None:
    """Everything that connects to the server reports it."""
    documents = [{"id": 1, "text": "one"}]
    for error, attempt in (
        (FirstPassError, lambda: connector.search("anything")),
        (FirstPassError, lambda: connector.search("anything", mode="bm25", explain=True)),
        (DatabaseError, connector.create),
        (IngestError, lambda: connector.add(documents, give_up_after=5)),
    ):
        with pytest.raises(error, match=r"refused the|forbids") as caught:
            call(attempt())
        assert one_line(caught.value)
        assert SECRET not in str(caught.value)
    (finding,) = call(connector.check())
    assert not finding.ok
    assert SECRET not in f"{finding}"


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, "Unauthorized"), (403, json.dumps(FORBIDDEN))],
    ids=["unauthorized", "forbidden"],
)
@pytest.mark.parametrize("in_url", [False, True], ids=["argument", "url"])
@pytest.mark.parametrize("name", OPENSEARCH)
def test_opensearch(
    name: str, in_url: bool, status: int, body: str, httpserver: HTTPServer
) -> None:
    httpserver.expect_request(re.compile(".*")).respond_with_data(
        body, status, content_type="application/json" if body.startswith("{") else "text/plain"
    )
    kind: Any = AsyncOpenSearch if name.endswith("async") else OpenSearch
    url = httpserver.url_for("")
    if in_url:
        client = kind(url.replace("http://", f"http://admin:{SECRET}@"))
    else:
        client = kind(url, http_auth=("admin", SECRET))
    with opensearch(name, url, "docs", client=client) as (connector, call):
        refused(connector, call)


# The client itself warns of a key on a connection that is not encrypted.
@pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection:UserWarning")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, "Must provide an API key or an Authorization bearer token"),
        (403, '{"status":{"error":"Forbidden: Global manage access is required"},"time":1e-06}'),
    ],
    ids=["unauthorized", "forbidden"],
)
@pytest.mark.parametrize("name", ["qdrant-rest", "qdrant-rest-async"])
def test_qdrant(name: str, status: int, body: str, httpserver: HTTPServer) -> None:
    httpserver.expect_request(re.compile(".*")).respond_with_data(body, status)
    url = httpserver.url_for("")
    with qdrant(name, url, "docs", api_key=SECRET) as (connector, call):
        refused(connector, call)
