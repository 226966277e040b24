"""Compare whole searches: query text in, ten reranked hits out, with what people build them from.

All contestants search one database with the same vectors and the same BM25, hand 50 documents to
the same cross-encoder, and return ten. Each is set up as its own documentation recommends, and
finds the documents indexed in its own format. In the table, *int8* is the bundled ONNX file and
*float32* the same weights converted back (benchmarks/checkpoints.py), for a library that takes
torch models alone.

For each query all contestants run one after another, in a new random order, so that a busy moment
of the machine affects all of them. *pairs* is the mean number of documents that the reranker reads,
*lines* the length of the contestant's function in benchmarks/end_to_end_qdrant.py or
benchmarks/end_to_end_opensearch.py, without blank lines.

    python -m benchmarks.end_to_end DIR... [--opensearch URL] [--queries 20] [--out FILE]

Each DIR is a collection in the BEIR layout. Vectors of documents are kept in the user's cache. With
``--out``, measurements are appended to FILE query by query, and queries in it are not measured
again: a call may be stopped, and the table covers the whole file. ``--queries 0`` prints it.

Contestants that are not installed are named and left out. sentence-transformers' ONNX backend needs
transformers 4, so all of them fit only into an environment of their own:

    uv venv peers
    uv pip install --python peers -e '.[qdrant,opensearch,offline,evaluation]' flashrank rerankers \
        'sentence-transformers[onnx]==5.7.0' onnx sentence-transformers-haystack \
        langchain-classic langchain-community langchain-qdrant llama-index-vector-stores-qdrant \
        llama-index-vector-stores-opensearch qdrant-haystack opensearch-haystack
    PYTHONPATH=.:connectors peers/bin/python -m benchmarks.end_to_end DIR...
"""

from __future__ import annotations

import argparse
import inspect
import json
import logging
import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.checkpoints import minilm
from vecdb_rerank.embedders.onnx import OnnxEmbedder
from vecdb_rerank.evaluation import datasets, metrics
from vecdb_rerank.evaluation.cache import CachedEmbedder
from vecdb_rerank.onnx.weights import BUNDLED, MS_MARCO_MINILM, locate
from vecdb_rerank.protocols import Embedder, Vector
from vecdb_rerank.text_fields import TextFields

K, LIMIT = 50, 10
INT8 = {"file_name": "onnx/model.onnx", "provider": "CPUExecutionProvider"}
FLASHRANK = "ms-marco-MiniLM-L-12-v2"


@dataclass(frozen=True)
class Setup:
    """What contestants share: a filled database, the embedder, and the reranker's files.

    ``model`` is a checkpoint in float32 that also has the int8 ONNX file; the folder around it is
    FlashRank's cache.
    """

    client: Any
    embedder: Embedder
    model: Path


Search = Callable[[str], tuple[list[str], int]]
"""Returns the ids of ten hits, best first, and how many documents the reranker read."""
Contestants = Mapping[str, Callable[[Setup], Search]]
"""The function that sets up each contestant, by name."""


@dataclass(frozen=True)
class Documents:
    """The documents of a collection: ids, texts, and vectors of shape (documents, dimension)."""

    ids: list[str]
    texts: list[str]
    vectors: list[Vector]


def documents(dataset: datasets.Dataset, embedder: OnnxEmbedder) -> Documents:
    """Return the documents of a collection that have text."""
    texts = {str(each["_id"]): TextFields().text(each) for each in dataset.corpus}
    texts = {n: text for n, text in texts.items() if text.strip()}
    with closing(CachedEmbedder(embedder, embedder.name)) as cached:
        vectors = cached.embed_documents([*texts.values()])
    return Documents([*texts], [*texts.values()], [*vectors])


def checkpoint(folder: Path) -> Path:
    """Write the reranker in float32 and int8, under the names that the contestants look for."""
    model = folder / FLASHRANK
    shutil.copytree(minilm(), model)
    (model / "onnx").mkdir()
    int8 = locate(BUNDLED, MS_MARCO_MINILM).onnx
    shutil.copyfile(int8, model / INT8["file_name"])
    shutil.copyfile(int8, model / "flashrank-MiniLM-L-12-v2_Q.onnx")
    return model


def load(contestants: Contestants, setup: Setup, warm: Iterable[str]) -> dict[str, Search]:
    """Set up and warm up each contestant; name those that fail."""
    ready = {}
    for name, prepare in contestants.items():
        try:
            search = prepare(setup)
            for query in warm:
                search(query)
        except Exception as error:  # of any kind
            why = " ".join(str(error).split())[:200]
            print(f"{name} is left out: {type(error).__name__}: {why}", flush=True)
        else:
            ready[name] = search
    return ready


def measure(search: Search, query: str) -> dict[str, object]:
    started = time.perf_counter()
    ids, pairs = search(query)
    return {"ms": (time.perf_counter() - started) * 1e3, "pairs": pairs, "ids": ids}


def lines(prepare: Callable[[Setup], Search]) -> int:
    """Return the number of lines of a function that are not blank."""
    return sum(bool(line.strip()) for line in inspect.getsource(prepare).splitlines())


def table(
    rows: list[dict[str, Any]], qrels: Mapping[str, datasets.Qrels], contestants: Contestants
) -> str:
    """Return a Markdown table; rows are measurements, ``qrels`` are judgments by collection."""
    head = " | ".join(f"{name}: NDCG@10 | p50 ms | p95 ms | pairs" for name in qrels)
    found = [f"| | {head} | lines |", "| --- " + "| ---: " * (4 * len(qrels) + 1) + "|"]
    for name, prepare in contestants.items():
        cells = []
        for collection, judged in qrels.items():
            mine = [r for r in rows if (r["contestant"], r["collection"]) == (name, collection)]
            if mine:
                ndcg = statistics.fmean(metrics.ndcg(r["ids"], judged[r["query"]]) for r in mine)
                times = metrics.latency([r["ms"] for r in mine])
                pairs = statistics.fmean(r["pairs"] for r in mine)
                cells.append(
                    f"{ndcg:.3f} | {times['p50']:,.0f} | {times['p95']:,.0f} | {pairs:.0f}"
                )
            else:
                cells.append("| | |")
        found.append(f"| {name} | {' | '.join(cells)} | {lines(prepare)} |")
    return "\n".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--opensearch", metavar="URL", help="instead of an embedded Qdrant")
    parser.add_argument("--queries", type=int, help="of each collection, in this call")
    parser.add_argument("--out", type=Path, help="keep measurements in this file")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # FlashRank would set INFO for all, at which CrossEncoder draws a bar; Haystack would call home.
    logging.basicConfig(level=logging.WARNING)
    os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
    if options.opensearch:
        from benchmarks import end_to_end_opensearch as database
    else:
        from benchmarks import end_to_end_qdrant as database  # type: ignore[no-redef]
    out: Path | None = options.out
    rows = [json.loads(r) for r in out.read_text().splitlines()] if out and out.exists() else []
    known = {(row["collection"], row["query"]) for row in rows}
    shuffle = random.Random(options.seed)
    embedder = OnnxEmbedder()
    qrels = {}
    with TemporaryDirectory() as folder:
        model = checkpoint(Path(folder))
        for path in options.folders:
            dataset = datasets.load(path)
            qrels[path.name] = dataset.qrels
            left = [query for query in dataset.queries if (path.name, query) not in known]
            left = shuffle.sample(left, len(left))[: options.queries]
            if not left:
                continue
            with database.filled(documents(dataset, embedder), options.opensearch) as client:
                warm = [*dataset.queries.values()][:1]
                setup = Setup(client, embedder, model)
                ready = load(database.CONTESTANTS, setup, warm)
                for query in left:
                    new = []
                    for name in shuffle.sample([*ready], len(ready)):
                        measured = measure(ready[name], dataset.queries[query])
                        where = {"collection": path.name, "query": query, "contestant": name}
                        new.append({**where, **measured})
                    rows += new
                    if out:
                        with out.open("a") as file:
                            file.writelines(json.dumps(row) + "\n" for row in new)
    for name in qrels:
        count = len({row["query"] for row in rows if row["collection"] == name})
        print(f"{name}: {count} queries", flush=True)
    print(table(rows, qrels, database.CONTESTANTS))


if __name__ == "__main__":
    main()
