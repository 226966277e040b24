"""Run a transformer in ONNX Runtime, one text at a time.

Nothing is padded. On a CPU padding costs more than batching gains. With int8 weights, whose
activations are scaled per call, a batch would also make the scores of its members depend on each
other. One single-threaded run per core at a time makes the best use of a CPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property, lru_cache
from operator import itemgetter
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from vecdb_rerank._checks import at_least
from vecdb_rerank._optional import require
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.flow.deadline import Deadline
from vecdb_rerank.model import Span
from vecdb_rerank.onnx.weights import Weights
from vecdb_rerank.tokenization.special_tokens import disable_special_tokens

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import onnxruntime
    from tokenizers import Tokenizer

    from vecdb_rerank.tokenization.pairs import Pair, PairEncoder

    Array: TypeAlias = npt.NDArray[np.float32]

Device = Literal["auto", "cpu", "cuda"]
# ONNX Runtime's fused residual and layer norm is not vectorized: it takes a fifth of the time of a
# MiniLM, the two operators a twentieth.
_SLOW_ON_CPU = ["SkipLayerNormFusion"]
T = TypeVar("T")
R = TypeVar("R")


class OnnxModel:
    """A model and its tokenizer; `load` returns the same one for the same files."""

    def __init__(self, weights: Weights, max_length: int, device: Device) -> None:
        at_least("max_length", max_length, 8)
        self.name: str = weights.name
        self.max_length = max_length
        self._session = _session(weights, device)
        self._inputs = {i.name for i in self._session.get_inputs()}
        self._output = self._session.get_outputs()[0]
        self._tokenizer = _tokenizer(weights)

    @property
    def width(self) -> int | str | None:
        """The last dimension of the output; a number if the model fixes it."""
        size: int | str | None = self._output.shape[-1]
        return size

    def run_pairs(
        self, query: str, documents: Sequence[str], deadline: Deadline
    ) -> list[tuple[Array, Pair] | None]:
        """Return the first output of each pair of ``query`` and a document, with the pair.

        None for documents that were not reached before the deadline. It includes tokenization,
        which takes long for long documents.
        """
        encoder = self._pair_encoder
        encoded = encoder.query(query)

        def run_pair(document: str) -> tuple[Array, Pair] | None:
            if deadline.expired:
                return None
            (pair,) = encoder.pairs(encoded, encoder.documents([document]))
            return self._run(encoder, pair), pair

        return in_parallel(run_pair, documents)

    def document_limit(self, query: str) -> int:
        """Return how many tokens of a long document are read together with ``query``."""
        return self._pair_encoder.document_limit(query)

    def token_offsets(self, text: str) -> Sequence[Span]:
        """Return the span of characters of ``text`` that each token stands for."""
        return self._pair_encoder.offsets(text)

    def run(self, texts: Sequence[str]) -> list[Array]:
        """Return the first output of each text, cut at ``max_length``, without its batch axis.

        Long texts are computed first: a core that ends with one would keep the others waiting.
        """
        encoder = self._text_encoder
        empty = encoder.query("")

        def run_text(text: str) -> Array:
            (pair,) = encoder.pairs(empty, encoder.documents([text]))
            return self._run(encoder, pair)

        order = sorted(range(len(texts)), key=lambda n: -len(texts[n]))
        outputs = in_parallel(run_text, [texts[n] for n in order])
        return [output for _, output in sorted(zip(order, outputs, strict=True), key=itemgetter(0))]

    @cached_property
    def _pair_encoder(self) -> PairEncoder:
        from vecdb_rerank.tokenization.pairs import PairEncoder, pair_template

        template = pair_template(self._tokenizer, typed="token_type_ids" in self._inputs)
        return PairEncoder(self._tokenizer, template, self.max_length)

    @cached_property
    def _text_encoder(self) -> PairEncoder:
        from vecdb_rerank.tokenization.pairs import PairEncoder, single_template

        return PairEncoder(self._tokenizer, single_template(self._tokenizer), self.max_length)

    def _run(self, encoder: PairEncoder, pair: Pair) -> Array:
        import numpy as np

        ids = encoder.template.ids_of([pair]).astype(np.int64)[None]
        feeds = {"input_ids": ids}
        if "attention_mask" in self._inputs:
            feeds["attention_mask"] = np.ones_like(ids)
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = encoder.template.types_of([pair]).astype(np.int64)[None]
        output: Array = self._session.run([self._output.name], feeds)[0][0]
        return output


@lru_cache(maxsize=8)
def load(weights: Weights, max_length: int, device: Device) -> OnnxModel:
    """Return the model of these files, loaded once per process."""
    return OnnxModel(weights, max_length, device)


def in_parallel(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Call ``work`` on every item, one item per core at a time; return the results in order."""
    return list(_workers(os.getpid()).map(work, items))


@cache
def _workers(_pid: int) -> ThreadPoolExecutor:  # by process: a pool does not survive a fork
    return ThreadPoolExecutor(cores(), thread_name_prefix="vecdb-rerank-onnx")


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _session(weights: Weights, device: Device) -> onnxruntime.InferenceSession:
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


def _providers(ort: ModuleType, device: Device) -> list[str]:
    cuda = "CUDAExecutionProvider" in ort.get_available_providers()
    if device == "cuda" and not cuda:
        raise ConfigurationError(
            "device",
            "this onnxruntime has no CUDA provider; install onnxruntime-gpu or use 'cpu'",
        )
    cpu = ["CPUExecutionProvider"]
    if not cuda or device == "cpu":
        return cpu
    if hasattr(ort, "preload_dlls"):  # since 1.21: finds the CUDA libraries that pip installed
        ort.preload_dlls()
    return ["CUDAExecutionProvider", *cpu]


def _tokenizer(weights: Weights) -> Tokenizer:
    """Load the tokenizer without the padding and truncation that its file may ask for."""
    library = require("tokenizers", "onnx")
    try:
        tokenizer: Tokenizer = library.Tokenizer.from_file(str(weights.tokenizer))
    except Exception as error:
        raise ConfigurationError(
            "model", f"{weights.tokenizer} cannot be loaded: {error}"
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    disable_special_tokens(tokenizer)
    return tokenizer
