"""The tools for agents, called by the SDK's client over HTTP and over standard streams."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.server.running import serving
from tests.server.searched import ALL, OWN, QUERY, UUID, WIDE, Searched
from tests.server.words import SLOW
from tests.servers import free_port

READ_ONLY = {"read_only_hint": True, "open_world_hint": False}


@asynccontextmanager
async def agent(searched: Searched, key: str = ALL, mode: str = "auto") -> AsyncIterator[Client]:
    """A client of a caller, in a generation of the protocol."""
    async with httpx2.AsyncClient(headers=searched.headers(key), timeout=30) as http:
        transport = streamable_http_client(f"{searched.url}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


async def call(client: Client, tool: str, **arguments: object) -> Any:
    """The JSON that a tool returns."""
    result = await client.call_tool(tool, arguments)
    [item] = result.content
    assert item.type == "text"
    assert not result.is_error, item.text
    return json.loads(item.text)


async def refused(client: Client, tool: str, **arguments: object) -> str:
    """The sentence of a tool's error."""
    result = await client.call_tool(tool, arguments)
    [item] = result.content
    assert item.type == "text"
    assert result.is_error
    return item.text


async def check_tools(client: Client) -> None:
    """List the tools, search, and fetch each result."""
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(listed) == {"search", "fetch"}
    for tool in listed.values():
        assert tool.annotations is not None
        assert READ_ONLY.items() <= tool.annotations.model_dump().items()
    results = (await call(client, "search", query=QUERY))["results"]
    assert results[0]["title"] == "Undo a commit"
    assert results[0]["url"] == "https://docs.example/undo"
    assert all(0 <= each["relevance"] <= 1 for each in results)
    assert len(results) == 4
    for each in results:
        document = await call(client, "fetch", id=each["id"])
        assert document["text"] == each["text"]
        assert [document[k] for k in ("id", "title", "url")] == [
            each[k] for k in ("id", "title", "url")
        ]
    assert (await call(client, "fetch", id=results[0]["id"]))["metadata"]["year"] == 2024


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_search_and_fetch_over_http(searched: Searched, mode: str) -> None:
    async with agent(searched, mode=mode) as client:
        await check_tools(client)
        assert client.protocol_version > "2026" or mode == "legacy"


async def test_arguments_are_optional_and_bounded(searched: Searched) -> None:
    async with agent(searched) as client:
        wide = WIDE[searched.name][0]
        assert len((await call(client, "search", query=QUERY, limit=1))["results"]) == 1
        usual = (await call(client, "search", query=QUERY))["results"]
        assert len((await call(client, "search", query=QUERY, limit=None))["results"]) == len(usual)
        assert (await call(client, "search", query=QUERY, filter=wide))["results"]
        assert "limit" in await refused(client, "search", query=QUERY, limit=21)
        assert "query" in await refused(client, "search")
        assert "filter" in await refused(client, "search", query=QUERY, filter={"script": {}})
        assert "k:" in await refused(client, "search", query=QUERY, k=5)
        assert "name" in await refused(client, "delete")


async def test_ids_carry_their_type(searched: Searched) -> None:
    number, text = ("int:1", "str:1") if searched.name == "qdrant" else ("str:1", "int:1b")
    async with agent(searched) as client:
        assert (await call(client, "fetch", id=number))["title"] == "Undo a commit"
        assert "branch" in (await call(client, "fetch", id=f"str:{UUID}"))["text"]
        for wrong in (text, "1", "", "str:../other/1"):
            assert "id" in await refused(client, "fetch", id=wrong)


async def test_a_keys_filter_holds_for_both_tools(searched: Searched) -> None:
    async with agent(searched) as everyone:
        found = (await call(everyone, "search", query=QUERY))["results"]
    async with agent(searched, OWN) as client:
        for wide in WIDE[searched.name]:
            own = await call(client, "search", query=QUERY, filter=wide)
            assert {each["title"] for each in own["results"]} <= {"Undo a push", "Save work"}
        own_ids = {e["id"] for e in (await call(client, "search", query=QUERY))["results"]}
        assert len(own_ids) == 2
        for each in found:
            if each["id"] in own_ids:
                await call(client, "fetch", id=each["id"])
            else:
                assert "no such" in await refused(client, "fetch", id=each["id"])


async def test_the_route_is_checked_like_the_others(searched: Searched) -> None:
    with pytest.raises((MCPError, httpx2.HTTPError, ExceptionGroup)):
        async with agent(searched, "another-key-of-nobody") as client:
            await client.list_tools()
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    wrong: list[tuple[Mapping[str, str], int]] = [
        ({"origin": "http://evil.example"}, 403),
        ({"content-type": "text/plain"}, 415),
    ]
    for headers, status in wrong:
        head = {**searched.headers(), "content-type": "application/json", **headers}
        content = json.dumps(body)
        response = httpx2.post(f"{searched.url}/mcp", content=content, headers=head)
        assert response.status_code == status
    assert httpx2.get(f"{searched.url}/mcp", headers=searched.headers()).status_code == 405


async def test_an_outage_is_an_error_that_says_what_to_do() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with serving(backend={"type": "opensearch", "url": url}) as running:
        async with Client(f"{running.url}/mcp") as client:
            for tool, arguments in (("search", {"query": QUERY}), ("fetch", {"id": "str:1"})):
                said = await refused(client, tool, **arguments)
                assert "try again" in said
                assert url.removeprefix("http://") not in said


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_long_search_reports_progress(searched: Searched, mode: str) -> None:
    words, reports = searched.running.words, list[float]()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        assert total is not None
        assert 0 < progress < total
        reports.append(progress)
        words.go.set()

    words.go.clear()
    async with agent(searched, mode=mode) as client:
        arguments = {"query": f"{SLOW} {QUERY}"}
        result = await client.call_tool("search", arguments, progress_callback=on_progress)
    assert not result.is_error
    assert reports


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_search_of_an_agent_that_has_gone_ends(searched: Searched, mode: str) -> None:
    words = searched.running.words
    words.go.clear()
    while words.started.acquire(blocking=False) or words.ended.acquire(blocking=False):
        pass  # of searches before
    async with agent(searched, mode=mode) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await client.call_tool("search", {"query": f"{SLOW} {QUERY}"})
    assert words.started.acquire(timeout=5)
    assert words.ended.acquire(timeout=2)  # sooner than it would by itself


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_search_and_fetch_over_standard_streams(config_file: Path, mode: str) -> None:
    program = "from vecdb_rerank.cli import main; main()"
    arguments = ["-W", "error", "-c", program, "mcp", "--config", str(config_file)]
    server = StdioServerParameters(command=sys.executable, args=arguments, env={**os.environ})
    async with Client(server, mode=mode) as client:
        await check_tools(client)
