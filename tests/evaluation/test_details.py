"""Details, page and charts of an evaluation, compared with numbers worked out by hand."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation import details, metrics
from vecdb_rerank.evaluation.datasets import Dataset, QueryInfo
from vecdb_rerank.evaluation.environment import environment
from vecdb_rerank.evaluation.report import charts, html, tables
from vecdb_rerank.evaluation.result import EvaluationResult, Hit, summary
from vecdb_rerank.evaluation.runs import Run
from vecdb_rerank.evaluation.scored import Scored
from vecdb_rerank.evaluation.yardstick import yardstick
from vecdb_rerank.model import Candidate, Scores

QRELS = {"one": {"a": 1, "b": 1, "c": 0}, "two": {"d": 2}}
INFO = {"one": QueryInfo(query_class="codes"), "two": QueryInfo(query_class="questions")}
EVIL = "</svg><script>alert('x')</script> & \"quoted\""


def run_of(ranked: dict[str, list[str]], **also: Any) -> Run:
    made = Run(**also)
    for query_id, documents in ranked.items():
        made.add(query_id, documents, 10.0)
        scores = Scores([1.0] * len(documents), [0.5] * len(documents), calibrated=True)
        candidates = [Candidate(n, d, d, 1 / (n + 1)) for n, d in enumerate(documents)]
        made.scored[query_id] = Scored("q", candidates, scores, {d: d for d in documents})
        made.timings.append({"embed": 1.0, "first_pass": 2.0, "rerank": 7.0, "total": 10.0})
    return made


RAW = run_of({"one": ["x", "a", "b"], "two": ["d", "x"]})
RERANKED = run_of({"one": ["a", "b", "x"], "two": ["x", "d"]}, relevance={"one": {"a": 0.75}})


def test_ndcg_by_query_averages_to_the_mean() -> None:
    values = metrics.ndcg_by_query(RERANKED.ranked, QRELS)
    assert values["one"] == pytest.approx(1.0)
    mean = metrics.quality(RERANKED.ranked, QRELS, 5)["ndcg@10"]
    assert sum(values.values()) / 2 == pytest.approx(mean)
    assert metrics.ndcg_by_query({"one": [], "two": ["d"]}, QRELS) == {"one": 0.0, "two": 1.0}


def test_recall_agrees_with_that_of_ir_measures() -> None:
    for k in (1, 2, 3):
        wanted = metrics.quality(RAW.ranked, QRELS, k)[f"recall@{k}"]
        assert metrics.recall(RAW.ranked, QRELS, k) == pytest.approx(wanted)


def test_wins_and_losses_against_the_first_pass() -> None:
    how = result()["details"]["against_first_pass"]["hybrid"]
    assert (how["wins"], how["losses"], how["ties"]) == (1, 1, 0)
    changes = details.changes(RAW.ranked, RERANKED.ranked, QRELS)
    assert changes["one"] > 0 > changes["two"]


def test_the_k_that_reaches_95_percent_of_the_recall() -> None:
    documents = [f"d{n}" for n in range(200)]
    qrels = {"q": dict.fromkeys([*documents[:100:5], "missing"], 1)}  # every fifth of a hundred
    curve = details.recall_curve({"q": documents}, qrels)
    assert curve["recall"]["1"] == pytest.approx(1 / 21)
    assert curve["recall"]["100"] == curve["recall"]["200"] == pytest.approx(20 / 21)
    assert curve["k_for_95"] == 91  # the 19th of the 20 that are found
    assert details.recall_curve({"q": documents}, {"q": {"nowhere": 1}})["k_for_95"] == 1


def test_few_reranked_hits_against_many_of_the_first_pass() -> None:
    raw = {"q": [*(f"x{n}" for n in range(10)), "a", *(f"y{n}" for n in range(10))]}
    reranked = {"q": ["a", *(f"x{n}" for n in range(10))]}
    few, many, best = details.retrieve_more(raw, reranked, {"q": {"a": 1}}, lambda _: "12345")
    assert (few["found"], many["found"], best["found"]) == (0.0, 1.0, 1.0)
    assert (many["recall"], best["recall"]) == (1.0, 1.0)
    assert (many["relevant"], best["relevant"]) == (1 / 20, 1 / 5)
    assert (many["characters"], best["characters"]) == (100, 25)


def test_there_are_times_by_stage_unless_scores_came_from_a_cache() -> None:
    assert details.stage_latency(RAW) == {
        "embed": {"p50": 1.0, "p95": 1.0},
        "first_pass": {"p50": 2.0, "p95": 2.0},
        "rerank": {"p50": 7.0, "p95": 7.0},
        "total": {"p50": 10.0, "p95": 10.0},
    }
    assert details.stage_latency(run_of(RAW.ranked, cached=True)) is None


def dataset(query: str = "first?") -> Dataset:
    corpus = tuple({"_id": i, "text": f"text of {i} {EVIL}"} for i in "abcdx")
    return Dataset(f"judged {EVIL}", corpus, {"one": query, "two": EVIL}, QRELS, INFO)


def hit(document: str) -> Hit:
    return {"id": document, "text": f"text of {document} {EVIL}"}


def test_the_worst_queries_come_first_with_their_texts() -> None:
    text = details.texts(dataset(), lambda d: str(d.get("text", "")))
    assert text("unknown") == ""
    best, (worse, better) = details.query_reports(dataset(), RAW, RERANKED, text)
    assert best == [better]
    assert (worse["query_id"], better["query_id"]) == ("two", "one")
    assert worse["first_pass"] == 1.0 > worse["reranked"]
    assert worse["top"] == {"first_pass": hit("d"), "reranked": hit("x")}
    [document] = worse["relevant"]
    assert (document["id"], document["first_pass_rank"], document["rank"]) == ("d", 1, 2)
    first = better["relevant"][0]
    assert (first["id"], first["relevance"]) == ("a", 0.75)
    assert details.query_reports(dataset(), RAW, RERANKED, text, count=1).worst == [worse]
    nothing = run_of({"one": [], "two": []})
    gained, empty = details.query_reports(dataset(), nothing, nothing, text)
    assert gained == []
    assert empty[0]["moved"] == []
    assert empty[0]["top"] == {"first_pass": None, "reranked": None}
    assert empty[0]["relevant"][0]["rank"] is None


def test_hits_that_moved_most_come_with_their_ranks_and_grades() -> None:
    others = [f"x{n}" for n in range(10)]
    moved = details.moved_hits(
        ["a", *others, "b"], ["b", *others, "a"], {"b": 2, "a": 0}, str.upper
    )
    assert moved == [
        {"id": "a", "text": "A", "grade": 0, "first_pass_rank": 1, "rank": 12},
        {"id": "b", "text": "B", "grade": 2, "first_pass_rank": 12, "rank": 1},
    ]
    gone = details.moved_hits(["a"], ["n"], {}, str)
    assert [(hit["first_pass_rank"], hit["rank"]) for hit in gone] == [(1, None), (None, 1)]


def test_classes_have_their_own_means() -> None:
    values = details.ndcg(RAW.ranked, RERANKED.ranked, QRELS)
    rows = details.by_class(values, {"two": "b", "one": "a", "unknown": "a"})
    assert [(row["class"], row["queries"]) for row in rows] == [("a", 1), ("b", 1)]
    assert rows[0]["change"] == pytest.approx(rows[0]["reranked"] - rows[0]["first_pass"])
    assert rows[0]["change"] > 0 > rows[1]["change"]
    assert details.by_class(values, {}) == []


# -- the page and the charts


def result(cached: bool = False) -> EvaluationResult:
    reranked = run_of(RERANKED.ranked, cached=cached, truncated=3)
    runs = {"hybrid": RAW, "hybrid+rerank": reranked}
    text = details.texts(dataset(), lambda d: str(d.get("text", "")))
    measured = yardstick(runs, QRELS)
    return {
        **summary(dataset(), runs, 50, "qdrant"),
        "verdict": {"answer": "uncertain", "text": f"Not certain. {EVIL}"},
        "reranker": EVIL,
        "settings": {"reranker": {"model": EVIL}},
        "environment": environment(),
        "yardstick": measured,
        "effort_curve": [
            {"pairs": 5, "estimated": 0.51, "set_aside": 0.5, "latency_ms": 33.0},
            {"pairs": 10, "estimated": 0.53, "set_aside": 0.53, "latency_ms": None},
        ],
        "gate": None,
        "details": details.compute(dataset(), runs, RAW, "hybrid", 50, text),
    }


class Read(HTMLParser):
    """Collects what an HTML parser makes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for name, v in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_has_its_charts_and_its_texts_and_nothing_from_outside() -> None:
    read = Read(html.evaluation(result()))
    assert read.tags.count("svg") == len(charts.EVALUATION) == 5
    assert "script" not in read.tags
    assert EVIL in read.text
    assert all(link.startswith("#") for link in read.links)
    for text in (
        "first?",
        "text of d",
        "rank 1 → rank 2",
        "33 ms",
        "milliseconds by stage",
        "read only",
    ):
        assert text in read.text


def test_the_yardstick_is_titled_by_what_it_compares() -> None:
    queries = {"bm25": RAW, "hybrid": RAW, "hybrid+rerank": RERANKED}
    for runs, wanted in (
        (queries, ("Reranking", "hybrid")),
        ({"dense": RAW, "dense+rerank": RERANKED}, ("Reranking", "dense")),
        ({"dense": RAW}, ("First passes", "dense")),
    ):
        measured = yardstick(runs, QRELS)
        title = tables.yardstick_title(measured)
        assert (title.split(" against ")[0], title.split(" against ")[1]) == wanted
        assert ("tuned" in tables.yardstick_caption(measured)) == (len(runs) > 1)
    assert "1 query," in tables.yardstick_caption(yardstick(queries, QRELS))


def test_a_test_of_few_changed_queries_is_not_relied_on() -> None:
    assert any("too few" in line for line in tables.sentences(result()))


def test_the_charts_of_a_page_take_its_colors() -> None:
    chart = charts.svg(charts.EVALUATION["quality"], result())
    assert "currentColor" in chart
    assert "#010203" not in chart
    assert chart == charts.svg(charts.EVALUATION["quality"], result())


def test_a_page_of_cached_scores_has_no_times() -> None:
    text = Read(html.evaluation(result(cached=True))).text
    assert "times not measured" in text
    assert "milliseconds by stage" not in text
    assert "not timed" in text
    assert result(cached=True)["stages"]["hybrid+rerank"]["latency_ms"] is None


@pytest.mark.parametrize(("name", "begins"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_charts_are_written_as_pictures(tmp_path: Path, name: str, begins: bytes) -> None:
    charts.save(charts.EVALUATION, result(), tmp_path / name, "a title with $x_{$ in it")
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="gif") as caught:
        charts.check(tmp_path / "a.gif")
    assert caught.value.key == "--chart"
