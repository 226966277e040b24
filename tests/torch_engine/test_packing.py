"""Packed scores are those of the models' own padded forward, in any batch."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.torch_engine.checkpoints import CLASSIFIERS, padded
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker
from vecdb_rerank.torch_engine import hardware
from vecdb_rerank.torch_engine.compute.onednn_linear import has_onednn
from vecdb_rerank.torch_engine.spec import GEMMA, QWEN3

Checkpoint = Callable[[str], Path]
WORDS = "the a tool reads lists of files and class objects when it runs a statement".split()
_random = random.Random(5)
QUERY = "how are files read when a class runs"
DOCUMENTS = [
    " ".join(_random.choices(WORDS, k=length)) for length in (1, 3, 3, 9, 17, 40, 40, 75, 130, 400)
]


def exact(folder: Path, **options: object) -> CrossEncoderReranker:
    """Return a reranker in float32 on the CPU, without a score cache."""
    given = {"device": "cpu", "dtype": "float32", "score_cache_mb": 0, "max_length": 128} | options
    return CrossEncoderReranker(str(folder), **given)  # type: ignore[arg-type]  # any of them


def runner_of(reranker: CrossEncoderReranker) -> Any:
    """Return the loaded model of a reranker, to look inside."""
    return reranker.engine.runner(Deadline())


def logits(reranker: CrossEncoderReranker, documents: list[str] = DOCUMENTS) -> list[float]:
    scores = reranker.score(QUERY, documents, deadline=Deadline())
    return [float(x) for x in scores.raw if x is not None]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_scores_are_those_of_the_padded_forward(name: str, checkpoint: Checkpoint) -> None:
    folder = checkpoint(name)
    expected = padded(folder, QUERY, DOCUMENTS, 128)
    assert max(expected) - min(expected) > 0.05  # else any error would pass
    assert logits(exact(folder)) == pytest.approx(expected, abs=1e-5)


FUSED = ("bert", "roberta", "xlm-roberta")


@pytest.mark.parametrize(
    ("name", "fused"), [*((name, True) for name in CLASSIFIERS), *((n, False) for n in FUSED)]
)
def test_rows_that_fill_tiles_change_no_score(
    name: str, fused: bool, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use the layout for AMX, in float32 on any processor."""
    monkeypatch.setattr(hardware, "uses_amx", lambda *_: True)
    folder = checkpoint(name)
    reranker = exact(folder, fused=fused, token_cache_mb=3)  # a separate engine
    assert logits(reranker) == pytest.approx(padded(folder, QUERY, DOCUMENTS, 128), abs=1e-5)
    alone = [logits(reranker, [document])[0] for document in DOCUMENTS]
    assert alone == pytest.approx(logits(reranker), abs=1e-5)


@pytest.mark.parametrize("name", FUSED)
def test_fused_layers_are_an_option(name: str, checkpoint: Checkpoint) -> None:
    folder = checkpoint(name)
    fused, own = exact(folder), exact(folder, fused=False)
    assert logits(own) == pytest.approx(padded(folder, QUERY, DOCUMENTS, 128), abs=1e-5)
    assert logits(fused) == pytest.approx(logits(own), abs=1e-5)
    kinds = [
        {type(layer).__name__ for layer in runner_of(r).forward.model.base_model.encoder.layer}
        for r in (fused, own)
    ]
    assert kinds[0] == ({"FusedLayer"} if has_onednn() else kinds[1])
    assert kinds[1].isdisjoint({"FusedLayer"})


def test_layers_that_fusing_would_change_stay(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(checkpoint("bert"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "silu"}))
    expected = padded(folder, QUERY, DOCUMENTS, 128)
    assert logits(exact(folder)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_scores_do_not_depend_on_the_batch(name: str, checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint(name))
    together = logits(reranker)
    assert logits(reranker, DOCUMENTS[::-1])[::-1] == pytest.approx(together, abs=1e-5)
    alone = [logits(reranker, [document])[0] for document in DOCUMENTS]
    assert alone == pytest.approx(together, abs=1e-5)
    if name in ("bert", "deberta-v2"):  # packed and padded
        small = exact(checkpoint(name), batch_tokens=150)
        assert logits(small) == pytest.approx(together, abs=1e-5)


@pytest.mark.parametrize("name", ["bert", "xlm-roberta", "modernbert"])
def test_half_precision_has_float32_logits_in_the_same_order(
    name: str, checkpoint: Checkpoint
) -> None:
    exactly, roughly = exact(checkpoint(name)), exact(checkpoint(name), dtype="bfloat16")
    expected, found = logits(exactly), logits(roughly)
    spread = max(expected) - min(expected)
    assert found == pytest.approx(expected, abs=0.1 * spread)
    assert any(float(x).hex()[-8:] != "0" * 8 for x in found)  # more bits than bfloat16 has


@pytest.mark.parametrize("instruction", ["", "Judge {} and {instruction}."])
def test_yes_less_no_of_a_causal_model(instruction: str, checkpoint: Checkpoint) -> None:
    from transformers import AutoTokenizer

    from tests.torch_engine.checkpoints import last_logits

    folder = checkpoint("qwen3")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before_query, after_query = QWEN3.query.split("{}")
    before_query = before_query.replace("{instruction}", instruction or QWEN3.instruction)
    asked = f"{before_query}{QUERY}{after_query}"
    texts = [asked + QWEN3.document.replace("{}", document) for document in DOCUMENTS]
    before, after = (
        tokenizer.encode(t, add_special_tokens=False) for t in (QWEN3.before, QWEN3.after)
    )
    room = 256 - len(before) - len(after)
    rows = [
        before + tokenizer.encode(text, add_special_tokens=False)[:room] + after for text in texts
    ]
    found = last_logits(folder, rows)
    yes, no = (tokenizer.encode(word, add_special_tokens=False)[0] for word in ("yes", "no"))
    expected = (found[:, yes] - found[:, no]).tolist()
    reranker = exact(folder, prompt="qwen3", max_length=256)
    assert logits(reranker.with_instruction(instruction)) == pytest.approx(expected, abs=1e-4)
    configured = exact(folder, prompt="qwen3", max_length=256, instruction=instruction)
    assert logits(configured) == pytest.approx(expected, abs=1e-4)


def test_scores_under_two_instructions_are_kept_apart(checkpoint: Checkpoint) -> None:
    """One engine and its cache serve both, and each takes its part of the room."""
    reranker = exact(checkpoint("qwen3"), prompt="qwen3", max_length=256, score_cache_mb=1)
    others = [reranker.with_instruction(text) for text in ("", "a", "b" * 90)]
    found = [logits(one) for one in others]
    assert [logits(one) for one in others] == found
    assert found[0] == logits(reranker) != found[1] != found[2] != found[0]
    rooms = [one.room(QUERY) for one in others]
    assert reranker.room(QUERY) == rooms[0] < rooms[1]
    assert rooms[2] < rooms[1]


def test_a_prompt_without_a_place_refuses_an_instruction(checkpoint: Checkpoint) -> None:
    for name, prompt in (("bert", None), ("gemma", {"query": "{}", "document": "{}", "no": None})):
        with pytest.raises(ConfigurationError) as caught:
            exact(checkpoint(name), prompt=prompt, instruction="x")
        assert caught.value.key == "instruction"
    with pytest.raises(ConfigurationError) as caught:
        exact(checkpoint("qwen3"), prompt={"query": "{}", "document": "{}", "instruction": "x"})
    assert caught.value.key == "prompt.instruction"


def test_the_logit_of_yes_of_a_causal_model(checkpoint: Checkpoint) -> None:
    from transformers import AutoTokenizer

    from tests.torch_engine.checkpoints import last_logits

    folder = checkpoint("gemma")
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def ids(text: str) -> list[int]:
        found: list[int] = tokenizer.encode(text, add_special_tokens=False)
        return found

    prompt = {
        "before": "<s>",
        "query": GEMMA.query,
        "between": GEMMA.between,
        "document": GEMMA.document,
        "after": GEMMA.after,
        "yes": tokenizer.convert_ids_to_tokens(50),
        "no": None,
    }
    query = ids("<s>") + ids("A: " + QUERY) + ids("\n")
    end = ids(GEMMA.after)
    room = 128 - len(query) - len(end)
    rows = [query + ids("B: " + document)[:room] + end for document in DOCUMENTS]
    answer = ids(str(prompt["yes"]))[-1]
    expected = last_logits(folder, rows)[:, answer].tolist()
    prompt["yes"] = tokenizer.decode([answer])
    assert logits(exact(folder, prompt=prompt)) == pytest.approx(expected, abs=1e-4)
