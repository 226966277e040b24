"""Tokenizers of the kinds that models use."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING

from benchmarks import checkpoints

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

MAKERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "wordpiece": checkpoints.wordpiece_tokenizer,
    "unigram": lambda: checkpoints.unigram_tokenizer(checkpoints.english()[:800], 1_000),
    "roberta": lambda: checkpoints.byte_tokenizer(checkpoints.english()[:800], 800, roberta=True),
    "bare": lambda: checkpoints.byte_tokenizer(checkpoints.english()[:800], 800, roberta=False),
}


@cache
def make(name: str) -> PreTrainedTokenizerFast:
    """Return the tokenizer ``name``, made once."""
    return MAKERS[name]()


def backend(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """Return a copy of the tokenizer inside that neither pads nor truncates."""
    copy: Tokenizer = deepcopy(tokenizer.backend_tokenizer)
    copy.no_padding()
    copy.no_truncation()
    return copy
