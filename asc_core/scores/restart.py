"""Begin, end or resume a forward pass at any layer of an encoder.

Whoever changes one layer at a time (ablation, a refit from the bottom up) needs the layers above it again and again,
and those below only once. A `Restartable` is a private copy of an encoder's modules on the same weights, in which a
layer can be told to stand aside. The pass itself stays the model's own: masks, position embeddings and biases, what
stands between layers (DeBERTa's convolution), final norm, pooler and head are computed as the architecture does, so
that this works for all of them alike, compact models included. What is repeated for that, embeddings and masks, costs
about a hundredth of a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn

from asc_core import modeling
from asc_core.encoder import Encoder, _copy_sharing
from asc_core.errors import UserError
from asc_core.probes import Probe, probing

Inputs = dict[str, torch.Tensor]


class _Done(Exception):
    """Carries a layer's output out of the forward pass that is not needed any further."""

    def __init__(self, output: torch.Tensor):
        self.output = output


def check_every_token_passes(encoder: Encoder) -> None:
    """Raises: UserError where not every token of every text goes through every layer."""
    if not modeling.every_token_passes(encoder.model.config):
        raise UserError(
            f"Not every token goes through every layer of {encoder.name}, so its parts cannot be scored or repaired: "
            "do that first, and let tokens or texts leave behind it."
        )


class Restartable:
    """An encoder whose forward pass can begin and end at any layer. One thread at a time; several may have one each.

    Hidden states that are handed in must belong to `inputs`, row by row and padded to the same length. Probes see the
    layers that run as in a whole pass, numbered as there; they also see those that are skipped, with meaningless
    tensors. `record` a pass before any other.
    """

    def __init__(self, encoder: Encoder):
        """Raises: UserError where what runs in a layer is decided below it."""
        check_every_token_passes(encoder)
        self.encoder = encoder.with_model(_copy_sharing(encoder.model))
        self.layers = self.encoder.shape.layers
        self.running = -1  # the layer that is being executed
        self._first = 0  # the layers below are skipped
        self._last: int | None = None  # after this one the pass ends
        self._input: torch.Tensor | None = None  # of the first layer that runs
        self._skipped: torch.Tensor | None = None  # what the last skipped layer is said to have written
        self._seen: list[torch.Tensor] | None = None
        self._returns_tuple: bool | None = None  # known once a layer has run
        self.encoder.model.base_model.register_forward_pre_hook(self._begin)
        for row in modeling.rows_of(self.encoder.model):
            row.register_forward_pre_hook(self._enter, with_kwargs=True, prepend=True)  # before probes look at it
            row.forward = partial(self._forward, row.forward)

    def record(
        self, inputs: Inputs, probe: Probe | None = None, start: int = 0, hidden: torch.Tensor | None = None
    ) -> tuple[Any, list[torch.Tensor]]:
        """(the model's output, the input of each layer (B, T, d)) of a whole pass.

        hidden: the input of the layer `start`, with which the pass then begins; what is said of those below means
        nothing.
        """
        self._seen = []
        self._first, self._input = start, hidden
        try:
            return self._run(inputs, probe), self._seen
        finally:
            self._seen = None

    def whole(self, inputs: Inputs) -> Any:
        """The model's output."""
        return self._run(inputs, None)

    def layer(self, layer: int, inputs: Inputs, hidden: torch.Tensor, probe: Probe | None = None) -> torch.Tensor:
        """The output of one layer alone. hidden: (B, T, d), its input."""
        self._first, self._last, self._input = layer, layer, hidden
        try:
            self._run(inputs, probe)
        except _Done as done:
            return done.output
        raise AssertionError(f"the pass never reached layer {layer}")

    def start(self, layer: int, inputs: Inputs, hidden: torch.Tensor, probe: Probe | None = None) -> Any:
        """The model's output, computed from `layer` on. hidden: (B, T, d), that layer's input."""
        self._first, self._input = layer, hidden
        return self._run(inputs, probe)

    def resume(self, layer: int, inputs: Inputs, hidden: torch.Tensor, probe: Probe | None = None) -> Any:
        """The model's output, computed from behind `layer` on. hidden: (B, T, d), what that layer wrote."""
        self._first, self._skipped = layer + 1, hidden
        return self._run(inputs, probe)

    @contextmanager
    def idle(self, linears: Iterable[nn.Module]) -> Iterator[None]:
        """Inside the `with`, these linears of `encoder` write zeros, at no cost.

        For passes whose probe replaces what would have come of them.
        """
        idle = list(linears)
        for linear in idle:
            linear.forward = partial(_zeros, modeling.rows_of_matrix(linear))
        try:
            yield
        finally:
            for linear in idle:
                del linear.forward

    def _run(self, inputs: Inputs, probe: Probe | None) -> Any:
        try:
            with nullcontext() if probe is None else probing(probe):
                return self.encoder.model(**inputs)
        finally:
            self._first, self._last, self._input, self._skipped = 0, None, None, None

    def _begin(self, module: nn.Module, args: tuple) -> None:
        self.running = -1

    def _enter(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        self.running += 1
        replaced = None
        if self.running == self._first and self._input is not None:
            given = (self._input, *args[1:]) if args else ()
            kwargs = kwargs if args else kwargs | {"hidden_states": self._input}
            args, replaced = given, (given, kwargs)
        if self._seen is not None:
            self._seen.append(args[0] if args else kwargs["hidden_states"])
        return replaced

    def _forward(self, forward: Any, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.running < self._first:
            below = self.running < self._first - 1 or self._skipped is None
            output = hidden_states if below else self._skipped
            assert self._returns_tuple is not None, "record a pass first"
            return (output, None) if self._returns_tuple else output
        output = forward(hidden_states, *args, **kwargs)
        self._returns_tuple = isinstance(output, tuple)
        if self.running == self._last:
            raise _Done(output[0] if self._returns_tuple else output)
        return output


def _zeros(width: int, inputs: torch.Tensor) -> torch.Tensor:
    return inputs.new_zeros(*inputs.shape[:-1], width)
