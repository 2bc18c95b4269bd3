"""A step: two adjacent layers on one set of weights."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field

from asc_core import modeling
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.probes import Probe, probing


class Share(Step):
    """Give a layer the weights of the one below it.

    lower: the lower of the two, counted from 1; None = the pair that changes the last hidden states on training texts
    least. weights: of the lower layer, of the upper one, or their mean. samples, seed: draw the texts.
    """

    kind: ClassVar[str] = "share"
    structure: ClassVar[str | None] = "share"
    lower: int | None = Field(
        default=None, ge=1, title="Lower layer", description="Lower layer of the pair; empty: the best pair"
    )
    weights: Literal["lower", "upper", "mean"] = Field(default="lower", description="Whose weights both run on")
    samples: int = Field(default=64, ge=1, description="Training texts to choose the pair on")
    seed: int = Field(default=0, ge=0, description="Seed of the texts")

    @property
    def needs_task(self) -> bool:
        return self.lower is None

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        pairs = _pairs(encoder)
        if not pairs:
            raise UserError(f"{encoder.name} has no two adjacent layers of the same widths: share before cutting.")
        if self.lower is None:
            return self._best(encoder, pairs, context)
        if self.lower - 1 not in pairs:
            able = ", ".join(f"{lower + 1} and {lower + 2}" for lower in pairs)
            raise UserError(f"Layers {self.lower} and {self.lower + 1} cannot share their weights; {able} can.")
        return self._shared(encoder, self.lower - 1)

    def describe(self) -> str:
        which = "two adjacent layers" if self.lower is None else f"layers {self.lower} and {self.lower + 1}"
        whose = {"lower": "those of the lower", "upper": "those of the upper", "mean": "their mean"}[self.weights]
        return f"{which} on one set of weights ({whose})"

    def _shared(self, encoder: Encoder, lower: int) -> Encoder:
        layers = modeling.layers_of(encoder.model)
        entry = {"kind": self.structure, "layers": [i - (i == lower + 1) for i in range(len(layers))]}
        if self.weights == "lower":
            return encoder.with_structure(entry)
        name = {id(module): name for name, module in encoder.model.named_modules()}[id(layers[lower])]
        below, above = layers[lower].state_dict(), layers[lower + 1].state_dict()
        share = 0.0 if self.weights == "upper" else 0.5
        mixed = {f"{name}.{part}": share * below[part] + (1 - share) * above[part] for part in below}
        return encoder.with_structure(entry, mixed)

    def _best(self, encoder: Encoder, pairs: list[int], context: StepContext) -> Encoder:
        task, split = context.task, "train" if "train" in context.task.splits else context.task.splits[0]
        features = task.features(task.examples(split, limit=self.samples, seed=self.seed), encoder)
        order = sorted(range(len(features)), key=lambda row: int(features.lengths[row]))
        batches = [task.batch(features, order[start : start + 16], encoder) for start in range(0, len(order), 16)]
        wanted = [_last_states(encoder, batch.inputs) for batch in batches]
        errors = []
        for number, lower in enumerate(pairs):
            context.progress.step(number, len(pairs), "choosing layers that can share")
            made = self._shared(encoder, lower)
            errors.append(
                sum(
                    float(((_last_states(made, batch.inputs) - states).square() * batch.mask[..., None]).sum())
                    for batch, states in zip(batches, wanted, strict=True)
                )
            )
        return self._shared(encoder, pairs[errors.index(min(errors))])


def _pairs(encoder: Encoder) -> list[int]:
    """Lower layers (from 0) whose upper neighbour has weights of its own, of the same widths."""
    if modeling.depth_is_grouped(encoder.model):
        return []
    layers = modeling.layers_of(encoder.model)
    once = {layer for layer in layers if layers.count(layer) == 1}
    return [
        i
        for i in range(len(layers) - 1)
        if {layers[i], layers[i + 1]} <= once and modeling.shapes(layers[i]) == modeling.shapes(layers[i + 1])
    ]


class _LastStates(Probe):
    states: torch.Tensor

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self.states = after


@torch.inference_mode()
def _last_states(encoder: Encoder, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """(B, T, d), what the last layer wrote."""
    with probing(_LastStates()) as probe:
        encoder.model(**inputs)
    assert isinstance(probe, _LastStates)
    return probe.states
