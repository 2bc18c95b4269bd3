"""The gradient of every head's and neuron's gate for each text by itself, kept: for methods that need more than means.

Scores keep sums alone; cross terms between the parts of a layer, or absolute values batch by batch, need the gradients
themselves: 4 bytes x texts x parts, 38 MB for 1,024 texts and 9,216 neurons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from asc_core import modeling
from asc_core.batches import BATCH_TOKENS, batches_by_length
from asc_core.parts import BLOCKS_OF
from asc_core.progress import Progress
from asc_core.scores.sensitivity import GateGradients
from asc_core.scores.sweep_pass import SweepPass

if TYPE_CHECKING:
    from asc_core.encoder import Encoder
    from asc_core.tasks.base import Targets, Task

Rows = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class GateTable:
    """dL/dm of each feature: heads, neurons: one array a row, (features, parts), float32, in the order of the sample.

    feeders: the same for gates on what enters a neuron's activation function; only where asked for.
    """

    heads: Rows
    neurons: Rows
    feeders: Rows | None = None

    def fisher(self) -> tuple[Rows, Rows]:
        """Mean over features of the squared gradients: (heads, neurons), one array a row, float64."""
        heads, neurons = (
            tuple(np.square(g, dtype=np.float64).mean(0) for g in kind) for kind in (self.heads, self.neurons)
        )
        return heads, neurons


def gate_gradients(
    encoder: Encoder,
    task: Task,
    *,
    split: str = "train",
    samples: int | None = 1024,
    seed: int = 0,
    targets: Targets | None = None,
    feeders: bool = False,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
) -> GateTable:
    """One forward and backward pass over a sample of a split. targets: as in `sweep`. feeders: see `GateTable`.

    Raises: UserError (no such split, no labels), Cancelled.
    """
    progress = progress or Progress()
    examples = task.examples(split, samples, seed)
    work = SweepPass(
        encoder, task, examples, [GateGradients], targets or ("gold" if task.labelled else "sampled"), seed
    )
    watch = _Feeders(work.encoder) if feeders else None
    lengths = work.features.lengths
    found: dict[str, list[np.ndarray]] = {}
    done = 0
    for rows in batches_by_length(lengths, batch_tokens or BATCH_TOKENS.get(encoder.device.type, 2048)):
        progress.step(done, len(lengths), f"gradients of {task.name}")
        view, (collector,) = work.observe(rows)
        assert isinstance(collector, GateGradients)
        here = {kind: collector.tally.by_place(kind) for kind in BLOCKS_OF.values()}
        if watch is not None:
            here["feeders"] = [view.per_feature(sums) for sums in watch.taken()]
        for kind, values in here.items():
            if kind not in found:
                found[kind] = [np.zeros((len(lengths), v.shape[1]), dtype=np.float32) for v in values]
            for table, v in zip(found[kind], values, strict=True):
                table[rows] = v.cpu().numpy()
        done += len(rows)
    progress.step(done, len(lengths), f"gradients of {task.name}")
    return GateTable(**{kind: tuple(tables) for kind, tables in found.items()})


class _Feeders:
    """Sums over tokens of z * dL/dz, z the output of the FFN's first linear: (rows, neurons) of each row.

    By the chain rule that is the sum over the row of the first linear's weights and bias of W * dL/dW.
    """

    def __init__(self, encoder: Encoder):
        table = modeling.architecture_of(encoder.model)
        self._sums: dict[int, torch.Tensor] = {}
        for row, layer in enumerate(modeling.rows_of(encoder.model)):
            for feeder in table.ffn_feeders:
                linear = layer.get_submodule(feeder.path)
                linear.register_forward_hook(self._watching(row, len(feeder.sections)))

    def _watching(self, row: int, sections: int) -> Any:
        def hook(module: torch.nn.Module, args: Any, output: torch.Tensor) -> None:
            seen = output.detach()
            output.register_hook(lambda gradient: self._add(row, sections, seen, gradient))

        return hook

    @torch.no_grad()
    def _add(self, row: int, sections: int, seen: torch.Tensor, gradient: torch.Tensor) -> None:
        product = (seen * gradient).flatten(1, -2).sum(1)
        product = product.unflatten(-1, (sections, product.shape[-1] // sections)).sum(-2)
        self._sums[row] = self._sums[row] + product if row in self._sums else product

    def taken(self) -> Sequence[torch.Tensor]:
        """What was seen since the last time."""
        sums, self._sums = self._sums, {}
        return [sums[row] for row in sorted(sums)]
