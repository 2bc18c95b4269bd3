"""A BiLSTM over words: small where Transformers are large, and nearly all of it is its table of words (2012.00124).

Each layer reads a text from both sides; nothing of it is a head or a neuron that could be cut. Its matrices are modules
of their own, so that whatever can stand in place of a linear (factors, codes) can stand in theirs: `torch.lstm` is
given their dense values. Texts are padded on the right.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput, TokenClassifierOutput

from .intent_slots import IntentSlotsOutput
from .linears import bias, columns_of, matrix

try:
    from transformers import PreTrainedConfig
except ImportError:  # transformers 4 has it under another name
    from transformers import PretrainedConfig as PreTrainedConfig

MODEL_TYPE = "bilstm"
GATES = 4  # input, forget, cell, output: the order in which their rows lie


class BiLstmConfig(PreTrainedConfig):
    """hidden_size: of both directions together. unknown_rate: share of the words that training takes for unknown ones,
    so that there is something to make of those that it never sees."""

    model_type = MODEL_TYPE
    num_attention_heads = 1  # there are none; widths of plans and shapes are asked for by it

    def __init__(
        self,
        vocab_size: int = 1000,
        embedding_size: int = 300,
        hidden_size: int = 512,
        num_hidden_layers: int = 2,
        embedding_dropout: float = 0.3,
        hidden_dropout_prob: float = 0.3,
        unknown_rate: float = 0.05,
        pad_token_id: int = 0,
        unk_token_id: int = 1,
        sep_token_id: int = 2,
        **others: Any,
    ):
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.embedding_dropout = embedding_dropout
        self.hidden_dropout_prob = hidden_dropout_prob
        self.unknown_rate = unknown_rate
        self.unk_token_id = unk_token_id
        super().__init__(pad_token_id=pad_token_id, sep_token_id=sep_token_id, **others)
        self.pad_token_id, self.sep_token_id = pad_token_id, sep_token_id


class Reading(nn.Module):
    """One direction of a layer. inputs: (4 h, d) of what stands at a word. states: (4 h, h) of what was read so far."""

    def __init__(self, columns: int, width: int):
        super().__init__()
        self.inputs: nn.Module = nn.Linear(columns, GATES * width)
        self.states: nn.Module = nn.Linear(width, GATES * width, bias=False)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(B, T, d) to (B, T, h)"""
        offset = bias(self.inputs)
        assert offset is not None
        weights = [matrix(self.inputs), matrix(self.states), offset, torch.zeros_like(offset)]
        begin = hidden_states.new_zeros(1, len(hidden_states), columns_of(self.states))
        learns = self.training or torch.is_grad_enabled()  # cuDNN has gradients in training alone; nothing is dropped
        return torch.lstm(hidden_states, (begin, begin), weights, True, 1, 0.0, learns, False, True)[0]


class BiLstmLayer(nn.Module):
    """(B, T, d) to (B, T, 2 h): what was read up to each word from the left, and from the right."""

    def __init__(self, columns: int, width: int, dropout: float):
        super().__init__()
        self.rightward, self.leftward = Reading(columns, width), Reading(columns, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_states: torch.Tensor, reversed_places: torch.Tensor) -> torch.Tensor:
        """reversed_places: (B, T), for each place the one that stands there when a text is read from its end."""
        ahead = self.rightward(hidden_states)
        back = _at(self.leftward(_at(hidden_states, reversed_places)), reversed_places)
        return self.dropout(torch.cat((ahead, back), -1))


def _at(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[-1]))


def reversed_places(mask: torch.Tensor) -> torch.Tensor:
    """(B, T) from a mask (B, T) of texts padded on the right; padding stays where it is. It is its own inverse."""
    places = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    lengths = mask.long().sum(1, keepdim=True)
    return torch.where(places < lengths, lengths - 1 - places, places)


class BiLstmPreTrained(PreTrainedModel):
    config_class = BiLstmConfig
    base_model_prefix = "bilstm"

    def get_input_embeddings(self) -> nn.Module:
        return self.base_model.words

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.base_model.words = value

    @torch.no_grad()
    def _init_weights(self, module: Any) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.1)


class BiLstmModel(BiLstmPreTrained):
    def __init__(self, config: Any):
        super().__init__(config)
        if config.hidden_size % 2 or config.hidden_size < 2 or config.num_hidden_layers < 1:
            raise ValueError(
                f"a BiLSTM of hidden size {config.hidden_size} and {config.num_hidden_layers} layers has not two "
                "directions of one width"
            )
        if not 0 <= config.unknown_rate < 1:
            raise ValueError(f"its unknown_rate of {config.unknown_rate} is no share of the words below 1")
        self.words: nn.Module = nn.Embedding(config.vocab_size, config.embedding_size, config.pad_token_id)
        self.dropout = nn.Dropout(config.embedding_dropout)
        widths = [config.embedding_size, *[config.hidden_size] * (config.num_hidden_layers - 1)]
        dropouts = [*[config.hidden_dropout_prob] * (config.num_hidden_layers - 1), 0.0]  # the head has its own
        self.layers = nn.ModuleList(
            BiLstmLayer(width, config.hidden_size // 2, dropout)
            for width, dropout in zip(widths, dropouts, strict=True)
        )
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        output_hidden_states: bool = False,
        **others: Any,
    ) -> BaseModelOutput:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        states = self.dropout(self.words(self._some_unknown(input_ids, mask)))
        places, seen = reversed_places(mask), [states]
        for layer in self.layers:
            states = layer(states, places)
            seen.append(states)
        return BaseModelOutput(last_hidden_state=states, hidden_states=tuple(seen) if output_hidden_states else None)

    @torch.no_grad()
    def forget_little(self) -> None:
        """Begin with open forget gates, so that gradients reach far from the start (Jozefowicz et al. 2015)."""
        for reading in self.modules():
            if isinstance(reading, Reading):
                offset = bias(reading.inputs)
                assert offset is not None
                offset.chunk(GATES)[1].fill_(1.0)

    def _some_unknown(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.config.unknown_rate:
            return ids
        taken = (torch.rand(ids.shape, device=ids.device) < self.config.unknown_rate) & mask.bool()
        return ids.masked_fill(taken & (ids != self.config.sep_token_id), self.config.unk_token_id)


class _WithHead(BiLstmPreTrained):
    def __init__(self, config: Any):
        super().__init__(config)
        self.bilstm = BiLstmModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self._make_heads(config)
        self.post_init()

    def _make_heads(self, config: Any) -> None:
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)


def strongest(states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """(B, d): of each number the largest that it is at any word."""
    if mask is None:
        return states.amax(1)
    return states.masked_fill(~mask.bool()[..., None], torch.finfo(states.dtype).min).amax(1)


class BiLstmForSequenceClassification(_WithHead):
    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **others: Any
    ) -> SequenceClassifierOutput:
        found = self.bilstm(input_ids, attention_mask, **others)
        text = self.dropout(strongest(found.last_hidden_state, attention_mask))
        return SequenceClassifierOutput(logits=self.classifier(text), hidden_states=found.hidden_states)


class BiLstmForTokenClassification(_WithHead):
    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **others: Any
    ) -> TokenClassifierOutput:
        found = self.bilstm(input_ids, attention_mask, **others)
        states = self.dropout(found.last_hidden_state)
        return TokenClassifierOutput(logits=self.classifier(states), hidden_states=found.hidden_states)


class BiLstmForIntentSlots(_WithHead):
    """The intent by the text's strongest states, each word's slot by its own."""

    def _make_heads(self, config: Any) -> None:
        self.intent_classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.slot_classifier = nn.Linear(config.hidden_size, len(config.slot_id2label))

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, **others: Any
    ) -> IntentSlotsOutput:
        states = self.bilstm(input_ids, attention_mask, **others).last_hidden_state
        return IntentSlotsOutput(
            intent_logits=self.intent_classifier(self.dropout(strongest(states, attention_mask))),
            slot_logits=self.slot_classifier(self.dropout(states)),
        )


BILSTM_CLASSES: dict[str, type[PreTrainedModel]] = {
    "AutoModel": BiLstmModel,
    "AutoModelForSequenceClassification": BiLstmForSequenceClassification,
    "AutoModelForTokenClassification": BiLstmForTokenClassification,
    "IntentSlots": BiLstmForIntentSlots,
}
