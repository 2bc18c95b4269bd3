"""A readout's weights as what a regression solves for."""

from __future__ import annotations

import torch
from torch import nn

from asc_core import modeling


def solution_of(linear: nn.Module) -> torch.Tensor:
    """(columns, d), or (columns + 1, d): the weight and, where there is one, the bias of a readout."""
    weight, bias = modeling.matrix(linear).detach().T, modeling.bias(linear)
    return weight if bias is None else torch.cat([weight, bias.detach()[None]])


def set_weight(linear: nn.Module, solution: torch.Tensor) -> None:
    """The opposite of `solution_of`; without a last row for it the bias stays as it is."""
    columns = modeling.columns_of(linear)
    bias = solution[columns].clone() if modeling.bias(linear) is not None and len(solution) > columns else None
    modeling.put(linear, solution[:columns].T, bias)
