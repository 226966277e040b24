"""Compare the speed of embedders on the same weights (all-MiniLM-L6-v2), texts and machine.

In every round each of them embeds the same new documents. Ratios are relative to
SentenceTransformer.encode in the same round; the median over the rounds is printed. What is not
installed is reported and left out (``pip install --no-deps fastembed loguru`` beside newer
versions of the hub's client).

    python -m benchmarks.embedding [--rounds 5] [--words 60 200] [--one-core] [--json FILE]
    python -m benchmarks.embedding --quality DIR... [--documents 2000]

- SentenceTransformer: ``encode`` as it is (float32, batches of 32)
- fastembed: ``TextEmbedding`` on the exported ONNX file, mean pooling, its own batches of 256
- onnx, onnx-int8: this package's embedder on that file, and on the file quantized dynamically
- torch-...: this package's embedder on the checkpoint, in number formats

``--one-core`` uses one core and its CPU time, which other work on the machine hardly changes.
``--quality`` compares vectors with those of float32, and NDCG@10 of the vectors alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.checkpoints import all_minilm, english
from vecdb_rerank.embedders.onnx import OnnxEmbedder
from vecdb_rerank.embedders.torch import TorchEmbedder
from vecdb_rerank.evaluation import datasets, metrics
from vecdb_rerank.torch_engine.hardware import RerankerDType
from vecdb_rerank.torch_engine.products import product_rates

Vectors = npt.NDArray[np.floating]
Embed = Callable[[list[str]], Vectors]
BASE = "SentenceTransformer"
MAX_LENGTH = 256  # tokens, that of the checkpoint
DTYPES = ("float32", "bfloat16", "int8")


class Texts:
    """Random documents of English words; their lengths vary by a factor of about 1.5."""

    def __init__(self, seed: int = 0) -> None:
        self._words = [word for word in " ".join(english()).split() if word.isalpha()]
        self._random = np.random.default_rng(seed)

    def documents(self, count: int, words: int) -> list[str]:
        drawn = self._random.lognormal(0, 0.4, count)
        lengths = np.maximum(3, drawn / drawn.mean() * words).astype(int)
        return [" ".join(self._random.choice(self._words, n)) for n in lengths]


def contestants() -> Iterator[tuple[str, Callable[[], Embed]]]:
    """Yield the name of each embedder and a function that loads it."""
    folder = str(all_minilm())
    yield BASE, lambda: _sentence_transformer(folder)
    yield "fastembed", lambda: _fastembed(folder)
    for name, file in (("onnx", "model.onnx"), ("onnx-int8", "model_int8.onnx")):
        yield name, partial(_onnx, folder, file)
    for dtype in DTYPES:
        yield f"torch-{dtype}", partial(_torch, folder, cast("RerankerDType", dtype))


def _sentence_transformer(folder: str) -> Embed:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    return lambda texts: model.encode(texts, batch_size=32, show_progress_bar=False)


def _fastembed(folder: str) -> Embed:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        model="local/all-MiniLM-L6-v2",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="http://localhost/none"),  # it is in the folder
        dim=384,
        model_file="model.onnx",
    )
    model = TextEmbedding(
        "local/all-MiniLM-L6-v2", specific_model_path=folder, threads=torch.get_num_threads()
    )
    return lambda texts: np.array(list(model.embed(texts)))


def _onnx(folder: str, file: str) -> Embed:
    model = OnnxEmbedder(folder, file=file, pooling="mean", max_length=MAX_LENGTH)
    return lambda texts: np.array(model.embed_documents(texts))


def _torch(folder: str, dtype: RerankerDType) -> Embed:
    model = TorchEmbedder(folder, device="cpu", dtype=dtype)
    return lambda texts: np.array(model.embed_documents(texts))


def load_all(only: Sequence[str]) -> dict[str, Embed]:
    """Load and call each embedder once; report those that fail."""
    ready: dict[str, Embed] = {}
    for name, load in contestants():
        if only and name not in only:
            continue
        try:
            embed = load()
            embed(Texts(1).documents(40, 60))
        except Exception as error:  # of any kind
            why = " ".join(str(error).split())[:160]
            print(f"{name} is left out: {type(error).__name__}: {why}")
        else:
            ready[name] = embed
    return ready


def compare(
    ready: dict[str, Embed], words: int, rounds: int, clock: Callable[[], float]
) -> dict[str, dict[str, float]]:
    """Measure documents of about ``words`` words; print and return the results."""
    texts = Texts()
    count = 32 if words > 100 else 64  # short turns: the speed of a busy machine varies
    times: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(rounds):
        documents = texts.documents(count, words)
        for name, embed in ready.items():
            times[name].append(seconds(partial(embed, documents), clock))
    print(f"\n{words} words, {count} documents, {len(times[BASE])} rounds")
    found = {}
    for name, measured in times.items():
        ratios = [base / own for base, own in zip(times[BASE], measured, strict=True)]
        rate = count / statistics.median(measured)
        found[name] = {"documents_per_s": rate, "ratio": statistics.median(ratios)}
        print(
            f"  {name:20} {rate:8.1f} documents/s   x{statistics.median(ratios):5.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f})",
            flush=True,
        )
    return found


def quality(ready: dict[str, Embed], folder: Path, limit: int) -> None:
    """Print the cosines to float32's vectors, and NDCG@10 of the vectors alone."""
    dataset = datasets.load(folder)
    judged = {doc_id for grades in dataset.qrels.values() for doc_id in grades}
    corpus = {
        str(document["_id"]): f"{document.get('title', '')} {document.get('text', '')}".strip()
        for document in dataset.corpus
    }
    kept = sorted(corpus, key=lambda doc_id: doc_id not in judged)[: max(limit, 1)]
    queries = list(dataset.queries)
    exact: Vectors | None = None
    print(f"\n{folder.name}: {len(kept)} documents, {len(queries)} queries")
    for name, embed in ready.items():
        documents = embed([corpus[doc_id] for doc_id in kept])
        asked = embed([dataset.queries[query_id] for query_id in queries])
        best = np.argsort(-(asked @ documents.T), axis=1)[:, :10]
        ranked = {q: [kept[n] for n in row] for q, row in zip(queries, best, strict=True)}
        ndcg = metrics.quality(ranked, dataset.qrels, 10)["ndcg@10"]
        exact = documents if exact is None else exact
        cosines = (exact * documents).sum(1)
        print(
            f"  {name:20} NDCG@10 {ndcg:.4f}   cosine to {BASE}: mean {cosines.mean():.5f}, "
            f"least {cosines.min():.5f}",
            flush=True,
        )


def machine() -> str:
    """Return the instructions of this CPU that count here, and the speed of bare products."""
    features = torch.cpu.get_capabilities()
    names = [n for n, found in features.items() if found is True and n.startswith(("avx", "amx"))]
    products = ", ".join(f"{name} {rate:,.0f} GOP/s" for name, rate in product_rates().items())
    return f"{torch.get_num_threads()} threads; {' '.join(names)}; a matrix product: {products}"


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    work()
    return clock() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--words", type=int, nargs="+", default=[60, 200])
    parser.add_argument("--one-core", action="store_true")
    parser.add_argument("--only", nargs="+", default=[], help="names of embedders")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--quality", type=Path, nargs="+", default=[], metavar="DIR")
    parser.add_argument("--documents", type=int, default=2000, help="of each DIR")
    options = parser.parse_args()
    if options.one_core:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        torch.set_num_threads(1)
    print(machine(), flush=True)
    ready = load_all(options.only)
    for folder in options.quality:
        quality(ready, folder, options.documents)
    if not options.quality:
        clock = time.process_time if options.one_core else time.perf_counter
        found = {words: compare(ready, words, options.rounds, clock) for words in options.words}
        if options.json:
            options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
