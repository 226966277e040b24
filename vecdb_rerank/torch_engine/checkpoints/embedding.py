"""Read a sentence-transformers checkpoint: length, prompts, pooling, what follows; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.torch_engine.checkpoints.files import Module, read_json, read_modules

Pooling = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
Activation = Literal["Identity", "Tanh", "ReLU", "GELU", "SiLU"]
# As they are concatenated; until version 5 each was a key that is true or false.
_OLD_POOLING: Mapping[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_NO_LIMIT = 10**9  # tokenizers without a limit state a number like 1e30
_INPUT = "sentence_embedding"
_SUPPORTED = "supported are Transformer, Pooling, and then Dense and Normalize"


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer in ``folder``, and its activation."""

    folder: Path
    activation: Activation


@dataclass(frozen=True, slots=True)
class Normalize:
    """Scales vectors to the length 1."""


Step: TypeAlias = Dense | Normalize


@dataclass(frozen=True, slots=True)
class EmbeddingConfig:
    """How a checkpoint makes a vector of a text.

    The text is cut after ``max_length`` tokens (None: no limit is known). The vectors of its tokens
    are pooled, and ``steps`` follow; several kinds of ``pooling`` are concatenated. The prompts are
    written before queries and documents.
    """

    max_length: int | None
    lower_case: bool
    pooling: tuple[Pooling, ...]
    steps: tuple[Step, ...]
    query_prompt: str
    document_prompt: str


def read_embedding_config(folder: Path) -> EmbeddingConfig:
    """Read the files of a checkpoint.

    Raises `ConfigurationError` if it has modules, or options of them, that are not supported.
    """
    modules = read_modules(folder)
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or modules[0]["path"]:
        raise ConfigurationError(
            "model",
            f"the modules of {folder} are {', '.join(kinds) or 'not named (modules.json)'}; "
            f"{_SUPPORTED}",
        )
    transformer = _json(folder / "sentence_bert_config.json")
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts")
    prompts = prompts if isinstance(prompts, Mapping) else {}
    return EmbeddingConfig(
        _max_length(folder, transformer),
        bool(transformer.get("do_lower_case")),
        _pooling(folder / modules[1]["path"] / "config.json"),
        tuple(_step(folder, kind, m) for kind, m in zip(kinds[2:], modules[2:], strict=True)),
        str(prompts.get("query") or ""),
        str(prompts.get("document") or ""),
    )


def _max_length(folder: Path, transformer: Mapping[str, object]) -> int | None:
    """Return the length of the module's configuration, else of the tokenizer's or the model's."""
    if own := _length(transformer, "max_seq_length"):
        return own
    tokenizer, model = _json(folder / "tokenizer_config.json"), _json(folder / "config.json")
    lengths = _length(tokenizer, "model_max_length"), _length(model, "max_position_embeddings")
    return min(filter(None, lengths), default=None)


def _length(config: Mapping[str, object], key: str) -> int | None:
    length = config.get(key)
    return int(length) if isinstance(length, int | float) and 0 < length < _NO_LIMIT else None


def _pooling(path: Path) -> tuple[Pooling, ...]:
    config = read_json(path)
    if config.get("include_prompt") is False:
        raise ConfigurationError("model", f"{path}: include_prompt must be true")
    given = config.get("pooling_mode")
    if given is None:
        given = [mode for key, mode in _OLD_POOLING.items() if config.get(key)] or ["mean"]
    modes = [given] if isinstance(given, str) else given
    known = get_args(Pooling)
    if not isinstance(modes, list) or not modes or not all(mode in known for mode in modes):
        raise ConfigurationError(
            "model", f"{path}: pooling_mode must be one of: {', '.join(known)}; got {given!r}"
        )
    return tuple(cast("list[Pooling]", modes))


def _step(folder: Path, kind: str, module: Module) -> Step:
    path = folder / module["path"]
    if kind == "Normalize":
        return Normalize()
    if kind != "Dense":
        raise ConfigurationError("model", f"{path} is a module {kind!r}; {_SUPPORTED}")
    config = read_json(path / "config.json")
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = name.rpartition(".")[2]
    known = get_args(Activation)
    if not name.startswith("torch.nn.") or activation not in known:
        raise ConfigurationError(
            "model",
            f"{path}: activation_function must be torch's {', '.join(known)}; got {name!r}",
        )
    if config.get("use_residual") or config.get("module_input_name", _INPUT) != _INPUT:
        raise ConfigurationError("model", f"{path} must map sentence embeddings, without residual")
    return Dense(path, cast("Activation", activation))


def _json(path: Path) -> Mapping[str, object]:
    return read_json(path) if path.is_file() else {}
