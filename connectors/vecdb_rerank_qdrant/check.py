"""Check whether a collection can be searched, with a fix for each problem."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qdrant_client.http import models

from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.request import BRANCHES, Mode
from vecdb_rerank.search import misfit
from vecdb_rerank.search.store import Finding
from vecdb_rerank.text_fields import TextFields
from vecdb_rerank_qdrant import errors, queries, schema, text_index
from vecdb_rerank_qdrant.bm25 import Bm25
from vecdb_rerank_qdrant.bm25_language import missing_terms
from vecdb_rerank_qdrant.client import Client
from vecdb_rerank_qdrant.layout import Layout
from vecdb_rerank_qdrant.limits import Limits


@dataclass(frozen=True, slots=True)
class Checked:
    """What is checked: a collection behind a client, for searches in a mode.

    ``where`` is the client's address, None in local mode; ``dimension`` that of the embedder;
    ``k`` how many candidates a search reranks.
    """

    client: Client
    layout: Layout
    bm25: Bm25
    text_fields: TextFields
    where: str | None
    describe: Callable[[Exception], str]
    dimension: int | None
    mode: Mode
    k: int


def check(checked: Checked) -> Flow[list[Finding]]:
    """Check connection, version and collection; a read rate limit is a warning."""
    findings: list[Finding] = []
    try:
        if (yield from _is_there(findings, checked)):
            yield from _fits(findings, checked)
    except Exception as error:
        if not errors.is_rate_limited(error):
            raise
        fix = "check again later, or raise read_rate_limit"
        findings.append(Finding("read rate limit", "warning", checked.describe(error), fix))
    return findings


def empty_branches(
    client: Client, layout: Layout, names: Sequence[str], seconds: float = math.inf
) -> Flow[str]:
    """Return which of the branches have nothing to search in any point; empty if none."""
    empty: list[str] = []
    for name in names:
        if name == "bm25" and layout.text_index is not None:
            what, having = f"field {layout.text_index!r}", _has_field(layout.text_index)
        else:
            vector = layout.dense_name if name == "dense" else layout.bm25_vector or ""
            what, having = f"vector {vector!r}", _has_vector(vector)
        if not (yield from _any_point(client, layout, having, seconds)):
            empty.append(f"no point has the {what} of the {name} branch")
    return "; ".join(empty)


def _has_vector(name: str) -> models.Filter:
    return models.Filter(must=[models.HasVectorCondition(has_vector=name)])


def _has_field(path: str) -> models.Filter:
    is_empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=path))
    return models.Filter(must_not=[is_empty])


def _any_point(client: Client, layout: Layout, having: models.Filter, seconds: float) -> Flow[bool]:
    points: list[models.Record]
    points, _ = yield Call(
        lambda: client.scroll(
            layout.collection,
            having,
            limit=1,
            with_payload=False,
            timeout=queries.timeout(seconds),
        ),
        seconds,
    )
    return bool(points)


def _is_there(findings: list[Finding], checked: Checked) -> Flow[bool]:
    client, collection = checked.client, checked.layout.collection
    try:
        if checked.where is not None:
            server: models.VersionInfo = yield Call(client.info)
            findings.append(_version(server.version, checked.where))
        exists: bool = yield Call(lambda: client.collection_exists(collection))
    except Exception as error:
        if errors.is_rate_limited(error):
            raise
        fix = "start it, or correct backend.url and backend.api_key"
        findings.append(Finding("connection", "error", checked.describe(error), fix))
        return False
    findings.append(Finding("connection", "ok", checked.where or "local mode"))
    if not exists:
        fix = "fill it with `vecdb-rerank index FILE`, or correct backend.collection"
        findings.append(Finding(checked.layout.subject, "error", "is missing", fix))
    return exists


def _fits(findings: list[Finding], checked: Checked) -> Flow[None]:
    client, layout, mode = checked.client, checked.layout, checked.mode
    info: models.CollectionInfo = yield Call(lambda: client.get_collection(layout.collection))
    problems = schema.misfits(info, layout, checked.dimension, mode)
    if not problems and mode != "dense":
        problems = yield from schema.language_misfits(
            client, layout, checked.bm25, checked.text_fields
        )
    if problems:
        findings.append(misfit.finding(layout.subject, problems))
        return
    if layout.text_index is not None and mode != "dense":
        query = text_index.querying(client)
        why = yield from text_index.problem(query, layout.collection, layout.text_index)
        if why:
            fix = "create it with `vecdb-rerank doctor --create-text-index`, or upgrade Qdrant"
            findings.append(Finding("text index", "error", why, fix))
            return
        if lacks := text_index.missing(client, checked.bm25.language):
            fix = "use BM25 vectors (backend.bm25_vector) or a server"
            findings.append(Finding("text index", "note", lacks, fix))
    findings.append(Finding(checked.layout.subject, "ok", f"{info.points_count} points"))
    findings += _limit_findings(checked, Limits.of(info))
    if "bm25" not in layout.branches and (yield from text_index.available(client)):
        fix = (
            "set backend.text_index to the field of the text instead of bm25_vector, and run "
            "`vecdb-rerank doctor --create-text-index`"
        )
        findings.append(Finding("BM25", "note", "searches are by vectors alone", fix))
    if info.points_count:
        yield from _finds_something(findings, checked)


def _finds_something(findings: list[Finding], checked: Checked) -> Flow[None]:
    """Check whether each branch can find something, and what indexing anew would add."""
    client, layout, mode = checked.client, checked.layout, checked.mode
    names = BRANCHES if mode == "hybrid" else (mode,)
    if empty := (yield from empty_branches(client, layout, names)):
        fix = "add the documents again: `add` writes the vectors of both branches"
        findings.append(Finding("branches", "error", empty, fix))
    elif mode != "dense" and layout.bm25_vector is not None:
        gain = yield from missing_terms(
            client, layout.collection, layout.bm25_vector, checked.bm25, checked.text_fields
        )
        if gain:
            findings.append(Finding("BM25 terms", "note", gain, "add the documents again"))


def _limit_findings(checked: Checked, limits: Limits) -> list[Finding]:
    """Return the limits that a search of ``k`` candidates does not keep by itself."""
    findings: list[Finding] = []
    if limits.points is not None and limits.points < checked.k + queries.TIES:
        detail = f"max_query_limit is {limits.points}: searches cannot rerank {checked.k} hits"
        fix = f"raise max_query_limit in its strict_mode_config to {checked.k + queries.TIES}"
        findings.append(Finding(checked.layout.subject, "warning", detail, fix))
    if not limits.allows_batch and checked.mode == "hybrid":
        detail = f"search_max_batchsize is {limits.batch}: a search takes a request per branch"
        fix = f"raise search_max_batchsize in its strict_mode_config to {len(BRANCHES)}"
        findings.append(Finding(checked.layout.subject, "note", detail, fix))
    return findings


def _version(version: str, where: str) -> Finding:
    major, minor, *_ = (int(part) for part in version.split("-")[0].split("."))
    found = f"Qdrant {version} at {where}"
    if (major, minor) < (1, 15):
        return Finding("version", "error", found, "upgrade to 1.15 or later")
    return Finding("version", "ok", found)
