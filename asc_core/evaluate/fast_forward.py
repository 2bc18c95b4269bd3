"""The forward pass without the work that changes no answer.

A head that reads [CLS] alone needs the last layer's queries, attention readout and FFN for one token (`first_token`).
And a matrix product whose output has an odd width, which is the usual case after a cut, is slower than one whose width
is a multiple of a cache line's 16 floats: such an FFN gets neurons that write nothing until its width is one. Logits
stay the same but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.scores.first_token import first_token_only, reads_first_token_only
from asc_core.scores.restart import Inputs, Restartable

WIDTH = 16  # float32 in a cache line


class FastForward:
    """An encoder's modules once more, on its weights. For one thread. Its layers' inputs are the original's.

    A model whose linears are not plain ones (adapters stand around them, or they round their inputs by the range of all
    tokens) runs as it is, and so does one whose tokens leave between layers, or whose layers are no Transformer's.
    """

    def __init__(self, encoder: Encoder):
        self._model = encoder.model
        self._runner = Restartable(encoder) if can_restart(encoder) else None
        self._first_token_only: bool | None = None  # known once there was a batch with more than one token
        if self._runner is not None:
            _widen(self._runner.encoder)

    def __call__(self, inputs: Inputs) -> Any:
        if self._runner is None:
            return self._model(**inputs)
        return self._run(self._runner, inputs, lambda runner: runner.whole(inputs))

    def record(self, inputs: Inputs, start: int = 0, hidden: torch.Tensor | None = None) -> tuple[Any, list]:
        """As `Restartable.record`. Raises: ValueError where the linears are not plain ones."""
        if self._runner is None:
            raise ValueError("only a model of plain linears can begin at any layer")
        return self._run(self._runner, inputs, lambda runner: runner.record(inputs, start=start, hidden=hidden))

    def _run(self, runner: Restartable, inputs: Inputs, run: Callable[[Restartable], Any]) -> Any:
        with first_token_only(runner) if self._first_token_only else nullcontext():
            found = run(runner)
        if self._first_token_only is None and inputs["input_ids"].shape[1] > 1:
            self._first_token_only = reads_first_token_only(runner, inputs)
        return found


def can_restart(encoder: Encoder) -> bool:
    """Whether a pass can begin at any layer, and leave out tokens that change no answer."""
    if not encoder.has_parts or not modeling.every_token_passes(encoder.model.config):
        return False
    table = modeling.architecture_of(encoder.model)
    matrices = (module for row in modeling.rows_of(encoder.model) for module in modeling.matrices(table, row).values())
    return all(modeling.is_matrix(module) and not modeling.rounds_inputs(module) for module in matrices)


def _widen(encoder: Encoder) -> None:
    table = modeling.architecture_of(encoder.model)
    if any(len(feeder.sections) > 1 for feeder in table.ffn_feeders):
        return  # zeros between the sections, not behind them
    for row in modeling.rows_of(encoder.model):
        reads, writes = modeling.feeding(table, row, "ffn"), row.get_submodule(table.ffn_readout)
        more = -modeling.columns_of(writes) % WIDTH
        if more and all(map(modeling.takes_any_values, (*reads, writes))):
            for feeder in reads:
                modeling.add_zeros(feeder, rows=more)
            modeling.add_zeros(writes, columns=more)
