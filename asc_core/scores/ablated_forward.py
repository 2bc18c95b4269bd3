"""Run a batch with each of several parts switched off, from the layer that the part is in.

Below a part nothing changes, so its layer starts from recorded hidden states. Inside that layer all parts share what
comes before the readout: from what the readout wrote, each part's own contribution is subtracted, which fans the batch
out to one copy a part. The copies go through the layers above together, as one large batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from asc_core.encoder import Encoder
from asc_core.gates import Gates
from asc_core.parts import READOUT_OF, SUBLAYERS
from asc_core.probes import Probe, Readout
from asc_core.scores.first_token import first_token_only, reads_first_token_only
from asc_core.scores.restart import Inputs, Restartable
from asc_core.tasks.base import Batch, Features, Task


@dataclass(frozen=True)
class Part:
    """Something that can be switched off.

    kind: "heads", "attention", "ffn", "neuron-groups" or "layers". place: its row; a layer's number in the order of
    execution. index: which head or group. blocks: the blocks of the row's readout that it consists of, None = all.
    """

    kind: str
    place: int
    index: int = 0
    blocks: tuple[int, ...] | None = None

    def first_layer(self, rows: Sequence[int]) -> int:
        """The first layer that it takes part in. rows: of the encoder's shape."""
        return self.place if self.kind == "layers" else rows.index(self.place)


class _FanOut(Probe):
    """(b, T, d) written by a readout -> (parts, b, T, d), a part switched off in each."""

    def __init__(self, site: str, parts: Sequence[Part]):
        self.site = site
        self.parts = parts

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> torch.Tensor | None:
        if readout.kind != self.site:
            return None
        weight, bias = readout.weight, readout.bias
        without = output.new_empty((len(self.parts), *output.shape))
        for copy, part in zip(without, self.parts, strict=True):
            if part.blocks is None:
                copy.copy_(bias if bias is not None else torch.zeros_like(output))
            else:
                columns = _columns(part.blocks, readout.width, output.device)
                torch.sub(output, functional.linear(inputs[..., columns], weight[:, columns]), out=copy)
        return without


def _columns(blocks: Sequence[int], width: int, device: torch.device) -> slice | torch.Tensor:
    if len(blocks) == 1:
        return slice(blocks[0] * width, (blocks[0] + 1) * width)
    start = torch.as_tensor(blocks, device=device) * width
    return (start[:, None] + torch.arange(width, device=device)).flatten()


@dataclass(frozen=True)
class Group:
    """Parts and features that go through the layers together. features: (n,) indices. output: part-major, of `batch`,
    which holds the features once for each part."""

    parts: range
    features: np.ndarray
    batch: Batch
    output: Any


class AblatedForward:
    """Outputs of an encoder with single parts switched off. For one thread.

    tokens: how many go through the layers at once, padding and copies counted.
    """

    def __init__(self, encoder: Encoder, task: Task, features: Features, parts: Sequence[Part], tokens: int):
        rows = encoder.shape.rows
        assert [p.first_layer(rows) for p in parts] == sorted(p.first_layer(rows) for p in parts)
        self.restartable = Restartable(encoder)
        self.encoder = self.restartable.encoder
        self.task, self.features, self.parts, self.tokens = task, features, parts, tokens
        self.first_token_only: bool | None = None

    def dense(self, rows: np.ndarray) -> tuple[Batch, Any, list[torch.Tensor]]:
        """(batch, the model's output, the input of each layer) of some features with nothing switched off."""
        batch = self.task.batch(self.features, rows, self.encoder)
        output, states = self.restartable.record(batch.inputs)
        if self.first_token_only is None:
            self.first_token_only = reads_first_token_only(self.restartable, batch.inputs)
        return batch, output, states

    def run(self, rows: np.ndarray, states: Sequence[torch.Tensor]) -> Iterator[Group]:
        """Every part with every one of some features. rows: features; states: their layers' inputs, from `dense`."""
        per_feature = len(states[0]) // len(rows)
        length = states[0].shape[1]
        shape = self.encoder.shape
        at_once = max(1, self.tokens // (length * per_feature))  # copies of one feature
        begin = 0
        while begin < len(self.parts):
            layer = self.parts[begin].first_layer(shape.rows)
            end = begin
            while end < len(self.parts) and end - begin < at_once and self.parts[end].first_layer(shape.rows) == layer:
                end += 1
            step = max(1, at_once // (end - begin))
            for first in range(0, len(rows), step):
                chosen = slice(first * per_feature, (first + step) * per_feature)
                yield self._group(range(begin, end), layer, rows[first : first + step], states[layer][chosen])
            begin = end

    def _group(self, parts: range, layer: int, rows: np.ndarray, hidden: torch.Tensor) -> Group:
        once = self.task.batch(self.features, rows, self.encoder)
        batch = self.task.batch(self.features, np.tile(rows, len(parts)), self.encoder)
        hidden = hidden[:, : once.mask.shape[1]]  # padded to the longest of these
        with first_token_only(self.restartable) if self.first_token_only else nullcontext():
            written = self._write(parts, layer, once.inputs, hidden)
            output = self.restartable.resume(layer, batch.inputs, written, self._later(parts, len(hidden)))
        return Group(parts, rows, batch, output)

    def _write(self, parts: range, layer: int, inputs: Inputs, hidden: torch.Tensor) -> torch.Tensor:
        """(parts * b, T, d) what a layer writes with each part switched off; a layer itself writes its input."""
        chosen = [self.parts[i] for i in parts]
        written: list[torch.Tensor] = [hidden] * len(chosen)
        for site in SUBLAYERS:
            here = [i for i, part in enumerate(chosen) if READOUT_OF.get(part.kind) == site]
            if here:
                copies = self.restartable.layer(layer, inputs, hidden, _FanOut(site, [chosen[i] for i in here]))
                for i, copy in zip(here, copies, strict=True):
                    written[i] = copy
        return torch.cat(written)

    def _later(self, parts: range, copies: int) -> Probe | None:
        """Gates for what is switched off in the layers above, where shared weights run again."""
        shape = self.encoder.shape
        gates: dict[tuple[str, int], torch.Tensor] = {}
        for i, part in enumerate(self.parts[p] for p in parts if shape.shares_weights):
            if part.kind == "layers":
                continue
            key = (READOUT_OF[part.kind], part.place)
            if key not in gates:
                blocks = (shape.heads if key[0] == "attention" else shape.neurons)[part.place]
                gates[key] = torch.ones(len(parts), blocks, device=self.encoder.device)
            gates[key][i, slice(None) if part.blocks is None else list(part.blocks)] = 0
        return Gates({key: gate.repeat_interleave(copies, 0) for key, gate in gates.items()}) if gates else None
