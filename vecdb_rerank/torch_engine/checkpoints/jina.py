"""Load Jina's reranker v2 without its code, as an XLM-RoBERTa.

The published model comes with code for XLM-RoBERTa with fused projections. The weights are the same
numbers under other names: they are renamed and run with transformers' own modules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

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
    """Check whether the checkpoint names its weights as that code does."""
    return any(map(_FUSED.match, _names(folder)))


def load(folder: Path) -> XLMRobertaForSequenceClassification:
    """Return the model in float32.

    Raises `ConfigurationError` if it has something that XLM-RoBERTa does not.
    """
    config = XLMRobertaConfig.from_pretrained(folder, local_files_only=True)
    if getattr(config, "position_embedding_type", "absolute") != "absolute":
        raise ConfigurationError("model", "it has rotary positions, which XLM-RoBERTa does not")
    model = XLMRobertaForSequenceClassification(config)
    weights = rename(_weights(folder))
    result = model.load_state_dict(weights, strict=False)
    # A classifier does not read the head of the masked language model it was trained from.
    unexpected = [key for key in result.unexpected_keys if not key.startswith("lm_head")]
    wrong = [*result.missing_keys, *unexpected]
    if wrong:
        raise ConfigurationError("model", f"{wrong[0]} has no counterpart in XLM-RoBERTa")
    return model


def rename(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under XLM-RoBERTa's names, with the fused projection split in three."""
    found: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if fused := _FUSED.match(name):
            start, layer, kind = fused.groups()
            parts = zip(("query", "key", "value"), weight.chunk(3), strict=True)
            found |= {f"{start}layer{layer}attention.self.{p}.{kind}": w for p, w in parts}
        else:
            found[_rename(name)] = weight
    return found


def _rename(name: str) -> str:
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
            names = opened.keys()  # it is not a dict and not iterable
            found |= {name: opened.get_tensor(name).float() for name in names}
    return found
