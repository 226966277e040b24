"""Judged collections, metrics compared with numbers worked out by hand, and whole evaluations."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from qdrant_client import QdrantClient, models
from rich.console import Console

from tests.embedders.embed_server import by_words, embeds, texts_of
from tests.scripted_server import Answer, Body, refused, scripted_server
from vecdb_rerank.cache_folder import cache_folder
from vecdb_rerank.config import factory
from vecdb_rerank.config.loading import load
from vecdb_rerank.config.settings import Settings
from vecdb_rerank.errors import ConfigurationError, FirstPassError, IngestError
from vecdb_rerank.evaluation import datasets, metrics, runs
from vecdb_rerank.evaluation.cache import CachedEmbedder
from vecdb_rerank.evaluation.calibrate import calibrate
from vecdb_rerank.evaluation.connector import evaluated_connector
from vecdb_rerank.evaluation.datasets import Dataset
from vecdb_rerank.evaluation.diagnose import diagnose
from vecdb_rerank.evaluation.evaluate import evaluate
from vecdb_rerank.evaluation.queries import QueryInfo
from vecdb_rerank.evaluation.report import tables
from vecdb_rerank.evaluation.result import EvaluationSummary, Stage, stage_metrics
from vecdb_rerank.evaluation.tuning import Setting, collect
from vecdb_rerank.policy.blend import Blend
from vecdb_rerank.request import Fusion
from vecdb_rerank.resilience.chain import Chain
from vecdb_rerank.testing import CORPUS, QUERIES


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use neither the user's cache nor the user's settings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def write(folder: Path, name: str, *lines: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def collection(folder: Path, documents: Sequence[Mapping[str, Any]] = CORPUS) -> Path:
    """The testing corpus in the BEIR layout."""
    lines = [
        json.dumps({"_id": d["id"], "title": d["title"], "text": d["text"]}) for d in documents
    ]
    write(folder, "corpus.jsonl", *lines)
    write(folder, "queries.jsonl", *(json.dumps({"_id": n, "text": q}) for n, q in QUERIES.items()))
    judged = [f"{subject}\t{subject}-0\t1" for subject in QUERIES]
    write(folder, "qrels/test.tsv", "query-id\tcorpus-id\tscore", *judged)
    return folder


# -- datasets


def test_a_collection_in_the_beir_layout_is_read(tmp_path: Path) -> None:
    dataset = datasets.load(collection(tmp_path / "tiny"))
    assert dataset.name == "tiny"
    assert [document["_id"] for document in dataset.corpus] == [d["id"] for d in CORPUS]
    assert dataset.queries == QUERIES
    assert dataset.qrels["bread"] == {"bread-0": 1}


def test_judgements_may_lie_beside_the_corpus_without_a_header(tmp_path: Path) -> None:
    folder = collection(tmp_path)
    write(folder, "qrels.tsv", "bread\tbread-1\t2", "", "bread\tbread-2\t0")
    assert datasets.load(folder).qrels == {"bread": {"bread-1": 2, "bread-2": 0}}


def test_only_queries_with_a_relevant_document_are_kept(tmp_path: Path) -> None:
    folder = collection(tmp_path)
    write(folder, "qrels.tsv", "bread\tbread-1\t1", "tax\ttax-1\t0", "other\ttax-1\t1")
    assert list(datasets.load(folder).queries) == ["bread"]
    write(folder, "qrels.tsv", "tax\ttax-1\t0")
    with pytest.raises(ConfigurationError, match="relevant") as caught:
        datasets.load(folder)
    assert caught.value.key == str(folder)


def test_an_id_may_begin_with_a_quotation_mark(tmp_path: Path) -> None:
    folder = collection(tmp_path)
    write(folder, "qrels.tsv", 'bread\t"bread-1\t1', "tax\ttax-1\t1")
    assert datasets.load(folder).qrels == {"bread": {'"bread-1': 1}, "tax": {"tax-1": 1}}


def test_numbers_as_ids_are_read_as_text(tmp_path: Path) -> None:
    write(tmp_path, "corpus.jsonl", '{"_id": 7, "text": "seven"}')
    write(tmp_path, "queries.jsonl", '{"_id": 1, "text": "which?"}')
    write(tmp_path, "qrels.tsv", "1\t7\t1")
    dataset = datasets.load(tmp_path)
    assert (dict(dataset.queries), dataset.qrels) == ({"1": "which?"}, {"1": {"7": 1}})


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = collection(tmp_path)
    (folder / name).unlink()
    wanted = "qrels.tsv" if name.startswith("qrels") else name
    with pytest.raises(ConfigurationError, match=wanted) as caught:
        datasets.load(folder)
    assert caught.value.key == str(folder)


@pytest.mark.parametrize(
    ("name", "line", "word"),
    [
        ("corpus.jsonl", b"{'_id': 1}", "JSON"),
        ("corpus.jsonl", b"[1]", "object"),
        ("corpus.jsonl", b'{"id": "x"}', "_id"),
        ("corpus.jsonl", b'{"_id": "\xff"}', "UTF-8"),
        ("corpus.jsonl", b'{"a":' * 100_000, "nested"),
        ("queries.jsonl", b'{"_id": "bread"}', "text"),
        ("qrels/test.tsv", b"bread\tbread-0", "grade"),
        ("qrels/test.tsv", b"bread\tbread-0\thigh", "grade"),
        ("qrels/test.tsv", b"bread 0 bread-0 1", "grade"),
        ("qrels/test.tsv", b"bread\t\xff\t1", "UTF-8"),
    ],
)
def test_a_wrong_line_is_named_by_file_and_number(
    tmp_path: Path, name: str, line: bytes, word: str
) -> None:
    file = collection(tmp_path) / name
    first, rest = file.read_bytes().split(b"\n", 1)
    file.write_bytes(b"\n".join([first, line, rest]))
    with pytest.raises(ConfigurationError, match=word) as caught:
        datasets.load(tmp_path)
    assert caught.value.key == f"{file}:2"


def test_empty_lines_are_no_documents(tmp_path: Path) -> None:
    write(tmp_path, "x.jsonl", '{"_id": 1}', "", "   ", '{"_id": 2}')
    assert [line["_id"] for line in datasets.read_jsonl(tmp_path / "x.jsonl")] == [1, 2]


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    dataset = Dataset("d", (), {f"q{n}": str(n) for n in range(100)}, {})
    backwards = Dataset("d", (), dict(reversed([*dataset.queries.items()])), {})
    chosen = list(dataset.sample(10, seed=3).queries)
    assert len(chosen) == 10
    assert list(dataset.sample(10, seed=3).queries) == chosen
    assert list(backwards.sample(10, seed=3).queries) == chosen
    assert list(dataset.sample(10, seed=4).queries) != chosen
    assert all(
        dataset.queries[q] == dataset.sample(10).queries[q] for q in dataset.sample(10).queries
    )


def test_a_sample_of_all_or_more_is_the_whole() -> None:
    dataset = Dataset("d", (), {"a": "a", "b": "b"}, {})
    assert dataset.sample(None) is dataset.sample(2) is dataset.sample(9) is dataset


@pytest.mark.parametrize("n", [0, -1])
def test_a_sample_of_nothing_is_refused(n: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Dataset("d", (), {"a": "a"}, {}).sample(n)
    assert caught.value.key == "queries"


# -- metrics


def test_metrics_are_those_worked_out_by_hand() -> None:
    qrels = {"one": {"a": 2, "b": 1, "z": 1}, "two": {"c": 1}}
    found = metrics.quality({"one": ["b", "x", "a"], "two": ["x", "y", "c"]}, qrels, k=2)
    # DCG is the sum of grade / log2(rank + 1).
    dcg, ideal = 1 / 1 + 2 / 2, 2 / 1 + 1 / math.log2(3) + 1 / 2
    assert found == pytest.approx(
        {
            "ndcg@10": (dcg / ideal + 1 / 2) / 2,
            "mrr@10": (1 / 1 + 1 / 3) / 2,
            "recall@2": (1 / 3 + 0) / 2,
            "judged@10": (2 / 3 + 1 / 3) / 2,
        }
    )


def test_the_order_counts_and_hits_after_the_tenth_do_not() -> None:
    others = [f"x{n}" for n in range(10)]
    late = metrics.quality({"q": [*others, "a"]}, {"q": {"a": 1}}, k=50)
    assert late == {"ndcg@10": 0.0, "mrr@10": 0.0, "recall@50": 1.0, "judged@10": 0.0}
    tenth = metrics.quality({"q": [*others[:9], "a"]}, {"q": {"a": 1}}, k=9)
    assert tenth == pytest.approx(
        {"ndcg@10": 1 / math.log2(11), "mrr@10": 0.1, "recall@9": 0.0, "judged@10": 0.1}
    )


def test_many_hits_keep_their_order() -> None:
    ranked = [f"d{n}" for n in range(1000)]
    found = metrics.quality({"q": ranked}, {"q": {"d1": 1}}, k=1000)
    assert found["mrr@10"] == 0.5


def test_a_query_without_hits_counts_as_zero() -> None:
    found = metrics.quality({"one": ["a"], "two": []}, {"one": {"a": 1}, "two": {"b": 1}}, k=5)
    assert found == {"ndcg@10": 0.5, "mrr@10": 0.5, "recall@5": 0.5, "judged@10": 1.0}


def test_queries_that_were_not_searched_do_not_count() -> None:
    found = metrics.quality({"one": ["a"]}, {"one": {"a": 1}, "two": {"b": 1}}, k=5)
    assert found == {"ndcg@10": 1.0, "mrr@10": 1.0, "recall@5": 1.0, "judged@10": 1.0}


def test_metrics_for_incomplete_judgments_need_documents_judged_not_relevant() -> None:
    # Four unjudged hits before the relevant one: perfect for both metrics, whatever they are.
    ranked = {"one": ["w", "x", "y", "z", "a"], "two": ["b", "c"]}
    positives = {"one": {"a": 1}, "two": {"c": 1}}
    assert not {"condensed_ndcg@10", "bpref"} & set(metrics.quality(ranked, positives, 5))
    # Only the query with such a document counts: it is ranked above the relevant one.
    both = metrics.quality(ranked, {**positives, "two": {"b": 0, "c": 1}}, 5)
    assert both["condensed_ndcg@10"] == pytest.approx(1 / math.log2(3))
    assert both["bpref"] == 0.0


@pytest.mark.parametrize(
    ("milliseconds", "p50", "p95"),
    [
        ([], 0.0, 0.0),
        ([7.0], 7.0, 7.0),
        ([float(n) for n in range(1, 22)], 11.0, 20.0),
        ([21.0, *(float(n) for n in range(1, 21))], 11.0, 20.0),
        ([10.0, 20.0], 15.0, 19.5),
    ],
)
def test_percentiles_of_latencies(milliseconds: list[float], p50: float, p95: float) -> None:
    assert metrics.latency(milliseconds) == pytest.approx({"p50": p50, "p95": p95})


# -- the cache of vectors


class Counting:
    """An embedder that remembers what it was asked."""

    dimension = 2

    def __init__(self) -> None:
        self.documents: list[str] = []
        self.queries: list[str] = []

    def embed_query(self, text: str) -> list[float]:
        self.queries.append(text)
        return [0.1, 0.2]

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        self.documents += texts
        return [[1 / (len(text) + 3), 0.1] for text in texts]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Any]:
    """Opens caches over one file, and closes them."""
    caches: list[CachedEmbedder] = []

    def open_cache(embedder: Counting, name: str = "model") -> CachedEmbedder:
        caches.append(CachedEmbedder(embedder, name, tmp_path / "vectors.sqlite"))
        return caches[-1]

    yield open_cache
    for cache in caches:
        cache.close()


def test_documents_are_embedded_once(opened: Any) -> None:
    embedder = Counting()
    cache = opened(embedder)
    first = cache.embed_documents(["a", "bb", "a"])
    assert embedder.documents == ["a", "bb"]
    assert cache.embed_documents(["bb", "ccc", "a"])[0] == first[1]
    assert embedder.documents == ["a", "bb", "ccc"]
    assert cache.embed_documents([]) == []
    assert cache.dimension == 2


def test_another_run_reads_the_very_same_vectors(opened: Any) -> None:
    # A third of a number has no end in binary: what is read again must be what was used before.
    first = opened(Counting()).embed_documents(["a", "bb"])
    later = Counting()
    assert opened(later).embed_documents(["a", "bb"]) == first
    assert later.documents == []
    assert all(isinstance(x, float) for vector in first for x in vector)


def test_another_model_has_vectors_of_its_own(opened: Any) -> None:
    opened(Counting(), "one").embed_documents(["a"])
    other = Counting()
    opened(other, "two").embed_documents(["a"])
    assert other.documents == ["a"]


def test_queries_are_embedded_every_time(opened: Any) -> None:
    embedder = Counting()
    cache = opened(embedder)
    cache.embed_documents(["a"])
    assert cache.embed_query("a") == cache.embed_query("a") == [0.1, 0.2]
    assert embedder.queries == ["a", "a"]


def test_without_a_file_the_cache_is_in_the_users_cache_folder(tmp_path: Path) -> None:
    cache = CachedEmbedder(Counting(), "model")
    cache.embed_documents(["a"])
    cache.close()
    assert cache_folder().is_relative_to(tmp_path / "cache")
    assert (cache_folder() / "vectors.sqlite").is_file()


def test_a_broken_cache_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "vectors.sqlite"
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(ConfigurationError, match="delete") as caught:
        CachedEmbedder(Counting(), "model", file)
    assert caught.value.key == str(file)
    nowhere = tmp_path / "no/such/folder/vectors.sqlite"
    with pytest.raises(ConfigurationError) as caught:
        CachedEmbedder(Counting(), "model", nowhere)
    assert caught.value.key == str(nowhere)


def test_a_cache_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(ConfigurationError) as caught:
        cache_folder()
    assert caught.value.key == str(tmp_path / "cache" / "vecdb-rerank")


# -- runs


@pytest.fixture(scope="module")
def connector() -> Iterator[Any]:
    """The testing corpus in memory, with the bundled models."""
    made = factory.build(Settings(backend={"path": ":memory:"}, policy={"deadline": None}))
    made.create()
    assert made.add(CORPUS).added == len(CORPUS)
    yield made
    made.close()


def test_every_mode_is_run_raw_and_reranked(connector: Any) -> None:
    queries = {subject: QUERIES[subject] for subject in ("bread", "tax")}
    steps: list[int] = []
    found = runs.run(connector, queries, k=10, on_progress=lambda: steps.append(1))
    stages = ["bm25", "bm25+rerank", "dense", "dense+rerank", "hybrid", "hybrid+rerank"]
    assert list(found) == stages
    assert len(steps) == 6
    ids = {document["id"] for document in CORPUS}
    for run in found.values():
        assert list(run.ranked) == ["bread", "tax"]
        assert all(set(ranked) <= ids for ranked in run.ranked.values())
        assert all(len(set(ranked)) == len(ranked) <= 10 for ranked in run.ranked.values())
        assert len(run.latencies_ms) == 2
        assert min(run.latencies_ms) > 0
    for mode in runs.MODES:
        raw, reranked = found[mode], found[f"{mode}+rerank"]
        # The same first pass: reranking changes the order and nothing else.
        assert {q: set(r) for q, r in raw.ranked.items()} == {
            q: set(r) for q, r in reranked.ranked.items()
        }
        assert all(r <= t for r, t in zip(raw.latencies_ms, reranked.latencies_ms, strict=True))
    # Each question's answer is its subject's first document.
    assert [r[0] for r in found["hybrid+rerank"].ranked.values()] == ["bread-0", "tax-0"]


def test_the_raw_stage_is_what_a_search_without_reranking_finds(connector: Any) -> None:
    found = runs.run(connector, {"bees": QUERIES["bees"]}, modes=["dense"], k=10)
    response = connector.search(QUERIES["bees"], mode="dense", k=10, limit=10, rerank=False)
    alone = [str(candidate.doc_id) for candidate in connector.candidates(response)]
    assert found["dense"].ranked["bees"] == alone


def test_the_reranked_stages_can_be_left_out(connector: Any) -> None:
    found = runs.run(connector, {"q": "volcano"}, modes=["bm25"], k=5, rerank=False)
    assert list(found) == ["bm25"]


def _evaluated(settings: Settings, dataset: Dataset) -> object:
    return evaluate(settings, dataset, modes=["hybrid"])


def _collected(settings: Settings, dataset: Dataset) -> object:
    grid = [Setting(10, 10, Fusion(), Blend())]
    return collect(settings, dataset, grid, [settings.reranker])


def _diagnosed(settings: Settings, dataset: Dataset) -> object:
    return diagnose(settings, dataset)


@pytest.mark.parametrize("measure", [_evaluated, _collected, _diagnosed, calibrate])
def test_a_hybrid_search_by_bm25_alone_fails_instead_of_being_measured(
    measure: Callable[[Settings, Dataset], object], tmp_path: Path
) -> None:
    dataset = datasets.load(collection(tmp_path / "d"))
    lost = [*dataset.queries][-1]

    def script(body: Body) -> Answer:
        if texts_of("tei", body) == [dataset.queries[lost]]:
            return refused("out of order", 500)
        return embeds("tei", by_words)(body)

    with scripted_server(script) as server:
        settings = load(
            backend={"path": ":memory:"},
            embedder={"type": "tei", "url": server.url, "retries": 0},
            reranker={"max_length": 32},
        ).settings
        with pytest.raises(FirstPassError, match="out of order"):
            measure(settings, dataset)


class Obedient:
    """Finds relevant what holds the instruction."""

    def score(self, query: str, texts: Sequence[str], *, instruction: str = "-") -> list[float]:
        return [0.9 if instruction in text else 0.1 for text in texts]


def test_the_instructions_of_queries_are_sent(connector: Any) -> None:
    pipeline = connector.pipeline
    policy = replace(pipeline.policy, blend=Blend("replace"))
    connector.pipeline = replace(pipeline, chain=Chain([Obedient()]), policy=policy)
    info = {"q": QueryInfo(instruction=str(CORPUS[7]["text"]))}
    try:
        found = runs.run(connector, {"q": "volcano"}, modes=["dense"], k=50, info=info)
    finally:
        connector.pipeline = pipeline
    assert found["dense+rerank"].ranked["q"][0] == CORPUS[7]["id"]
    # The bundled reranker has no place for one, and is not given it.
    assert runs.run(connector, {"q": "volcano"}, modes=["bm25"], k=5, info=info)


def test_instructions_without_a_place_are_counted(tmp_path: Path) -> None:
    dataset = Dataset(
        "d",
        CORPUS[:3],
        {"q": "bread", "r": "tax"},
        {"q": {}},
        {"q": QueryInfo(instruction="prefer the first")},
    )
    notes: list[str] = []
    settings = Settings(backend={"path": ":memory:"})
    with evaluated_connector(settings, dataset, lambda *_: None, on_note=notes.append):
        pass
    [note] = notes
    assert note.startswith("1 queries have an instruction")


# -- evaluating


def shape(value: object) -> object:
    """A structure with the names of types in place of values; a list is that of its first item."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__


def test_evaluating_gives_every_number_under_its_name(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    dataset = datasets.load(collection(tmp_path / "tiny")).sample(2)
    settings = load(backend={"path": tmp_path / "index"}).settings
    result = evaluate(settings, dataset, on_progress=lambda *step: steps.append(step))

    assert json.loads(json.dumps(result)) == result
    structured = (
        *("stages", "details", "yardstick", "verdict", "settings", "environment", "gate"),
        "effort_curve",
    )
    assert {name: v for name, v in result.items() if name not in structured} == {
        "dataset": "tiny",
        "documents": 40,
        "queries": 2,
        "with_negatives": 0,
        "k": 50,
        "backend": "qdrant",
        "reranker": "onnx:ms-marco-MiniLM-L-12-v2",
    }
    modes = ("bm25", "dense", "hybrid")
    stages = dict(result["stages"])
    assert list(stages) == [
        *("bm25", "bm25+rerank", "dense", "dense+rerank"),
        *("hybrid", "tuned fusion", "hybrid+rerank"),
    ]
    tuned = stages.pop("tuned fusion")
    assert tuned["latency_ms"] == stages["hybrid"]["latency_ms"]
    [row] = [row for row in result["yardstick"]["rows"] if row["name"] == "tuned fusion"]
    assert tuned["ndcg@10"] == row["ndcg@10"]
    assert result["yardstick"]["small"]
    assert result["verdict"]["answer"] == "uncertain"  # two queries are not enough
    assert {"search", "blend", "reranker", "embedder"} <= set(result["settings"])
    for name, stage in stages.items():
        pairs = ["pairs", "pairs_p95"] if name.endswith("+rerank") else []
        quality = ["ndcg@10", "mrr@10", "recall@50", "judged@10"]
        assert list(stage) == [*quality, *pairs, "latency_ms"]
        assert all(0 < stage[name] <= 40 for name in pairs)  # type: ignore[operator]
        assert all(0 <= value <= 1 for value in stage_metrics(stage).values())
        latency: Any = stage["latency_ms"]
        assert list(latency) == ["p50", "p95"]
        assert 0 < latency["p50"] <= latency["p95"]
    assert result["stages"]["hybrid+rerank"]["mrr@10"] == 1.0
    assert steps[0][0] == "indexing"
    assert [step for step in steps if step[0] == "searching"] == [
        ("searching", n, 8)
        for n in range(1, 9)  # three modes, and how deep the answers lie
    ]
    found: Any = result["details"]
    hit = {"id": "str", "text": "str"}
    report = {
        "query_id": "str",
        "query": "str",
        "first_pass": "float",
        "reranked": "float",
        "top": {"first_pass": hit, "reranked": hit},
        "moved": [{**hit, "grade": "NoneType", "first_pass_rank": "int", "rank": "int"}],
        "relevant": [
            {**hit, "grade": "int", "first_pass_rank": "int", "rank": "int", "relevance": "float"}
        ],
    }
    assert shape(found) == {
        "mode": "str",
        "against_first_pass": {
            mode: {
                "change": "float",
                "interval": ["float"],
                "p": "float",
                "wins": "int",
                "losses": "int",
                "ties": "int",
            }
            for mode in modes
        },
        "against_runs": {},
        "changes": dict.fromkeys(dataset.queries, "float"),
        "ndcg": {q: {"first_pass": "float", "reranked": "float"} for q in dataset.queries},
        "classes": {},
        "by_class": [],
        "recall_curve": {
            "recall": {str(k): "float" for k in (1, 5, 10, 20, 30, 50, 75, 100, 150, 200)},
            "k_for_95": "int",
        },
        "retrieve_more": [
            {
                "hits": "str",
                "found": "float",
                "recall": "float",
                "relevant": "float",
                "characters": "float",
            }
        ],
        "latency_ms": {
            stage: {"p50": "float", "p95": "float"}
            for stage in ("embed", "first_pass", "rerank", "total")
        },
        "truncated": "int",
        "statuses": {"reranked": "int"},
        "cost_per_1000": "float",
        "best": [report] if found["best"] else [],
        "worst": [report],
    }
    assert found["mode"] == "hybrid"
    assert found["recall_curve"]["recall"]["200"] == 1.0
    assert result["effort_curve"] == []  # only where all candidates were read
    assert len(found["worst"]) == len(found["changes"]) == 2
    # An embedded Qdrant is kept in memory: the configured folder is left alone.
    assert not (tmp_path / "index").exists()


def test_scores_are_kept_on_disk_where_that_is_wanted(tmp_path: Path) -> None:
    dataset = datasets.load(collection(tmp_path / "tiny", CORPUS[:10])).sample(2)
    settings = load(backend={"path": ":memory:"}, policy={"effort": "full"}).settings
    without = evaluate(settings, dataset, k=8)
    *_, last = without["effort_curve"]
    assert last["estimated"] == stage_metrics(without["stages"]["hybrid+rerank"])["ndcg@10"]
    assert not (cache_folder() / "scores.sqlite").exists()
    first, second = (evaluate(settings, dataset, k=8, cache=True) for _ in range(2))
    for result in (first, second):
        for name, stage in result["stages"].items():
            assert stage_metrics(stage) == stage_metrics(without["stages"][name])
            assert name.endswith("+rerank") or stage["latency_ms"] is not None
        assert result["details"]["worst"] == without["details"]["worst"]
    # Hybrid comes first and finds nothing in the file; what it scored, the other modes find there.
    assert first["stages"]["hybrid+rerank"]["latency_ms"] is not None
    assert first["details"]["latency_ms"] is not None
    assert first["stages"]["dense+rerank"]["latency_ms"] is None
    assert second["stages"]["hybrid+rerank"]["latency_ms"] is None
    assert second["details"]["latency_ms"] is None
    assert second["details"]["truncated"] is None


def test_a_deadline_does_not_change_the_numbers(tmp_path: Path) -> None:
    # It would be over before the first document is scored.
    dataset = datasets.load(collection(tmp_path / "tiny", CORPUS[:5])).sample(1)
    settings = load(backend={"path": ":memory:"}, policy={"deadline": 1e-9}).settings
    result = evaluate(settings, dataset, modes=["bm25"], k=5)
    assert list(result["stages"]) == ["bm25", "bm25+rerank"]


def test_evaluating_without_an_embedder_is_refused(tmp_path: Path) -> None:
    dataset = datasets.load(collection(tmp_path / "tiny"))
    settings = load(backend={"path": ":memory:"}, embedder={"type": "none"}).settings
    with pytest.raises(ConfigurationError) as caught:
        evaluate(settings, dataset)
    assert caught.value.key == "embedder"


def test_a_corpus_that_cannot_be_stored_whole_is_refused() -> None:
    class Unstorable:
        def __deepcopy__(self, _memo: object) -> object:
            raise ValueError("it is no payload")

    dataset = Dataset("d", ({"_id": "a", "x": Unstorable()},), {"q": "x"}, {"q": {"a": 1}})
    settings = load(backend={"path": ":memory:"}).settings
    with pytest.raises(IngestError, match="1 documents were not stored; a: "):
        evaluate(settings, dataset)


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "refused"])
def test_evaluating_on_a_server_leaves_nothing_behind_and_touches_nothing_else(
    stored: bool, tmp_path: Path, httpserver: HTTPServer
) -> None:
    memory = QdrantClient(":memory:")
    memory.create_collection(
        "created",
        vectors_config={"dense": models.VectorParams(size=384, distance=models.Distance.COSINE)},
        sparse_vectors_config={"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    answers: list[tuple[str, str, Any]] = [
        ("GET", "/exists", {"exists": False}),
        ("GET", "", memory.get_collection("created").model_dump(mode="json")),
        ("POST", "/points/query", {"points": []}),
        ("PUT", "/points", {"operation_id": 0, "status": "completed"} if stored else None),
        ("PUT", "", True),
        ("DELETE", "", True),
    ]
    memory.close()
    own = "/collections/vecdb-rerank-evaluation-[0-9a-f]{8}"
    for method, path, result in answers:
        httpserver.expect_request(re.compile(f"{own}{path}$"), method).respond_with_json(
            {"status": "ok", "time": 0.0, "result": result}, status=400 if result is None else 200
        )
    dataset = datasets.load(collection(tmp_path / "tiny", CORPUS[:5])).sample(1)
    settings = load(backend={"url": httpserver.url_for("/"), "collection": "precious"}).settings
    refused = pytest.raises(IngestError, match="5 documents")
    with nullcontext() if stored else refused:
        evaluate(settings, dataset, modes=["bm25"], k=5)
    asked = [(request.method, request.path) for request, _ in httpserver.log]
    assert all(re.match(own, path) for _, path in asked)
    created = next(path for method, path in asked if method == "PUT")
    assert asked[-1] == ("DELETE", created)


def test_a_result_is_shown_as_a_table() -> None:
    numbers = {"ndcg@10": 0.5, "mrr@10": 0.25, "recall@50": 1.0}
    stage: Stage = {**numbers, "latency_ms": {"p50": 12.4, "p95": 80.6}}
    result: EvaluationSummary = {
        "dataset": "a [/b] collection",
        "documents": 1234,
        "queries": 5,
        "with_negatives": 0,
        "k": 50,
        "backend": "qdrant",
        "stages": {"hybrid": stage, "hybrid+rerank": stage},
    }
    console = Console(width=120)
    with console.capture() as captured:
        console.print(tables.table(result))
    text = captured.get()
    assert "a [/b] collection: 1,234 documents, 5 queries, k=50, qdrant" in text
    for word in ("NDCG@10", "MRR@10", "recall@50", "p50 ms", "0.500", "0.250", "12", "81"):
        assert word in text
