"""Joint intent classification and slot filling: two linear heads on one encoder (JointBERT, 1902.10909)."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import transformers
from torch import nn
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES
from transformers.utils import ModelOutput


@dataclass
class IntentSlotsOutput(ModelOutput):
    """intent_logits: (B, intents). slot_logits: (B, T, slot tags)."""

    intent_logits: torch.Tensor | None = None
    slot_logits: torch.Tensor | None = None


@cache
def intent_slots_class(model_type: str) -> type[PreTrainedModel]:
    """Of an architecture. config.id2label names the intents, config.slot_id2label the slot tags."""
    encoder_class = getattr(transformers, MODEL_MAPPING_NAMES[model_type])
    prefix = encoder_class.base_model_prefix
    pooler = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(encoder_class).parameters else {}
    pretrained = next(c for c in encoder_class.__mro__ if PreTrainedModel in c.__bases__)

    def __init__(self: Any, config: Any) -> None:
        pretrained.__init__(self, config)
        setattr(self, prefix, encoder_class(config, **pooler))
        dropout = next((getattr(config, n) for n in ("hidden_dropout_prob", "dropout") if hasattr(config, n)), 0.1)
        self.dropout = nn.Dropout(dropout)
        self.intent_classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.slot_classifier = nn.Linear(config.hidden_size, len(config.slot_id2label))
        self.post_init()

    def forward(self: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, **kwargs: Any) -> IntentSlotsOutput:
        states = getattr(self, prefix)(input_ids=input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        states = self.dropout(states)
        return IntentSlotsOutput(
            intent_logits=self.intent_classifier(states[:, 0]), slot_logits=self.slot_classifier(states)
        )

    name = f"{encoder_class.__name__.removesuffix('Model')}ForIntentSlots"
    return type(name, (pretrained,), {"__init__": __init__, "forward": forward, "__module__": __name__})
