"""Check whether an index can be searched, with a fix for each problem."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from vecdb_rerank.flow.steps import Call, Flow
from vecdb_rerank.request import Mode
from vecdb_rerank.search import misfit
from vecdb_rerank.search.store import Finding
from vecdb_rerank_opensearch import schema
from vecdb_rerank_opensearch.client import Client
from vecdb_rerank_opensearch.layout import Layout


def check(
    client: Client,
    layout: Layout,
    dimension: int | None,
    mode: Mode,
    where: str,
    describe: Callable[[Exception], str],
) -> Flow[list[Finding]]:
    """Check connection, version, plugins, and the index for what ``mode`` needs."""
    try:
        info: Mapping[str, Mapping[str, str]] = yield Call(client.info)
        installed = yield from schema.plugins(client)
    except Exception as error:
        fix = "start it, or correct backend.url, backend.user and backend.password"
        return [Finding("connection", "error", describe(error), fix)]
    version = info["version"]["number"]
    findings = [Finding("connection", "ok", f"OpenSearch {version} at {where}")]
    if installed and mode != "bm25":
        findings += _plugin_findings(installed, version, mode)
    exists: bool = yield Call(lambda: client.indices.exists(index=layout.index))
    if not exists:
        fix = "fill it with `vecdb-rerank index FILE`, or correct backend.collection"
        return [*findings, Finding(layout.subject, "error", "is missing", fix)]
    mappings: schema.Mappings = yield Call(lambda: client.indices.get_mapping(index=layout.index))
    if problems := schema.misfits(mappings, layout, dimension, mode):
        return [*findings, misfit.finding(layout.subject, problems)]
    count: Mapping[str, int] = yield Call(lambda: client.count(index=layout.index))
    findings.append(Finding(layout.subject, "ok", f"{count['count']} documents"))
    if mode != "dense" and layout.keeps_text and not layout.located(mappings).identifiers:
        fix = "index it anew into an index that `create` makes"
        detail = "names such as getUser and C++ are found as a whole word, or without their symbols"
        findings.append(Finding("BM25 terms", "note", detail, fix))
    return findings


def _plugin_findings(installed: Collection[str], version: str, mode: Mode) -> list[Finding]:
    findings = [Finding("plugin k-NN", "ok", "there")]
    if "opensearch-knn" not in installed:
        findings = [Finding("plugin k-NN", "error", "missing", "install it")]
    if mode == "hybrid":
        # Without it nothing is lost: the client fuses.
        findings.append(Finding("plugin neural-search", "ok", _fusing(installed, version)))
    return findings


def _fusing(installed: Collection[str], version: str) -> str:
    major, minor, *_ = (int(part) for part in version.split("-")[0].split("."))
    if {"opensearch-neural-search", "neural-search"}.isdisjoint(installed):
        return "missing: hybrid searches are fused by the client"
    if (major, minor) < (2, 19):
        return "there, but without RRF before 2.19: hybrid searches are fused by the client"
    return "there"
