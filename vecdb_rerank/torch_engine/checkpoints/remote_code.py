"""Refuse code that comes with a model, unless the user trusts it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import transformers
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.torch_engine.checkpoints.files import read_json
from vecdb_rerank.torch_engine.spec import Spec


def check_code(spec: Spec, folder: Path) -> None:
    """Raise `ConfigurationError` if the model runs code that is not trusted or not pinned.

    A checkpoint may contain code that is not trusted if transformers has its own classes for the
    model and for the tokenizer; then those are used.
    """
    config = read_json(folder / "config.json")
    model_type = config.get("model_type")
    auto_map = config.get("auto_map")
    code: Collection[object] = auto_map.values() if isinstance(auto_map, Mapping) else ()
    known = model_type in transformers.CONFIG_MAPPING
    _check(spec, f"{spec.model!r}", code, known=known, file="config.json")
    if (path := folder / "tokenizer_config.json").is_file():
        tokenizer = read_json(path)
        known = _has_tokenizer(model_type, tokenizer.get("tokenizer_class"))
        code = _tokenizer_code(tokenizer.get("auto_map"))
        _check(spec, f"the tokenizer of {spec.model!r}", code, known=known, file=path.name)


def _check(spec: Spec, what: str, code: Collection[object], *, known: bool, file: str) -> None:
    if code and not known and not spec.trust_remote_code:
        raise ConfigurationError(
            "trust_remote_code",
            f"{what} needs code that comes with it; read that code, "
            "then set trust_remote_code = true and a revision, or choose another model",
        )
    elsewhere = sorted(str(name) for name in code if "--" in str(name))
    if elsewhere and spec.trust_remote_code:
        raise ConfigurationError(
            "trust_remote_code",
            f"{what} needs code of another repository ({elsewhere[0]}), which the revision does "
            "not pin; copy that code into a folder with the model, name it in the auto_map of its "
            f"{file}, and give the folder",
        )


def _tokenizer_code(auto_map: object) -> Collection[object]:
    """Return the classes in the auto_map of a tokenizer_config.json; older ones are a list."""
    classes = auto_map.get("AutoTokenizer") if isinstance(auto_map, Mapping) else auto_map
    return [name for name in classes if name is not None] if isinstance(classes, list) else []


def _has_tokenizer(model_type: object, tokenizer_class: object) -> bool:
    """Check whether transformers has a tokenizer for the model, by its type or by class name."""
    configs = transformers.CONFIG_MAPPING
    known = isinstance(model_type, str) and model_type in configs
    if known and configs[str(model_type)] in transformers.TOKENIZER_MAPPING:
        return True
    return isinstance(tokenizer_class, str) and bool(tokenizer_class_from_name(tokenizer_class))
