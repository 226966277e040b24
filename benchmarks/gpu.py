"""Check and measure the cross-encoder on a GPU, in under eight minutes.

    python -m benchmarks.gpu [--device cuda] [--seconds 440] [--json FILE]
    python -m benchmarks.gpu --device cpu --quick     # the same steps with small models, a minute

Models have the shapes of MiniLM-L12 and XLM-RoBERTa-large and random weights; nothing is
downloaded. Libraries to compare with that are not installed are left out, and a step that fails is
reported. The steps:

- correctness: logits in half precision against float32 on the CPU
- latency: p50 and p95 of a call with 50 new documents
- throughput: pairs a second at 85, 218 and 512 tokens, beside CrossEncoder and FlagReranker
- attention: torch's kernels for documents of different lengths, a layer of each shape
- memory: the device is filled until batches do not fit; scores stay the same
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoTokenizer

from benchmarks.checkpoints import minilm_shape, xlmr_large
from benchmarks.gpu_attention import KERNELS
from benchmarks.rerankers import QUERY, Score, Texts, cross_encoder, flag, ours
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.rerankers.cross_encoder import CrossEncoderReranker
from vecdb_rerank.torch_engine import registry
from vecdb_rerank.torch_engine.compute.layout import Layout
from vecdb_rerank.torch_engine.hardware import DType

LENGTHS = (85, 218, 512)  # tokens of a pair
DTYPES: tuple[DType, ...] = ("float16", "bfloat16")
HEADS = {"minilm-l12": (12, 32), "xlmr-large": (16, 64)}
GIB = 2**30


class Bench:
    """The models, the texts and the clock."""

    def __init__(self, device: str, seconds: float, *, quick: bool, folder: Path) -> None:
        self.device, self.quick, self.found = device, quick, dict[str, object]()
        layers = (1, 1) if quick else (12, 24)
        self.models = {
            "minilm-l12": str(minilm_shape(folder / "minilm", layers=layers[0])),
            "xlmr-large": str(xlmr_large(folder / "xlmr", layers=layers[1])),
        }
        self.texts = Texts(AutoTokenizer.from_pretrained(self.models["minilm-l12"]))
        self._query = len(self.texts._tokenizer(QUERY)["input_ids"]) + 2
        self._ends = time.monotonic() + seconds

    def report(self, name: str, value: object) -> None:
        """Print a result and keep it."""
        self.found[name] = value
        print(f"{name}: {value}", flush=True)

    def has_time(self, seconds: float) -> bool:
        return time.monotonic() + seconds < self._ends

    def documents(self, count: int, tokens: int) -> list[str]:
        """Return new documents that make pairs of about so many tokens."""
        return [self.texts.document(max(4, tokens - self._query)) for _ in range(count)]

    def ours(self, model: str, dtype: DType, device: str | None = None) -> CrossEncoderReranker:
        """Return a loaded reranker of this package."""
        reranker = CrossEncoderReranker(
            self.models[model], device=device or self.device, dtype=dtype, score_cache_mb=0
        )
        reranker.warmup()
        return reranker

    def scoring(self, model: str, dtype: DType) -> Score:
        return ours(self.ours(model, dtype))

    def contestants(self, model: str) -> Iterator[tuple[str, Callable[[], Score]]]:
        """Yield the name of each library and a function that loads it."""
        folder, gpu = self.models[model], self.device != "cpu"
        for dtype in DTYPES:
            yield dtype, partial(self.scoring, model, dtype)
        half = "float16" if gpu else None
        yield "CrossEncoder", lambda: cross_encoder(folder, self.device, half)
        yield "FlagReranker", lambda: flag(folder, self.device, fp16=gpu)


def correctness(bench: Bench) -> None:
    documents = [text for n in LENGTHS for text in bench.documents(4 if bench.quick else 16, n)]
    for model in bench.models:
        exact = logits(bench.ours(model, "float32", "cpu"), documents)
        for dtype in DTYPES:
            found = logits(bench.ours(model, dtype), documents)
            line = f"logits differ by {np.abs(found - exact).max():.4f} of {np.ptp(exact):.3f}"
            order = np.corrcoef(found, exact)[0, 1]
            bench.report(f"correctness {model} {dtype}", f"{line}, correlation {order:.5f}")
        release()


def latency(bench: Bench) -> None:
    for model in bench.models:
        for dtype in DTYPES:
            reranker = bench.ours(model, dtype)
            for tokens in LENGTHS[:2]:
                calls = [bench.documents(50, tokens) for _ in range(2 if bench.quick else 30)]
                work = [partial(logits, reranker, documents) for documents in calls]
                times = sorted(seconds(one, bench) * 1e3 for one in work)
                p50, p95 = statistics.median(times), times[math.ceil(0.95 * len(times)) - 1]
                name = f"latency {model} {dtype} 50 x {tokens} tokens"
                bench.report(name, f"p50 {p50:.1f} ms, p95 {p95:.1f} ms")
        release()


def throughput(bench: Bench) -> None:
    for model in bench.models:
        count = 8 if bench.quick else 4096 if model == "minilm-l12" else 1024
        for name, load in bench.contestants(model):
            try:
                score = load()
                score(QUERY, bench.documents(8, 85))
            except Exception as error:  # a library may be missing or not fit this version
                bench.report(f"throughput {model} {name}", f"left out: {str(error)[:90]}")
                continue
            for tokens in LENGTHS:
                if not bench.has_time(30):
                    return
                rounds = [bench.documents(count, tokens) for _ in range(1 if bench.quick else 2)]
                best = min(seconds(partial(score, QUERY, one), bench) for one in rounds)
                bench.report(f"throughput {model} {name} {tokens} tokens", f"{count / best:,.0f}/s")
            release()


def attention(bench: Bench) -> None:
    """Compare kernels on documents of very different lengths; outputs must agree."""
    drawn = np.random.default_rng(0).lognormal(5, 0.7, 16 if bench.quick else 256)
    layout = Layout(sorted(drawn.clip(16, 512).astype(int).tolist()), torch.device(bench.device))
    for model, (heads, width) in HEADS.items():
        q, k, v = torch.randn(3, layout.rows, heads, width, device=layout.device).half().unbind()
        expected = KERNELS["engine"](q.float(), k.float(), v.float(), layout)
        for name, kernel in KERNELS.items():
            try:
                work = partial(kernel, q, k, v, layout)
                apart = (work().float() - expected).abs().max().item()
                best = min(seconds(work, bench) for _ in range(2 if bench.quick else 20)) * 1e3
                line = f"{best:.2f} ms, differs by {apart:.4f}"
            except Exception as error:  # a device or a version of torch may lack a kernel
                line = f"left out: {str(error).splitlines()[0][:90]}"
            bench.report(f"attention {model} {name}", line)


def memory(bench: Bench) -> None:
    """Score while less and less memory is free, and compare with the scores before."""
    if not bench.device.startswith("cuda"):
        bench.report("memory", "left out: needs a CUDA device")
        return
    reranker = bench.ours("xlmr-large", "bfloat16")
    documents = bench.documents(512, 512)
    expected = logits(reranker, documents)
    runner = reranker.engine.runner(Deadline())
    assert runner is not None
    for left in (4.0, 2.0, 1.0, 0.5, 0.25):
        torch.cuda.empty_cache()
        room = torch.cuda.mem_get_info(bench.device)[0] - left * GIB
        filling = torch.empty(max(0, int(room)), dtype=torch.uint8, device=bench.device)
        apart = np.abs(logits(reranker, documents) - expected).max()
        line = f"batches of {runner.budget.tokens:,} tokens, logits differ by {apart:.4f}"
        bench.report(f"memory {left} GiB free", line)
        del filling
    release()


def logits(reranker: CrossEncoderReranker, documents: list[str]) -> npt.NDArray[np.floating]:
    """Return the logits of the documents; NaN where there is none."""
    raw = reranker.score(QUERY, documents, deadline=Deadline()).raw
    return np.array([np.nan if one is None else one for one in raw])


def seconds(work: Callable[[], object], bench: Bench) -> float:
    """Return how long ``work`` takes, until the device has ended."""
    wait = bench.device.startswith("cuda")
    if wait:
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if wait:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def release() -> None:
    """Unload all models."""
    registry.shutdown()
    gc.collect()
    torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=440, help="start no step after them")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        bench = Bench(options.device, options.seconds, quick=options.quick, folder=Path(folder))
        gpu = options.device.startswith("cuda")
        bench.report("device", torch.cuda.get_device_name(options.device) if gpu else "CPU")
        bench.report("torch", torch.__version__)
        for step in (correctness, latency, throughput, attention, memory):
            try:
                if bench.has_time(20):
                    step(bench)
            except Exception as error:  # the other steps still count
                traceback.print_exc()
                bench.report(step.__name__, f"failed: {type(error).__name__}")
        release()
    if options.json:
        options.json.write_text(json.dumps(bench.found, indent=2) + "\n")


if __name__ == "__main__":
    main()
