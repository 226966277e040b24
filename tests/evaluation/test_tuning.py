"""Tuning: the settings tried, that they give what a search gives, and which one is chosen."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vecdb_rerank.config import factory
from vecdb_rerank.config.loading import load
from vecdb_rerank.config.settings import OnnxRerankerSettings, Settings
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.evaluation.cache import CachedReranker, score_key
from vecdb_rerank.evaluation.connector import EvaluatedConnector, modes, temporary_connector
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.report import charts
from vecdb_rerank.evaluation.tuning import (
    Collected,
    Scorer,
    Setting,
    choose,
    collect,
    configuration,
    current,
    evaluate,
    grid,
    sections,
    summary,
)
from vecdb_rerank.evaluation.tuning.as_runs import as_runs
from vecdb_rerank.evaluation.yardstick import yardstick
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores
from vecdb_rerank.policy.after import Boost, Mmr, Pin
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.policy.exact_terms import ExactTerms
from vecdb_rerank.policy.skip import Skip
from vecdb_rerank.protocols import BaseReranker
from vecdb_rerank.request import Fusion
from vecdb_rerank.rerankers.http import HttpReranker
from vecdb_rerank.rerankers.onnx import OnnxReranker
from vecdb_rerank.testing import CORPUS, QUERIES

NOW = Setting(50, 50, Fusion(), Blend())


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use neither the user's cache nor the user's settings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


# -- the cache of scores


class Counting(BaseReranker):
    """A reranker that remembers what it was asked; longer texts are better."""

    name = "counting"
    bills = True

    def __init__(self, leaves_out: str = "") -> None:
        self.asked: list[str] = []
        self._leaves_out = leaves_out

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.asked += documents
        logits = [None if d == self._leaves_out else len(d) / 3 for d in documents]
        return Scores.from_logits(logits, truncated=1, billed=2.0)

    def predicted_units(self, query: str, documents: Sequence[str]) -> float:
        return float(len(documents))


def cached(reranker: Counting, folder: Path, key: str = "model") -> CachedReranker:
    return CachedReranker(reranker, key, folder / "scores.sqlite")


def test_a_pair_is_scored_once(tmp_path: Path) -> None:
    reranker = Counting()
    cache = cached(reranker, tmp_path)
    first = cache.score("q", ["a", "bb", "a"], deadline=Deadline())
    assert (reranker.asked, cache.found) == (["a", "bb"], 0)
    assert (first.truncated, first.billed) == (1, 2.0)
    second = cache.score("q", ["bb", "ccc"], deadline=Deadline())
    assert (reranker.asked, cache.found) == (["a", "bb", "ccc"], 1)
    assert second.raw[0] == first.raw[1]
    known = cache.score("q", ["a", "bb", "ccc"], deadline=Deadline())
    assert (known.truncated, known.billed) == (0, 0.0)
    assert known.raw == [*first.raw[:2], second.raw[1]]


class Following(Counting):
    """Takes an instruction; longer ones give higher scores."""

    takes_instruction = True
    instruction = ""

    def with_instruction(self, instruction: str) -> Following:
        other = Following()
        other.asked, other.instruction = self.asked, instruction
        return other

    def score(self, query: str, documents: Sequence[str], *, deadline: Deadline) -> Scores:
        self.asked += documents
        return Scores.from_logits([float(len(self.instruction))] * len(documents))


def test_scores_under_an_instruction_are_kept_apart(tmp_path: Path) -> None:
    cache = cached(Following(), tmp_path)
    others = [cache, cache.with_instruction("one"), cache.with_instruction("three")]
    for _ in "12":
        raw = [one.score("q", ["a"], deadline=Deadline()).raw[0] for one in others]
        assert raw == [0.0, 3.0, 5.0]
    assert (cache.found, cache.takes_instruction) == (3, True)


def test_another_run_reads_the_very_same_scores(tmp_path: Path) -> None:
    first = cached(Counting(), tmp_path).score("q", ["a", "bb"], deadline=Deadline())
    later = Counting()
    again = cached(later, tmp_path).score("q", ["a", "bb"], deadline=Deadline())
    assert later.asked == []
    assert (list(again.raw), list(again.relevance)) == (list(first.raw), list(first.relevance))


def test_another_query_or_model_has_scores_of_its_own(tmp_path: Path) -> None:
    cached(Counting(), tmp_path).score("q", ["a"], deadline=Deadline())
    for key, query in (("model", "other"), ("other", "q")):
        reranker = Counting()
        cached(reranker, tmp_path, key).score(query, ["a"], deadline=Deadline())
        assert reranker.asked == ["a"]


def test_what_a_reranker_leaves_out_is_not_kept(tmp_path: Path) -> None:
    first = cached(Counting("bb"), tmp_path).score("q", ["a", "bb"], deadline=Deadline())
    assert first.raw[1] is None
    later = Counting()
    again = cached(later, tmp_path).score("q", ["a", "bb"], deadline=Deadline())
    assert later.asked == ["bb"]
    assert again.raw[1] is not None


def test_only_what_is_not_known_is_billed(tmp_path: Path) -> None:
    cache = cached(Counting(), tmp_path)
    bills = cache.predicted_units
    assert bills("q", ["a", "bb"]) == 2.0
    cache.score("q", ["a"], deadline=Deadline())
    assert bills("q", ["a", "bb"]) == 1.0
    assert bills("q", ["a"]) == 0.0


def test_a_cached_reranker_is_asked_as_the_one_inside(tmp_path: Path) -> None:
    local = CachedReranker(OnnxReranker(), "model", tmp_path / "scores.sqlite")
    assert (local.local, local.bills, local.keeps_deadline) == (True, False, True)
    assert local.calibration == OnnxReranker().calibration
    assert local.room("a query") == OnnxReranker().room("a query")
    remote = HttpReranker("http://localhost:1", format="tei")
    cache = CachedReranker(remote, "model", tmp_path / "scores.sqlite")
    assert (cache.local, cache.bills) == (False, True)
    assert cache.keeps_deadline


def test_a_key_names_what_scores_depend_on_and_no_secret() -> None:
    settings = load(
        reranker={"type": "cohere", "model": "m", "api_key": "s3cr3t", "timeout": 3}
    ).settings
    key = score_key(settings.reranker)
    assert "s3cr3t" not in key
    assert "timeout" not in key
    assert json.loads(key)["model"] == "m"
    short, long = (score_key(OnnxRerankerSettings(max_length=n)) for n in (64, 512))
    assert short != long


def test_a_key_changes_with_what_is_sent_beside_the_texts() -> None:
    def key(**given: object) -> str:
        reranker = {"type": "http", "url": "http://h", "model": "m", "format": "tei", **given}
        return score_key(load(reranker=reranker).settings.reranker)

    keys = [
        key(),
        key(headers={"X-Model-Version": "version-one"}),
        key(headers={"X-Model-Version": "version-two"}),
        key(query_params={"api-version": "version-one"}),
        key(query_params={"api-version": "version-two"}),
        key(extra_body={"truncation_direction": "Left"}),
    ]
    assert len(set(keys)) == len(keys)
    assert not any("version-" in each for each in keys)
    rotated = [key(headers={"X-Api-Key": each}) for each in ("s3cr3t", "0ther")]
    assert rotated[0] == rotated[1]


# -- the grid


def test_the_settings_of_now_come_first_and_once() -> None:
    tried = grid(NOW, limit=10, max_k=100)
    assert tried[0] == NOW
    assert len(set(tried)) == len(tried)
    own = replace(NOW, k=37, depth=64, fusion=Fusion(rank_constant=7), blend=Blend("convex", 0.77))
    assert grid(own, limit=10, max_k=100)[0] == own
    assert {s.k for s in grid(own, limit=10, max_k=100)} == {20, 30, 37, 50, 75, 100}


def test_no_page_is_longer_than_k_and_no_branch_shallower() -> None:
    tried = grid(NOW, limit=40, max_k=60)
    assert {setting.k for setting in tried} == {50}
    assert min(setting.k for setting in grid(NOW, limit=None, max_k=60)) == 20
    assert all(setting.depth >= setting.k for setting in grid(NOW, limit=1, max_k=100))


def test_beyond_the_largest_k_only_the_hits_of_now_are_scored() -> None:
    tried = grid(NOW, limit=10, max_k=30)
    assert {setting.k for setting in tried} == {20, 30, 50}
    of_now = {replace(setting, blend=NOW.blend) for setting in tried if setting.k == 50}
    assert of_now == {NOW}
    assert len({setting.blend for setting in tried if setting.k == 50}) > 5


def test_what_is_configured_is_what_is_now() -> None:
    settings = load(search={"k": 30, "depth": 80}, policy={"blend": {"method": "rrf"}}).settings
    assert current(settings) == Setting(30, 80, Fusion(), Blend("rrf"))
    assert current(Settings()) == NOW


def test_rerankers_are_those_configured_with_each_length() -> None:
    assert sections(Settings()) == [OnnxRerankerSettings()]
    lengths = [s.max_length for s in sections(Settings(), [128, 512])]  # type: ignore[union-attr]
    assert lengths == [512, 128]
    with pytest.raises(ConfigurationError) as caught:
        sections(Settings(reranker={"type": "none"}))
    assert caught.value.key == "reranker.type"
    with pytest.raises(ConfigurationError, match="cohere") as caught:
        sections(Settings(reranker={"type": "cohere"}), [128])
    assert caught.value.key == "--max-length"


# -- collecting, and trying settings on it


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    corpus = tuple({"_id": d["id"], "title": d["title"], "text": d["text"]} for d in CORPUS)
    return Dataset("tiny", corpus, QUERIES, {s: {f"{s}-0": 2, f"{s}-3": 1} for s in QUERIES})


SETTINGS = load(backend={"path": ":memory:"}, policy={"deadline": None}).settings
TRIED = [
    Setting(30, 30, Fusion(), Blend()),
    Setting(10, 12, Fusion(weights=(1.0, 3.0)), Blend("convex", 0.3)),
    Setting(12, 20, Fusion("min_max"), Blend("rrf", 0.5)),
    Setting(30, 30, Fusion("l2"), Blend("replace")),
]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache") / "scores.sqlite"


@pytest.fixture(scope="module")
def collected(dataset: Dataset, scores: Path) -> Collected:
    return collect(SETTINGS, dataset, TRIED, sections(SETTINGS), scores=scores)


@pytest.fixture(scope="module")
def connector(dataset: Dataset, collected: Collected, scores: Path) -> Iterator[EvaluatedConnector]:
    """The collection, reranked with the scores that were collected."""
    assert collected.queries
    with temporary_connector(
        SETTINGS, dataset, lambda *_: None, cache=True, scores=scores
    ) as connector:
        yield connector


@pytest.mark.parametrize("setting", TRIED, ids=lambda s: f"{s.fusion.method}-{s.blend.method}")
@pytest.mark.parametrize(
    "also",
    [{}, {"exact_terms": ExactTerms(terms=("yeast", "wind"))}, {"skip": Skip(few=12)}],
    ids=["plain", "exact_terms", "skip"],
)
def test_a_setting_gives_the_order_of_a_search(
    setting: Setting, also: dict[str, Any], collected: Collected, connector: Any
) -> None:
    policy = replace(SETTINGS.policy, blend=setting.blend, **also)
    for query in collected.queries:
        response = connector.search(
            query.query,
            k=setting.k,
            depth=setting.depth,
            fusion=setting.fusion,
            limit=setting.k,
            rerank=policy,
        )
        searched = [str(c.doc_id) for c in connector.candidates(response)]
        candidates = query.first_pass(setting.depth, setting.fusion, setting.k)
        assert query.reranked(candidates, setting, policy) == searched


def test_a_collection_with_one_branch_is_tuned_as_it_is_searched(
    dataset: Dataset, tmp_path: Path
) -> None:
    settings = load(
        backend={"path": str(tmp_path / "index"), "dense_vector": "none"},
        embedder={"type": "none"},
        policy={"deadline": None},
    ).settings
    live = replace(dataset, corpus=(), live=True, queries=dict(list(QUERIES.items())[:2]))
    with closing(factory.build(settings)) as connector:
        connector.create()
        connector.add(CORPUS[:8])
    found = collect(settings, live, TRIED, sections(settings))
    setting = TRIED[1]
    tuned = as_runs(found, setting)
    assert list(tuned) == ["bm25", "bm25+rerank"]
    [scorer] = found.scorers
    most = scorer.latency_ms(8)
    total = found.latency_ms(setting)
    assert most is not None and total is not None and total <= found.first_pass_ms + most
    policy = replace(settings.policy, blend=setting.blend)
    with closing(factory.build(settings)) as connector:
        for query_id, text in live.queries.items():
            response = connector.search(text, k=setting.k, limit=setting.k, rerank=policy)
            searched = [str(c.doc_id) for c in connector.candidates(response)]
            assert tuned["bm25+rerank"].ranked[query_id] == searched != []
    with pytest.raises(ConfigurationError) as caught:
        modes(settings, live, ["bm25", "hybrid"])
    assert caught.value.key == "--modes"


def test_stages_are_part_of_the_order_of_a_setting(
    dataset: Dataset, scores: Path, connector: Any
) -> None:
    title = "Sailing 1"
    stages = (
        Boost({"must": [{"key": "title", "match": {"value": title}}]}, factor=3),
        Mmr(0.6),
        Pin(("sailing-1",)),
    )
    policy = replace(SETTINGS.policy, after=stages)
    settings = SETTINGS.model_copy(update={"policy": policy})
    one = replace(dataset, queries=dict(list(QUERIES.items())[:1]))
    found = collect(settings, one, TRIED, sections(settings), scores=scores)
    [query] = found.queries
    assert query.matching == [{i for i, p in query.payloads.items() if p["title"] == title}]
    for setting in TRIED:
        given = replace(policy, blend=setting.blend)
        shape = {"k": setting.k, "depth": setting.depth, "fusion": setting.fusion}
        response = connector.search(query.query, limit=setting.k, rerank=given, **shape)
        candidates = query.first_pass(setting.depth, setting.fusion, setting.k)
        searched = [str(c.doc_id) for c in connector.candidates(response)]
        assert query.reranked(candidates, setting, given) == searched
    tuned = as_runs(found, TRIED[0])
    rows = {
        row["name"]: row["ndcg@10"] for row in yardstick(tuned, one.qrels, policy=policy)["rows"]
    }
    assert rows["reranked"] != rows["reranked, without policy.after"]


def test_there_is_a_quality_for_every_query_under_every_setting(collected: Collected) -> None:
    steps: list[tuple[int, int]] = []
    quality = evaluate(collected, TRIED, lambda *step: steps.append(step))
    assert list(quality) == TRIED
    assert all(len(values) == len(QUERIES) for values in quality.values())
    assert all(0 < value <= 1 for values in quality.values() for value in values)
    assert steps[-1] == (len(TRIED), len(TRIED))


def test_some_of_the_queries_are_judged_as_they_are_among_all(collected: Collected) -> None:
    ids = [query.query_id for query in collected.queries][2:5]
    part, whole = (evaluate(c, TRIED) for c in (collected.only(ids), collected))
    assert {s: values[2:5] for s, values in whole.items()} == part


def test_a_second_collecting_scores_nothing_again_and_still_knows_the_pace(
    dataset: Dataset, collected: Collected, tmp_path: Path
) -> None:
    scores = tmp_path / "scores.sqlite"
    one = replace(dataset, queries=dict(list(QUERIES.items())[:1]))
    first, second = (
        collect(SETTINGS, one, TRIED, sections(SETTINGS), scores=scores) for _ in range(2)
    )
    assert first.queries == second.queries
    assert first.queries[0].scores == collected.queries[0].scores
    for found in (first, second):
        [scorer] = found.scorers
        assert scorer.documents > 0
        latency = found.latency_ms(TRIED[0])
        assert latency is not None and latency > found.first_pass_ms > 0
    assert first.cost(TRIED[0]) is None


def test_a_search_of_another_mode_is_refused(dataset: Dataset) -> None:
    settings = load(backend={"path": ":memory:"}, search={"mode": "dense"}).settings
    with pytest.raises(ConfigurationError) as caught:
        collect(settings, dataset, TRIED, sections(settings))
    assert caught.value.key == "search.mode"
    settings = load(backend={"path": ":memory:"}, search={"fusion": {"method": "dbsf"}}).settings
    with pytest.raises(ConfigurationError) as caught:
        collect(settings, dataset, TRIED, sections(settings))
    assert caught.value.key == "search.fusion.method"
    settings = load(backend={"path": ":memory:"}, policy={"branch_evidence": False}).settings
    with pytest.raises(ConfigurationError) as caught:
        collect(settings, dataset, TRIED, sections(settings))
    assert caught.value.key == "policy.branch_evidence"


# -- choosing

BETTER, CHEAPER = replace(NOW, k=100, depth=100), replace(NOW, k=20, depth=20)


def noisy(count: int, gain: float, spread: float, seed: int = 1) -> list[float]:
    dice = random.Random(seed)
    return [0.5 + gain + dice.uniform(-spread, spread) for _ in range(count)]


def test_what_is_surely_better_is_chosen() -> None:
    quality = {NOW: [0.5] * 60, CHEAPER: noisy(60, -0.05, 0.1), BETTER: noisy(60, 0.05, 0.1)}
    choice = choose(quality, NOW)
    assert choice.chosen == BETTER
    assert choice.gain.change == pytest.approx(sum(quality[BETTER]) / 60 - 0.5)
    assert choice.validated.change == pytest.approx(choice.gain.change)  # each fold chose it too
    assert choice.tried == 3


def test_luck_is_seldom_chosen() -> None:
    # Of thirty settings that differ by chance alone, the best one nearly always looks better.
    lucky = 0
    for seed in range(20):
        others = {replace(NOW, k=k): noisy(60, 0.0, 0.3, seed * 50 + k) for k in range(10, 40)}
        assert max(map(sum, others.values())) > 30
        lucky += choose({NOW: [0.5] * 60, **others}, NOW).chosen != NOW
    assert lucky <= 4


def test_what_loses_in_a_fold_is_not_chosen() -> None:
    values = [0.6] * 100
    for n in random.Random(0).sample(range(100), 100)[0::5]:  # all queries of the first fold
        values[n] = 0.45
    assert sum(values) > 50
    assert choose({NOW: [0.5] * 100, BETTER: values}, NOW).chosen == NOW


def test_equal_ones_go_to_the_setting_of_now_then_to_fewer_changes_then_to_the_cheaper() -> None:
    equal = {setting: [0.5] * 40 for setting in (NOW, CHEAPER, BETTER)}
    assert choose(equal, NOW).chosen == NOW
    more = [0.6] * 40
    both = replace(CHEAPER, blend=Blend("replace"))
    assert choose({NOW: [0.5] * 40, BETTER: more, both: more}, NOW).chosen == BETTER
    assert choose({NOW: [0.5] * 40, BETTER: more, CHEAPER: more}, NOW).chosen == CHEAPER


def test_one_query_chooses_nothing() -> None:
    assert choose({NOW: [0.1], BETTER: [0.9]}, NOW).chosen == NOW


# -- the configuration and the report


def scorers(*found: Any) -> Collected:
    made = tuple(
        Scorer(section, section.type, documents=10, milliseconds=100.0) for section in found
    )
    return Collected("judged", {}, (), made, 20.0)


def test_a_configuration_keeps_all_that_was_not_tuned(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        '# my settings\n[backend]\ntype = "qdrant" # here\ncollection = "mine"\n'
        "[search]\nlimit = 7\ndepth = 60\n[policy]\ndeadline = 3.0\n",
        encoding="utf-8",
    )
    settings = load(file).settings
    chosen = Setting(30, 100, Fusion("min_max", weights=(0.3, 0.7)), Blend("convex", 0.3))
    text = configuration(file, settings, scorers(settings.reranker), chosen)
    assert "# my settings" in text
    assert "# here" in text
    (tmp_path / "new.toml").write_text(text, encoding="utf-8")
    new = load(tmp_path / "new.toml").settings
    assert current(new) == chosen
    assert (new.backend.collection, new.search.limit, new.policy.deadline) == ("mine", 7, 3.0)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        '[search]\nlimit = 7\n[search.fusion]\nmethod = "min_max"\n[policy.breaker]\n',
        '[search.fusion]\nrank_constant = 9\n[policy.blend]\nmethod = "rrf"\n[policy.breaker]\n',
        'search = { limit = 7 }\npolicy = { blend = { method = "convex" }, on_error = "raise" }\n',
        "search.k = 60\nsearch.depth = 90\n[policy]\ndeadline = 3.0\n[policy.skip]\nfew = 3\n",
    ],
)
def test_settings_are_written_however_the_file_is_laid_out(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text, encoding="utf-8")
    old = load(file).settings
    chosen = Setting(30, 100, Fusion("min_max", weights=(0.3, 0.7)), Blend("convex", 0.3))
    new = configuration(file, old, scorers(old.reranker), chosen)
    file.write_text(new, encoding="utf-8")
    written = load(file).settings
    assert current(written) == chosen
    assert replace(written.policy, blend=old.policy.blend) == old.policy
    assert written.search.limit == old.search.limit


@pytest.mark.parametrize("setting", [*grid(NOW, limit=10, max_k=100)[::40], NOW])
def test_every_setting_can_be_written_and_read(tmp_path: Path, setting: Setting) -> None:
    text = configuration(None, Settings(), scorers(OnnxRerankerSettings()), setting)
    (tmp_path / "new.toml").write_text(text, encoding="utf-8")
    assert current(load(tmp_path / "new.toml").settings) == setting
    assert ("kept" in text) == (setting == NOW)
    assert text.count("\n") > 1 or setting == NOW


def test_a_comment_says_what_was_chosen_last() -> None:
    found = replace(scorers(OnnxRerankerSettings()), dataset='a\n"]\x1b[31m collection')
    text = configuration(None, Settings(), found, BETTER)
    assert text.startswith("# vecdb-rerank tune chose onnx, k=100")
    assert tomllib.loads(text) == {"search": {"k": 100}}


def test_the_length_that_was_chosen_is_written(tmp_path: Path) -> None:
    found = scorers(*sections(Settings(), [128]))
    text = configuration(None, Settings(), found, replace(NOW, reranker=1))
    (tmp_path / "new.toml").write_text(text, encoding="utf-8")
    assert load(tmp_path / "new.toml").settings.reranker == OnnxRerankerSettings(max_length=128)


def test_the_chosen_one_of_a_chain_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "chain.toml"
    file.write_text(
        '[[rerankers]]\ntype = "cohere"\n\n[[rerankers]]\ntype = "onnx"\n', encoding="utf-8"
    )
    settings = load(file).settings
    text = configuration(file, settings, scorers(*settings.chain), replace(NOW, reranker=1))
    file.write_text(text, encoding="utf-8")
    assert [section.type for section in load(file).settings.rerankers] == ["onnx", "cohere"]


def test_the_trade_off_has_the_best_of_each_k(tmp_path: Path) -> None:
    worse = replace(BETTER, blend=Blend("replace"))
    quality = {
        NOW: [0.5] * 40,
        CHEAPER: [0.4] * 40,
        BETTER: [0.6] * 40,
        worse: [0.3] * 40,
    }
    found = scorers(OnnxRerankerSettings())
    result = summary(found, quality, choose(quality, NOW))
    rows = [(row["k"], row["role"], row["ndcg@10"]) for row in result["trade_off"]]
    assert rows == [(20, "", 0.4), (50, "now", 0.5), (100, "chosen", 0.6)]
    assert [row["latency_ms"] for row in result["trade_off"]] == [220.0, 520.0, 1020.0]
    assert result["trade_off"][0]["cost"] is None
    assert list(result) == [
        "dataset",
        "queries",
        "tried",
        "now",
        "chosen_settings",
        "chosen",
        "gain",
        "validated",
        "trade_off",
    ]
    assert list(result["gain"]) == ["change", "interval", "p", "wins", "losses", "ties"]
    settings = ["k", "depth", "fusion", "blend", "reranker"]
    assert list(result["now"]) == list(result["chosen_settings"]) == settings
    columns = ["role", "settings", "k", "ndcg@10", "change", "latency_ms", "cost"]
    assert all(list(row) == columns for row in result["trade_off"])
    assert result["chosen"] == "k=100"
    assert json.loads(json.dumps(result))["validated"]["change"] == pytest.approx(0.1)
    charts.save(charts.TUNING, result, tmp_path / "a.svg", "trade-off")
    assert "chosen (k=100)" in (tmp_path / "a.svg").read_text(encoding="utf-8")


def test_cost_is_that_of_the_units_for_k_documents() -> None:
    scorer = Scorer(OnnxRerankerSettings(), "paid", units=lambda k: k / 100, price=0.002)
    assert scorer.cost(50) == pytest.approx(0.001)
    assert scorer.latency_ms(50) is None
