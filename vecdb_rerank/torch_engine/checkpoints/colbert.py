"""What a checkpoint for late interaction adds to its encoder: markers, lengths, projections."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from vecdb_rerank.errors import ConfigurationError

_PUNCTUATION = tuple(string.punctuation)


@dataclass(frozen=True)
class Scheme:
    """How a checkpoint's texts are read (Khattab and Zaharia, ColBERT, 2020); a plain encoder's.

    The markers are tokens that stand after the first one. A query is filled with mask tokens up to
    ``query_length`` (0: it is not), which only with ``masks_seen`` its other tokens attend to.
    Documents have no vectors of ``skipped`` tokens. ``projections`` (weight, bias) come last.
    """

    query_marker: str | None = None
    document_marker: str | None = None
    query_length: int = 0
    masks_seen: bool = False
    skipped: Sequence[str] = _PUNCTUATION
    projections: Sequence[tuple[Tensor, Tensor | None]] = ()


def scheme(folder: Path) -> Scheme:
    """What the folder of a checkpoint says: ColBERT's own layout, PyLate's, or a plain encoder."""
    if (weight := _weight(folder, "linear.weight")) is not None:
        told = _json(folder / "artifact.metadata")
        if told.get("similarity", "cosine") != "cosine":
            raise ConfigurationError(
                "model", f"its similarity is {told['similarity']!r}, not cosine"
            )
        return Scheme(
            told.get("query_token_id", "[unused0]"),
            told.get("doc_token_id", "[unused1]"),
            told.get("query_maxlen", 32),
            told.get("attend_to_mask_tokens", False),
            _PUNCTUATION if told.get("mask_punctuation", True) else (),
            [(weight, None)],
        )
    told = _json(folder / "config_sentence_transformers.json")
    if "query_prefix" not in told:
        return Scheme()
    return Scheme(
        told["query_prefix"],
        told.get("document_prefix"),
        told.get("query_length", 32) if told.get("do_query_expansion", True) else 0,
        told.get("attend_to_expansion_tokens", False),
        told.get("skiplist_words", _PUNCTUATION),
        _dense(folder),
    )


def _dense(folder: Path) -> list[tuple[Tensor, Tensor | None]]:
    """The weights of the modules behind the encoder."""
    found = []
    for module in _json(folder / "modules.json"):
        if not module["type"].endswith(".Dense"):
            continue
        part = folder / module["path"]
        told = _json(part / "config.json")
        weight = _weight(part, "linear.weight")
        plain = told.get("activation_function", "Identity").endswith("Identity")
        if weight is None or not plain or told.get("use_residual"):
            raise ConfigurationError(
                "model",
                f"{part} is no linear projection in safetensors, which is all that is known",
            )
        found.append((weight, _weight(part, "linear.bias")))
    return found


def _weight(folder: Path, name: str) -> Tensor | None:
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as opened:
            if name in opened.keys():  # noqa: SIM118 - no dict: it cannot be searched
                weight: Tensor = opened.get_tensor(name)
                return weight.float()
    return None


def _json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else {}
