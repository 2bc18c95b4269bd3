"""Encoder: a fine-tuned Transformer encoder, its tokenizer, and its parts."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from asc_core import modeling, probes
from asc_core.errors import UserError
from asc_core.probes import Readout
from asc_core.values import Plan, Shape

HEADS = {
    "embedding": "AutoModel",
    "sequence-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "intent-slots": "IntentSlots",
}
CLASS_ENDINGS = {
    "ForSequenceClassification": "sequence-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForIntentSlots": "intent-slots",
}
modeling.register()


@dataclass(frozen=True)
class PartSizes:
    """Parameters of each part of an encoder; per_head, per_neuron, per_layer_fixed: one entry a row.

    per_layer_fixed: biases and norms that only go with the whole layer. outside_layers: embeddings, pooler, task head.
    gated: whether the FFN is gated. window: tokens that each layer's attention spans, None = all. relative_span:
    see `_relative_span`.
    """

    outside_layers: int
    per_head: tuple[int, ...]
    per_neuron: tuple[int, ...]
    per_layer_fixed: tuple[int, ...]
    gated: bool
    window: tuple[int | None, ...]
    relative_span: int


class Encoder:
    """A model in evaluation mode and float32 (on a CPU, half precision would be hundreds of times slower).

    source: where it was loaded from. name: what people call it. head: one of `HEADS`.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Any, source: str, name: str | None = None):
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.source = source
        self.name = name or Path(source).name
        self.architecture = modeling.architecture_name(model.config)
        self._rows = modeling.rows_of(model)
        table = modeling.ARCHITECTURES[self.architecture]
        width = modeling.head_width(model.config)
        self.readouts: list[Readout] = []
        for row, layer in enumerate(self._rows):
            for kind, path, part in (("attention", table.attention_readout, width), ("ffn", table.ffn_readout, 1)):
                linear = modeling.submodule(layer, path)
                assert isinstance(linear, nn.Linear), path
                self.readouts.append(Readout(kind, row, linear, linear.in_features // part, part))
        for module in model.modules():
            if hasattr(module, "chunk_size_feed_forward"):
                module.chunk_size_feed_forward = 0  # chunks would call a readout several times a forward
        ffn_in = [module for row in self._rows if (module := modeling.submodule(row, table.ffn_in)) is not None]
        probes.install(model.base_model, self._rows, self.readouts, ffn_in)

    @cached_property
    def shape(self) -> Shape:
        by_kind = {kind: tuple(r.blocks for r in self.readouts if r.kind == kind) for kind in ("attention", "ffn")}
        return Shape(
            architecture=self.architecture,
            hidden=int(self.model.config.hidden_size),
            head_width=modeling.head_width(self.model.config),
            heads=by_kind["attention"],
            neurons=by_kind["ffn"],
            rows=tuple(modeling.executed_rows(self.model)),
            shares_weights=modeling.ARCHITECTURES[self.architecture].inner is not None,
        )

    @cached_property
    def weights(self) -> str:
        """Fingerprint of all weights: results belong to these numbers, not to a folder's name."""
        digest = hashlib.blake2b(digest_size=8)
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def head(self) -> str:
        name = type(self.model).__name__
        return next((head for ending, head in CLASS_ENDINGS.items() if name.endswith(ending)), "embedding")

    @property
    def max_length(self) -> int:
        """Tokens that fit, special tokens included. RoBERTa's positions start after the padding index."""
        config = self.model.config
        positions = int(config.max_position_embeddings)
        if self.architecture in ("roberta", "xlm-roberta", "camembert", "mpnet"):
            positions -= int(config.pad_token_id or 0) + 1
        if self.architecture == "deberta-v2" and not getattr(config, "position_biased_input", True):
            return int(min(self.tokenizer.model_max_length, 1 << 20))  # relative positions alone: no limit of its own
        return int(min(self.tokenizer.model_max_length, positions))

    @property
    def labels(self) -> tuple[str, ...]:
        names = self.model.config.id2label or {}
        return tuple(str(names[i]) for i in sorted(names, key=int))

    @property
    def slot_labels(self) -> tuple[str, ...]:
        names = getattr(self.model.config, "slot_id2label", None) or {}
        return tuple(str(names[i]) for i in sorted(names, key=int))

    @property
    def type_vocab_size(self) -> int:
        """Texts of one input that it tells apart by token types; 0 where it takes none, whatever its config says."""
        takes_them = "token_type_ids" in inspect.signature(self.model.forward).parameters
        return int(getattr(self.model.config, "type_vocab_size", 0) or 0) if takes_them else 0

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        return self.model(**inputs)

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    @cached_property
    def part_sizes(self) -> PartSizes:
        """How many parameters each part holds: what a cost model needs to know of this encoder."""
        table = modeling.ARCHITECTURES[self.architecture]

        def count(module: nn.Module | None) -> int:
            return 0 if module is None else sum(p.numel() for p in module.parameters())

        per_head, per_neuron, fixed = [], [], []
        for row, layer in enumerate(self._rows):
            attention, ffn = self.readouts[2 * row : 2 * row + 2]
            # Counted from one row of a feeder, so that it also holds where a cut has left no head at all.
            per_row = sum(
                (feeder.in_features + (feeder.bias is not None)) * table.stacked
                for feeder in modeling.feeding(table, layer, "attention")
            )
            ffn_in = modeling.submodule(layer, table.ffn_in)
            assert isinstance(ffn_in, nn.Linear)
            per_head.append(attention.width * (per_row + attention.linear.out_features))
            per_neuron.append(table.gates * (ffn_in.in_features + (ffn_in.bias is not None)) + ffn.linear.out_features)
            fixed.append(count(layer) - per_head[row] * attention.blocks - per_neuron[row] * ffn.blocks)
        windows = []
        for row in self.shape.rows:
            window = getattr(modeling.submodule(self._rows[row], table.attention), "sliding_window", None)
            windows.append(None if window is None else 2 * (int(window) - 1) + 1)
        return PartSizes(
            outside_layers=self.parameters - sum(map(count, self._rows)),
            per_head=tuple(per_head),
            per_neuron=tuple(per_neuron),
            per_layer_fixed=tuple(fixed),
            gated=table.gates == 2,
            window=tuple(windows),
            relative_span=_relative_span(self.model.config),
        )

    def cut(self, plan: Plan) -> Encoder:
        """A smaller encoder without the parts that a plan removes. This one stays as it is.

        Parameters that the cut does not touch (embeddings, norms, task head) are shared with this encoder.
        Raises: UserError where the plan is for another shape.
        """
        if plan.shape != self.shape:
            raise UserError(f"The plan is for {plan.shape}; this encoder is {self.shape}.")
        smaller = _copy_sharing(self.model)
        modeling.cut(smaller, plan.heads, plan.neurons, plan.layers)
        return Encoder(smaller, self.tokenizer, self.source, self.name)

    def copy(self) -> Encoder:
        """A copy that shares nothing, to train on."""
        model = copy.deepcopy(self.model)
        return Encoder(model, self.tokenizer, self.source, self.name)

    def to(self, device: str | torch.device) -> Encoder:
        """Raises: UserError where there is no such device."""
        try:
            self.model.to(device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"The device {device} cannot be used ({reason}): name another, such as cpu.") from None
        return self


def _copy_sharing(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of all modules and the configuration, on the same parameters and buffers."""
    shared: dict[int, Any] = {id(t): t for t in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def _relative_span(config: Any) -> int:
    """Relative positions that DeBERTa's disentangled attention projects for each layer, 0 elsewhere."""
    if not getattr(config, "relative_attention", False):
        return 0
    buckets = getattr(config, "position_buckets", -1)
    if buckets > 0:
        return int(buckets)
    most = getattr(config, "max_relative_positions", -1)
    return int(most if most > 0 else config.max_position_embeddings)
