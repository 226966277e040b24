"""Jina's reranker v2 without its code: the weights of an XLM-RoBERTa under other names.

The published model runs by remote code that computes XLM-RoBERTa with fused projections. Its
weights are the same numbers, so they are given their usual names and run by transformers' own
modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor
from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

from vecdb_rerank.errors import ConfigurationError

_FUSED = re.compile(r"^(roberta\.encoder\.)layers(\.\d+\.)mixer\.Wqkv\.(weight|bias)$")
_NAMES = (
    (r"^roberta\.emb_ln\.", "roberta.embeddings.LayerNorm."),
    (r"(encoder\.layer\.\d+\.)mixer\.out_proj\.", r"\1attention.output.dense."),
    (r"(encoder\.layer\.\d+\.)norm1\.", r"\1attention.output.LayerNorm."),
    (r"(encoder\.layer\.\d+\.)mlp\.fc1\.", r"\1intermediate.dense."),
    (r"(encoder\.layer\.\d+\.)mlp\.fc2\.", r"\1output.dense."),
    (r"(encoder\.layer\.\d+\.)norm2\.", r"\1output.LayerNorm."),
)


def is_flash(folder: Path) -> bool:
    """Whether the checkpoint names its weights as that code does."""
    return any(map(_FUSED.match, _names(folder)))


def load(folder: Path) -> Any:
    """The model as an `XLMRobertaForSequenceClassification` in float32.

    Raises `ConfigurationError` where it has what XLM-RoBERTa has not.
    """
    config = XLMRobertaConfig.from_pretrained(folder, local_files_only=True)
    if getattr(config, "position_embedding_type", "absolute") != "absolute":
        raise ConfigurationError("model", "its rotary positions are none of XLM-RoBERTa's")
    model = XLMRobertaForSequenceClassification(config)
    weights = renamed(_weights(folder))
    # What the masked language model left behind is not read by a classifier.
    told = model.load_state_dict(weights, strict=False)
    wrong = [*told.missing_keys, *(k for k in told.unexpected_keys if not k.startswith("lm_head"))]
    if wrong:
        raise ConfigurationError("model", f"{wrong[0]} has no counterpart in XLM-RoBERTa")
    return model


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under XLM-RoBERTa's names, the fused projection in three."""
    found: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if fused := _FUSED.match(name):
            start, layer, kind = fused.groups()
            parts = zip(("query", "key", "value"), weight.chunk(3), strict=True)
            found |= {f"{start}layer{layer}attention.self.{p}.{kind}": w for p, w in parts}
        else:
            found[_renamed(name)] = weight
    return found


def _renamed(name: str) -> str:
    name = name.replace("roberta.encoder.layers.", "roberta.encoder.layer.")
    for old, new in _NAMES:
        name = re.sub(old, new, name)
    return name


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _names(folder: Path) -> Iterator[str]:
    for path in _files(folder):
        with safe_open(path, "pt") as opened:
            yield from opened.keys()


def _weights(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for path in _files(folder):
        with safe_open(path, "pt") as opened:
            names = opened.keys()  # it is no dict, and cannot be iterated over
            found |= {name: opened.get_tensor(name).float() for name in names}
    return found
