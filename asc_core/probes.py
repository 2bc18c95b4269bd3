"""Look at, or change, what flows through an encoder, during one forward pass.

Hooks stand permanently on every layer and every readout and ask a ContextVar for a probe. So many evaluations in
many threads share one model, each seeing only its own probe. (Threads of an executor do not inherit ContextVars:
enter `probing` inside the worker.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from asc_core import modeling

ReadoutKey = tuple[str, int]  # kind and row of a readout


@dataclass(frozen=True)
class Readout:
    """A matrix that writes into the residual stream; its input columns are `blocks` parts of `width` columns.

    kind: "attention" (a block is a head's context) or "ffn" (a block is one neuron, width 1).
    row: which set of layer weights it belongs to. linear: any module that `modeling.linears` knows.
    """

    kind: str
    row: int
    linear: nn.Module
    blocks: int
    width: int

    @property
    def weight(self) -> torch.Tensor:
        """(d, columns), a dense view of its values."""
        return modeling.matrix(self.linear)

    @property
    def bias(self) -> torch.Tensor | None:
        """(d,)"""
        return modeling.bias(self.linear)

    @property
    def columns(self) -> int:
        return self.blocks * self.width


class Probe:
    """Override what you need. A hook that returns a tensor replaces the one that flows.

    `layer` is the layer being executed (0-based), counted over the forward pass: with shared weights several layers
    use one readout. Hidden states are (B, T, d), readout inputs (B, T, blocks * width).
    """

    layer: int = -1

    def enter(self, layer: int, hidden: torch.Tensor) -> None:
        """Before a layer runs. (A layer's input cannot be replaced: replace the output of the one below.)"""

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor | None:
        """After a layer ran."""

    def feed(self, inputs: torch.Tensor) -> None:
        """Before the first linear of the FFN runs; inputs (B, T, d)."""

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        """Before a readout runs."""

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> torch.Tensor | None:
        """After a readout ran; `inputs` as it saw them."""


_PROBE: ContextVar[Probe | None] = ContextVar("asc_probe", default=None)
_BETWEEN_LAYERS: ContextVar[Callable[[], None] | None] = ContextVar("asc_between_layers", default=None)


@contextmanager
def probing(probe: Probe) -> Iterator[Probe]:
    """Forward passes of this thread, inside the `with`, go through `probe`."""
    token = _PROBE.set(probe)
    try:
        yield probe
    finally:
        _PROBE.reset(token)


@contextmanager
def between_layers(call: Callable[[], None]) -> Iterator[None]:
    """Forward passes of this thread, inside the `with`, call this before each layer; what it raises ends the pass.

    A batch takes a large encoder seconds, a layer of it a tenth of that: cancelled work stops that much sooner.
    """
    token = _BETWEEN_LAYERS.set(call)
    try:
        yield
    finally:
        _BETWEEN_LAYERS.reset(token)


def install(base_model: nn.Module, rows: list[nn.Module], readouts: list[Readout], ffn_in: list[nn.Module]) -> None:
    """Put the hooks in place. Safe to repeat, and on a copy of a model that already had them."""
    for module, before, after in [
        (base_model, _begin, None),
        *((row, _enter, _leave) for row in rows),
        *((linear, _feed, None) for linear in ffn_in),
        *((readout.linear, _read, _wrote) for readout in readouts),
    ]:
        if not getattr(module, "_asc_hooked", False):
            module.register_forward_pre_hook(before, with_kwargs=True)
            if after is not None:
                module.register_forward_hook(after, with_kwargs=True)
            module._asc_hooked = True  # type: ignore[assignment]
    for readout in readouts:
        readout.linear._asc_readout = readout  # type: ignore[assignment]


def _begin(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
    probe = _PROBE.get()
    if probe is not None:
        probe.layer = -1


def _hidden(args: tuple, kwargs: dict[str, Any]) -> torch.Tensor:
    return args[0] if args else kwargs["hidden_states"]


def _enter(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
    call = _BETWEEN_LAYERS.get()
    if call is not None:
        call()
    probe = _PROBE.get()
    if probe is not None:
        probe.layer += 1
        probe.enter(probe.layer, _hidden(args, kwargs))


def _leave(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> Any:
    probe = _PROBE.get()
    if probe is None:
        return None
    wrapped = isinstance(output, tuple)  # MPNet and DeBERTa return tuples
    replaced = probe.leave(probe.layer, _hidden(args, kwargs), output[0] if wrapped else output)
    if replaced is None:
        return None
    return (replaced, *output[1:]) if wrapped else replaced


def _feed(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
    probe = _PROBE.get()
    if probe is not None:
        probe.feed(args[0])


def _read(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
    probe = _PROBE.get()
    if probe is None:
        return None
    replaced = probe.read(module._asc_readout, args[0])  # type: ignore[arg-type]
    return None if replaced is None else ((replaced,), kwargs)


def _wrote(module: nn.Module, args: tuple, kwargs: dict[str, Any], output: torch.Tensor) -> torch.Tensor | None:
    probe = _PROBE.get()
    return None if probe is None else probe.wrote(module._asc_readout, args[0], output)  # type: ignore[arg-type]
