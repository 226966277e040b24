"""A model on this device, from a folder or the hub: safetensors only, no code of strangers."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.torch_engine import hardware
from vecdb_rerank.torch_engine.checkpoints import jina, licences
from vecdb_rerank.torch_engine.compute.architectures import positions
from vecdb_rerank.torch_engine.spec import Prompt, Spec
from vecdb_rerank.torch_engine.tokens import Template, pair_template, single_template

log = logging.getLogger(__name__)
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.metadata", "README.md")


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to run, and what belongs to it.

    ``head`` makes (documents, 1) logits of a causal model's last rows; None for a classifier,
    which brings its own. ``mask`` is the id of its mask token, where it has one.
    """

    model: Any
    tokenizer: Any
    template: Template
    device: torch.device
    dtype: torch.dtype
    folder: Path
    head: Any = None
    mask: int | None = None


def load(spec: Spec) -> Loaded:
    """Load what ``spec`` names. Raises `ConfigurationError` that says what is wrong with it."""
    folder = find(spec)
    described = describe(folder)
    check_code(spec, folder)
    licences.tell(spec.model, folder)
    device = hardware.pick_device(spec.device)
    dtype = hardware.pick_dtype(spec.dtype, device)
    trusted = {"trust_remote_code": spec.trust_remote_code, "local_files_only": True}
    with explained(spec), _quiet():
        if jina.is_flash(folder):
            model = jina.load(folder)
        else:
            config = AutoConfig.from_pretrained(folder, **trusted)
            kind = _kind(spec, config)
            model, told = kind.from_pretrained(
                folder, config=config, use_safetensors=True, output_loading_info=True, **trusted
            )
            left_out = "auto_map" in described and not spec.trust_remote_code
            _check_weights(spec, told, left_out=left_out)
        tokenizer = AutoTokenizer.from_pretrained(folder, **trusted)
    _check_length(spec, model.config)
    head = None
    if spec.prompt is not None:
        head = _yes_no(spec.prompt, tokenizer)
    elif not spec.headless:
        _check_labels(model.config)
    return Loaded(
        model=_prepared(model, device, dtype),
        tokenizer=_backend(tokenizer),
        template=_template(spec, tokenizer),
        device=device,
        dtype=dtype,
        folder=folder,
        head=head,
        mask=getattr(tokenizer, "mask_token_id", None),
    )


def find(spec: Spec) -> Path:
    """The folder of the model: the one named, or a copy of the hub's."""
    folder = Path(spec.model).expanduser()
    if not folder.is_dir():
        folder = _from_hub(spec)
    if not (folder / "config.json").is_file():
        raise ConfigurationError("model", f"{folder} holds no config.json of a transformers model")
    if not any(folder.glob("*.safetensors")):
        raise ConfigurationError(
            "model",
            f"{folder} holds no *.safetensors; other weights may run code when they are "
            "opened: load them once with transformers and save them with save_pretrained()",
        )
    return folder


def _from_hub(spec: Spec) -> Path:
    model = spec.model
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        raise ConfigurationError(
            "model", f"{model!r} is neither a folder nor a hub id (organisation/name)"
        )
    if spec.trust_remote_code and spec.revision is None:
        raise ConfigurationError(
            "revision",
            "code from the hub runs only from a commit that you name; the code of "
            "another day may be another",
        )
    patterns = [*_FILES, "*.py"] if spec.trust_remote_code else list(_FILES)
    download = require("huggingface_hub", "torch").snapshot_download
    try:
        return Path(download(model, revision=spec.revision, allow_patterns=patterns))
    except Exception as error:
        raise ConfigurationError(
            "model",
            f"{model!r} could not be had from the hub ({type(error).__name__}: {error}); "
            "download it where there is a network and give its folder",
        ) from error


def describe(folder: Path) -> Mapping[str, Any]:
    """What the model's config.json says."""
    return _read(folder / "config.json")


def _read(path: Path) -> Mapping[str, Any]:
    try:
        read: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigurationError("model", f"{path} is no JSON: {error}") from error
    return read


def check_code(spec: Spec, folder: Path) -> None:
    """Refuse code that comes with a model, unless it is trusted and is the code of ``revision``.

    Code that is not trusted may be there where transformers has classes of its own for the model
    and for its tokenizer: then it takes those.
    """
    described = describe(folder)
    model_type = described.get("model_type")
    code = (described.get("auto_map") or {}).values()
    known = model_type in transformers.CONFIG_MAPPING
    _check_code(spec, f"{spec.model!r}", code, known=known, file="config.json")
    if (path := folder / "tokenizer_config.json").is_file():
        tokenizer = _read(path)
        code = _code_of_tokenizer(tokenizer)
        known = _knows_tokenizer(model_type, tokenizer)
        _check_code(spec, f"the tokenizer of {spec.model!r}", code, known=known, file=path.name)


def _check_code(spec: Spec, what: str, code: Collection[Any], *, known: bool, file: str) -> None:
    if code and not known and not spec.trust_remote_code:
        raise ConfigurationError(
            "trust_remote_code",
            f"{what} runs by code that comes with it; read that code, "
            "then set trust_remote_code = true and a revision, or choose another model",
        )
    elsewhere = sorted(str(name) for name in code if "--" in str(name))
    if elsewhere and spec.trust_remote_code:
        raise ConfigurationError(
            "trust_remote_code",
            f"{what} runs by code of another repository "
            f"({elsewhere[0]}), which no revision names; copy that code into a folder with the "
            f"model, name it in auto_map of its {file}, and give the folder",
        )


def _code_of_tokenizer(described: Mapping[str, Any]) -> Collection[Any]:
    """The classes that a tokenizer_config.json names, slow and fast; the older form is a list."""
    named = described.get("auto_map") or []
    classes = named.get("AutoTokenizer") or [] if isinstance(named, Mapping) else named
    return [name for name in classes if name is not None]


def _knows_tokenizer(model_type: Any, described: Mapping[str, Any]) -> bool:
    """Whether transformers has a tokenizer for the model, by its type or the name of its class."""
    configs, name = transformers.CONFIG_MAPPING, described.get("tokenizer_class")
    typed = model_type in configs and configs[model_type] in transformers.TOKENIZER_MAPPING
    return typed or (name is not None and tokenizer_class_from_name(name) is not None)


def _kind(spec: Spec, config: Any) -> Any:
    names = config.architectures or []
    if spec.headless:
        return transformers.AutoModel
    if any(name.endswith("ForSequenceClassification") for name in names):
        if spec.prompt is not None:
            raise ConfigurationError("prompt", "this model is a classifier, which has no prompt")
        return transformers.AutoModelForSequenceClassification
    if any(name.endswith("ForCausalLM") for name in names):
        if spec.prompt is None:
            raise ConfigurationError(
                "prompt", "a causal language model needs one: 'qwen3', 'gemma', or your own"
            )
        return transformers.AutoModelForCausalLM
    raise ConfigurationError(
        "model",
        f"{', '.join(names) or 'no architecture named'}: a reranker is a "
        "...ForSequenceClassification, or a ...ForCausalLM with a prompt",
    )


def _check_weights(spec: Spec, told: Mapping[str, Any], *, left_out: bool) -> None:
    """Refuse a checkpoint that lacks weights: transformers would make them up.

    ``left_out`` is whether it brings code that was not run.
    """
    missing = sorted(told["missing_keys"]) + sorted(str(key) for key in told["mismatched_keys"])
    if spec.headless:  # nothing is made of what the pooler says
        missing = [key for key in missing if not key.startswith("pooler.")]
    if missing:
        code = " without the code that comes with it (trust_remote_code)" if left_out else ""
        raise ConfigurationError(
            "model",
            f"{len(missing)} weights are missing or of another shape, such as {missing[0]}: "
            f"this is no reranker of that architecture{code}",
        )


def _check_length(spec: Spec, config: Any) -> None:
    limit = positions(config)
    if limit is not None and spec.max_length > limit:
        raise ConfigurationError("max_length", f"{spec.max_length} is above the model's {limit}")


def _check_labels(config: Any) -> None:
    if config.num_labels not in (1, 2):
        raise ConfigurationError(
            "model", f"it has {config.num_labels} labels; a reranker has 1, or 2 (no, yes)"
        )


def _prepared(model: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """On its device; the body in ``dtype``, the head in float32.

    Half precision has 8 or 11 significant bits: logits of good documents would tie.
    """
    body = model.base_model
    pooler = getattr(body, "pooler", None)
    shared = {id(weight) for weight in body.parameters()}  # such as tied embeddings
    outside = [child for child in model.children() if child is not body]
    heads = [h for h in outside if not any(id(weight) in shared for weight in h.parameters())]
    for child in body.children():
        if child is not pooler:
            child.to(dtype)
    for head in [*heads, *([pooler] if pooler is not None else [])]:
        if any(True for _ in head.parameters()):
            head.float().register_forward_pre_hook(_in_float32)
    return model.to(device).eval().requires_grad_(False)


def _in_float32(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(
        x.float() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs
    )


def _yes_no(prompt: Prompt, tokenizer: Any) -> Any:
    """A head that reads the logit of ``yes``, or its distance to that of ``no``."""
    words = [prompt.yes] if prompt.no is None else [prompt.no, prompt.yes]
    ids = [_one_token(tokenizer, word) for word in words]

    def head(model: Any, rows: Tensor) -> Tensor:
        return rows @ model.get_output_embeddings().weight[ids].to(rows.dtype).T

    return head


def _one_token(tokenizer: Any, word: str) -> int:
    ids: list[int] = tokenizer.encode(word, add_special_tokens=False)
    if len(ids) != 1:
        raise ConfigurationError("prompt", f"{word!r} is not one token of this model")
    return ids[0]


def _template(spec: Spec, tokenizer: Any) -> Template:
    if spec.headless:
        return single_template(_backend(tokenizer))
    if (prompt := spec.prompt) is None:
        typed = "token_type_ids" in tokenizer.model_input_names
        return pair_template(_backend(tokenizer), typed=typed)

    def ids(text: str) -> Any:
        return np.array(tokenizer.encode(text, add_special_tokens=False) if text else [], np.int32)

    return Template(
        ids(prompt.before),
        ids(prompt.between),
        ids(prompt.after),
        query=prompt.query,
        document=prompt.document,
        cuts_query=False,
    )


def _backend(tokenizer: Any) -> Any:
    """The Rust tokenizer inside, without padding and truncation."""
    if (backend := getattr(tokenizer, "backend_tokenizer", None)) is None:
        raise ConfigurationError("model", "its tokenizer is none of the tokenizers library")
    backend.no_padding()
    backend.no_truncation()
    return backend


@contextmanager
def explained(spec: Spec) -> Iterator[None]:
    """Whatever loading raises as a `ConfigurationError`: what a model brings along may be wrong."""
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        code = (
            f"; the code that comes with it may be for another transformers than "
            f"{transformers.__version__}"
            if spec.trust_remote_code
            else ""
        )
        raise ConfigurationError(
            "model", f"{spec.model!r} cannot be loaded ({type(error).__name__}: {error}){code}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar, which is no output of ours."""
    shown: Any = transformers.utils.logging
    if not shown.is_progress_bar_enabled():
        yield
        return
    shown.disable_progress_bar()
    try:
        yield
    finally:
        shown.enable_progress_bar()
