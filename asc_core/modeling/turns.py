"""Layers that run on one set of modules and still differ: each place in the model is a `Turn` at them.

What differs (biases, norms, low-rank differences of matrices) lies in the shared modules, once for each turn, and they
ask which turn it is. The number is a context variable: many threads run one model at once.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from torch import nn

_TURN: ContextVar[int] = ContextVar("asc_turn", default=0)


class Turn(nn.Module):
    """Stands in a list of layers for a row of layer weights, on its turn `number`.

    It has the row's children and tensors under the names that they have there (the very same dictionaries: whatever is
    put into the row is in every turn), so that a model's tensors are named as without it.
    """

    def __init__(self, row: nn.Module, number: int):
        super().__init__()
        self._row, self.number = (row,), number  # in a tuple, so that it is no child of its own
        self._modules, self._parameters, self._buffers = row._modules, row._parameters, row._buffers

    @property
    def row(self) -> nn.Module:
        return self._row[0]

    def __getattr__(self, name: str) -> Any:
        """What a model asks of its layers (ModernBERT: which kind of attention it is), the row knows."""
        if "_row" in self.__dict__ and name not in self.__dict__["_modules"]:
            return getattr(self.__dict__["_row"][0], name)
        return super().__getattr__(name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        token = _TURN.set(self.number)
        try:
            return self.row(*args, **kwargs)
        finally:
            _TURN.reset(token)


class EachTurn(nn.Module):
    """One module for each turn, of which the one runs whose turn it is."""

    def __init__(self, modules: list[nn.Module]):
        super().__init__()
        self.turns = nn.ModuleList(modules)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.turns[turn()](*args, **kwargs)


def turn() -> int:
    """Whose turn it is in the layer that runs in this thread."""
    return _TURN.get()


def row_behind(layer: nn.Module) -> nn.Module:
    """The row of weights that an entry in a list of layers runs on."""
    return layer.row if isinstance(layer, Turn) else layer
