"""A tokenizer that comes with a checkpoint; it removes the letter e."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

from tokenizers import normalizers
from transformers import BertTokenizer


class OwnTokenizer(BertTokenizer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.backend_tokenizer.normalizer = normalizers.Replace("e", "")
