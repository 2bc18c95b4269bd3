"""Layers that run on the weights of others: {"kind": "share", "layers": [whose weights each layer uses]}.

A layer that uses its own stands with its own number; others name an earlier one that does. It is that layer once more,
so that it attends as that one does, where a configuration has `layer_types`, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import PreTrainedModel

from .architectures import architecture_of, depth_is_grouped, layers_of, submodule
from .structure import Entry, State, Structure, whole_numbers

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig


class Share(Structure):
    kind = "share"
    of_transformers = True
    after = frozenset({"cut", "share", "vocabulary"})
    fields = frozenset({"layers"})

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        layers = entry["layers"]
        if not whole_numbers(layers) or any(of > number or layers[of] != of for number, of in enumerate(layers)):
            raise ValueError("its shared layers must each name an earlier layer that has weights of its own")

    def changes(self, config: PreTrainedConfig) -> tuple[str, ...]:
        return ("layer_types",) if getattr(config, "layer_types", None) is not None else ()

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        if depth_is_grouped(model):
            raise ValueError("its class shares weights between layers already")
        layers = layers_of(model)
        if len(entry["layers"]) != len(layers):
            raise ValueError(f"its shared layers are {len(entry['layers'])}, the model has {len(layers)}")
        for number, of in enumerate(entry["layers"]):
            if shapes(layers[number]) != shapes(layers[of]):
                raise ValueError(f"layers {of + 1} and {number + 1} have other widths and cannot share their weights")
        path = architecture_of(model).layers
        parent_path, _, name = path.rpartition(".")
        parent = submodule(model.base_model, parent_path) if parent_path else model.base_model
        assert parent is not None
        bypasses = len(getattr(parent, name)) - len(layers)
        shared = [layers[of] for of in entry["layers"]]
        setattr(parent, name, nn.ModuleList([*getattr(parent, name)[:bypasses], *shared]))
        if self.changes(model.config):
            model.config.layer_types = [model.config.layer_types[of] for of in entry["layers"]]

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        """Every layer gets its own copy: a state dict names a shared tensor once for each of its places."""


def shapes(layer: nn.Module) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape: layers with the same can share."""
    return {name: tuple(tensor.shape) for name, tensor in layer.state_dict(keep_vars=True).items()}
