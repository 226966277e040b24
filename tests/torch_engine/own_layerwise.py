"""A causal model with a head after each layer, for FlagEmbedding's layerwise reranker."""

# mypy: disable-error-code="no-untyped-call"
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaModel, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast


class OwnLayerwiseConfig(LlamaConfig):
    model_type = "vecdb-rerank-layerwise"
    start_layer: int = 1


class OwnLayerwiseForCausalLM(PreTrainedModel):
    config_class = OwnLayerwiseConfig
    base_model_prefix = "model"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = LlamaModel(config)
        count = config.num_hidden_layers + 1 - config.start_layer
        self.heads = nn.ModuleList([nn.Linear(config.hidden_size, 1) for _ in range(count)])
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        cutoff_layers: Sequence[int] | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        states = self.model(
            input_ids, attention_mask, output_hidden_states=True, use_cache=False
        ).hidden_states
        layers = cutoff_layers or [self.config.num_hidden_layers]
        heads = [self.heads[layer - self.config.start_layer] for layer in layers]
        logits: Any = tuple(
            head(states[layer])[..., 0] for head, layer in zip(heads, layers, strict=True)
        )
        return CausalLMOutputWithPast(logits=logits)
