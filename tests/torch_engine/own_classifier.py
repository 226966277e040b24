"""A classifier that transformers does not have, as code that comes with a checkpoint."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class OwnConfig(PreTrainedConfig):
    model_type = "vecdb-rerank-own"
    vocab_size: int = 1_000
    width: int = 32


class OwnForSequenceClassification(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.width)
        self.layer = nn.TransformerEncoderLayer(config.width, 2, 64, 0.0, batch_first=True)
        self.classifier = nn.Linear(config.width, 1)
        self.post_init()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any
    ) -> SequenceClassifierOutput:
        hidden = self.layer(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        return SequenceClassifierOutput(logits=self.classifier(hidden[:, 0]))
