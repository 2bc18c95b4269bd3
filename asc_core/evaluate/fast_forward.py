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
from torch import nn
from torch.nn import functional

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.scores.first_token import first_token_only, reads_first_token_only
from asc_core.scores.restart import Inputs, Restartable

WIDTH = 16  # float32 in a cache line


class FastForward:
    """An encoder's modules once more, on its weights. For one thread. Its layers' inputs are the original's.

    A model whose linears are not plain ones (adapters stand around them, or they are quantized) runs as it is.
    """

    def __init__(self, encoder: Encoder):
        self._model = encoder.model
        self._runner = Restartable(encoder) if _plain(encoder) else None
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


def _plain(encoder: Encoder) -> bool:
    table = modeling.architecture_of(encoder.model)
    paths = (table.attention_readout, table.ffn_readout)
    rows = modeling.rows_of(encoder.model)
    return all(isinstance(modeling.submodule(row, path), nn.Linear) for row in rows for path in paths)


def _widen(encoder: Encoder) -> None:
    table = modeling.architecture_of(encoder.model)
    if table.gates > 1:
        return
    for row in modeling.rows_of(encoder.model):
        reads, writes = (modeling.submodule(row, path) for path in (table.ffn_in, table.ffn_readout))
        if not (isinstance(reads, nn.Linear) and isinstance(writes, nn.Linear)):
            continue
        more = -reads.out_features % WIDTH
        if more:
            reads.weight = _padded(reads.weight, (0, 0, 0, more))
            reads.bias = None if reads.bias is None else _padded(reads.bias, (0, more))
            writes.weight = _padded(writes.weight, (0, more))


def _padded(parameter: torch.Tensor, by: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(functional.pad(parameter.detach(), by), requires_grad=False)
