"""Small checkpoints with random weights, one of each architecture, and their padded scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    Qwen2Config,
    Qwen2ForSequenceClassification,
    Qwen3Config,
    Qwen3ForCausalLM,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from benchmarks import checkpoints
from tests.torch_engine.own_bert import OwnBertConfig, OwnBertForSequenceClassification
from tests.torch_engine.own_classifier import OwnConfig, OwnForSequenceClassification
from tests.torch_engine.own_layerwise import OwnLayerwiseConfig, OwnLayerwiseForCausalLM

_SIZES = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "initializer_range": 0.1,  # wide, so that scores differ and errors show
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2, "head_dim": 16}
_CLASSIFIER = "AutoModelForSequenceClassification"
_NAMED = {"bos_token_id": None, "eos_token_id": None, "cls_token_id": None, "sep_token_id": None}


@cache
def _unigram() -> Any:
    return checkpoints.unigram_tokenizer(checkpoints.english()[:800], 1_000)


@cache
def _bytes(roberta: bool) -> Any:
    return checkpoints.byte_tokenizer(checkpoints.english()[:800], 1_000, roberta=roberta)


@cache
def _words() -> Any:
    return checkpoints.wordpiece_tokenizer()


def _write(kind: Any, configure: Any, tokenizer: Any, folder: Path, **options: Any) -> Path:
    config = configure(vocab_size=len(tokenizer), num_labels=1, **options)
    return checkpoints.save(kind, config, tokenizer, folder, spread=2.0)


def bert(folder: Path) -> Path:
    return _write(BertForSequenceClassification, BertConfig, _words(), folder, **_SIZES)


def roberta(folder: Path) -> Path:
    return _write(
        RobertaForSequenceClassification,
        RobertaConfig,
        _bytes(True),
        folder,
        max_position_embeddings=514,
        type_vocab_size=1,
        **_SIZES,
    )


def xlm_roberta(folder: Path) -> Path:
    return _write(
        XLMRobertaForSequenceClassification,
        XLMRobertaConfig,
        _unigram(),
        folder,
        max_position_embeddings=514,
        type_vocab_size=1,
        **_SIZES,
    )


def long_xlm_roberta(folder: Path) -> Path:
    """Write a small model for 8,192 tokens, with two layers: the last one computes less."""
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return _write(
        XLMRobertaForSequenceClassification,
        XLMRobertaConfig,
        _unigram(),
        folder,
        max_position_embeddings=8_194,
        type_vocab_size=1,
        **_SIZES | small | {"intermediate_size": 64},
    )


def modernbert(folder: Path, pooling: str = "cls") -> Path:
    return _write(
        ModernBertForSequenceClassification,
        ModernBertConfig,
        _bytes(True),
        folder,
        local_attention=16,
        global_attn_every_n_layers=2,
        classifier_pooling=pooling,
        **_SIZES,
        **_NAMED,
    )


def modernbert_mean(folder: Path) -> Path:
    return modernbert(folder, "mean")


def deberta_v2(folder: Path) -> Path:
    options = {
        **_SIZES,
        "relative_attention": True,
        "position_buckets": 32,
        "pos_att_type": ["p2c", "c2p"],
        "type_vocab_size": 0,
    }
    kind = DebertaV2ForSequenceClassification
    return _write(kind, DebertaV2Config, _unigram(), folder, **options)


def qwen2(folder: Path) -> Path:
    options = {k: v for k, v in _GROUPED.items() if k != "head_dim"}
    return _write(Qwen2ForSequenceClassification, Qwen2Config, _bytes(False), folder, **options)


def llama(folder: Path) -> Path:
    return _write(LlamaForSequenceClassification, LlamaConfig, _bytes(True), folder, **_GROUPED)


def mistral(folder: Path) -> Path:
    return _write(
        MistralForSequenceClassification,
        MistralConfig,
        _bytes(True),
        folder,
        sliding_window=16,
        **_GROUPED,
    )


def qwen3(folder: Path) -> Path:
    return _write(Qwen3ForCausalLM, Qwen3Config, _bytes(False), folder, **_GROUPED)


def gemma(folder: Path) -> Path:
    return _write(GemmaForCausalLM, GemmaConfig, _unigram(), folder, **_GROUPED)


def _with_code(kind: Any, configure: Any, auto: str, *rest: Any, **options: Any) -> Path:
    """Write a checkpoint together with the file that defines ``kind``."""
    configure.register_for_auto_class()
    kind.register_for_auto_class(auto)
    return _write(kind, configure, *rest, **options)


def own_classifier(folder: Path) -> Path:
    kind, options = OwnForSequenceClassification, {"initializer_range": 0.5}
    return _with_code(kind, OwnConfig, _CLASSIFIER, _unigram(), folder, **options)


def own_bert(folder: Path) -> Path:
    kind = OwnBertForSequenceClassification
    return _with_code(kind, OwnBertConfig, _CLASSIFIER, _words(), folder, **_SIZES)


def own_layerwise(folder: Path) -> Path:
    kind = OwnLayerwiseForCausalLM
    return _with_code(
        kind, OwnLayerwiseConfig, "AutoModelForCausalLM", _unigram(), folder, **_GROUPED
    )


CLASSIFIERS: dict[str, Callable[[Path], Path]] = {
    "bert": bert,
    "roberta": roberta,
    "xlm-roberta": xlm_roberta,
    "modernbert": modernbert,
    "modernbert-mean": modernbert_mean,
    "qwen2": qwen2,
    "llama": llama,
    "mistral": mistral,
    "deberta-v2": deberta_v2,
}


def padded(
    folder: Path, query: str, documents: Sequence[str], max_length: int, **options: bool
) -> list[float]:
    """Return the logits of transformers for all pairs in one padded batch, in float32."""
    return _padded(folder, query, tuple(documents), max_length, **options)


@cache
def _padded(
    folder: Path, query: str, documents: tuple[str, ...], max_length: int, **options: bool
) -> list[float]:
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, **options
    ).eval()
    inputs = tokenizer(
        [query] * len(documents),
        list(documents),
        padding=True,
        truncation=True,
        max_length=max_length,
        return_tensors="pt",
    )
    with torch.inference_mode():
        logits: list[float] = model(**inputs).logits[:, 0].tolist()
    return logits


def last_logits(folder: Path, ids: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the next token's logits after each sequence, one at a time, in float32."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    with torch.inference_mode():
        return torch.stack([model(torch.tensor([row])).logits[0, -1] for row in ids])
