"""Running a transformer in ONNX Runtime, one text at a time.

Nothing is padded: on a CPU that costs more than batching gains, and with int8 weights, whose
activations are scaled per call, a batch would make the scores of its members depend on each
other. One single-threaded run per core at a time is the fastest use of a CPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Span
from vecdb_rerank.onnx.weights import Weights

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from tokenizers import Encoding, Tokenizer

    Array = npt.NDArray[np.float32]

Device = Literal["auto", "cpu", "cuda"]
# Its fused residual and layer norm is not vectorized: a fifth of a MiniLM, a twentieth apart.
_SLOW_ON_CPU = ["SkipLayerNormFusion"]
T = TypeVar("T")
R = TypeVar("R")


class OnnxModel:
    """A model and its tokenizer, shared by all who load the same files."""

    def __init__(self, weights: Weights, max_length: int, device: Device) -> None:
        if max_length < 8:
            raise ConfigurationError("max_length", f"{max_length} is below 8 tokens")
        self.name: str = weights.name
        self.max_length = max_length
        self._session = _session(weights, device)
        self._inputs = {i.name for i in self._session.get_inputs()}
        self._output = self._session.get_outputs()[0]
        self._plain = _tokenizer(weights)
        self._single = _tokenizer(weights, max_length, "longest_first")
        self._pair = _tokenizer(weights, max_length, "only_second")

    @property
    def width(self) -> int | str | None:
        """The last dimension of the output, where the model fixes it."""
        size: int | str | None = self._output.shape[-1]
        return size

    def run_pairs(
        self, query: str, documents: Sequence[str], deadline: Deadline
    ) -> list[tuple[Array, bool] | None]:
        """The first output of each (query, document) and whether the document was cut to fit.

        None past the deadline, which counts for the tokenizer too: long documents take it long.
        A query longer than half of the room is cut to that half first, for all documents alike.
        """
        query = self._fitting(query)

        def one(document: str) -> tuple[Array, bool] | None:
            if deadline.expired:
                return None
            encoding = self._pair.encode(query, document)
            return self._run(encoding), bool(encoding.overflowing)

        return in_parallel(one, documents)

    def room(self, query: str) -> int:
        """The tokens that a document may have beside ``query`` before it is cut."""
        special = self._pair.num_special_tokens_to_add(True)
        asked = len(self.token_offsets(self._fitting(query)))
        return self.max_length - special - asked

    def token_offsets(self, text: str) -> Sequence[Span]:
        """The characters of ``text`` that each of its tokens stands for."""
        offsets: Sequence[Span] = self._plain.encode(text, add_special_tokens=False).offsets
        return offsets

    def run(self, texts: Sequence[str]) -> list[Array]:
        """The first output of each text, cut at ``max_length``, without its batch axis."""
        return in_parallel(self._run, self._single.encode_batch(list(texts)))

    def _run(self, encoding: Encoding) -> Array:
        import numpy as np

        ids = np.array([encoding.ids], dtype=np.int64)
        feeds: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.array([encoding.type_ids], dtype=np.int64),
        }
        feeds = {name: value for name, value in feeds.items() if name in self._inputs}
        output: Array = self._session.run([self._output.name], feeds)[0][0]
        return output

    def _fitting(self, query: str) -> str:
        room = (self.max_length - self._pair.num_special_tokens_to_add(True)) // 2
        offsets = self.token_offsets(query)
        return query if len(offsets) <= room else query[: offsets[room - 1][1]]


@lru_cache(maxsize=8)
def load(weights: Weights, max_length: int, device: Device) -> OnnxModel:
    """The model of these files, loaded once per process."""
    return OnnxModel(weights, max_length, device)


def in_parallel(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """``work`` on every item, one item per core at a time, results in order."""
    return list(_workers(os.getpid()).map(work, items))


@cache
def _workers(_pid: int) -> ThreadPoolExecutor:  # by process: a pool does not survive a fork
    return ThreadPoolExecutor(cores(), thread_name_prefix="vecdb-rerank-onnx")


def cores() -> int:
    """The cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _session(weights: Weights, device: Device) -> Any:
    ort = require("onnxruntime", "onnx")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = _providers(ort, device)
    slow = _SLOW_ON_CPU if providers[0] == "CPUExecutionProvider" else []
    try:
        return ort.InferenceSession(
            str(weights.onnx), options, providers=providers, disabled_optimizers=slow
        )
    except Exception as error:
        raise ConfigurationError("model", f"{weights.onnx} cannot be loaded: {error}") from error


def _providers(ort: Any, device: Device) -> list[str]:
    cuda = "CUDAExecutionProvider" in ort.get_available_providers()
    if device == "cuda" and not cuda:
        raise ConfigurationError(
            "device", "no CUDA provider in this onnxruntime; install onnxruntime-gpu or use 'cpu'"
        )
    cpu = ["CPUExecutionProvider"]
    if not cuda or device == "cpu":
        return cpu
    if hasattr(ort, "preload_dlls"):  # since 1.21: finds CUDA's libraries where pip put them
        ort.preload_dlls()
    return ["CUDAExecutionProvider", *cpu]


def _tokenizer(
    weights: Weights, max_length: int | None = None, strategy: str = "longest_first"
) -> Tokenizer:
    """The tokenizer with its file's own padding and truncation replaced by ours."""
    library = require("tokenizers", "onnx")
    try:
        tokenizer: Tokenizer = library.Tokenizer.from_file(str(weights.tokenizer))
    except Exception as error:
        raise ConfigurationError(
            "model", f"{weights.tokenizer} cannot be loaded: {error}"
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if max_length is not None:
        tokenizer.enable_truncation(max_length, strategy=strategy)
    return tokenizer
