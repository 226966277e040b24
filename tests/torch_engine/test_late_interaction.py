"""Late interaction computes what a padded forward does, for each layout of checkpoints."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import linear, normalize, pad
from transformers import AutoModel, AutoTokenizer

from tests.torch_engine.test_packing import DOCUMENTS, QUERY
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.flow.drivers import run_async
from vecdb_rerank.rerankers.late_interaction import LateInteractionReranker
from vecdb_rerank.torch_engine.late_interaction import LateInteractionEngine

Checkpoint = Callable[[str], Path]
TEXTS = [*DOCUMENTS, "a tool, (it reads) files!", "..."]
LENGTH = 64


@dataclass(frozen=True)
class Layout:
    """A checkpoint and how it reads texts."""

    folder: Path
    markers: tuple[str | None, str | None] = (None, None)
    query_length: int = 0
    masks_seen: bool = False
    skipped: str = string.punctuation
    weights: tuple[str, ...] = ()


def colbert(source: Path, folder: Path, markers: tuple[str, str], **settings: Any) -> Layout:
    """Write ColBERT's layout: the projection among the encoder's weights, and a metadata file."""
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    config = json.loads((source / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["HF_ColBERT"]}))
    kept = load_file(source / "model.safetensors")
    kept = {name: w for name, w in kept.items() if not name.startswith(("classifier", "pooler"))}
    torch.manual_seed(1)
    kept["linear.weight"] = torch.randn(16, config["hidden_size"])
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    metadata = {"query_token_id": markers[0], "doc_token_id": markers[1], "query_maxlen": 32}
    metadata |= {"similarity": "cosine", "mask_punctuation": True} | settings
    (folder / "artifact.metadata").write_text(json.dumps(metadata))
    return Layout(folder, markers, 32, settings.get("attend_to_mask_tokens", False))


def pylate(source: Path, folder: Path, *layers: int, **settings: Any) -> Layout:
    """Write PyLate's layout: prefixes that are tokens, a folder for each linear layer."""
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    model: Any = AutoModel.from_pretrained(source)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    tokenizer.add_tokens(["[Q] ", "[D] "])
    torch.manual_seed(2)
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    modules = [{"type": "sentence_transformers.models.Transformer", "path": ""}]
    width = model.config.hidden_size
    for n, out in enumerate(layers, start=1):
        part = folder / f"{n}_Dense"
        part.mkdir()
        weights = {"linear.weight": torch.randn(out, width), "linear.bias": torch.randn(out)}
        if n == 1:
            del weights["linear.bias"]
        save_file(weights, part / "model.safetensors")
        identity = "torch.nn.modules.linear.Identity"
        (part / "config.json").write_text(json.dumps({"activation_function": identity}))
        modules.append({"type": "pylate.models.Dense.Dense", "path": part.name})
        width = out
    (folder / "modules.json").write_text(json.dumps(modules))
    written = {"query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 24} | settings
    (folder / "config_sentence_transformers.json").write_text(json.dumps(written))
    fills = settings.get("do_query_expansion", True)
    return Layout(
        folder,
        ("[Q] ", "[D] "),
        24 if fills else 0,
        settings.get("attend_to_expansion_tokens", False),
        "".join(settings.get("skiplist_words", string.punctuation)),
        tuple(f"{n}_Dense" for n, _ in enumerate(layers, start=1)),
    )


LAYOUTS: dict[str, Callable[[Checkpoint, Path], Layout]] = {
    "colbert-bert": lambda made, folder: colbert(made("bert"), folder, ("[unused0]", "[unused1]")),
    "colbert-bert-masks-seen": lambda made, folder: colbert(
        made("bert"), folder, ("[unused0]", "[unused1]"), attend_to_mask_tokens=True
    ),
    "colbert-deberta": lambda made, folder: colbert(made("deberta-v2"), folder, ("<pad>", "<unk>")),
    "pylate-modernbert": lambda made, folder: pylate(made("modernbert"), folder, 16),
    "pylate-two-layers": lambda made, folder: pylate(
        made("roberta"), folder, 32, 16, skiplist_words=["!", "."], do_query_expansion=False
    ),
    "plain-xlm-roberta": lambda made, folder: Layout(made("xlm-roberta")),
    "plain-deberta": lambda made, folder: Layout(made("deberta-v2")),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(
    request: pytest.FixtureRequest,
    checkpoint: Checkpoint,
    tmp_path_factory: pytest.TempPathFactory,
) -> Layout:
    return LAYOUTS[request.param](checkpoint, tmp_path_factory.mktemp("layout"))


def padded(layout: Layout, query: str, documents: Sequence[str]) -> list[float]:
    """Return the MaxSim of one padded batch of transformers' own forward, in float32."""
    tokenizer: Any = AutoTokenizer.from_pretrained(layout.folder)
    model: Any = AutoModel.from_pretrained(layout.folder, dtype=torch.float32).eval()
    weights = load_file(layout.folder / "model.safetensors")
    layers: list[tuple[torch.Tensor, torch.Tensor | None]] = []
    if "linear.weight" in weights:
        layers.append((weights["linear.weight"], None))
    for name in layout.weights:
        found = load_file(layout.folder / name / "model.safetensors")
        layers.append((found["linear.weight"], found.get("linear.bias")))

    def ids(text: str, marker: str | None, most: int) -> torch.Tensor:
        room = most - (marker is not None)
        found = tokenizer(text, truncation=True, max_length=room).input_ids
        if marker is not None:
            found.insert(1, tokenizer.convert_tokens_to_ids(marker))
        return torch.tensor(found)

    @torch.inference_mode()
    def vectors(rows: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = model(input_ids=rows, attention_mask=mask).last_hidden_state
        for weight, bias in layers:
            hidden = linear(hidden, weight, bias)
        return normalize(hidden, dim=-1)

    asked = ids(query, layout.markers[0], layout.query_length or LENGTH)
    filled = pad(asked, (0, max(0, layout.query_length - len(asked))), value=-1)
    mask = torch.ones_like(filled) if layout.masks_seen else (filled >= 0).long()
    filled[filled < 0] = tokenizer.mask_token_id or 0
    q = vectors(filled[None], mask[None])[0]
    rows = [ids(text, layout.markers[1], LENGTH) for text in documents]
    batch = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
    there = batch >= 0
    batch[~there] = tokenizer.pad_token_id
    d = vectors(batch, there.long())
    vocabulary = tokenizer.get_vocab()
    skipped = torch.tensor([vocabulary[c] for c in layout.skipped if c in vocabulary])
    kept = there & ~torch.isin(batch, skipped)
    products = torch.einsum("qw,nkw->nqk", q, d).masked_fill(~kept[:, None], -torch.inf)
    sums: list[float] = products.amax(2).sum(1).tolist()
    return sums


def exact(folder: Path, **options: Any) -> LateInteractionReranker:
    given: dict[str, Any] = {"device": "cpu", "dtype": "float32", "max_length": LENGTH}
    return LateInteractionReranker(str(folder), **given | options)


def raw(reranker: LateInteractionReranker, documents: Sequence[str] = TEXTS) -> list[float]:
    scores = reranker.score(QUERY, documents, deadline=Deadline())
    return [float(x) for x in scores.raw if x is not None]


def test_scores_are_those_of_the_padded_forward(layout: Layout) -> None:
    expected = padded(layout, QUERY, TEXTS)
    assert max(expected) - min(expected) > 0.05  # else any error would pass
    assert raw(exact(layout.folder)) == pytest.approx(expected, abs=1e-4)


def test_scores_do_not_depend_on_the_batch_nor_on_what_is_kept(layout: Layout) -> None:
    reranker = exact(layout.folder)
    together = raw(reranker)
    assert raw(reranker) == together  # from the cache now
    assert raw(reranker, TEXTS[::-1])[::-1] == pytest.approx(together, abs=1e-5)
    fresh = exact(layout.folder, vector_cache_mb=0)
    assert [raw(fresh, [text])[0] for text in TEXTS] == pytest.approx(together, abs=1e-5)
    assert raw(exact(layout.folder, batch_tokens=100)) == pytest.approx(together, abs=1e-5)


def test_markers_in_a_text_are_text(checkpoint: Checkpoint, tmp_path: Path) -> None:
    pylate(checkpoint("modernbert"), tmp_path, 16)
    reranker = exact(tmp_path)
    assert reranker.warmup()
    runner: Any = reranker.engine.runner(Deadline())
    vocabulary = AutoTokenizer.from_pretrained(tmp_path).get_vocab()
    for marker in ("[Q] ", "[D] "):
        (document,) = runner.encoder.documents([f"a tool {marker}reads {marker}"])
        assert vocabulary[marker] not in document.ids
        pair = runner.encoder.query_pair(f"{marker}a tool")
        assert (pair.query == vocabulary[marker]).sum() == (marker == "[Q] ")


def test_half_precision_is_close(checkpoint: Checkpoint, tmp_path: Path) -> None:
    colbert(checkpoint("bert"), tmp_path, ("[unused0]", "[unused1]"))
    exactly, roughly = raw(exact(tmp_path)), raw(exact(tmp_path, dtype="bfloat16"))
    spread = max(exactly) - min(exactly)
    assert roughly == pytest.approx(exactly, abs=0.1 * spread)


class Counting:
    """A forward pass that counts its pairs."""

    def __init__(self, forward: Any) -> None:
        self.pairs = 0
        self.tokens = forward.tokens
        self._forward = forward

    def __call__(self, pairs: Sequence[Any]) -> list[Any]:
        self.pairs += len(pairs)
        found: list[Any] = self._forward(pairs)
        return found


def test_documents_are_computed_once(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    reranker = exact(checkpoint("xlm-roberta"), max_length=63)
    first = raw(reranker)
    kept = reranker.engine.cache
    used = kept.used
    assert len(kept) == len(set(TEXTS))
    runner: Any = reranker.engine.runner(Deadline())
    monkeypatch.setattr(runner, "forward", counting := Counting(runner.forward))
    assert raw(reranker) == first
    assert counting.pairs == 1  # the query alone
    assert kept.used == used
    other = reranker.score("another query", [*TEXTS, "new"], deadline=Deadline())
    assert None not in other.raw
    assert counting.pairs == 3  # both queries and a document


def test_vectors_take_no_more_memory_than_allowed(checkpoint: Checkpoint) -> None:
    small = exact(checkpoint("xlm-roberta"), vector_cache_mb=0.05)
    assert raw(small) == pytest.approx(raw(exact(checkpoint("xlm-roberta"))), abs=1e-5)
    assert 0 < small.engine.cache.used <= 50_000


def test_relevance_is_the_mean_and_cut_documents_are_counted(checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint("bert"))
    scores = reranker.score(QUERY, TEXTS, deadline=Deadline())
    tokens = len(AutoTokenizer.from_pretrained(checkpoint("bert"))(QUERY).input_ids)
    means = [min(1.0, max(0.0, float(x or 0.0) / tokens)) for x in scores.raw]
    assert list(scores.relevance) == pytest.approx(means)
    assert scores.truncated == 3


def test_asynchronous_calls_and_no_time(checkpoint: Checkpoint) -> None:
    reranker = exact(checkpoint("bert"))
    assert reranker.warmup()
    assert reranker.ready
    steps = reranker.steps(QUERY, TEXTS, deadline=Deadline())
    assert list(asyncio.run(run_async(steps)).raw) == pytest.approx(raw(reranker), abs=1e-5)
    late = reranker.score(QUERY, TEXTS, deadline=Deadline.after(0.0))
    assert list(late.raw) == list(late.relevance) == [None] * len(TEXTS)


def test_a_cross_encoder_of_the_same_model_has_another_engine(checkpoint: Checkpoint) -> None:
    from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker

    folder = checkpoint("bert")
    one = exact(folder, batch_tokens=77)
    other = CrossEncoderReranker(str(folder), device="cpu", dtype="float32", batch_tokens=77)
    assert one.engine is not other.engine
    assert one.engine is exact(folder, batch_tokens=77).engine
    assert isinstance(one.engine, LateInteractionEngine)


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        ({"similarity": "l2"}, "cosine"),
        ({"query_token_id": "[nowhere]"}, "nowhere"),
    ],
)
def test_an_unknown_layout_is_refused(
    metadata: dict[str, str], word: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    colbert(checkpoint("bert"), tmp_path, ("[unused0]", "[unused1]"), **metadata)
    with pytest.raises(ConfigurationError, match=rf"^model: .*{word}"):
        raw(exact(tmp_path))


def test_a_projection_with_an_activation_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    pylate(checkpoint("roberta"), tmp_path, 16)
    part = tmp_path / "1_Dense" / "config.json"
    part.write_text(json.dumps({"activation_function": "torch.nn.modules.activation.Tanh"}))
    with pytest.raises(ConfigurationError, match=r"^model: .*projection"):
        raw(exact(tmp_path))
