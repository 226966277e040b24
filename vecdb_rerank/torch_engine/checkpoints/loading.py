"""Load a model and its tokenizer: weights from safetensors only, no untrusted code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.tokenization.pairs import Template, pair_template, single_template
from vecdb_rerank.tokenization.special_tokens import (
    check_no_special_tokens,
    disable_special_tokens,
)
from vecdb_rerank.torch_engine import hardware
from vecdb_rerank.torch_engine.checkpoints import files, jina, licences
from vecdb_rerank.torch_engine.checkpoints.remote_code import check_code
from vecdb_rerank.torch_engine.compute.architectures import Head, max_positions, supports_packing
from vecdb_rerank.torch_engine.compute.int8_linear import input_levels
from vecdb_rerank.torch_engine.compute.onednn_linear import find_linears
from vecdb_rerank.torch_engine.spec import Prompt, Spec

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from vecdb_rerank.tokenization.pairs import Ids

    AutoClass = type[AutoModel | AutoModelForCausalLM | AutoModelForSequenceClassification]


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to run, and its tokenizer, which reads special tokens as text.

    ``head`` computes (documents, 1 or 2) logits from the last rows of a causal model; it is None
    for a classifier. ``mask`` is the id of the mask token, if there is one. With ``int8``, its
    linear layers are to be computed in int8, and all else in ``dtype``, which is float32.
    """

    model: PreTrainedModel
    tokenizer: Tokenizer
    template: Template
    device: torch.device
    dtype: torch.dtype
    int8: bool
    folder: Path
    head: Head | None = None
    mask: int | None = None


def load(spec: Spec) -> Loaded:
    """Load the model of ``spec``. Raises `ConfigurationError` if it is not a usable reranker."""
    folder = files.find_folder(spec)
    check_code(spec, folder)
    licences.warn_non_commercial(spec.model, folder)
    device = hardware.pick_device(spec.device)
    dtype = hardware.pick_dtype(spec.dtype, device)
    hardware.warn_if_emulated(dtype, device)
    with explained(spec), _no_progress_bar():
        model = jina.load(folder) if jina.is_flash(folder) else _load_model(spec, folder)
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=spec.trust_remote_code, local_files_only=True
        )
    _check_length(spec, model.config)
    int8 = dtype == torch.int8
    if int8:
        _check_int8(model)
        dtype = torch.float32
    head = None
    if spec.prompt is not None:
        head = _answer_head(spec.prompt, tokenizer)
    elif not spec.encoder_only:
        _check_labels(model.config)
    backend = _backend(tokenizer)
    template = _template(spec, tokenizer, backend)
    parts = (template.before, template.between, template.after)
    disable_special_tokens(backend, np.concatenate(parts).tolist())
    if spec.prompt is not None:
        check_no_special_tokens(backend, "prompt.query", spec.prompt.query)
        check_no_special_tokens(backend, "prompt.document", spec.prompt.document)
    return Loaded(
        model=_prepare(model, device, dtype),
        tokenizer=backend,
        template=template,
        device=device,
        dtype=dtype,
        int8=int8,
        folder=folder,
        head=head,
        mask=tokenizer.mask_token_id,
    )


def _load_model(spec: Spec, folder: Path) -> PreTrainedModel:
    trusted = spec.trust_remote_code
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trusted, local_files_only=True)
    loaded: object = _auto_class(spec, config).from_pretrained(
        folder,
        config=config,
        use_safetensors=True,
        output_loading_info=True,
        trust_remote_code=trusted,
        local_files_only=True,
    )
    model, info = cast("tuple[PreTrainedModel, Mapping[str, set[object]]]", loaded)
    skipped_code = "auto_map" in files.read_json(folder / "config.json") and not trusted
    _check_weights(spec, info, skipped_code=skipped_code)
    return model


def _auto_class(spec: Spec, config: PreTrainedConfig) -> AutoClass:
    names = config.architectures or []
    if spec.encoder_only:
        return AutoModel
    if any(name.endswith("ForSequenceClassification") for name in names):
        if spec.prompt is not None:
            raise ConfigurationError("prompt", "must not be set: the model is a classifier")
        return AutoModelForSequenceClassification
    if any(name.endswith("ForCausalLM") for name in names):
        if spec.prompt is None:
            raise ConfigurationError(
                "prompt",
                "must be 'qwen3', 'gemma' or your own: the model is a causal language model",
            )
        return AutoModelForCausalLM
    raise ConfigurationError(
        "model",
        f"its architecture is {', '.join(names) or 'not named'}; a reranker is a "
        "...ForSequenceClassification, or a ...ForCausalLM with a prompt",
    )


def _check_weights(spec: Spec, info: Mapping[str, set[object]], *, skipped_code: bool) -> None:
    """Refuse a checkpoint that lacks weights, which transformers would initialize randomly."""
    missing = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if spec.encoder_only:  # which does not use the pooler
        missing = [key for key in missing if not key.startswith("pooler.")]
    if missing:
        code = " without the code that comes with it (trust_remote_code)" if skipped_code else ""
        raise ConfigurationError(
            "model",
            f"{len(missing)} weights are missing or have another shape, such as {missing[0]}: "
            f"it is not a reranker of that architecture{code}",
        )


def _check_length(spec: Spec, config: PreTrainedConfig) -> None:
    limit = max_positions(config)
    if limit is not None and spec.max_length > limit:
        raise ConfigurationError(
            "max_length", f"must be at most {limit} for this model, got {spec.max_length}"
        )


def _check_labels(config: PreTrainedConfig) -> None:
    if config.num_labels not in (1, 2):
        raise ConfigurationError(
            "model", f"it has {config.num_labels} labels; a reranker has 1, or 2 (no, yes)"
        )


def _check_int8(model: PreTrainedModel) -> None:
    """Raise if this torch or the model lacks what int8 needs."""
    missing = None
    if input_levels() is None:
        missing = f"torch {torch.__version__} cannot multiply int8 on this machine"
    elif not (supports_packing(model) and find_linears(model.base_model)):
        missing = f"the linear layers of {type(model).__name__} are not known"
    if missing is not None:
        raise ConfigurationError("dtype", f"must not be int8: {missing}; use 'auto'")


def _prepare(model: PreTrainedModel, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """Move the model to its device, its body in ``dtype``, its head in float32.

    Half precision has 8 or 11 significant bits, so logits of relevant documents would tie.
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
            head.float().register_forward_pre_hook(_inputs_in_float32)
    nn.Module.to(model, device)  # `PreTrainedModel.to` has no types
    return nn.Module.eval(model).requires_grad_(False)


def _inputs_in_float32(_: nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(
        x.float() if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs
    )


def _answer_head(prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> Head:
    """Return a head that computes the logits of the prompt's answers, ``no`` before ``yes``."""
    words = [prompt.yes] if prompt.no is None else [prompt.no, prompt.yes]
    ids = [_single_token(tokenizer, word) for word in words]

    def head(model: PreTrainedModel, rows: Tensor) -> Tensor:
        embeddings: nn.Module = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        weight = embeddings.get_parameter("weight")
        return rows @ weight[ids].to(rows.dtype).T

    return head


def _single_token(tokenizer: PreTrainedTokenizerBase, word: str) -> int:
    ids = tokenizer.encode(word, add_special_tokens=False)
    if len(ids) != 1:
        raise ConfigurationError("prompt", f"{word!r} must be a single token of the model")
    return ids[0]


def _template(spec: Spec, tokenizer: PreTrainedTokenizerBase, backend: Tokenizer) -> Template:
    if spec.encoder_only:
        return single_template(backend)
    if (prompt := spec.prompt) is None:
        return pair_template(backend, typed="token_type_ids" in tokenizer.model_input_names)

    def encode(text: str) -> Ids:
        return np.array(tokenizer.encode(text, add_special_tokens=False) if text else [], np.int32)

    return Template(
        encode(prompt.before),
        encode(prompt.between),
        encode(prompt.after),
        query=prompt.query,
        document=prompt.document,
        instruction=prompt.instruction,
    )


def _backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """Return the tokenizer of the ``tokenizers`` library inside, without padding and truncation."""
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ConfigurationError("model", "its tokenizer is not one of the tokenizers library")
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    return backend


@contextmanager
def explained(spec: Spec) -> Iterator[None]:
    """Raise every error of loading as a `ConfigurationError`; any file may be wrong."""
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        code = (
            f"; the code that comes with it may need another version than transformers "
            f"{transformers.__version__}"
            if spec.trust_remote_code
            else ""
        )
        raise ConfigurationError(
            "model", f"{spec.model!r} cannot be loaded ({type(error).__name__}: {error}){code}"
        ) from error


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Turn off transformers' progress bar."""
    if not transformers_logging.is_progress_bar_enabled():
        yield
        return
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
