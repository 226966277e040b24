"""A classifier with BERT's model type whose logits have the opposite sign."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

from transformers import BertConfig, BertForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput


class OwnBertConfig(BertConfig):
    pass


class OwnBertForSequenceClassification(BertForSequenceClassification):
    config_class = OwnBertConfig

    def forward(self, *args: Any, **kwargs: Any) -> SequenceClassifierOutput:
        return SequenceClassifierOutput(logits=-super().forward(*args, **kwargs).logits)
