"""Write the vectors of the demo's passages: run it after a passage has changed.

python -m benchmarks.handbook_vectors
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vecdb_rerank import OnnxEmbedder, TextFields, demo
from vecdb_rerank.demo.handbook import passages

FILE = Path(demo.__file__).with_name("data") / "vectors.npy"


def main() -> None:
    """Embed all passages with the bundled embedder."""
    texts = [TextFields().text(passage.document()) for passage in passages()]
    np.save(FILE, np.asarray(OnnxEmbedder().embed_documents(texts), dtype=np.float16))
    print(f"{len(texts)} vectors in {FILE}")


if __name__ == "__main__":
    main()
