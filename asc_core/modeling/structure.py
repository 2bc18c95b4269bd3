"""What a kind of structure is: a way in which a model differs from the class that it came from.

A structure is recorded as an entry of `config.asc["structures"]`, JSON that may come from anyone: {"kind": ..., ...}. A
model is rebuilt from its record by building it at full size (on the meta device, by `from_pretrained`) and applying
`build` of each entry in order; its weights arrive afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig

Entry = Mapping[str, Any]
State = dict[str, torch.Tensor]


class Structure:
    """One kind; override what differs.

    kind: its name in entries. after: the kinds that may stand before it. before: those that may stand after it, though
    their `after` does not name it. fields: the names in an entry, besides "kind". optional: those that it may lack.
    of_transformers: whether it means nothing to layers that are no Transformer's.
    ordinary: whether the original's class takes the result as it is, by its configuration alone.
    every_token: whether each token of each text goes through each layer. Where not, what a layer does depends on those
    below it beyond their hidden states, so that no pass can begin or end between layers.
    """

    kind: str
    of_transformers: bool = False
    ordinary: bool = False
    every_token: bool = True
    after: frozenset[str] = frozenset()
    before: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        """Before anything is built; config: of the uncut model. Raises: ValueError, in words."""

    def changes(self, config: PreTrainedConfig) -> tuple[str, ...]:
        """The configuration values that `build` sets, which the record keeps as they were."""
        return ()

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        """Replace modules, in place. Raises: ValueError where the entry does not fit the model."""
        raise NotImplementedError

    def needs(self, model: PreTrainedModel, entry: Entry) -> tuple[str, ...]:
        """Names of the tensors of a built model that have no values yet, after `build` on a model with weights."""
        return ()

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        """Rewrite, in place, the state and configuration values of `model` for a class that lacks this structure.

        Raises: ValueError with the reason where that cannot be.
        """
        raise NotImplementedError

    def lengths(self, entry: Entry, lengths: Sequence[int], layer: int) -> Sequence[int]:
        """Tokens of each text that a layer runs on, of those that it would run on without this structure."""
        return lengths


def tensors_of(model: PreTrainedModel, modules: Iterable[nn.Module]) -> tuple[str, ...]:
    """Names of the parameters of some of a model's modules, each once, under its first path."""
    wanted = {id(module) for module in modules}
    return tuple(
        f"{path}.{name}"
        for path, module in model.named_modules()
        if id(module) in wanted
        for name, _ in module.named_parameters()
    )


def whole_numbers(value: Any, below: int | None = None) -> bool:
    """Whether JSON holds a list of non-negative whole numbers, each less than `below`."""
    return isinstance(value, list) and all(type(n) is int and n >= 0 and (below is None or n < below) for n in value)


def ascending(value: Any, below: int) -> bool:
    """Whether JSON holds ascending numbers, each once and less than `below`."""
    return whole_numbers(value, below) and sorted(set(value)) == value
