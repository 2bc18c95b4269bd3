"""Walk over a cut model's readouts from the bottom, on cached hidden states of the calibration texts.

At each readout a repair sees what the cut model, repaired so far, delivers to it, and what it would have to write so
that the residual stream is what it was in the original. What it puts there is what the readouts above then see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import nn

from asc_core import modeling
from asc_core.compress.calibration import Calibration, CalibrationBatch
from asc_core.compress.residual_sums import Reached, ResidualSums
from asc_core.compress.solutions import set_weight
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.probes import Probe, Readout, ReadoutKey
from asc_core.progress import REPAIRING, Progress
from asc_core.scores.restart import Inputs, Restartable


@dataclass(frozen=True)
class ReadoutBatch:
    """One batch at one readout. inputs: (B, T, columns) what it reads. wanted: (B, T, d) what it should write."""

    text: CalibrationBatch
    inputs: torch.Tensor
    wanted: torch.Tensor


class RefitSite:
    """One readout on the way up. layer: of the cut model. place: (kind, layer) of the original.

    norm: what reads the residual sum in the same layer, where there is such a thing.
    """

    def __init__(
        self,
        readouts: tuple[Readout, Readout],
        norms: tuple[nn.LayerNorm | None, ...],
        layer: int,
        place: ReadoutKey,
        seen: Iterator[ReadoutBatch],
    ):
        self._readouts, self._norms = readouts, norms
        self.readout, self.norm = readouts[0], norms[0]
        self.layer, self.place = layer, place
        self.seen = seen

    def set_weight(self, solution: torch.Tensor) -> None:
        """Give the readout new weights, (columns, d) or, with its bias below them, (columns + 1, d)."""
        for readout in self._readouts:
            set_weight(readout.linear, solution)

    def set_norm(self, scale: torch.Tensor, shift: torch.Tensor | None) -> None:
        """Give the norm a new scale (d,) and, if it has one, shift (d,)."""
        for norm in self._norms:
            assert norm is not None
            norm.weight = nn.Parameter(scale.clone(), requires_grad=False)
            if shift is not None:
                norm.bias = nn.Parameter(shift.clone(), requires_grad=False)


def bottom_up(
    smaller: Encoder, layers: tuple[int, ...], calibration: Calibration, progress: Progress, what: str
) -> Iterator[RefitSite]:
    """Every readout of `smaller`, attention before FFN, each after what was put into those below.

    layers: the original's, that `smaller` still has. A site's `seen` is computed as it is read, and not at all if it
    is not; it is good until the next site. Raises: Cancelled.
    """
    runner = Restartable(smaller)
    architecture = modeling.architecture_of(smaller.model)
    norm_first = architecture.norm_first
    hidden = [text.hidden for text in calibration.texts]
    runner.record(calibration.texts[0].batch.inputs)
    total = len(smaller.readouts) * len(hidden)
    # Of the layer whose turn it is, for each batch: what its readouts read, which a new readout does not change. Kept
    # (400 MB at most, for 65,536 tokens and 1,536 neurons), it spares the layer's other passes what it came from.
    known: list[dict[ReadoutKey, torch.Tensor]] = [{} for _ in hidden]

    def see(number: int, readout: Readout, layer: int) -> Iterator[ReadoutBatch]:
        here, there = (readout.kind, layer), (readout.kind, layers[layer])
        for batch, (text, states) in enumerate(zip(calibration.texts, hidden, strict=True)):
            progress.step(number * len(hidden) + batch, total, what, REPAIRING)
            probe = ResidualSums(norm_first, here, known[batch])
            with suppress(Reached), runner.idle(_feeding(runner, known[batch])):
                runner.layer(layer, text.batch.inputs, states, probe)
            known[batch][here] = probe.inputs[here]
            yield ReadoutBatch(text, probe.inputs[here], text.sums[there] - probe.residual)

    for number, readout in enumerate(smaller.readouts):
        layer = number // 2
        both = (smaller, runner.encoder)  # the runner has modules of its own
        norms = tuple(modeling.norm_behind(architecture, modeling.rows_of(e.model)[layer], readout.kind) for e in both)
        place = (readout.kind, layers[layer])
        yield RefitSite((readout, runner.encoder.readouts[number]), norms, layer, place, see(number, readout, layer))
        if readout.kind == "ffn" and layer + 1 < len(layers):
            hidden = [
                next_input(runner, layer, text.batch.inputs, states, read)
                for text, states, read in zip(calibration.texts, hidden, known, strict=True)
            ]
            known = [{} for _ in hidden]
    progress.step(total, total, what, REPAIRING)


def _feeding(runner: Restartable, known: Mapping[ReadoutKey, torch.Tensor]) -> list[nn.Module]:
    """The matrices that are not needed where it is known what these readouts read."""
    architecture, rows = modeling.architecture_of(runner.encoder.model), modeling.rows_of(runner.encoder.model)
    return [linear for kind, layer in known for linear in modeling.feeding(architecture, rows[layer], kind)]


class _Entering(Probe):
    """hidden: what a layer is about to read; the pass ends there. known: what readouts are made to read."""

    def __init__(self, until: int, known: Mapping[ReadoutKey, torch.Tensor]):
        self.until, self.known = until, known
        self.hidden: torch.Tensor

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        return self.known.get((readout.kind, self.layer))

    def enter(self, layer: int, hidden: torch.Tensor) -> None:
        if layer == self.until:
            self.hidden = hidden
            raise Reached


def next_input(
    runner: Restartable,
    layer: int,
    inputs: Inputs,
    hidden: torch.Tensor,
    known: Mapping[ReadoutKey, torch.Tensor] | None = None,
) -> torch.Tensor:
    """(B, T, d) what the layer above reads; also where something stands between them (DeBERTa's convolution).

    hidden: (B, T, d) the input of `layer`, which is not the last. known: what its readouts read, as far as that need
    not be computed again.
    """
    known = known or {}
    probe = _Entering(layer + 1, known)
    with suppress(Reached), runner.idle(_feeding(runner, known)):
        runner.start(layer, inputs, hidden, probe)
    return probe.hidden


def check_repairable(original: Encoder, shared: bool = False) -> None:
    """Better before long work. shared: whether the repair takes layers that share their weights.

    Raises: UserError where it does not and they do, or where readouts are factored.
    """
    if original.shape.shares_weights and not shared:
        raise UserError(
            "A repair needs weights of its own for each layer; in this encoder layers share them: choose the repair "
            "shared-weights, which fits each readout to all of its layers, or none."
        )
    if not all(modeling.takes_any_values(readout.linear) for readout in original.readouts):
        raise UserError(
            "A repair gives readouts new values, which factored ones cannot hold: cut and repair first, then factor."
        )


def check_fits(original: Encoder, calibration: Calibration, shared: bool = False) -> None:
    """Raises: UserError where the encoder cannot be repaired, or the calibration is another's."""
    check_repairable(original, shared)
    if calibration.weights != original.weights:
        raise UserError("The calibration is of other weights than this encoder's: calibrate again.")
