"""The identity of an engine: a model and how it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

from vecdb_rerank._checks import at_least, check_type, integer, is_text, one_of
from vecdb_rerank.errors import ConfigurationError
from vecdb_rerank.torch_engine.hardware import DType, RerankerDType

INSTRUCTION = "{instruction}"
LIBRARIES = ("torch", "transformers", "safetensors")  # of the extra "torch"


@dataclass(frozen=True, slots=True)
class Prompt:
    """How a causal language model is asked whether a document answers a query.

    The model reads ``before`` + ``query`` + ``between`` + ``document`` + ``after``. Each part is
    tokenized separately, and ``{}`` in ``query`` and ``document`` is replaced by the text. The
    score is the logit of the next token ``yes``, minus that of ``no`` unless ``no`` is None.
    Special tokens are allowed in ``before``, ``between`` and ``after`` only. ``{instruction}`` in
    ``query`` is replaced by the instruction of a search, or by ``instruction``.
    """

    query: str
    document: str
    before: str = ""
    between: str = ""
    after: str = ""
    yes: str = "yes"
    no: str | None = "no"
    instruction: str = ""

    def __post_init__(self) -> None:
        for name, text in (("query", self.query), ("document", self.document)):
            if text.count("{}") != 1:
                raise ConfigurationError(
                    f"prompt.{name}", "must contain {} exactly once, where the text goes"
                )
        if self.instruction and not self.takes_instruction:
            raise ConfigurationError("prompt.instruction", "needs {instruction} in prompt.query")

    @property
    def takes_instruction(self) -> bool:
        """Whether an instruction has a place in it."""
        return INSTRUCTION in self.query


QWEN3 = Prompt(
    before=(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query "
        'and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n"
    ),
    query="<Instruct>: {instruction}\n<Query>: {}\n",
    document="<Document>: {}",
    after="<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    instruction="Given a web search query, retrieve relevant passages that answer the query",
)
GEMMA = Prompt(
    before="<bos>",
    query="A: {}",
    between="\n",
    document="B: {}",
    after=(
        "\nGiven a query A and a passage B, determine whether the passage contains an answer to "
        "the query by providing a prediction of either 'Yes' or 'No'."
    ),
    yes="Yes",
    no=None,
)
PROMPTS = {"qwen3": QWEN3, "gemma": GEMMA}


@dataclass(frozen=True, slots=True)
class Spec:
    """A model and how it runs; calls with equal specs share one engine.

    ``encoder_only`` specs load a model without its head, for token vectors.
    """

    encoder_only: ClassVar[bool] = False
    formats: ClassVar[tuple[str, ...]] = get_args(RerankerDType)
    model: str
    revision: str | None = None
    max_length: int = 512
    device: str = "auto"
    dtype: str = "auto"
    prompt: Prompt | None = None
    trust_remote_code: bool = False
    compile: bool = False
    fused: bool = True
    batch_tokens: int | None = None
    token_cache_mb: float = 64.0
    score_cache_mb: float = 32.0

    def __post_init__(self) -> None:
        is_text("model", self.model, "a folder or a hub id (organisation/name)")
        check_type("revision", self.revision, str)
        object.__setattr__(self, "max_length", integer("max_length", self.max_length, 8))
        one_of("dtype", self.dtype, self.formats)
        if self.dtype == "int8" and self.compile:
            raise ConfigurationError("compile", "must be false if dtype is 'int8'")
        if self.batch_tokens is not None:
            at_least("batch_tokens", self.batch_tokens, 1)
        at_least("token_cache_mb", self.token_cache_mb, 0)
        at_least("score_cache_mb", self.score_cache_mb, 0)


@dataclass(frozen=True, slots=True)
class VectorSpec(Spec):
    """A model for token vectors; ``score_cache_mb`` is the memory for those that are cached."""

    encoder_only: ClassVar[bool] = True
    formats: ClassVar[tuple[str, ...]] = get_args(DType)


@dataclass(frozen=True, slots=True)
class EmbeddingSpec(Spec):
    """A sentence-transformers checkpoint, which makes one vector of a text."""

    encoder_only: ClassVar[bool] = True
