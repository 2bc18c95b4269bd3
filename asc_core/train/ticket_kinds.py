"""What a lottery ticket is made of: single weights (Chen et al. 2020), or whole heads and neurons.

Both are masks, so both are stored and compared alike; they differ in how the next one is chosen, and in what stays of
the encoder that it is put on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from asc_core.compress.calibration import SAMPLES
from asc_core.compress.choose import CutToBudget
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.tasks.base import Task
from asc_core.train.masks import (
    Masks,
    at_random,
    by_magnitude,
    masked,
    matrices_of,
    reinitialised,
    shuffled,
    sparsity,
    whole,
    without,
)
from asc_core.values import Plan, Shape

TICKET = "ticket"


@dataclass(frozen=True)
class Candidate:
    """What is trained: an encoder, and what holds while it is (see `Run.keep`)."""

    encoder: Encoder
    keep: Callable[[Encoder], None] | None = None


class TicketKind(Protocol):
    """One kind of ticket. name: of it. controls: what it is compared with.

    Tickets are masks by name; those of the whole model (`whole`) keep everything.
    """

    @property
    def name(self) -> str: ...

    @property
    def controls(self) -> tuple[str, ...]: ...

    def identity(self) -> Any:
        """What decides its tickets, as JSON."""

    def whole(self, start: Encoder) -> Masks: ...

    def smaller(self, ticket: Masks, trained: Encoder, task: Task, rate: float, seed: int, progress: Progress) -> Masks:
        """The next ticket: without `rate` of what is left, chosen on this one as it was trained."""

    def sparsity(self, start: Encoder, ticket: Masks) -> float:
        """Share of the layers' weights that are gone."""

    def candidate(self, start: Encoder, ticket: Masks, which: str, seed: int) -> Candidate:
        """The starting encoder's values where the ticket keeps them. which: TICKET, or one of the controls."""


class WeightTickets:
    """Weights of the layers' matrices by magnitude, all taken together (Chen et al. 2020, arXiv 2007.12223, section 3).

    Controls: as many weights of each matrix at random; the ticket's places with weights drawn anew, or with the
    starting ones in another order; and the largest weights before any training, which know no application.
    """

    name = "weights"
    controls: tuple[str, ...] = ("random", "reinitialised", "shuffled", "untrained")

    def identity(self) -> Any:
        return [self.name]

    def whole(self, start: Encoder) -> Masks:
        return whole(start)

    def smaller(self, ticket: Masks, trained: Encoder, task: Task, rate: float, seed: int, progress: Progress) -> Masks:
        return by_magnitude(ticket, trained, rate)

    def sparsity(self, start: Encoder, ticket: Masks) -> float:
        return sparsity(ticket)

    def candidate(self, start: Encoder, ticket: Masks, which: str, seed: int) -> Candidate:
        if which == "random":
            ticket = at_random(ticket, seed)
        elif which == "untrained":
            ticket = by_magnitude(whole(start), start, sparsity(ticket))
        elif which == "reinitialised":
            start = reinitialised(start, seed)
        elif which == "shuffled":
            start = shuffled(start, ticket, seed)
        return Candidate(masked(start, ticket), without(ticket))


@dataclass(frozen=True)
class PartTickets:
    """Heads and neurons, cut away for real: chosen by any method on the trained model, then cut out of the starting one
    (structured tickets, Prasanna et al. 2020, arXiv 2005.00561).

    method, samples: see `CutToBudget`. Controls as for weights, but for the one without training: methods look at what
    a model does for its application.
    """

    method: str = "obs"
    samples: int = SAMPLES
    name: ClassVar[str] = "parts"
    controls: ClassVar[tuple[str, ...]] = ("random", "reinitialised", "shuffled")

    def identity(self) -> Any:
        return [self.name, self.method, self.samples]

    def whole(self, start: Encoder) -> Masks:
        start.require_parts()
        shape = start.shape
        if shape.shares_weights:
            raise UserError(
                f"Layers of {start.name} share their weights: tickets of heads and neurons need layers of their own."
            )
        kept = {f"heads.{row}": torch.ones(count, dtype=torch.bool) for row, count in enumerate(shape.heads)}
        kept |= {f"neurons.{row}": torch.ones(count, dtype=torch.bool) for row, count in enumerate(shape.neurons)}
        return kept | {"layers": torch.ones(shape.layers, dtype=torch.bool)}

    def smaller(self, ticket: Masks, trained: Encoder, task: Task, rate: float, seed: int, progress: Progress) -> Masks:
        step = CutToBudget(
            method=self.method,
            keep=1 - rate,
            budget="layer-parameters",
            repair=None,
            samples=self.samples,
            seed=seed,
        )
        plan = step.plan(trained, task, progress)
        found = {name: mask.clone() for name, mask in ticket.items()}
        layers = (
            ticket["layers"].nonzero().flatten().tolist()
        )  # row i of the trained model is the layers[i] of the start
        found["layers"] = _narrowed(ticket["layers"], plan.layers)
        for row, layer in enumerate(layers):
            for kind, kept in (("heads", plan.heads[row]), ("neurons", plan.neurons[row])):
                staying = kept if row in plan.layers else ()
                found[f"{kind}.{layer}"] = _narrowed(ticket[f"{kind}.{layer}"], staying)
        return found

    def sparsity(self, start: Encoder, ticket: Masks) -> float:
        left = sum(m.weight.numel() for m in matrices_of(start.cut(_plan(start.shape, ticket))).values())
        return 1 - left / sum(m.weight.numel() for m in matrices_of(start).values())

    def candidate(self, start: Encoder, ticket: Masks, which: str, seed: int) -> Candidate:
        if which == "random":
            parts = {name: mask for name, mask in ticket.items() if name != "layers"}
            ticket = ticket | at_random(parts, seed)
        made = start.cut(_plan(start.shape, ticket))
        if which == "reinitialised":
            made = reinitialised(made, seed)
        elif which == "shuffled":
            made = shuffled(made, {}, seed)
        return Candidate(made)


def _plan(shape: Shape, ticket: Masks) -> Plan:
    heads, neurons = ([ticket[f"{kind}.{row}"].numpy() for row in range(shape.layers)] for kind in ("heads", "neurons"))
    return Plan.from_masks(shape, heads, neurons, ticket["layers"].numpy())


def _narrowed(mask: torch.Tensor, kept: tuple[int, ...]) -> torch.Tensor:
    """kept: which of those that the mask keeps stay."""
    places = np.flatnonzero(mask.numpy())
    found = torch.zeros_like(mask)
    found[places[list(kept)].tolist()] = True
    return found
