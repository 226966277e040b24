"""Read what a late interaction checkpoint adds to its encoder: markers, lengths, projections."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

from torch import Tensor

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.torch_engine.checkpoints.files import read_json, read_modules
from vecdb_rerank.torch_engine.checkpoints.tensors import read_tensor

Projection = tuple[Tensor, Tensor | None]  # weight and bias
_PUNCTUATION = tuple(string.punctuation)


@dataclass(frozen=True)
class ColbertConfig:
    """How an encoder reads texts for late interaction (Khattab and Zaharia, ColBERT, 2020).

    The defaults are those of a plain encoder. The markers are tokens after the first one. Queries
    are filled with mask tokens up to ``query_length`` (0: not filled); the other tokens attend to
    them only with ``attend_to_masks``. Documents have no vectors for ``skipped`` tokens. The
    ``projections`` are applied to the last hidden state, in order.
    """

    query_marker: str | None = None
    document_marker: str | None = None
    query_length: int = 0
    attend_to_masks: bool = False
    skipped: Sequence[str] = _PUNCTUATION
    projections: Sequence[Projection] = ()


class _Metadata(TypedDict, total=False):
    """ColBERT's artifact.metadata."""

    similarity: str
    query_token_id: str
    doc_token_id: str
    query_maxlen: int
    attend_to_mask_tokens: bool
    mask_punctuation: bool


class _SentenceTransformers(TypedDict, total=False):
    """PyLate's config_sentence_transformers.json."""

    query_prefix: str
    document_prefix: str
    query_length: int
    do_query_expansion: bool
    attend_to_expansion_tokens: bool
    skiplist_words: list[str]


class _Dense(TypedDict, total=False):
    activation_function: str
    use_residual: bool


def read_colbert_config(folder: Path) -> ColbertConfig:
    """Read the folder of a checkpoint: ColBERT's own layout, PyLate's, or a plain encoder.

    Raises `ConfigurationError` for a similarity or a projection that is not supported.
    """
    if (weight := read_tensor(folder, "linear.weight")) is not None:
        return _colbert(cast("_Metadata", _optional_json(folder / "artifact.metadata")), weight)
    path = folder / "config_sentence_transformers.json"
    config = cast("_SentenceTransformers", _optional_json(path))
    if "query_prefix" not in config:
        return ColbertConfig()
    return ColbertConfig(
        config["query_prefix"],
        config.get("document_prefix"),
        config.get("query_length", 32) if config.get("do_query_expansion", True) else 0,
        config.get("attend_to_expansion_tokens", False),
        config.get("skiplist_words", _PUNCTUATION),
        _dense_projections(folder),
    )


def _colbert(metadata: _Metadata, weight: Tensor) -> ColbertConfig:
    if (similarity := metadata.get("similarity", "cosine")) != "cosine":
        raise ConfigurationError("model", f"its similarity must be cosine, got {similarity!r}")
    return ColbertConfig(
        metadata.get("query_token_id", "[unused0]"),
        metadata.get("doc_token_id", "[unused1]"),
        metadata.get("query_maxlen", 32),
        metadata.get("attend_to_mask_tokens", False),
        _PUNCTUATION if metadata.get("mask_punctuation", True) else (),
        [(weight, None)],
    )


def _dense_projections(folder: Path) -> list[Projection]:
    """Return the weights of the linear modules after the encoder."""
    found: list[Projection] = []
    for module in read_modules(folder):
        if not module["type"].endswith(".Dense"):
            continue
        part = folder / module["path"]
        config = cast("_Dense", _optional_json(part / "config.json"))
        weight = read_tensor(part, "linear.weight")
        linear = config.get("activation_function", "Identity").endswith("Identity")
        if weight is None or not linear or config.get("use_residual"):
            raise ConfigurationError(
                "model", f"{part} must be a linear projection in safetensors, without activation"
            )
        found.append((weight, read_tensor(part, "linear.bias")))
    return found


def _optional_json(path: Path) -> object:
    return read_json(path) if path.is_file() else {}
