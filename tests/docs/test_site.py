"""The generated pages are complete, and pages agree with what they describe."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator

import pytest

from docs import generate
from tests.docs.pages import ROOT
from vecdb_rerank.config.settings import Settings, section_types

SEARCHES = """
from prometheus_client import generate_latest
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider

metrics.set_meter_provider(MeterProvider(metric_readers=[PrometheusMetricReader()]))

from qdrant_client import QdrantClient
from vecdb_rerank import Scores, telemetry
from vecdb_rerank.testing import HashEmbedder, RaisingReranker
from vecdb_rerank_qdrant import QdrantConnector


class Billing:
    name = "billing"

    def score(self, query, documents, *, deadline):
        return Scores.from_relevance([0.5] * len(documents), billed=1.0)


chain = [RaisingReranker(), Billing()]
connector = QdrantConnector(QdrantClient(":memory:"), "d", embedder=HashEmbedder(), reranker=chain)
connector.create()
connector.add([{"id": 1, "text": "one"}])
connector.search("one")
telemetry.count_retry("billing")
connector.close()
print(generate_latest().decode())
"""
_SERIES = re.compile(r"\b(vecdb_rerank_\w+)(?:\{([^}]*)\})?")


def sections() -> Iterator[type]:
    """Yield every class of settings."""
    waiting: list[type] = [Settings]
    for name in Settings.model_fields:
        waiting.extend(section_types(name).values())
    while waiting:
        section = waiting.pop()
        yield section
        inner = (generate.part(section, key) for key in generate.fields(section))
        waiting.extend(kind for kind in inner if kind is not None)


@pytest.mark.parametrize("section", dict.fromkeys(sections()), ids=lambda s: s.__name__)
def test_every_setting_says_what_it_means(section: type) -> None:
    silent = [key for key in generate.fields(section) if key != "type"]
    silent = [key for key in silent if not generate.meaning(section, key)]
    assert not silent, f"write a docstring below {', '.join(silent)} in {section.__module__}"


def test_the_reference_has_every_key_with_its_variable() -> None:
    text = generate.settings()
    for variable in ("BACKEND__URL", "SEARCH__FUSION__METHOD", "POLICY__BREAKER__PAUSE"):
        assert f"`VECDB_RERANK__{variable}`" in text
    assert "| `timeout` | number, above 0 | `30.0` |" in text


@pytest.fixture(scope="module")
def measured() -> dict[str, set[str]]:
    """Return the names that Prometheus sees after a search, each with its labels."""
    done = subprocess.run(
        [sys.executable, "-c", SEARCHES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, set[str]] = {}
    for series, labels in _SERIES.findall(done.stdout):
        found.setdefault(series, set()).update(re.findall(r'(\w+)="', labels))
    return found


def panels() -> dict[str, str]:
    """Return the dashboard's queries by title."""
    dashboard = json.loads((ROOT / "docs" / "assets" / "grafana.json").read_text())
    return {panel["title"]: panel["targets"][0]["expr"] for panel in dashboard["panels"]}


@pytest.mark.parametrize("query", panels().values(), ids=panels())
def test_the_dashboard_asks_for_what_is_measured(query: str, measured: dict[str, set[str]]) -> None:
    asked = _SERIES.findall(query)
    assert asked
    labels = {name.strip() for by in re.findall(r"by \(([^)]*)\)", query) for name in by.split(",")}
    for series, filters in asked:
        assert series in measured
        wanted = labels | set(re.findall(r'(\w+)[!=~]+"', filters))
        assert wanted <= measured[series]


def test_the_page_has_the_dashboard_s_queries() -> None:
    page = (ROOT / "docs" / "operations.md").read_text().replace("\\|", "|")
    for query in panels().values():
        assert f"`{query}`" in page


def test_the_architecture_lists_the_rooms_in_the_order_of_the_import_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    [layers] = [c["layers"] for c in contracts if c["name"] == "Rooms import downwards only"]
    wanted = [{name.strip() for name in re.split(r"[|:]", layer)} for layer in layers]
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("| room | content |")[2].partition("\n\n")[0]
    rows = [row.split(" | ")[0] for row in table.splitlines()[2:]]
    shown = [set(re.findall(r"`(\w+?)(?:\.py)?`", row)) for row in rows]
    assert shown == [{name.removeprefix("vecdb_rerank.") for name in names} for names in wanted]


def test_the_readme_is_short_and_its_pictures_exist() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)
