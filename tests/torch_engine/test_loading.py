"""Which checkpoints load and which are refused; Jina's layout is an XLM-RoBERTa."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tests.torch_engine.checkpoints import padded
from tests.torch_engine.test_packing import DOCUMENTS, QUERY, exact, logits, runner_of
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker
from vecdb_rerank.rerankers.flag_embedding import FlagEmbeddingReranker
from vecdb_rerank.rerankers.late_interaction import LateInteractionReranker
from vecdb_rerank.torch_engine import hardware
from vecdb_rerank.torch_engine.checkpoints import jina, licences
from vecdb_rerank.torch_engine.compute.forward import PackedForward, PaddedForward
from vecdb_rerank.torch_engine.spec import Prompt

Checkpoint = Callable[[str], Path]


@pytest.fixture
def copy(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """Return a copy of a small BERT."""
    return shutil.copytree(checkpoint("bert"), tmp_path / "model")


def change(folder: Path, file: str = "config.json", **values: object) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def error_of(folder: Path | str, **options: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        exact(Path(folder), **options).warmup()
    return str(caught.value)


def test_known_architectures_are_packed_and_others_padded(checkpoint: Checkpoint) -> None:
    kinds = {}
    for name in ("bert", "modernbert", "deberta-v2"):
        reranker = exact(checkpoint(name))
        reranker.warmup()
        kinds[name] = type(runner_of(reranker).forward)
    assert kinds == {
        "bert": PackedForward,
        "modernbert": PackedForward,
        "deberta-v2": PaddedForward,
    }


def test_a_name_that_is_neither_folder_nor_hub_id_is_refused() -> None:
    assert "hub id" in error_of("no-such-model")
    assert "hub id" in error_of("/no/such/folder")


def test_a_folder_without_safetensors_is_refused(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    assert "no *.safetensors" in error_of(copy)
    (copy / "config.json").unlink()
    assert "no config.json" in error_of(copy)


def test_a_checkpoint_that_lacks_weights_is_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert "classifier.weight" in error_of(copy)


def test_a_broken_checkpoint_is_refused(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"no weights")
    assert "cannot be loaded" in error_of(copy)


def test_a_model_of_another_kind_is_refused(copy: Path) -> None:
    change(copy, architectures=["BertForMaskedLM"])
    assert "ForSequenceClassification" in error_of(copy)


def test_a_model_with_many_labels_is_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    weights["classifier.weight"] = weights["classifier.weight"].repeat(3, 1)
    weights["classifier.bias"] = weights["classifier.bias"].repeat(3)
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    change(copy, id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
    assert "3 labels" in error_of(copy)


def test_two_labels_are_no_and_yes(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    row, bias = weights["classifier.weight"], weights["classifier.bias"]
    expected = logits(exact(copy))
    weights["classifier.weight"] = torch.cat([row * 0, row])
    weights["classifier.bias"] = torch.cat([bias * 0, bias])
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    change(copy, id2label={"0": "no", "1": "yes"}, label2id={"no": 0, "yes": 1})
    assert logits(exact(copy, max_length=127)) == pytest.approx(
        logits(exact(copy, max_length=127)), abs=1e-6
    )
    assert logits(exact(copy, token_cache_mb=1)) == pytest.approx(expected, abs=1e-5)


def test_code_that_comes_with_a_model_is_refused_unless_asked_for(copy: Path) -> None:
    change(copy, model_type="of-a-stranger", auto_map={"AutoConfig": "code.Config"})
    assert "trust_remote_code" in error_of(copy)
    assert error_of(copy).startswith("trust_remote_code: ")


def test_code_that_is_trusted_runs_padded(checkpoint: Checkpoint) -> None:
    folder = checkpoint("own-classifier")
    assert error_of(folder).startswith("trust_remote_code: ")
    expected = padded(folder, QUERY, DOCUMENTS, 128, trust_remote_code=True)
    assert max(expected) - min(expected) > 0.05  # else any error would pass
    trusted = exact(folder, trust_remote_code=True)
    assert logits(trusted) == pytest.approx(expected, abs=1e-5)
    assert type(runner_of(trusted).forward) is PaddedForward


def test_code_that_calls_itself_a_bert_is_not_packed_as_one(checkpoint: Checkpoint) -> None:
    folder = checkpoint("own-bert")
    own = padded(folder, QUERY, DOCUMENTS, 128, trust_remote_code=True)
    berts = padded(folder, QUERY, DOCUMENTS, 128, trust_remote_code=False)
    assert own == pytest.approx([-logit for logit in berts], abs=1e-6)
    assert logits(exact(folder, trust_remote_code=True)) == pytest.approx(own, abs=1e-5)
    assert logits(exact(folder)) == pytest.approx(berts, abs=1e-5)


def test_code_of_another_repository_is_refused(copy: Path) -> None:
    change(copy, auto_map={"AutoConfig": "someone/else--code.Config"})
    assert "someone/else--code.Config" in error_of(copy, trust_remote_code=True)


# -- code that comes with a tokenizer

BY_AUTO = {"AutoTokenizer": [None, "own_tokenizer.OwnTokenizer"]}


def own_tokenizer(source: Path, folder: Path, auto_map: object, **values: object) -> Path:
    """Write a checkpoint with code for its tokenizer."""
    shutil.copytree(source, folder)
    shutil.copy(Path(__file__).with_name("own_tokenizer.py"), folder)
    change(folder, "tokenizer_config.json", auto_map=auto_map, **values)
    return folder


@pytest.mark.parametrize("auto_map", [BY_AUTO, ["own_tokenizer.OwnTokenizer", None]])
def test_a_tokenizers_code_is_refused_unless_asked_for(
    auto_map: object, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    # A LLaMA may have one of several tokenizers, which its type does not determine.
    named = {"tokenizer_class": "OwnTokenizer"}
    folder = own_tokenizer(checkpoint("llama"), tmp_path / "own", auto_map, **named)
    with pytest.raises(ValueError, match="contains custom code"):  # transformers refuses it too
        AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    assert re.match("trust_remote_code: .*tokenizer", error_of(folder))


def test_a_tokenizers_code_runs_only_if_it_is_trusted(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = own_tokenizer(checkpoint("bert"), tmp_path / "own", BY_AUTO)
    berts = padded(checkpoint("bert"), QUERY, DOCUMENTS, 128)
    own = padded(folder, QUERY, DOCUMENTS, 128, trust_remote_code=True)
    assert own != pytest.approx(berts, abs=1e-2)
    assert logits(exact(folder, trust_remote_code=True)) == pytest.approx(own, abs=1e-5)
    assert logits(exact(folder)) == pytest.approx(berts, abs=1e-5)


def test_a_tokenizers_class_that_transformers_has_needs_no_code(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    named = {"tokenizer_class": "PreTrainedTokenizerFast"}
    folder = own_tokenizer(checkpoint("llama"), tmp_path / "own", BY_AUTO, **named)
    expected = logits(exact(checkpoint("llama")))
    assert logits(exact(folder)) == pytest.approx(expected, abs=1e-5)


def test_a_tokenizers_code_of_another_repository_is_refused(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    elsewhere = {"AutoTokenizer": ["someone/else--code.Tokenizer", None]}
    folder = own_tokenizer(checkpoint("bert"), tmp_path / "own", elsewhere)
    error = error_of(folder, trust_remote_code=True)
    assert error.startswith("trust_remote_code: ")
    assert "tokenizer_config.json" in error
    change(folder, "tokenizer_config.json", auto_map={"AutoProcessor": "someone/else--code.P"})
    assert len(logits(exact(folder, trust_remote_code=True))) == len(DOCUMENTS)  # not used


def test_code_that_fails_is_a_configuration_error(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint("own-classifier"), tmp_path / "broken")
    code = folder / "own_classifier.py"
    code.write_text(f"{code.read_text()}\nfrom transformers import gone_since_version_4\n")
    error = error_of(folder, trust_remote_code=True)
    assert f"transformers {transformers.__version__}" in error


def test_weights_that_belong_to_code_left_out_say_so(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    save_file({"own.weight": weights["classifier.weight"]}, copy / "model.safetensors")
    change(copy, auto_map={"AutoConfig": "code.Config"})
    assert "trust_remote_code" in error_of(copy)


def test_code_from_the_hub_needs_a_revision() -> None:
    assert error_of("a/b", trust_remote_code=True).startswith("revision: ")


def test_an_unreachable_hub_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert "hub" in error_of("nobody/nothing", revision="0" * 40)


def test_a_hub_id_is_read_from_the_cache_of_its_revision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Checkpoint
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    kept = tmp_path / "models--some--reranker"
    shutil.copytree(checkpoint("bert"), kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    reranker = CrossEncoderReranker(
        "some/reranker", revision=commit, dtype="float32", device="cpu", max_length=128
    )
    expected = logits(exact(checkpoint("bert")))
    assert logits(reranker) == pytest.approx(expected, abs=1e-6)
    assert reranker.name == "cross_encoder:some/reranker"


def test_nothing_is_downloaded_by_a_search(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint
) -> None:
    local: list[bool] = []

    def snapshot_download(*_: object, local_files_only: bool, **__: object) -> str:
        local.append(local_files_only)
        return str(checkpoint("bert"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    kinds = (CrossEncoderReranker, LateInteractionReranker, FlagEmbeddingReranker)
    for kind in kinds:
        reranker = kind("some/model", device="cpu", max_length=96)
        assert local == [False]
        scores = reranker.score(QUERY, DOCUMENTS[:2], deadline=Deadline())
        assert None not in scores.raw
        assert local == [False, True]
        local.clear()


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"max_length": 7}, "max_length"),
        ({"max_length": 513}, "max_length"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"score_cache_mb": -1.0}, "score_cache_mb"),
        ({"device": "tpu"}, "device"),
        ({"device": "cuda:99"}, "device"),
        ({"dtype": "int4"}, "dtype"),
        ({"prompt": "qwen9"}, "prompt"),
        ({"prompt": {"query": "{}"}}, "prompt"),
        ({"prompt": {"query": "q", "document": "{}"}}, "prompt.query"),
        ({"prompt": "qwen3"}, "prompt"),
    ],
)
def test_a_wrong_argument_is_named(
    options: dict[str, object], key: str, checkpoint: Checkpoint
) -> None:
    assert error_of(checkpoint("bert"), **options).startswith(f"{key}: ")


def test_a_causal_model_needs_a_prompt_whose_answers_are_tokens(checkpoint: Checkpoint) -> None:
    assert "causal" in error_of(checkpoint("qwen3"))
    prompt = Prompt("{}", "{}", yes="certainly not a token")
    assert "single token" in error_of(checkpoint("qwen3"), prompt=prompt)
    prompt = Prompt("<|im_start|>{}", "{}")
    assert error_of(checkpoint("qwen3"), prompt=prompt).startswith("prompt.query: ")


def test_a_failed_load_is_tried_again(copy: Path) -> None:
    hidden = copy.with_name("hidden")
    copy.rename(hidden)
    with pytest.raises(ConfigurationError):
        logits(exact(copy))
    hidden.rename(copy)
    assert len(logits(exact(copy))) == len(DOCUMENTS)


def test_auto_takes_what_there_is() -> None:
    device = hardware.pick_device("auto")
    if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        assert device.type == "cpu"
    assert 1 <= hardware.physical_cores() <= (os.cpu_count() or 1)
    assert (hardware.free_memory(torch.device("cpu")) or 0) > 10**6


@pytest.mark.parametrize("instructions", [{}, {"amx_bf16": True, "avx512_fp16": True}])
def test_a_format_that_the_cpu_does_not_multiply_is_warned_of(
    instructions: dict[str, bool], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    for dtype in (torch.bfloat16, torch.float16):
        caplog.clear()
        hardware.warn_if_emulated(dtype, torch.device("cpu"))
        assert (str(dtype).removeprefix("torch.") in caplog.text) == (not instructions)
    caplog.clear()
    hardware.warn_if_emulated(torch.float32, torch.device("cpu"))
    hardware.warn_if_emulated(torch.bfloat16, torch.device("meta"))
    assert not caplog.records


@pytest.mark.parametrize(
    ("instructions", "dtype"),
    [
        ("avx2", "float32"),
        ("avx512_vnni", "float32"),
        ("avx512_vnni avx512_bf16", "bfloat16"),  # AMD Zen 4
        ("avx512_vnni avx512_bf16 avx512_fp16", "float32"),  # AMX is hidden
        ("avx512_vnni avx512_bf16 avx512_fp16 amx_bf16", "bfloat16"),
        ("sve_bf16", "bfloat16"),
    ],
)
def test_auto_depends_on_the_instructions_of_the_cpu(
    instructions: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: dict.fromkeys(instructions.split(), True)
    )
    assert hardware.pick_dtype("auto", torch.device("cpu")) == getattr(torch, dtype)


# -- Jina's layout


def flash_layout(folder: Path, source: Path) -> Path:
    """Write an XLM-RoBERTa with the names and fused projections of Jina's code."""
    shutil.copytree(source, folder)
    weights = load_file(folder / "model.safetensors")
    renamed = {}
    for name, weight in weights.items():
        new = (
            name.replace("roberta.embeddings.LayerNorm", "roberta.emb_ln")
            .replace("encoder.layer.", "encoder.layers.")
            .replace("attention.output.LayerNorm", "norm1")
            .replace("attention.output.dense", "mixer.out_proj")
            .replace("intermediate.dense", "mlp.fc1")
        )
        new = new.replace(".output.dense", ".mlp.fc2").replace(".output.LayerNorm", ".norm2")
        renamed[new] = weight
    for name in [name for name in renamed if "attention.self.query" in name]:
        parts = [renamed.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        renamed[name.replace("attention.self.query", "mixer.Wqkv")] = torch.cat(parts)
    save_file({k: v.bfloat16() for k, v in renamed.items()}, folder / "model.safetensors")
    change(
        folder,
        auto_map={"AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig"},
        use_flash_attn=True,
        position_embedding_type="absolute",
    )
    return folder


def test_jinas_layout_is_an_xlm_roberta(checkpoint: Checkpoint, tmp_path: Path) -> None:
    source = shutil.copytree(checkpoint("xlm-roberta"), tmp_path / "source")
    weights = {k: v.bfloat16() for k, v in load_file(source / "model.safetensors").items()}
    save_file(weights, source / "model.safetensors", {"format": "pt"})
    folder = flash_layout(tmp_path / "jina", source)
    assert jina.is_flash(folder)
    assert not jina.is_flash(source)
    assert logits(exact(folder)) == pytest.approx(padded(source, QUERY, DOCUMENTS, 128), abs=1e-5)


def test_rotary_positions_are_no_xlm_roberta(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = flash_layout(tmp_path / "jina", checkpoint("xlm-roberta"))
    change(folder, position_embedding_type="rotary")
    assert "rotary positions" in error_of(folder)


def test_a_weight_without_counterpart_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = flash_layout(tmp_path / "jina", checkpoint("xlm-roberta"))
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "roberta.extra": torch.zeros(1)}, folder / "model.safetensors")
    assert "roberta.extra" in error_of(folder)


def test_a_non_commercial_licence_is_warned_of_once(
    copy: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(licences, "_warned", set())
    (copy / "README.md").write_text("---\nlicense: cc-by-nc-4.0\nlanguage: en\n---\nA model.\n")
    for length in (100, 101):
        exact(copy, max_length=length).score(QUERY, DOCUMENTS, deadline=Deadline())
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert str(copy) in warning
    assert "cc-by-nc-4.0" in warning


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: apache-2.0\n---\n", "apache-2.0"),
        ("no head\nlicense: cc-by-nc-4.0", None),
        ("---\ntags: [a]\n---\nlicense: cc-by-nc-4.0", None),
    ],
)
def test_a_licence_is_read_from_the_head_of_the_card(
    card: str, licence: str | None, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text(card)
    assert licences.read_licence(tmp_path / "README.md") == licence
    assert licences.read_licence(tmp_path / "none") is None
