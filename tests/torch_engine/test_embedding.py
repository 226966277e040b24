"""The embedder in torch gives the vectors of sentence-transformers, of real and random weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from torch import nn
from transformers import T5Config, T5Model

from benchmarks.checkpoints import english, unigram_tokenizer
from tests.torch_engine.test_untrusted_text import wheel_model
from vecdb_rerank import ConfigurationError, TorchEmbedder

Checkpoint = Callable[[str], Path]
TEXTS = [
    "",
    "a",
    " a text between spaces ",
    "The population of Berlin. " * 12,
    "Ein Text mit ÜMLAUTEN",
    "more than any of these models reads " * 90,
]


def assert_equal(embedder: TorchEmbedder, model: SentenceTransformer) -> None:
    options: dict[str, Any] = {"normalize_embeddings": True, "show_progress_bar": False}
    expected = model.encode_document(TEXTS, **options)
    assert np.abs(np.array(embedder.embed_documents(TEXTS)) - expected).max() < 1e-5
    query = model.encode_query(TEXTS[3], **options)
    assert np.abs(np.array(embedder.embed_query(TEXTS[3])) - query).max() < 1e-5
    assert embedder.dimension == len(query)


def test_vectors_are_those_of_sentence_transformers() -> None:
    model = SentenceTransformer(wheel_model(), device="cpu")
    assert_equal(TorchEmbedder(wheel_model(), device="cpu"), model)


@pytest.mark.parametrize(
    ("name", "pooling", "dense"),
    [
        ("bert", "cls", None),
        ("roberta", ("max", "mean"), nn.Tanh()),
        ("xlm-roberta", "weightedmean", nn.Identity()),
        ("modernbert", "mean_sqrt_len_tokens", nn.GELU()),
        ("deberta-v2", "mean", None),
        ("gemma", "lasttoken", None),
    ],
)
def test_modules_and_prompts_of_a_checkpoint(
    name: str, pooling: Any, dense: nn.Module | None, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    encoder = modules.Transformer(str(checkpoint(name)), max_seq_length=40, do_lower_case=True)
    pooled = modules.Pooling(encoder.get_embedding_dimension(), pooling)
    parts: list[nn.Module] = [encoder, pooled]
    if dense is not None:
        width = pooled.get_embedding_dimension()
        parts += [modules.Normalize(), modules.Dense(width, 24, activation_function=dense)]
    prompts = {"query": "question: ", "document": "text: "}
    SentenceTransformer(modules=parts, prompts=prompts, device="cpu").save(str(tmp_path))
    embedder = TorchEmbedder(str(tmp_path), device="cpu")
    assert_equal(embedder, SentenceTransformer(str(tmp_path), device="cpu"))
    other = TorchEmbedder(str(tmp_path), device="cpu", query_prefix="text: ")
    assert other.embed_query("x") == pytest.approx(embedder.embed_documents(["x"])[0], abs=1e-6)
    assert other.embed_query("x") != pytest.approx(embedder.embed_query("x"), abs=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int8"])
def test_lower_precision_is_close_and_named(dtype: Any) -> None:
    exact, lower = (TorchEmbedder(wheel_model(), device="cpu", dtype=d) for d in ("float32", dtype))
    products = np.multiply(exact.embed_documents(TEXTS), lower.embed_documents(TEXTS)).sum(1)
    assert products.min() > (0.97 if dtype == "int8" else 0.999)
    assert exact.name != lower.name


def changed(tmp_path: Path, file: str, content: object) -> str:
    """Return a copy of the checkpoint with another content of one file; None removes it."""
    folder = tmp_path / "changed"
    shutil.copytree(wheel_model(), folder)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(json.dumps(content))
    return str(folder)


def listed(*kinds: str) -> list[dict[str, str]]:
    """Return a modules.json; the first module is in the checkpoint's folder."""
    return [
        {"type": f"sentence_transformers.models.{kind}", "path": f"{n}_{kind}" if n else ""}
        for n, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("modules.json", None, "modules"),
        ("modules.json", {"0": "Transformer"}, "list"),
        ("modules.json", listed("WordEmbeddings", "Pooling"), "WordEmbeddings"),
        ("modules.json", listed("Transformer", "Pooling", "LSTM"), "LSTM"),
        ("modules.json", listed("Transformer", "Pooling", "Dense"), "2_Dense"),
        ("1_Pooling/config.json", {"pooling_mode": "median"}, "median"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", 3]}, "pooling_mode"),
        ("1_Pooling/config.json", {"include_prompt": False}, "include_prompt"),
        ("1_Pooling/config.json", [], "1_Pooling"),
    ],
)
def test_what_is_not_supported_is_refused(
    file: str, content: object, told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        TorchEmbedder(changed(tmp_path, file, content))
    assert caught.value.key == "model"


@pytest.mark.parametrize(
    "config",
    [
        {"activation_function": "mine.Swish"},
        {"activation_function": "torch.nn.modules.activation.Mish"},
        {"use_residual": True},
        {"module_input_name": "token_embeddings"},
    ],
)
def test_dense_modules_that_are_not_supported_are_refused(
    config: dict[str, Any], tmp_path: Path
) -> None:
    folder = changed(tmp_path, "modules.json", listed("Transformer", "Pooling", "Dense"))
    Path(folder, "2_Dense").mkdir()
    Path(folder, "2_Dense", "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match="2_Dense") as caught:
        TorchEmbedder(folder)
    assert caught.value.key == "model"


def test_a_model_with_a_decoder_is_refused(tmp_path: Path) -> None:
    config = T5Config(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5Model(config).save_pretrained(tmp_path)
    unigram_tokenizer(english()[:200], 300).save_pretrained(tmp_path)
    for name in ("modules.json", "1_Pooling"):
        source, target = Path(wheel_model(), name), tmp_path / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
    with pytest.raises(ConfigurationError, match="decoder"):
        TorchEmbedder(str(tmp_path)).embed_query("x")


def test_wrong_arguments_are_refused() -> None:
    for key, value in {"dtype": "int3", "max_length": 4, "query_prefix": 3}.items():
        with pytest.raises(ConfigurationError) as caught:
            TorchEmbedder(wheel_model(), **{key: value})  # type: ignore[arg-type]
        assert caught.value.key == key
    with pytest.raises(ConfigurationError) as caught:
        TorchEmbedder("./nowhere")
    assert caught.value.key == "model"
