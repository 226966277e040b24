"""Sources of settings, their precedence, and errors that name key and source."""

from __future__ import annotations

import json
import os
import traceback
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from vecdb_rerank.config import factory
from vecdb_rerank.config.loading import DEFAULT_FILE, Loaded, load
from vecdb_rerank.config.settings import (
    ENV_PREFIX,
    CascadeSettings,
    CohereRerankerSettings,
    HttpRerankerSettings,
    NoneSettings,
    OnnxEmbedderSettings,
    OnnxRerankerSettings,
    OpenSearchSettings,
    QdrantSettings,
    SentenceTransformersSettings,
    TorchEmbedderSettings,
    inside,
)
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.policy.after import Bury, Decay, Mmr
from vecdb_rerank.policy.effort import Effort
from vecdb_rerank.rerankers.wire_request import ScoreRequest

HTTP = "[reranker]\ntype = 'http'\nurl = 'http://h'\nmodel = 'm'"
SECRET = "s3cr3t-that-nobody-may-see"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, without settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith(ENV_PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets ``VECDB_RERANK__...`` variables."""

    def set_all(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"{ENV_PREFIX}{name}", value)

    return set_all


def write(text: str) -> None:
    Path(DEFAULT_FILE).write_text(text, encoding="utf-8")


def refused(file: str | None = None, **arguments: object) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load(file, **arguments)
    return caught.value


# -- precedence and origin


def test_everything_has_a_default() -> None:
    loaded = load()
    settings = loaded.settings
    assert isinstance(settings.backend, QdrantSettings)
    assert isinstance(settings.embedder, OnnxEmbedderSettings)
    assert isinstance(settings.reranker, OnnxRerankerSettings)
    assert (settings.search.k, settings.search.limit, settings.search.mode) == (50, None, "hybrid")
    assert loaded.origin("search", "k") == "default"


def test_arguments_beat_the_environment_and_that_beats_the_file(env: Any) -> None:
    write('[search]\nk = 20\nlimit = 7\nmode = "bm25"\n[policy]\ndeadline = 1.5\n')
    env(SEARCH__K="30", SEARCH__LIMIT="8")
    loaded = load(search={"k": 40})
    search = loaded.settings.search
    assert (search.k, search.limit, search.mode) == (40, 8, "bm25")
    assert loaded.settings.policy.deadline == 1.5
    origins = [loaded.origin("search", key) for key in ("k", "limit", "mode", "depth")]
    assert origins == ["arguments", "environment", DEFAULT_FILE, "default"]
    assert loaded.origin("policy", "deadline") == DEFAULT_FILE
    assert loaded.origin("text_fields", "fields") == "default"


def test_nested_tables_are_merged_key_by_key(env: Any) -> None:
    write("[search.fusion]\nrank_constant = 10\nweights = [1, 3]\n")
    env(SEARCH__FUSION__METHOD="min_max")
    loaded = load(search={"fusion": {"rank_constant": 5}})
    fusion = loaded.settings.search.fusion
    assert (fusion.method, fusion.rank_constant, fusion.weights) == ("min_max", 5, (1.0, 3.0))
    origins = [loaded.origin("search", "fusion", k) for k in ("rank_constant", "method", "weights")]
    assert origins == ["arguments", "environment", DEFAULT_FILE]


def test_the_file_in_the_current_folder_is_read_without_being_named() -> None:
    write('[backend]\ncollection = "here"\n')
    assert load().settings.backend.model_dump()["collection"] == "here"


def test_a_named_file_is_read_instead_and_names_the_origin(tmp_path: Path) -> None:
    write('[backend]\ncollection = "here"\n')
    other = tmp_path / "other.toml"
    other.write_text('[backend]\ncollection = "there"\n', encoding="utf-8")
    loaded = load(other)
    assert loaded.settings.backend.model_dump()["collection"] == "there"
    assert loaded.origin("backend", "collection") == str(other)


def test_a_named_file_that_is_missing_is_an_error() -> None:
    assert refused("nowhere.toml").key == "nowhere.toml"


@pytest.mark.parametrize("text", ["[backend\n", "a = 1\na = 2\n", "[search]\nk =\n", "\x00"])
def test_a_file_that_is_not_toml_is_named(text: str) -> None:
    write(text)
    assert refused().key == DEFAULT_FILE


def test_a_file_that_is_not_utf_8_is_named() -> None:
    Path(DEFAULT_FILE).write_bytes(b'[backend]\ncollection = "\xff"\n')
    assert refused().key == DEFAULT_FILE


@pytest.mark.parametrize("deep", ["[" * 100_000, "{a=" * 100_000])
def test_a_file_that_is_nested_too_deeply_is_named(deep: str) -> None:
    write(f"search = {deep}")
    assert refused().key == DEFAULT_FILE


def test_a_variable_that_is_nested_too_deeply_is_named(env: Any) -> None:
    env(SEARCH="[" * 100_000)
    assert refused().key == "search"
    env(SEARCH="{}", TEXT_FIELDS__FIELDS="[" * 100_000)
    assert refused().key == "text_fields.fields"


# -- unions


@pytest.mark.parametrize(
    ("section", "kind", "expected"),
    [
        ("backend", "qdrant", QdrantSettings),
        ("backend", "opensearch", OpenSearchSettings),
        ("embedder", "onnx", OnnxEmbedderSettings),
        ("embedder", "sentence_transformers", SentenceTransformersSettings),
        ("embedder", "torch", TorchEmbedderSettings),
        ("embedder", "none", NoneSettings),
        ("reranker", "onnx", OnnxRerankerSettings),
        ("reranker", "http", HttpRerankerSettings),
        ("reranker", "cohere", CohereRerankerSettings),
        ("reranker", "none", NoneSettings),
    ],
)
def test_the_type_chooses_the_keys_of_a_section(section: str, kind: str, expected: type) -> None:
    more = {
        "sentence_transformers": {"model": "m"},
        "torch": {"model": "m"},
        "http": {"url": "http://localhost", "format": "tei"},
    }.get(kind, {})
    given: dict[str, Any] = {section: {"type": kind, **more}}
    loaded = load(**given)
    assert type(getattr(loaded.settings, section)) is expected


def test_keys_of_the_default_type_need_no_type() -> None:
    loaded = load(embedder={"pooling": "mean"}, backend={"prefer_grpc": True})
    assert isinstance(loaded.settings.embedder, OnnxEmbedderSettings)
    assert loaded.settings.embedder.pooling == "mean"
    assert isinstance(loaded.settings.backend, QdrantSettings)


def test_a_key_of_another_type_is_refused() -> None:
    error = refused(reranker={"type": "none", "model": "bundled"})
    assert error.key == "reranker.model"
    assert "type" in error.problem


@pytest.mark.parametrize(
    ("section", "given", "meant"),
    [
        ("backend", "opensarch", "opensearch"),
        ("backend", "Qdrant", "qdrant"),
        ("embedder", "sentence-transformers", "sentence_transformers"),
        ("reranker", "onxx", "onnx"),
        ("reranker", "nonee", "none"),
        ("embedder", "None", "none"),
    ],
)
def test_an_unknown_type_names_the_nearest(env: Any, section: str, given: str, meant: str) -> None:
    env(**{f"{section.upper()}__TYPE": given})
    error = refused()
    assert error.key == f"{section}.type"
    assert repr(meant) in error.problem


# -- one table a backend

BOTH = """
[backend]
type = "qdrant"
collection = "notes"

[backend.qdrant]
url = "http://qdrant:6333"
prefer_grpc = true

[backend.opensearch]
url = "http://opensearch:9200"
user = "admin"
bm25_fields = ["title^2", "body"]
"""


def test_the_type_chooses_the_backends_own_table() -> None:
    write(BOTH)
    backend = load().settings.backend
    assert isinstance(backend, QdrantSettings)
    assert (backend.url, backend.prefer_grpc) == ("http://qdrant:6333", True)
    assert backend.collection == "notes"


def test_one_variable_switches_the_whole_backend(env: Any) -> None:
    write(BOTH)
    env(BACKEND__TYPE="opensearch")
    loaded = load()
    backend = loaded.settings.backend
    assert isinstance(backend, OpenSearchSettings)
    assert (backend.url, backend.user) == ("http://opensearch:9200", "admin")
    assert backend.bm25_fields == ("title^2", "body")
    assert backend.collection == "notes"
    assert loaded.origin("backend", "type") == "environment"
    assert loaded.origin("backend", "url") == DEFAULT_FILE


def test_the_environment_reaches_into_a_backends_table(env: Any) -> None:
    write(BOTH)
    env(BACKEND__QDRANT__URL="http://elsewhere:6333", BACKEND__OPENSEARCH__USER="somebody")
    loaded = load()
    assert isinstance(loaded.settings.backend, QdrantSettings)
    assert loaded.settings.backend.url == "http://elsewhere:6333"
    assert loaded.origin("backend", "url") == "environment"


def test_a_stronger_source_wins_over_a_table_of_a_weaker_one(env: Any) -> None:
    write(BOTH)
    env(BACKEND__URL="http://elsewhere:6333")
    backend = load().settings.backend
    assert isinstance(backend, QdrantSettings)
    assert backend.url == "http://elsewhere:6333"


def test_a_typo_in_the_table_of_another_backend_is_one_too(env: Any) -> None:
    write(f"{BOTH}passwrd = 'x'\n")
    error = refused()
    assert error.key == "backend.opensearch.passwrd"
    assert "'password'" in error.problem
    Path(DEFAULT_FILE).unlink()
    env(BACKEND__QDRANT__PATHS="x", BACKEND__TYPE="opensearch")
    assert refused().key == "backend.qdrant.paths"


# -- typos


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("[serch]\nk = 3", "serch", "'search'"),
        ("colection = 'x'", "colection", "backend"),
        ("[backend]\ncolection = 1", "backend.colection", "'collection'"),
        (
            "[backend]\ntype = 'opensearch'\nbm25_field = ['x']",
            "backend.bm25_field",
            "'bm25_fields'",
        ),
        ("[backend.qdrnt]\nurl = 'x'", "backend.qdrnt", "'qdrant'"),
        ("[backend.qdrant]\nurll = 'x'", "backend.urll", "'url'"),
        ("[backend.bm25]\navglen = 3", "backend.bm25.avglen", "'avg_len'"),
        ("[embedder]\npoling = 'cls'", "embedder.poling", "'pooling'"),
        (
            "[embedder]\ntype = 'sentence_transformers'\nmodel = 'm'\nbatchsize = 3",
            "embedder.batchsize",
            "'batch_size'",
        ),
        ("[reranker]\nmodle = 'x'", "reranker.modle", "'model'"),
        ("[[rerankers]]\nmodle = 'x'", "rerankers.0.modle", "'model'"),
        (
            "[[rerankers]]\n[[rerankers]]\ntype = 'cohere'\nretrys = 1",
            "rerankers.1.retrys",
            "'retries'",
        ),
        ("[[rerankers]]\ntype = 'onxx'", "rerankers.0.type", "'onnx'"),
        ("[policy.breaker]\npuase = 3", "policy.breaker.puase", "'pause'"),
        ("[policy.cost]\nprice = 3", "policy.cost.price", "'prices'"),
        (
            "[text_fields]\nfeilds = ['x']",
            "text_fields.feilds",
            "'fields'",
        ),
        ("[search]\nlimt = 3", "search.limt", "'limit'"),
        ("[search.fusion]\nmetod = 1", "search.fusion.metod", "'method'"),
        ("[policy]\ndeadlin = 3", "policy.deadlin", "'deadline'"),
        ("[search]\nzzz = 3", "search.zzz", "fusion"),
        # Words that pydantic uses as tags are keys like all others.
        ("[search]\nnone = 3", "search.none", "'mode'"),
        ("[embedder]\nonnx = 3", "embedder.onnx", "no such"),
    ],
)
def test_a_typo_in_the_file_names_the_key_and_the_nearest(text: str, key: str, meant: str) -> None:
    write(text)
    error = refused()
    assert error.key == key
    assert meant in error.problem


def test_the_source_of_a_typo_is_named(env: Any) -> None:
    write("[search]\nlimt = 3")
    assert DEFAULT_FILE in refused().problem
    env(SEARCH__LIMT="3")
    assert "environment" in refused().problem
    assert "arguments" in refused(search={"limt": 3}).problem


@pytest.mark.parametrize(
    ("name", "key", "meant"),
    [
        ("BACKEND__COLECTION", "backend.colection", "'collection'"),
        ("SEARCH__LIMT", "search.limt", "'limit'"),
        ("SEARCH__FUSION__METHD", "search.fusion.methd", "'method'"),
        ("BACKEND__BM25__AVGLEN", "backend.bm25.avglen", "'avg_len'"),
        ("POLICY__ONERROR", "policy.onerror", "'on_error'"),
    ],
)
def test_a_typo_in_the_environment_names_the_key_and_the_nearest(
    env: Any, name: str, key: str, meant: str
) -> None:
    env(**{name: "3"})
    error = refused()
    assert error.key == key
    assert meant in error.problem


@pytest.mark.parametrize("name", ["BAKEND__COLLECTION", "BAKEND"])
def test_a_typo_in_the_section_of_a_variable_names_the_variable(env: Any, name: str) -> None:
    env(**{name: "3"})
    error = refused()
    assert error.key == f"{ENV_PREFIX}{name}"
    assert "'backend'" in error.problem


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("VECDB_RERANK_BACKEND__URL", "VECDB_RERANK__BACKEND__URL"),
        ("VECDB_RERANK_BACKEND_URL", "VECDB_RERANK__BACKEND__URL"),
        ("VECDB_RERANK__BACKEND_URL", "VECDB_RERANK__BACKEND__URL"),
        ("VECDB_RERANK_TEXT_FIELDS__MAX_CHARS", "VECDB_RERANK__TEXT_FIELDS__MAX_CHARS"),
        ("VECDB_RERANK__TEXT_FIELDS_MAX_CHARS", "VECDB_RERANK__TEXT_FIELDS__MAX_CHARS"),
        ("VECDB_RERANK_RERANKERS", "VECDB_RERANK__RERANKERS"),
        ("vecdb_rerank_search__fusion__method", "VECDB_RERANK__SEARCH__FUSION__METHOD"),
        ("VECDB_RERANK_BAKEND__URL", "'backend'"),
    ],
)
def test_a_variable_with_one_underscore_instead_of_two_is_refused(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "x")
    error = refused()
    assert error.key == name
    assert meant in error.problem


@pytest.mark.parametrize("name", ["VECDB_RERANK_TEST_QDRANT_URL", "VECDB_RERANKING", "VECDB"])
def test_other_variables_are_ignored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    load()


def test_a_typo_in_an_argument_names_the_key() -> None:
    assert refused(bakend={}).key == "bakend"
    assert refused(search={"limt": 3}).key == "search.limt"


def test_all_problems_are_reported_at_once(env: Any) -> None:
    write("[search]\nlimt = 3\n")
    env(POLICY__DEADLIN="3")
    error = refused()
    assert {error.key, "search.limt", "policy.deadlin"} == {"search.limt", "policy.deadlin"}
    assert "policy.deadlin" in str(error)


# -- wrong values


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[backend]\ncollection = ''", "backend.collection"),
        ("[backend]\ncollection = 3", "backend.collection"),
        ("[backend]\ntimeout = 0", "backend.timeout"),
        ("[backend]\ntimeout = nan", "backend.timeout"),
        ("[backend]\ntimeout = 'soon'", "backend.timeout"),
        ("[backend]\nverify = [1]", "backend.verify"),
        ("[backend]\nverify = 'vecdb_rerank.toml'", "backend.verify"),
        ("[backend]\ntype = [1]", "backend.type"),
        ("[backend]\nurl = ''", "backend.url"),
        ("[backend]\nurl = 'http://'", "backend.url"),
        ("[backend]\nurl = 'ftp://localhost'", "backend.url"),
        ("[backend]\nurl = 'http://x y'", "backend.url"),
        ("[backend]\nurl = 'http://h/a b'", "backend.url"),
        ("[backend]\nurl = 'http://[bad'", "backend.url"),
        ("[backend]\nurl = 'http://a..b'", "backend.url"),
        ("[backend]\ntype = 'opensearch'\nurl = 'http://h%20x'", "backend.url"),
        ("[backend]\nurl = 'http://localhost:99999'", "backend.url"),
        ("[backend]\ntype = 'opensearch'\nurl = 'http://localhost:port'", "backend.url"),
        ("[backend]\nbm25.b = 'x'", "backend.bm25.b"),
        ("[backend]\ntext_index = 'text'\nbm25_vector = 'terms'", "backend.text_index"),
        ("[backend]\ntype = 'opensearch'\nbm25_fields = [1]", "backend.bm25_fields"),
        ("[embedder]\npooling = 'max'", "embedder.pooling"),
        ("[embedder]\ntype = 3", "embedder.type"),
        ("[embedder]\ntype = 'sentence_transformers'", "embedder.model"),
        ("[reranker]\nmax_length = 3", "reranker.max_length"),
        ("[reranker]\ndevice = 'gpu'", "reranker.device"),
        ("[reranker]\ntype = 'http'\nmodel = 'm'", "reranker.url"),
        ("[reranker]\ntype = 'http'\nmodel = 'm'\nurl = 'localhost:80'", "reranker.url"),
        ("[reranker]\ntype = 'http'\nmodel = 'm'\nurl = ['http://h', 'h']", "reranker.url"),
        ("[reranker]\ntype = 'http'\nmodel = 'm'\nurl = []", "reranker.url"),
        ("[reranker]\ntype = 'http'\nurl = 'http://h'", "reranker.model"),
        (f"{HTTP}\nformat = 'xml'", "reranker.format"),
        ("[[rerankers]]\ntype = 'cohere'\ntimeout = -1", "rerankers.0.timeout"),
        ("[[rerankers]]\n[[rerankers]]\ntype = 'http'\nmodel = 'm'", "rerankers.1.url"),
        ("[[rerankers]]\ntype = 'http'\nurl = 'http://h'", "rerankers.0.model"),
        ("[policy.breaker]\nfailures = 0", "policy.breaker.failures"),
        ("[policy.cost]\nper_day = -1", "policy.cost.per_day"),
        (f"{HTTP}\ntimeout = 0", "reranker.timeout"),
        (f"{HTTP}\nretries = -1", "reranker.retries"),
        (f"{HTTP}\nbatch_size = 0", "reranker.batch_size"),
        (f"{HTTP}\nscale = 'percent'", "reranker.scale"),
        (f"{HTTP}\nextra_body = 3", "reranker.extra_body"),
        (f"{HTTP}\nhedge = true", "reranker.hedge"),
        ("[reranker]\ntype = 'cohere'\nmodel = ''", "reranker.model"),
        ("[reranker]\ntype = 'cohere'\nbase_url = 'h'", "reranker.base_url"),
        ("[reranker]\ntype = 'cohere'\nbatch_size = 1001", "reranker.batch_size"),
        ("[reranker]\ntype = 'cohere'\nmax_tokens_per_doc = 0", "reranker.max_tokens_per_doc"),
        ("[reranker]\ntype = 'cohere'\ntimeout = -1", "reranker.timeout"),
        ("[text_fields]\nfields = 'title'", "text_fields.fields"),
        ("[text_fields]\nfields = []", "text_fields.fields"),
        ("[text_fields]\ntemplate = '{title!r}'", "text_fields.template"),
        ("[text_fields]\nmax_chars = 0", "text_fields.max_chars"),
        ("[search]\nk = 0", "search.k"),
        ("[search]\nk = 10001", "search.k"),
        ("[search]\nk = 2.5", "search.k"),
        ("[search]\nmode = 'hybird'", "search.mode"),
        ("[search]\nlimit = 51", "search.limit"),
        ("[search.fusion]\nmethod = 'sum'", "search.fusion.method"),
        ("[search.fusion]\nrank_constant = 0", "search.fusion.rank_constant"),
        ("[search.fusion]\nweights = [0, 0]", "search.fusion.weights"),
        ("[policy]\ndeadline = -1", "policy.deadline"),
        ("[policy]\non_error = 'ignore'", "policy.on_error"),
        ("[policy]\nmin_relevance = 3", "policy.min_relevance"),
        ("[policy]\nafter = 3", "policy.after"),
        ("[policy.after]\ntype = 'mmr'", "policy.after"),
        ("[[policy.after]]\ntype = 'mm'", "policy.after.0.type"),
        ("[[policy.after]]\ntype = 'mmr'\nlambda = 0.5", "policy.after.0.lambda"),
        (
            "[[policy.after]]\ntype = 'mmr'\n[[policy.after]]\ntype = 'pin'\nids = []",
            "policy.after.1.ids",
        ),
        ("search = 3", "search"),
        ("backend = 'qdrant'", "backend"),
        ("[backend]\nqdrant = 3", "backend.qdrant"),
    ],
)
def test_a_wrong_value_names_its_key_once_and_its_source(text: str, key: str) -> None:
    write(text)
    error = refused()
    assert error.key == key
    for problem in str(error).split(" (vecdb_rerank.toml)")[:-1]:
        assert problem.removeprefix("; ").partition(": ")[0] == key


def test_the_source_named_is_that_of_the_field_not_of_its_neighbours(env: Any) -> None:
    write("[search]\nk = 0\n")
    env(SEARCH__MODE="bm25")
    error = refused()
    assert error.key == "search.k"
    assert DEFAULT_FILE in error.problem


def test_bm25_parameters_out_of_range_are_refused() -> None:
    assert refused(backend={"bm25": {"b": 3}}).key == "backend.bm25.b"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost",
        "https://search.example:9200/prefix",
        "https://user:password@search.example",
        "http://[::1]:6333",
        "localhost:6333",
    ],
)
def test_the_url_of_a_server_is_taken_as_it_is(url: str) -> None:
    for kind in ("qdrant", "opensearch"):
        backend = load(backend={"type": kind, "url": url}).settings.backend
        assert isinstance(backend, QdrantSettings | OpenSearchSettings)
        assert backend.url == url


def test_a_server_and_an_embedded_qdrant_exclude_each_other() -> None:
    assert refused(backend={"url": "http://localhost", "path": "folder"}).key == "backend.path"


# -- the environment


def test_lists_in_the_environment_are_json(env: Any) -> None:
    env(
        TEXT_FIELDS__FIELDS='["headline", "body"]',
        SEARCH__FUSION__WEIGHTS="[1, 2]",
        BACKEND__TYPE="opensearch",
        BACKEND__BM25_FIELDS='["title^2", "body"]',
    )
    settings = load().settings
    assert settings.text_fields.fields == ("headline", "body")
    assert settings.search.fusion.weights == (1.0, 2.0)
    assert isinstance(settings.backend, OpenSearchSettings)
    assert settings.backend.bm25_fields == ("title^2", "body")


def test_stages_come_from_the_file_and_from_the_environment(env: Any) -> None:
    write(
        "[[policy.after]]\ntype = 'decay'\nfield = 'day'\nscale = '3d'\nweight = 0.2\n"
        "origin = 2026-01-31\n[[policy.after]]\ntype = 'mmr'"
    )
    decay = Decay("day", "3d", 0.2, origin=date(2026, 1, 31))
    assert load().settings.policy.after == (decay, Mmr())
    env(POLICY__AFTER='[{"type": "bury", "ids": [7]}]')
    assert load().settings.policy.after == (Bury((7,)),)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("TEXT_FIELDS__FIELDS", "text_fields.fields"),
        ("SEARCH__FUSION__WEIGHTS", "search.fusion.weights"),
        ("BACKEND__OPENSEARCH__BM25_FIELDS", "backend.bm25_fields"),
    ],
)
@pytest.mark.parametrize("value", ["title,body", '["title"', "title"])
def test_a_list_that_is_not_json_is_refused_by_its_key(
    env: Any, name: str, key: str, value: str
) -> None:
    env(BACKEND__TYPE="opensearch", **{name: value})
    error = refused()
    assert error.key == key
    assert "environment" in error.problem


def test_a_section_in_one_variable_is_json(env: Any) -> None:
    env(SEARCH='{"k": 20, "fusion": {"method": "l2"}}')
    search = load().settings.search
    assert (search.k, search.fusion.method) == (20, "l2")


def test_a_section_in_one_variable_that_is_not_json_is_refused(env: Any) -> None:
    env(BACKEND="opensearch")
    error = refused()
    assert error.key == "backend"
    assert "environment" in error.problem


def test_what_only_looks_like_json_or_a_number_stays_text(env: Any) -> None:
    env(
        TEXT_FIELDS__TEMPLATE="{title}: {text}",
        BACKEND__COLLECTION="2024",
        BACKEND__API_KEY="12345",
    )
    settings = load().settings
    assert settings.text_fields.template == "{title}: {text}"
    assert isinstance(settings.backend, QdrantSettings)
    assert settings.backend.collection == "2024"
    assert settings.backend.api_key is not None
    assert settings.backend.api_key.get_secret_value() == "12345"


def test_names_of_variables_may_be_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("vecdb_rerank__search__k", "20")
    assert load().settings.search.k == 20


# -- secrets


def shown(loaded: Loaded) -> str:
    settings = loaded.settings
    parts = (loaded, settings, settings.backend, settings.model_dump())
    return " ".join(f"{part!r} {part}" for part in parts)


@pytest.mark.parametrize("key", ["api_key", "password"])
def test_a_secret_is_kept_but_never_shown(env: Any, key: str) -> None:
    env(
        BACKEND__TYPE="qdrant" if key == "api_key" else "opensearch",
        **{f"BACKEND__{key.upper()}": SECRET},
    )
    loaded = load()
    assert getattr(loaded.settings.backend, key).get_secret_value() == SECRET
    assert SECRET not in shown(loaded)


def test_credentials_inside_a_url_are_not_shown() -> None:
    url = f"https://admin:{SECRET}@search.example:9200"
    backend = load(backend={"type": "opensearch", "url": url}).settings.backend
    assert isinstance(backend, OpenSearchSettings)
    assert backend.url == url
    assert SECRET not in f"{backend!r} {backend} {backend.model_dump()} {backend.model_dump_json()}"
    assert "@search.example:9200" in repr(backend)


@pytest.mark.parametrize(
    "body",
    [{"bearer": SECRET}, {"nested": {"deep": [SECRET]}}, {"authorization": SECRET}],
    ids=lambda body: next(iter(body)),
)
def test_texts_of_an_extra_body_are_kept_but_not_shown(body: dict[str, Any]) -> None:
    section = load(
        reranker={"type": "http", "url": "http://h", "model": "m", "extra_body": body}
    ).settings.reranker
    assert isinstance(section, HttpRerankerSettings)
    assert section.extra_body == body
    assert SECRET not in f"{section!r} {section}"


@pytest.mark.parametrize("kind", ["http", "cohere"])
def test_the_key_of_a_remote_reranker_is_kept_but_never_shown(env: Any, kind: str) -> None:
    env(RERANKER__API_KEY=SECRET)
    more = {"url": f"http://user:{SECRET}@h", "model": "m"} if kind == "http" else {}
    loaded = load(reranker={"type": kind, **more})
    section = loaded.settings.reranker
    assert isinstance(section, HttpRerankerSettings | CohereRerankerSettings)
    assert section.api_key is not None
    assert section.api_key.get_secret_value() == SECRET
    assert SECRET not in f"{loaded!r} {loaded} {section!r} {section} {loaded.settings}"


def test_secret_headers_and_parameters_reach_the_reranker_and_are_never_shown(env: Any) -> None:
    env(RERANKER__HEADERS=json.dumps({"X-Gateway": SECRET}))
    given = {"type": "http", "endpoint": "http://h/rank", "query_params": {"code": SECRET}}
    loaded = load(reranker={**given, "model": "m"})
    section = loaded.settings.reranker
    assert isinstance(section, HttpRerankerSettings)
    built: Any = factory.reranker(loaded.settings)
    message, query = built._messages.message("http://h/rank", ScoreRequest("m", "q", [], "logits"))
    assert (message.headers["X-Gateway"], query) == (SECRET, f"code={SECRET}")
    shown = f"{loaded!r} {section!r} {section.model_dump()} {loaded.settings} {built!r}"
    assert SECRET not in shown
    assert "http://h/rank" in shown


def test_a_wire_format_is_described_in_a_file() -> None:
    write(
        """
        [reranker]
        type = "http"
        url = "http://h"
        format = "custom"
        [reranker.custom]
        path = "/rank"
        body = { q = "{query}", texts = ["{document}"], task = "{instruction}" }
        results = "scores"
        index = ""
        score = ""
        """
    )
    built: Any = factory.reranker(load().settings)
    request = ScoreRequest(None, "q", ["a", "b"], "relevance")
    message, _ = built._messages.message("http://h/rank", request)
    assert json.loads(message.content) == {"q": "q", "texts": ["a", "b"]}
    assert built.takes_instruction


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({}, "reranker.url"),
        ({"url": "http://h", "endpoint": "http://h"}, "reranker.url"),
        ({"endpoint": "h"}, "reranker.endpoint"),
        ({"url": "http://h", "format": "custom"}, "reranker.custom"),
        ({"url": "http://h", "custom": {"body": {"q": "{query}{documents}"}}}, "reranker.custom"),
        (
            {"url": "http://h", "format": "custom", "custom": {"body": {}}},
            "reranker.custom.body",
        ),
        (
            {"url": "http://h", "format": "custom", "custom": {"scores": "s"}},
            "reranker.custom.scores",
        ),
    ],
)
def test_an_address_and_a_format_that_do_not_fit_are_named(wrong: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(reranker={"type": "http", "model": "m", **wrong})
    assert caught.value.key == key


def test_one_url_or_several() -> None:
    for given, expected in (("http://a", ("http://a",)), (["http://a", "http://b"], None)):
        section = load(reranker={"type": "http", "url": given, "format": "tei"}).settings.reranker
        assert isinstance(section, HttpRerankerSettings)
        assert section.url == (expected or tuple(given))


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": -1},
        {"colection": "x"},
        {"url": "http://localhost", "path": "x"},
        {"verify": [1]},
        {"bm25": {"b": 7}},
        {"type": "qdrnt"},
        # What follows the colon is then taken for a port.
        {"url": f"http://admin:{SECRET}/more@localhost"},
        {"api_key": [SECRET]},
        {"api_key": {"value": SECRET}},
    ],
)
def test_an_error_beside_a_secret_does_not_show_it(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(backend={"api_key": SECRET, **wrong})
    error = caught.value
    assert SECRET not in f"{error} {error!r}"
    assert SECRET not in "".join(traceback.format_exception_only(error))


def test_a_broken_file_with_a_secret_does_not_show_it() -> None:
    write(f'[backend]\napi_key = "{SECRET}"\ncollection = \n')
    assert SECRET not in str(refused())


# -- several rerankers

CHAIN = "[[rerankers]]\ntype = 'cohere'\nmodel = 'm'\n[[rerankers]]\ntype = 'onnx'"


def test_a_chain_of_rerankers_is_read_in_its_order() -> None:
    write(CHAIN)
    loaded = load()
    assert [section.type for section in loaded.settings.chain] == ["cohere", "onnx"]
    assert loaded.origin("rerankers", "0", "model") == DEFAULT_FILE
    assert loaded.origin("rerankers", "1", "model") == "default"


def test_a_chain_in_the_environment_is_json_and_replaces_that_of_the_file(env: Any) -> None:
    write(CHAIN)
    env(RERANKERS='[{"type": "onnx", "max_length": 64}]')
    [section] = load().settings.chain
    assert isinstance(section, OnnxRerankerSettings)
    assert section.max_length == 64


def test_one_reranker_is_a_chain_of_one() -> None:
    assert [section.type for section in load().settings.chain] == ["onnx"]


def test_one_reranker_and_a_chain_are_too_many(env: Any) -> None:
    write(CHAIN)
    env(RERANKER__TYPE="none")
    assert refused().key == "rerankers"


def test_the_keys_of_a_chain_are_never_shown() -> None:
    loaded = load(rerankers=[{"type": "cohere", "api_key": SECRET}])
    assert SECRET not in f"{loaded!r} {loaded.settings!r}"


def test_a_key_of_the_chain_comes_from_the_environment_by_its_place(env: Any) -> None:
    write(CHAIN)
    env(RERANKERS__0__API_KEY=SECRET, RERANKERS__1__MAX_LENGTH="64")
    loaded = load()
    cohere, onnx = loaded.settings.chain
    assert isinstance(cohere, CohereRerankerSettings)
    assert cohere.api_key is not None
    assert (cohere.model, cohere.api_key.get_secret_value()) == ("m", SECRET)
    assert isinstance(onnx, OnnxRerankerSettings)
    assert onnx.max_length == 64
    assert loaded.origin("rerankers", "0", "api_key") == "environment"


def test_an_empty_chain_is_refused() -> None:
    assert refused(rerankers=[]).key == "rerankers"


def test_the_effort_is_a_word_or_a_table(env: Any) -> None:
    assert load(policy={"effort": "auto"}).settings.policy.effort == "auto"
    assert load(policy={"effort": {"pairs": 20}}).settings.policy.effort == Effort(pairs=20)
    env(POLICY__EFFORT__PAIRS="5")
    assert load().settings.policy.effort == Effort(pairs=5)


@pytest.mark.parametrize(
    ("effort", "key"),
    [
        ("fast", "policy.effort"),
        (5, "policy.effort"),
        ({"pairs": 0}, "policy.effort.pairs"),
        ({"pears": 3}, "policy.effort.pears"),
        ({"tolerance": 2}, "policy.effort.tolerance"),
    ],
)
def test_a_wrong_effort_is_refused_by_its_key_alone(effort: object, key: str) -> None:
    error = refused(policy={"effort": effort})
    assert error.key == key
    assert ";" not in error.problem or "pears" in key


@pytest.mark.parametrize("off", ["false", "none"])
def test_the_breaker_can_be_turned_off(env: Any, off: str) -> None:
    env(POLICY__BREAKER=off)
    assert load().settings.policy.breaker is None
    assert load(policy={"breaker": False}).settings.policy.breaker is None


def test_a_typo_in_a_calibration_names_the_key() -> None:
    error = refused(policy={"calibration": {"cohere:m": {"slop": 1.0}}})
    assert error.key == "policy.calibration.cohere:m.slop"
    assert "'slope'" in error.problem


# -- a cascade

CASCADE = """
[reranker]
type = "cascade"
best = 10

[reranker.first]
max_length = 128

[reranker.then]
type = "http"
url = "http://h"
format = "tei"
"""


def test_the_two_of_a_cascade_are_sections_of_their_own(env: Any) -> None:
    write(CASCADE)
    env(RERANKER__THEN__API_KEY=SECRET, RERANKER__FIRST__MAX_LENGTH="64")
    loaded = load()
    section = loaded.settings.reranker
    assert isinstance(section, CascadeSettings)
    assert section.best == 10
    assert section.first == OnnxRerankerSettings(max_length=64)
    assert isinstance(section.then, HttpRerankerSettings)
    assert section.then.api_key is not None
    assert section.then.api_key.get_secret_value() == SECRET
    assert SECRET not in f"{loaded!r} {loaded.settings!r}"
    assert loaded.origin("reranker", "then", "url") == DEFAULT_FILE
    assert loaded.origin("reranker", "first", "max_length") == "environment"


def test_a_cascade_is_one_of_a_chain_and_holds_another() -> None:
    inner = {"type": "cascade", "then": {"type": "cohere"}}
    loaded = load(rerankers=[{"type": "cascade", "then": inner}, {}])
    kinds = [(path, part.type) for path, part in inside(loaded.settings.chain[0])]
    assert kinds == [
        ((), "cascade"),
        (("first",), "onnx"),
        (("then",), "cascade"),
        (("then", "first"), "onnx"),
        (("then", "then"), "cohere"),
    ]


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({}, "then"),
        ({"then": {"type": "none"}}, "then"),
        ({"then": {}, "best": 0}, "best"),
        ({"then": {}, "frist": {}}, "frist"),
        ({"then": {"modle": "m"}}, "then.modle"),
        ({"then": {"type": "onxx"}}, "then.type"),
        ({"then": {"type": "http", "format": "tei"}}, "then.url"),
        ({"then": {"type": "http", "url": "http://h"}}, "then.model"),
        ({"then": {"type": "cascade", "then": {"modle": 1}}}, "then.then.modle"),
    ],
)
def test_errors_in_a_cascade_name_the_key(given: dict[str, object], key: str) -> None:
    assert refused(reranker={"type": "cascade", **given}).key == f"reranker.{key}"
    assert refused(rerankers=[{"type": "cascade", **given}]).key == f"rerankers.0.{key}"


def test_a_file_with_an_unquoted_word_says_that_strings_need_quotes(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[backend]\ntype = qdrant\n")
    with pytest.raises(ConfigurationError, match="quotes"):
        load(file)


def test_a_default_that_does_not_do_is_named_without_a_source() -> None:
    error = refused(reranker={"type": "http", "url": "http://localhost"})
    assert error.key == "reranker.model"
    assert "default" not in error.problem
