"""A search endpoint with FastAPI. In this folder, with fastapi and uvicorn installed:

uvicorn app:app
curl 'http://127.0.0.1:8000/search?q=take+back+my+last+commit&limit=2'
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from pydantic import BaseModel

import vecdb_rerank
from vecdb_rerank import FirstPassError, FirstPassTimeoutError

NOTES = [
    {"id": 1, "title": "Undo a commit", "text": "git reset --soft HEAD~1 keeps your changes."},
    {"id": 2, "title": "Undo a push", "text": "git revert makes a new commit that undoes one."},
    {"id": 3, "title": "Rename a branch", "text": "git branch -m old new renames it locally."},
    {"id": 4, "title": "Save work for later", "text": "git stash puts changes aside."},
]


class Hit(BaseModel):
    id: int | str
    score: float
    relevance: float | None
    document: dict[str, Any]


class Answer(BaseModel):
    hits: list[Hit]
    status: Literal["reranked", "partial", "skipped", "fell_back"]
    reason: str | None
    milliseconds: dict[str, float]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make one connector for all requests, and fill and warm it up before the first."""
    app.state.connector = connector = vecdb_rerank.connect_async("vecdb_rerank.toml")
    try:
        await connector.create()
        await connector.add(NOTES)
        await connector.warmup()
        yield
    finally:
        await connector.close()


app = FastAPI(title="Notes", lifespan=lifespan)


def _connector(request: Request) -> Any:
    return request.app.state.connector


Connector = Annotated[Any, Depends(_connector)]


@app.get("/search")
async def search(
    connector: Connector,
    q: Annotated[str, Query(min_length=1, pattern=r"\S")],
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Answer:
    """Return the notes that answer ``q``, best first; also if the reranker fails."""
    try:
        with vecdb_rerank.observe() as outcomes:
            response = await connector.search(q, limit=limit, offset=offset)
    except FirstPassTimeoutError as error:
        raise HTTPException(504, str(error)) from error
    except FirstPassError as error:
        raise HTTPException(503, str(error)) from error
    [outcome] = outcomes
    hits = [
        Hit(
            id=hit.doc_id,
            score=hit.score,
            relevance=outcome.relevance.get(hit.id),
            document=dict(hit.payload),
        )
        for hit in connector.candidates(response)
    ]
    timings = {stage: round(ms, 1) for stage, ms in outcome.timings.items()}
    return Answer(hits=hits, status=outcome.status, reason=outcome.reason, milliseconds=timings)


@app.get("/health")
async def health(connector: Connector) -> dict[str, str]:
    """Check the connection and the collection; a 503 names each problem and its fix."""
    wrong = [finding for finding in await connector.check() if not finding.ok]
    if wrong:
        detail = [f"{finding.subject}: {finding.detail} ({finding.fix})" for finding in wrong]
        raise HTTPException(503, detail)
    return {"status": "ok"}
