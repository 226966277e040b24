"""Compare the speed of local rerankers on the same weights, texts and machine.

In every round each of them scores the same new documents. Ratios are relative to
CrossEncoder.predict in the same round; the median over the rounds is printed. The libraries are
installed by ``pip install -e '.[bench]'``; one that is missing or fails is reported and left out.

    python -m benchmarks.rerankers [--json FILE] [--rounds 7] [--only minilm-short]

- CrossEncoder: sentence-transformers, ``predict`` as it is (float32, batches of 32)
- FlagReranker: FlagEmbedding, ``compute_score`` as it is
- rerankers: the library of that name, on its transformers ranker
- FlashRank-style: ONNX Runtime, all documents in one padded batch (the bundled int8 weights)
- TEI-style: sorted by length, padded batches under a token budget, float32
- OpenVINO: the float32 model with weights compressed to int8 (NNCF), which quantizes the inputs of
  products in groups of 128; one document at a time on each core (``pip install openvino nncf``)
- ours-onnx-int8, ours-fp32, ours-bf16, ours-int8: the rerankers of this package; ours-bf16-modules
  uses the model's own modules instead of fused layers

``--skip`` leaves out contestants, such as slow ones.

The MiniLM has real weights (benchmarks/checkpoints.py), XLM-RoBERTa-large random ones, whose scores
are so close that the check of int8 at loading is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForSequenceClassification

from benchmarks.checkpoints import INPUTS, english, export_onnx, minilm, xlmr_large
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker
from vecdb_rerank.rerankers.onnx import OnnxReranker
from vecdb_rerank.torch_engine import runner
from vecdb_rerank.torch_engine.hardware import RerankerDType
from vecdb_rerank.torch_engine.products import product_rates

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Scores = Sequence[float | None] | npt.NDArray[np.floating]
Score = Callable[[str, list[str]], Scores]
Lengths = Callable[[np.random.Generator, int], npt.NDArray[np.integer]]
QUERY = "how does a class call the method of its base class"
BASE = "CrossEncoder"
MIN_ROUNDS = 2


@dataclass(frozen=True)
class Scenario:
    """A model, the number of documents and their lengths in tokens."""

    checkpoint: Callable[[], Path]
    documents: int
    lengths: Lengths
    real: bool
    seconds: float


def _about(mean: float, spread: float) -> Lengths:
    def lengths(random: np.random.Generator, count: int) -> npt.NDArray[np.integer]:
        drawn = random.lognormal(0, spread, count)
        return np.clip(drawn / drawn.mean() * mean, 8, 495).astype(int)

    return lengths


def _all_512(random: np.random.Generator, count: int) -> npt.NDArray[np.integer]:
    return np.full(count, 520)


SCENARIOS = {
    "minilm-short": Scenario(minilm, 50, _about(70, 0.3), True, 180),
    "minilm-skewed": Scenario(minilm, 50, _about(226, 0.8), True, 270),
    "minilm-long": Scenario(minilm, 50, _all_512, True, 240),
    "xlmr-skewed": Scenario(xlmr_large, 12, _about(226, 0.8), False, 360),
}


class Texts:
    """Random documents of English words with given lengths."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, seed: int = 0) -> None:
        self._words = " ".join(english()).split()
        self._tokenizer = tokenizer
        self.random = np.random.default_rng(seed)

    def document(self, tokens: int) -> str:
        """Return a document of ``tokens`` tokens."""
        words = self.random.choice(self._words, tokens)
        ids = self._tokenizer.encode(" ".join(words), add_special_tokens=False, verbose=False)[
            :tokens
        ]
        return str(self._tokenizer.decode(ids))


def contestants(scenario: Scenario) -> Iterator[tuple[str, Callable[[], Score]]]:
    """Yield the name of each reranker and a function that loads it."""
    folder = str(scenario.checkpoint())
    yield BASE, lambda: cross_encoder(folder)
    yield "FlagReranker", lambda: flag(folder)
    yield "rerankers", lambda: _rerankers(folder)
    yield "TEI-style", lambda: _tei(folder)
    if scenario.real:
        yield "FlashRank-style", _flashrank
        yield "OpenVINO", lambda: _openvino(folder)
        yield "ours-onnx-int8", lambda: ours(OnnxReranker())
    yield "ours-fp32", lambda: _torch(folder, "float32")
    yield "ours-int8", lambda: _torch(folder, "int8")
    yield "ours-bf16", lambda: _torch(folder, "bfloat16")
    yield "ours-bf16-modules", lambda: _torch(folder, "bfloat16", fused=False)


def _torch(folder: str, dtype: RerankerDType, *, fused: bool = True) -> Score:
    return ours(
        CrossEncoderReranker(folder, device="cpu", dtype=dtype, fused=fused, score_cache_mb=0)
    )


def ours(reranker: OnnxReranker | CrossEncoderReranker) -> Score:
    def score(query: str, documents: list[str]) -> Scores:
        return reranker.score(query, documents, deadline=Deadline()).raw

    return score


def cross_encoder(folder: str, device: str = "cpu", dtype: str | None = None) -> Score:
    from sentence_transformers import CrossEncoder

    options = {} if dtype is None else {"dtype": dtype}
    model = CrossEncoder(folder, device=device, max_length=512, model_kwargs=options)

    def score(query: str, documents: list[str]) -> Scores:
        return model.predict([(query, d) for d in documents], show_progress_bar=False)

    return score


def flag(folder: str, device: str = "cpu", *, fp16: bool = False) -> Score:
    from FlagEmbedding import FlagReranker

    model = FlagReranker(folder, use_fp16=fp16, devices=device, max_length=512)

    def score(query: str, documents: list[str]) -> Scores:
        return model.compute_score([(query, d) for d in documents])

    return score


def _rerankers(folder: str) -> Score:
    from rerankers import Reranker

    model = Reranker(folder, model_type="cross-encoder", device="cpu", dtype="float32", verbose=0)

    def score(query: str, documents: list[str]) -> Scores:
        ranked = model.rank(query=query, docs=documents, doc_ids=list(range(len(documents))))
        found = {result.document.doc_id: result.score for result in ranked.results}
        return [found[n] for n in range(len(documents))]

    return score


def _tei(folder: str, budget: int = 16_384) -> Score:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def score(query: str, documents: list[str]) -> Scores:
        encoded = tokenizer([query] * len(documents), documents, truncation=True, max_length=512)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        scores = np.zeros(len(documents))
        batch: list[int] = []
        for n in [*np.argsort(lengths), None]:
            if batch and (n is None or (len(batch) + 1) * lengths[n] > budget):
                rows = {key: [values[i] for i in batch] for key, values in encoded.items()}
                padded = tokenizer.pad(rows, return_tensors="pt")
                scores[batch] = model(**padded).logits[:, 0].numpy()
                batch = []
            if n is not None:
                batch.append(int(n))
        return scores

    return score


def _flashrank() -> Score:
    import onnxruntime
    from tokenizers import Tokenizer

    from vecdb_rerank.onnx.weights import BUNDLED, MS_MARCO_MINILM, locate

    weights = locate(BUNDLED, MS_MARCO_MINILM)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(weights.onnx), options)
    tokenizer = Tokenizer.from_file(str(weights.tokenizer))
    tokenizer.enable_truncation(512)
    tokenizer.enable_padding()

    def score(query: str, documents: list[str]) -> Scores:
        encoded = tokenizer.encode_batch([(query, d) for d in documents])
        feeds = {
            "input_ids": np.array([e.ids for e in encoded]),
            "attention_mask": np.array([e.attention_mask for e in encoded]),
            "token_type_ids": np.array([e.type_ids for e in encoded]),
        }
        return session.run(None, feeds)[0][:, 0]

    return score


def _openvino(folder: str) -> Score:
    import nncf
    import openvino
    from tokenizers import Tokenizer

    cores = torch.get_num_threads()
    with TemporaryDirectory() as written:
        file = Path(written, "model.onnx")
        export_onnx(AutoModelForSequenceClassification.from_pretrained(folder), "logits", file)
        model = openvino.Core().read_model(file)
    model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)
    options = {
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "128",
        "NUM_STREAMS": cores,
        "INFERENCE_NUM_THREADS": cores,
    }
    queue = openvino.AsyncInferQueue(openvino.Core().compile_model(model, "CPU", options))
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.enable_truncation(512)
    tokenizer.no_padding()

    def score(query: str, documents: list[str]) -> Scores:
        scores = np.zeros(len(documents))

        def keep(request: openvino.InferRequest, n: int) -> None:
            scores[n] = request.get_output_tensor().data[0, 0]

        queue.set_callback(keep)
        for n, each in enumerate(tokenizer.encode_batch([(query, d) for d in documents])):
            rows = (each.ids, each.attention_mask, each.type_ids)
            feeds = {name: np.array([row]) for name, row in zip(INPUTS, rows, strict=True)}
            queue.start_async(feeds, n)
        queue.wait_all()
        return scores

    return score


def flops(folder: Path, lengths: Sequence[int]) -> float:
    """Return the FLOP of the matrix products for pairs of these lengths, without padding."""
    config = json.loads((folder / "config.json").read_text())
    width, inner = config["hidden_size"], config["intermediate_size"]
    each = 8 * width * width + 4 * width * inner
    layers = config["num_hidden_layers"]
    return float(layers * sum(n * each + 4 * n * n * width for n in lengths))


def _format(contestant: str) -> str:
    """Return the number format in which a contestant multiplies."""
    if "int8" in contestant or contestant in ("FlashRank-style", "OpenVINO"):
        return "int8"
    return "bfloat16" if "bf16" in contestant else "float32"


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def load_all(scenario: Scenario, warm: list[str], skip: Sequence[str]) -> dict[str, Score]:
    """Load and call each reranker once; report those that fail."""
    ready: dict[str, Score] = {}
    if not scenario.real:
        setattr(runner, "agrees", lambda *_: True)  # noqa: B010 - not exported
    for contestant, prepare in contestants(scenario):
        if contestant in skip:
            continue
        try:
            score = prepare()
            score(QUERY, warm)
        except Exception as error:  # of any kind
            why = " ".join(str(error).split())[:160]
            print(f"{contestant} is left out: {type(error).__name__}: {why}")
        else:
            ready[contestant] = score
    return ready


def compare(
    name: str, scenario: Scenario, rounds: int, skip: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """Measure one scenario; print and return the results."""
    from transformers import AutoTokenizer

    folder = scenario.checkpoint()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = Texts(tokenizer)

    def drawn(count: int) -> list[str]:
        return [texts.document(int(n)) for n in scenario.lengths(texts.random, count)]

    ready = load_all(scenario, drawn(6), skip)
    times: dict[str, list[float]] = {contestant: [] for contestant in ready}
    shares: dict[str, list[float]] = {contestant: [] for contestant in ready}
    ceilings: list[dict[str, float]] = []
    tokens = []
    ends = time.monotonic() + scenario.seconds
    for number in range(rounds):
        if number >= MIN_ROUNDS and time.monotonic() > ends:
            break
        documents = drawn(scenario.documents)
        ids = tokenizer([QUERY] * len(documents), documents, truncation=True, max_length=512)
        lengths = [len(row) for row in ids["input_ids"]]
        tokens += lengths
        work = flops(folder, lengths)
        ceilings.append(product_rates())
        for contestant, score in ready.items():
            seconds = _seconds(partial(score, QUERY, documents))
            times[contestant].append(seconds)
            best = ceilings[-1].get(_format(contestant), math.nan)
            shares[contestant].append(work / seconds / best / 1e9)
    limits = ", ".join(
        f"{name} {statistics.median(one[name] for one in ceilings):,.0f} GOP/s"
        for name in ceilings[0]
    )
    print(
        f"\n{name}: {scenario.documents} documents, {statistics.fmean(tokens):.0f} tokens a pair, "
        f"{len(times[BASE])} rounds; a matrix product reaches {limits}"
    )
    found = {}
    for contestant, measured in times.items():
        ratios = [b / t for b, t in zip(times[BASE], measured, strict=True)]
        median, ratio = statistics.median(measured), statistics.median(ratios)
        rate = scenario.documents / median
        found[contestant] = {
            "ms": round(median * 1e3, 1),
            "pairs_per_s": round(rate, 1),
            "ratio": round(ratio, 2),
        }
        share = f"{statistics.median(shares[contestant]):6.0%} of that"
        print(
            f"  {contestant:17} {median * 1e3:9,.1f} ms {rate:9,.1f} pairs/s   x{ratio:5.2f} "
            f"{share}",
            flush=True,
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=SCENARIOS, action="append")
    parser.add_argument("--skip", action="append", default=[], metavar="CONTESTANT")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chosen = options.only or list(SCENARIOS)
    found = {name: compare(name, SCENARIOS[name], options.rounds, options.skip) for name in chosen}
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
