"""Tokens that leave between layers: {"kind": "tokens", "keep": [share of a text's tokens that enters each layer],
"safe": [ids], "by": "attention" or "effect"}.

Behind a layer the least significant tokens of each text leave, so many that ceil(share * its tokens) enter the next. A
token that left keeps the state that it left with: seen from outside, every layer reads and writes (B, T, d), so that
heads, probes and poolings find every position again. The first token of a text leaves never, and the tokens of `safe`
(separators) last.

by "attention": a token's significance is the attention that it receives in the layer, summed over heads and over the
tokens that attend (PoWER-BERT, Goyal et al. 2020, arXiv 2001.08950, section 3.1). by "effect": a linear function of its
state behind the layer, with weights of its own for each layer that fewer tokens enter; see `compress.token_effects`.

How many of a text's tokens stay depends on that text alone, so a batch's company changes no answer beyond rounding;
where two tokens are as significant as each other to the last digits, rounding decides which one stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .architectures import architecture_of, head_width, layers_of, rows_of, submodule
from .layer_calls import argument_places, arguments, named, positional
from .linears import columns_of
from .structure import Entry, State, Structure, whole_numbers

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig

BY = ("attention", "effect")
PARTS = 1000  # shares are whole thousandths, so that tokens are counted in whole numbers everywhere alike


class Tokens(Structure):
    kind = "tokens"
    of_transformers = True
    after = frozenset({"cut", "factor", "quantize", "share", "vocabulary"})
    fields = frozenset({"keep", "safe", "by"})
    every_token = False

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        keep = entry["keep"]
        if not isinstance(keep, list) or not keep or not all(type(s) in (int, float) and 0 < s <= 1 for s in keep):
            raise ValueError("its shares of tokens are no list of numbers above 0 and at most 1, one a layer")
        if any(later > earlier for earlier, later in pairwise(keep)) or keep[0] != 1:
            raise ValueError("its shares of tokens must begin with 1 and never rise: what has left does not come back")
        if any(abs(share * PARTS - round(share * PARTS)) > 1e-6 or round(share * PARTS) < 1 for share in keep):
            raise ValueError(f"its shares of tokens are no whole {PARTS}ths")
        if not whole_numbers(entry["safe"], config.vocab_size):
            raise ValueError("its safe tokens are none of its vocabulary")
        if entry["by"] not in BY:
            raise ValueError(f"its tokens leave by {entry['by']!r}, which is none of {', '.join(BY)}")

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        architecture = architecture_of(model)
        layers, rows = layers_of(model), rows_of(model)
        if not architecture.positions_at_input:
            raise ValueError(
                f"the layers of {model.config.model_type} count positions themselves, and tokens that left would shift "
                "them"
            )
        if len(entry["keep"]) != len(layers):
            raise ValueError(f"its shares of tokens are of {len(entry['keep'])} layers, the model has {len(layers)}")
        keep = tuple(round(share * PARTS) for share in entry["keep"])
        base: Any = model.base_model
        base.token_schedule = Schedule(keep, tuple(entry["safe"]), head_width(model.config))
        if entry["by"] == "effect":
            base.token_effects = _no_effects(model, keep)
        base.register_forward_pre_hook(_begin, with_kwargs=True)
        base.register_forward_hook(_end, always_call=True)
        for row in rows:
            layer_class: Any = type(row)
            row.__class__ = _shortened(layer_class)
            row.register_forward_pre_hook(_count)
            if entry["by"] == "attention" and columns_of(row.get_submodule(architecture.attention_readout)):
                for feeder, hook in zip(architecture.attention_feeders, (_keep_query, _keep_key), strict=False):
                    module = submodule(row, feeder.path)
                    assert module is not None
                    module.register_forward_hook(hook)

    def needs(self, model: PreTrainedModel, entry: Entry) -> tuple[str, ...]:
        if entry["by"] == "attention":
            return ()
        keep = [round(share * PARTS) for share in entry["keep"]]
        return tuple(effect_name(model, layer) for layer in layers_losing(keep))

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        raise ValueError("the original's class takes every token through every layer")

    def lengths(self, entry: Entry, lengths: Sequence[int], layer: int) -> Sequence[int]:
        part = round(entry["keep"][layer] * PARTS)
        return [kept_tokens(int(tokens), part) for tokens in lengths]


def kept_tokens(tokens: Any, part: int) -> Any:
    """ceil(part / PARTS * tokens), of a number or of a tensor of them."""
    return (tokens * part + PARTS - 1) // PARTS


def layers_losing(keep: Sequence[float]) -> list[int]:
    """The layers that fewer tokens enter than the one below."""
    return [layer for layer in range(1, len(keep)) if keep[layer] < keep[layer - 1]]


def effect_name(model: PreTrainedModel, layer: int) -> str:
    """The name among the model's tensors of what says which tokens enter a layer: (1, d)."""
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    return f"{prefix}token_effects.{layer}.weight"


def _no_effects(model: PreTrainedModel, keep: Sequence[int]) -> nn.ModuleDict:
    """layer -> the linear on the states that enter it, without values yet."""
    like = next(model.parameters())
    width = int(model.config.hidden_size)
    made = {str(layer): nn.Linear(width, 1, bias=False, device=like.device) for layer in layers_losing(keep)}
    return nn.ModuleDict(made).requires_grad_(False)


@dataclass(frozen=True)
class Schedule:
    """keep: for each layer, the thousandths of a text's tokens that enter it. safe: ids that leave last.
    width: of a head."""

    keep: tuple[int, ...]
    safe: tuple[int, ...]
    width: int


@dataclass
class _Pass:
    """One forward pass. real: (B, T) bool, no padding. last: (B, T) bool, the tokens that leave last.
    first: (B,) places of the texts' first tokens. effects: for each layer the linear that rates what enters it, None
    where attention does.

    layer: that is running. places: (B, K), where the tokens that entered it stand in their text; None = all T of them.
    present: (B, K) bool, which of those are there: texts shorter than the longest fill up with what has left.
    significance: (B, K), what the last layer made of its tokens. query, key: (B, K, heads * width), of that layer.
    """

    schedule: Schedule
    real: Tensor
    first: Tensor
    last: Tensor | None
    effects: Any
    layer: int = -1
    places: Tensor | None = None
    present: Tensor | None = None
    significance: Tensor | None = None
    query: Tensor | None = None
    key: Tensor | None = None

    @property
    def part(self) -> int:
        return self.schedule.keep[self.layer]

    @property
    def tokens_leave(self) -> bool:
        """Whether fewer enter the running layer than the one below it."""
        return self.layer > 0 and self.part < self.schedule.keep[self.layer - 1]

    @property
    def tokens_leave_next(self) -> bool:
        keep = self.schedule.keep
        return self.layer + 1 < len(keep) and keep[self.layer + 1] < self.part

    def choose(self) -> None:
        """Let the least significant tokens leave."""
        if self.significance is None:
            raise ValueError("tokens leave by what the layers below say of them: a pass cannot begin between layers")
        order = self.significance.topk(kept_tokens(self.real.shape[1], self.part), dim=1).indices
        self.places = order if self.places is None else self.places.gather(1, order)
        wanted = kept_tokens(self.real.sum(1, keepdim=True), self.part)
        self.present = torch.arange(order.shape[1], device=order.device)[None] < wanted
        self.significance = None

    @torch.no_grad()
    def rate(self, states: Tensor) -> None:
        """The tokens in the running layer, by it; those that may not leave stand above all others.

        states: (B, K, d), what the layer wrote.
        """
        present = self.real if self.present is None else self.present
        places = torch.arange(self.real.shape[1], device=self.real.device)[None] if self.places is None else self.places
        if self.effects is not None:
            weight = self.effects[str(self.layer + 1)].weight
            found = (states.detach() @ weight[0].to(states.dtype)).to(torch.float32)
        elif self.query is None or self.key is None:  # a layer without heads: the last tokens leave first
            found = -places.to(torch.float32).expand(present.shape)
        else:
            found = attention_received(self.query, self.key, present, self.schedule.width)
        if self.last is not None:
            last = self.last if self.places is None else self.last.gather(1, self.places)
            found = found + last.to(found.dtype) * _ABOVE
        found = found.masked_fill(places == self.first[:, None], 2 * _ABOVE)
        self.significance = found.masked_fill(~present, -_ABOVE)
        self.query = self.key = None


_ABOVE = 1e6  # more than any token receives (heads times tokens), or does (a logarithm)
_PASS: ContextVar[_Pass | None] = ContextVar("asc_tokens_pass", default=None)


def attention_received(query: Tensor, key: Tensor, present: Tensor, width: int) -> Tensor:
    """(B, K), the attention that each token receives, summed over heads and over the tokens that are there.

    query, key: (B, K, heads * width). present: (B, K) bool, the tokens that attend and are attended to.
    """
    queries, keys = (x.unflatten(-1, (-1, width)).transpose(1, 2) for x in (query, key))  # (B, heads, K, width)
    scores = (queries * width**-0.5) @ keys.transpose(-1, -2)
    scores = scores.masked_fill(~present[:, None, None, :], torch.finfo(scores.dtype).min)
    attending = present[:, None, None, :].to(scores.dtype)
    return (attending @ scores.softmax(-1)).sum(1)[:, 0].to(torch.float32)


def _begin(base: Any, args: tuple, kwargs: dict[str, Any]) -> None:
    ids = args[0] if args else kwargs.get("input_ids")
    mask = args[1] if len(args) > 1 else kwargs.get("attention_mask")
    given = ids if ids is not None else kwargs["inputs_embeds"]
    if mask is None:
        real = torch.ones(given.shape[:2], dtype=torch.bool, device=given.device)
    elif mask.dim() == 2:
        real = mask.bool()
    else:
        raise ValueError(f"an attention mask of {tuple(mask.shape)} does not say which tokens a text has: give (B, T)")
    schedule: Schedule = base.token_schedule
    last = None
    if schedule.safe and ids is not None:
        last = (ids[..., None] == torch.tensor(schedule.safe, device=ids.device)).any(-1)
    _PASS.set(_Pass(schedule, real, real.to(torch.int64).argmax(1), last, getattr(base, "token_effects", None)))


def _end(base: nn.Module, args: tuple, output: Any) -> None:
    _PASS.set(None)


def _count(layer: nn.Module, args: tuple) -> None:
    here = _PASS.get()
    if here is not None:
        here.layer += 1


def _keep_query(module: nn.Module, args: tuple, output: Tensor) -> None:
    here = _PASS.get()
    if here is not None and here.tokens_leave_next:
        here.query = output


def _keep_key(module: nn.Module, args: tuple, output: Tensor) -> None:
    here = _PASS.get()
    if here is not None and here.tokens_leave_next:
        here.key = output


@cache
def _shortened(layer_class: Any) -> Any:
    """The class of a layer that runs on the tokens that are there, and leaves the others as they are."""

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        here = _PASS.get()
        if here is None:
            return layer_class.forward(self, *args, **kwargs)
        if here.tokens_leave:
            here.choose()
        if here.places is None:
            output = layer_class.forward(self, *args, **kwargs)
            if here.tokens_leave_next:
                here.rate(output[0] if isinstance(output, tuple) else output)
            return output
        return _on_those_present(here, layer_class, self, args, kwargs)

    return type(f"Shortened{layer_class.__name__}", (layer_class,), {"forward": forward})


def _on_those_present(here: _Pass, layer_class: Any, layer: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
    assert here.places is not None
    assert here.present is not None
    places = argument_places(args, kwargs)
    given = arguments(args, kwargs)
    hidden = given[places[0]]
    index = here.places[..., None].expand(-1, -1, hidden.shape[-1])
    given[places[0]] = short = hidden.gather(1, index)
    given[places[1]] = mask_of(here.present, given.get(places[1]))
    ran = layer_class.forward(layer, *positional(given), **named(given))
    written = ran[0] if isinstance(ran, tuple) else ran
    if here.tokens_leave_next:
        here.rate(written)
    whole = hidden.scatter(1, index, torch.where(here.present[..., None], written, short))
    return (whole, *ran[1:]) if isinstance(ran, tuple) else whole


def mask_of(present: Tensor, like: Any) -> Tensor | None:
    """A mask that hides what is not there, in the form in which the model made one for all tokens. present: (B, K)."""
    if like is None:  # no text of the batch has padding, so none is shorter than another
        return None
    if not isinstance(like, Tensor):
        raise ValueError(f"tokens cannot leave where attention takes a {type(like).__name__}: use sdpa or eager")
    if like.dim() == 2:
        return present.to(like.dtype)
    if like.dtype == torch.bool:
        return present[:, None, None, :]
    hidden = torch.zeros(present.shape, dtype=like.dtype, device=like.device)
    return hidden.masked_fill(~present, torch.finfo(like.dtype).min)[:, None, None, :]
