"""Texts that leave between layers: {"kind": "exits", "layers": [numbers], "sure": probability, "leaving": [shares]}.

Behind each of `layers` a linear head reads the first token's state. In inference a text whose largest class probability
there is above `sure` leaves with that head's logits, and the layers above run on the others alone (as DeeBERT, Xin et
al. 2020, arXiv 2004.12993, section 3, which asks for a small entropy). With sure = 1 no text leaves. leaving: the share
of an application's texts that left at each, by which the mean cost is counted. In training every text goes through.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from .architectures import architecture_of, layers_of, rows_of
from .layer_calls import argument_places, arguments, named, positional
from .structure import Entry, State, Structure, ascending

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig


class Exits(Structure):
    kind = "exits"
    of_transformers = True
    after = frozenset({"cut", "factor", "quantize", "share", "vocabulary"})
    fields = frozenset({"layers", "sure", "leaving"})
    every_token = False

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        if not entry["layers"] or not ascending(entry["layers"], int(config.num_hidden_layers)):
            raise ValueError("its exits are behind no layers of the model, in ascending order")
        if type(entry["sure"]) not in (int, float) or not 0 < entry["sure"] <= 1:
            raise ValueError(f"its texts leave above {entry['sure']!r}, which is no probability above 0")
        leaving = entry["leaving"]
        numbers = isinstance(leaving, list) and all(type(share) in (int, float) and share >= 0 for share in leaving)
        if not numbers or len(leaving) != len(entry["layers"]) or not sum(leaving) <= 1 + 1e-6:
            raise ValueError("its shares of texts that leave are not one for each exit, together at most 1")

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        refusal = exits_refusal(model)
        if refusal is not None:
            raise ValueError(refusal)
        if entry["layers"][-1] >= len(layers_of(model)) - 1:
            raise ValueError("behind its last layer the model's own head stands: texts leave below that")
        like, config = next(model.parameters()), model.config
        heads = [
            nn.Linear(int(config.hidden_size), int(config.num_labels), device=like.device) for _ in entry["layers"]
        ]
        made: Any = model
        made.exits = nn.ModuleList(heads).requires_grad_(False)
        made.exit_rule = ExitRule(tuple(entry["layers"]), float(entry["sure"]))
        model.register_forward_pre_hook(_begin)
        model.register_forward_hook(_end, with_kwargs=True, always_call=True)
        for row in rows_of(model):
            layer_class: Any = type(row)
            row.__class__ = _leaving(layer_class)
            row.register_forward_pre_hook(_count)

    def needs(self, model: PreTrainedModel, entry: Entry) -> tuple[str, ...]:
        return tuple(f"exits.{i}.{name}" for i in range(len(entry["layers"])) for name in ("weight", "bias"))

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        raise ValueError("the original's class takes every text through every layer")

    def lengths(self, entry: Entry, lengths: Sequence[int], layer: int) -> Sequence[int]:
        """Those of as many texts as get so far, evenly among the shorter and the longer ones."""
        gone = sum(share for at, share in zip(entry["layers"], entry["leaving"], strict=True) if at < layer)
        number = round(len(lengths) * max(0.0, 1 - gone))
        ordered = sorted(lengths)
        return [ordered[(2 * i + 1) * len(ordered) // (2 * number)] for i in range(number)]


def exits_refusal(model: PreTrainedModel) -> str | None:
    """Why texts cannot leave between a model's layers; None where they can."""
    if not type(model).__name__.endswith("ForSequenceClassification"):
        return "only a head that classifies whole texts can be sure of one before the last layer"
    if int(model.config.num_labels) < 2 or model.config.problem_type in ("regression", "multi_label_classification"):
        return "its head says no probabilities of one class among several, by which a text could be sure"
    if not architecture_of(model).positions_at_input:
        return f"the layers of {model.config.model_type} read more of a batch than its states and mask"
    return None


@dataclass(frozen=True)
class ExitRule:
    """layers: behind which texts may leave. sure: the probability above which they do."""

    layers: tuple[int, ...]
    sure: float


@dataclass
class _Pass:
    """One forward pass. rows: (texts,) that are still there, None = all. said: (B, classes), what texts left with.
    left: (B,) bool. in_tuples: whether layers return them."""

    rule: ExitRule
    heads: Any
    layer: int = -1
    rows: Tensor | None = None
    said: Tensor | None = None
    left: Tensor | None = None
    in_tuples: bool = False

    def part(self, states: Tensor, texts: int) -> None:
        """Behind the running layer: who is sure leaves. states: (rows, T, d). texts: of the whole batch."""
        logits = self.heads[self.rule.layers.index(self.layer)](states[:, 0])
        sure = logits.softmax(-1).amax(-1) > self.rule.sure
        rows = torch.arange(texts, device=logits.device) if self.rows is None else self.rows
        if self.said is None or self.left is None:
            self.said = logits.new_zeros(texts, logits.shape[-1])
            self.left = torch.zeros(texts, dtype=torch.bool, device=logits.device)
        self.said = self.said.index_copy(0, rows[sure], logits[sure])
        self.left = self.left.index_fill(0, rows[sure], True)
        self.rows = rows[~sure]


_PASS: ContextVar[_Pass | None] = ContextVar("asc_exits_pass", default=None)


def _begin(model: Any, args: tuple) -> None:
    _PASS.set(None if model.training else _Pass(model.exit_rule, model.exits))


def _end(model: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
    here = _PASS.get()
    _PASS.set(None)
    if here is None or here.left is None or here.said is None or output is None:
        return None
    if isinstance(output, tuple):
        raise ValueError("texts that left have logits of their own: ask for outputs by name, without return_dict=False")
    output["logits"] = torch.where(here.left[:, None], here.said, output["logits"])
    if output.get("loss") is not None:
        output["loss"] = functional.cross_entropy(output["logits"], kwargs["labels"])
    return output


def _count(layer: nn.Module, args: tuple) -> None:
    here = _PASS.get()
    if here is not None:
        here.layer += 1


@cache
def _leaving(layer_class: Any) -> Any:
    """The class of a layer that runs on the texts that are there, and leaves the others' states as they are."""

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        here = _PASS.get()
        if here is None:
            return layer_class.forward(self, *args, **kwargs)
        hidden_at, mask_at = argument_places(args, kwargs)
        given = arguments(args, kwargs)
        hidden = given[hidden_at]
        if here.rows is not None and not len(here.rows):
            return (hidden, None) if here.in_tuples else hidden
        if here.rows is not None and len(here.rows) < len(hidden):
            mask = given.get(mask_at)
            given[hidden_at] = hidden[here.rows]
            given[mask_at] = mask[here.rows] if isinstance(mask, Tensor) and len(mask) == len(hidden) else mask
        output = layer_class.forward(self, *positional(given), **named(given))
        here.in_tuples = isinstance(output, tuple)
        written = output[0] if here.in_tuples else output
        whole = written if len(written) == len(hidden) else hidden.index_copy(0, here.rows, written)
        if here.layer in here.rule.layers:
            here.part(written, len(hidden))
        return (whole, *output[1:]) if here.in_tuples else whole

    return type(f"Leaving{layer_class.__name__}", (layer_class,), {"forward": forward})
