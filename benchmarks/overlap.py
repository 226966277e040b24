"""Measure embedding alone, writing alone, and `add`, which embeds while it writes.

    python -m benchmarks.overlap qdrant [--documents 512]
    python -m benchmarks.overlap http://127.0.0.1:9200     # an OpenSearch node

``qdrant`` is embedded, in memory. The embedder is `torch` with all-MiniLM-L6-v2.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

from benchmarks.checkpoints import all_minilm
from benchmarks.embedding import Texts, seconds
from vecdb_rerank.config import factory
from vecdb_rerank.embedders.torch import TorchEmbedder
from vecdb_rerank.ingest.model import Document


def measure(where: str, count: int) -> None:
    """Print the time of embedding, of writing, and of `add`, which does both at once."""
    embedder = TorchEmbedder(str(all_minilm()), device="cpu")
    texts = Texts().documents(count, 60)
    embedder.embed_documents(texts[:32])
    batches = [texts[n : n + 64] for n in range(0, count, 64)]
    vectors = []

    def embed() -> None:
        vectors.extend([vector for batch in batches for vector in embedder.embed_documents(batch)])

    alone = seconds(embed)
    given = [
        Document(n, {"text": text}, vector)
        for n, (text, vector) in enumerate(zip(texts, vectors, strict=True))
    ]
    plain = [Document(n, {"text": text}) for n, text in enumerate(texts)]
    times = []
    for number, documents in enumerate((given, plain)):
        place = {"path": ":memory:"} if where == "qdrant" else {"type": "opensearch", "url": where}
        backend = {"collection": f"overlap-{time.time_ns()}-{number}", **place}
        with factory.connect(
            backend=backend,
            embedder={"type": "torch", "model": str(all_minilm()), "device": "cpu"},
            reranker={"type": "none"},
        ) as connector:
            connector.create()
            connector.warmup()
            times.append(seconds(partial(connector.add, documents)))
    written, both = times
    print(
        f"{where}: {count} documents of 60 words: embedding {alone:.2f} s, "
        f"writing {written:.2f} s, add {both:.2f} s, {both / (alone + written):.0%} of their sum"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("where", metavar="qdrant|URL")
    parser.add_argument("--documents", type=int, default=512)
    options = parser.parse_args()
    measure(options.where, options.documents)


if __name__ == "__main__":
    main()
