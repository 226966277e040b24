"""The OpenAPI document of the service, and a page that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from vecdb_rerank._version import __version__
from vecdb_rerank.server.errors import Json
from vecdb_rerank.server.openapi import schemas
from vecdb_rerank.server.requests.replies import JsonResponse
from vecdb_rerank.server.service import Live

_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>vecdb-rerank</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em }
pre { background: #f4f4f4; padding: .8em; overflow: auto }
</style>
<h1>vecdb-rerank</h1>
<p>The <a href="openapi.json">OpenAPI document</a> has all fields.
"""
_QUERY = "how do I undo a commit?"
_DOCUMENTS = ["git stash puts changes aside.", "git reset --soft HEAD~1 undoes a commit."]
_RERANK: Json = {"query": _QUERY, "documents": _DOCUMENTS, "top_n": 1, "return_documents": True}
_OBJECTS: Json = {"query": _QUERY, "documents": [{"text": text} for text in _DOCUMENTS]}
_TEI: Json = {"query": _QUERY, "texts": _DOCUMENTS, "raw_scores": False}
_PAIRS: Json = {"text_1": _QUERY, "text_2": _DOCUMENTS}
_SEARCH: Json = {"query": _QUERY, "limit": 2}


async def document(request: Request) -> Response:
    """Answer with the OpenAPI document."""
    return JsonResponse(describe(_prefix(request)))


async def page(request: Request) -> Response:
    """Answer with a page of all routes and their examples, without any script."""
    return HTMLResponse("".join(_page(describe(_prefix(request)))))


def _prefix(request: Request) -> str:
    live: Live = request.app.state.live
    return live.current.settings.serve.url_prefix


def describe(prefix: str = "") -> Json:
    """Return the OpenAPI document of a service under ``prefix``."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vecdb-rerank",
            "version": __version__,
            "description": "Rerank documents and search. Agents find their tools at /mcp.",
        },
        "servers": [{"url": prefix or "/"}],
        "security": [{}, {"bearer": []}, {"key": []}],
        "paths": _paths(),
        "components": {
            "schemas": schemas.SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _paths() -> Json:
    cohere = {"strings": _RERANK, "objects": _OBJECTS}
    either = schemas.one_of("RerankRequest", "TeiRerankRequest")
    return {
        "/v1/rerank": _post("Rank documents", "RerankRequest", "RerankAnswer", cohere),
        "/v2/rerank": _post("Rank documents", "RerankRequest", "RerankAnswer", cohere),
        "/rerank": _post(
            "Rank documents, or texts as text-embeddings-inference does",
            either,
            schemas.one_of("RerankAnswer", "TeiRerankAnswer"),
            {"documents": _RERANK, "texts": _TEI},
        ),
        "/v1/score": _post("Score pairs", "ScoreRequest", "ScoreAnswer", {"pairs": _PAIRS}),
        "/score": _post("Score pairs", "ScoreRequest", "ScoreAnswer", {"pairs": _PAIRS}),
        "/v1/search": _post("Search", "SearchRequest", "SearchAnswer", {"search": _SEARCH}),
        "/v1/models": _get("List the models", "Models"),
        "/info": _get("Describe the default model", "Info"),
        "/health": _get("Say whether requests are served", "Health"),
    }


def _post(summary: str, body: str | Json, answer: str | Json, examples: Mapping[str, Json]) -> Json:
    return {
        "post": {
            "summary": summary,
            "parameters": schemas.PARAMETERS,
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": schemas.named(body),
                        "examples": {name: {"value": value} for name, value in examples.items()},
                    }
                },
            },
            "responses": _responses(answer),
        }
    }


def _get(summary: str, answer: str) -> Json:
    return {"get": {"summary": summary, "responses": _responses(answer)}}


def _responses(answer: str | Json) -> Json:
    def response(description: str, schema: str | Json) -> Json:
        content = {"application/json": {"schema": schemas.named(schema)}}
        return {"description": description, "content": content}

    return {"200": response("The answer", answer), "default": response("An error", "Error")}


def _page(described: Json) -> Iterator[str]:
    yield _HEAD
    paths = described["paths"]
    assert isinstance(paths, dict)
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield f"<h2>{method.upper()} {escape(path)}</h2><p>{operation['summary']}"
            content = operation.get("requestBody", {}).get("content", {})
            for example in content.get("application/json", {}).get("examples", {}).values():
                text = orjson.dumps(example["value"], option=orjson.OPT_INDENT_2).decode()
                yield f"<pre>{escape(text)}</pre>"
