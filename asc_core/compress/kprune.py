"""K-prune's search: from the bottom, measure what is left, choose for this sublayer, reconstruct it, go on above.

Park et al. 2024 (Accurate Retraining-free Pruning for Pretrained Encoder-based Language Models, arXiv 2308.03449) and
the authors' code, whose constants are used. For each sublayer in turn: (1) of its heads or neurons and all above it,
predictive knowledge 1/2 (dKL/dm)^2, m a gate and KL the divergence from the original's softened outputs, and
representational knowledge, the mean square of what a column writes; (2) of all these, what scores highest for its cost
within what is left of the budget stays, and of this sublayer the rest goes; (3) its readout is solved for by least
squares, as `reconstruct` does, so that the sublayers above are measured on what the pruned model delivers. (At the
first sublayer the divergence has no gradient, and representational knowledge decides alone.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from asc_core import modeling
from asc_core.compress.bottom_up import check_fits, next_input, set_weight
from asc_core.compress.calibration import Calibration, CalibrationBatch
from asc_core.compress.fit import Fit
from asc_core.compress.reconstruct import least_squares
from asc_core.compress.residual_sums import ResidualSums
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.plan import CostModel
from asc_core.plan.cost import Budget
from asc_core.probes import Readout, ReadoutKey
from asc_core.progress import Progress
from asc_core.scores.restart import Restartable
from asc_core.scores.sweep_pass import frozen
from asc_core.values import Plan, Provenance

TEMPERATURE = 2.0
REPRESENTATIONAL = 2.5e-4  # the weight of representational knowledge; that of predictive knowledge is 1
HEADS = 64.0  # what a head's mean over its columns is multiplied by
BATCH, BATCH_OF_SPANS = 32, 12  # texts over which a gradient is averaged before it is squared: GLUE's, and SQuAD's


def kprune_plan(
    encoder: Encoder,
    calibration: Calibration,
    cost_model: CostModel,
    keep: float,
    budget: Budget = "flops",
    progress: Progress | None = None,
) -> Plan:
    """What K-prune keeps within a share of the original's cost. `reconstruct` of this plan gives K-prune's weights.

    budget: flops, parameters or bytes.
    Raises: UserError (layers that share weights, a calibration of other weights, a budget out of reach), Cancelled.
    """
    check_fits(encoder, calibration)
    progress, unit = progress or Progress(), cost_model.unit_costs(budget)
    left = cost_model.limit(keep, budget) - unit.fixed
    if left < 0:
        raise UserError(f"{keep:.4g} of the {budget} is less than what no cut of heads and neurons removes: give more.")
    costs = [(unit.heads if readout.kind == "attention" else unit.neurons)[readout.row] for readout in encoder.readouts]
    walk = _Walk(encoder, calibration)
    kept: list[np.ndarray] = []
    for number in range(len(encoder.readouts)):
        scores, fit = walk.measure(number, costs, progress)
        staying = within(scores, costs[number:], left)[0]
        left -= costs[number] * int(staying.sum())
        walk.prune(number, staying, fit)
        kept.append(staying)
    provenance = Provenance(
        weights=encoder.weights,
        task=calibration.task,
        method="kprune",
        rule=f"keep {keep:.4g} of the {budget}, K-prune",
    )
    return Plan.from_masks(encoder.shape, kept[0::2], kept[1::2], None, provenance)


def within(scores: list[np.ndarray], costs: list[int], limit: int) -> list[np.ndarray]:
    """Bool, one array a sublayer: the highest scores of all together, in their order, as far as the limit reaches.

    scores: (blocks,) of each sublayer, by cost. costs: of one block of each.
    """
    flat = np.concatenate(scores)
    sublayer = np.repeat(np.arange(len(scores)), [len(s) for s in scores])
    order = np.argsort(-flat, kind="stable")
    total = np.cumsum(np.asarray(costs, dtype=np.int64)[sublayer[order]])
    staying = np.zeros(len(flat), dtype=bool)
    staying[order[total <= limit]] = True
    return np.split(staying, np.cumsum([len(s) for s in scores])[:-1])


class _Walk:
    """The encoder as pruned so far: zeros in the columns that went, hidden states at the layer that has its turn."""

    def __init__(self, encoder: Encoder, calibration: Calibration):
        self.runner = Restartable(frozen(encoder))
        self.readouts = self.runner.encoder.readouts
        self.calibration = calibration
        self.hidden = [text.hidden for text in calibration.texts]
        self.norm_first = modeling.architecture_of(encoder.model).norm_first
        self.binary = getattr(encoder.model.config, "problem_type", None) == "multi_label_classification"
        with torch.no_grad():
            self.outputs = [_tensors(self.runner.record(text.batch.inputs)[0]) for text in calibration.texts]
        texts = [len(text.batch.mask) // text.batch.rows_per_feature for text in calibration.texts]
        batch = BATCH_OF_SPANS if "start_logits" in self.outputs[0] else BATCH
        self.batches = drawn_batches(sum(texts), batch, calibration.seed).split(texts)

    def measure(self, number: int, costs: list[int], progress: Progress) -> tuple[list[np.ndarray], Fit]:
        """(scores by cost of the blocks of each sublayer from this one on, what this one's readout has to write)."""
        gathered, fit = _Knowledge(self.readouts[number:], torch.cat(self.batches).bincount()), Fit(bias=False)
        readout, passes = self.readouts[number], len(self.hidden)
        layer, bias = number // 2, readout.bias
        for done, (text, states, reference, batches) in enumerate(
            zip(self.calibration.texts, self.hidden, self.outputs, self.batches, strict=True)
        ):
            progress.step(number * passes + done, len(self.readouts) * passes, "K-prune")
            probe = _Gates(self.norm_first, (readout.kind, layer), gathered, text, batches)
            with torch.enable_grad():
                output = self.runner.start(layer, text.batch.inputs, states, probe)
                loss = divergence(_tensors(output), reference, text.real, self.binary).sum()
                if loss.requires_grad:
                    torch.autograd.grad(loss, [probe.source], allow_unused=True)
            tokens = text.real
            wanted = (text.sums[readout.kind, layer] - probe.before)[tokens]
            wanted = wanted if bias is None else wanted - bias
            fit.add(probe.source.detach()[tokens], wanted, torch.ones(len(wanted), device=wanted.device))
            probe.release()
        return gathered.scores(costs[number:], self.calibration.tokens), fit

    @torch.no_grad()
    def prune(self, number: int, staying: np.ndarray, fit: Fit) -> None:
        """Solve for the columns that stay, put zeros in the others, and step over a layer that is finished."""
        readout = self.readouts[number]
        columns = torch.from_numpy(staying).repeat_interleave(readout.width).nonzero()[:, 0].to(fit.cross.device)
        solution = torch.zeros_like(fit.cross)
        solution[columns] = least_squares(fit.moments[columns][:, columns], fit.cross[columns])
        set_weight(readout.linear, solution)
        layer = number // 2
        if readout.kind == "ffn" and layer + 1 < self.runner.layers:
            self.hidden = [
                next_input(self.runner, layer, text.batch.inputs, states)
                for text, states in zip(self.calibration.texts, self.hidden, strict=True)
            ]


def drawn_batches(texts: int, size: int, seed: int) -> torch.Tensor:
    """(texts,) the number of the batch that each text is in, drawn by seed, all of about `size`.

    Not the batches that go through the encoder: those are of texts of one length, as many as the device takes, and the
    square of a mean over one or two texts is mostly noise.
    """
    drawn = np.random.default_rng((seed, 9)).permutation(texts)
    return torch.from_numpy(drawn % max(1, round(texts / size)))


@dataclass
class _Knowledge:
    """Sums over all texts so far. representational: readout -> (columns,). gradients: readout -> (batches, columns).

    sizes: (batches,) texts of each of `drawn_batches`.
    """

    readouts: list[Readout]
    sizes: torch.Tensor

    def __post_init__(self) -> None:
        self.gradients: dict[ReadoutKey, torch.Tensor] = {}
        self.representational: dict[ReadoutKey, torch.Tensor] = {}

    def scores(self, costs: list[int], tokens: int) -> list[np.ndarray]:
        found = []
        for readout, cost in zip(self.readouts, costs, strict=True):
            place = (readout.kind, readout.row)
            written = readout.weight.detach().square().mean(0)
            columns = REPRESENTATIONAL * self.representational[place] * written / tokens
            if place in self.gradients:
                means = self.gradients[place] / self.sizes[:, None].to(columns)
                columns = columns + means.square().sum(0) / 2 / int(self.sizes.sum())
            blocks = columns.unflatten(0, (readout.blocks, -1)).mean(1) if readout.blocks else columns
            if readout.kind == "attention":
                blocks = HEADS * blocks
            found.append(blocks.double().cpu().numpy() / max(cost, 1))
        return found


class _Gates(ResidualSums):
    """From one readout on: squares of inputs, and gate gradients of each text, into `gathered`.

    batches: (texts,) where each text's gradient belongs. source: what the readout `first` reads, where the graph
    begins. before: the residual stream there.
    """

    def __init__(
        self, norm_first: bool, first: ReadoutKey, gathered: _Knowledge, text: CalibrationBatch, batches: torch.Tensor
    ):
        super().__init__(norm_first)
        self.first, self.gathered, self.batches = first, gathered, batches
        self.real, self.rows_per_feature = text.real, text.batch.rows_per_feature
        self.source: torch.Tensor
        self.before: torch.Tensor
        self._begun = False

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor | None:
        begins = (readout.kind, self._at) == self.first
        if not (begins or self._begun):
            return None
        if begins:
            self._begun = True
            inputs = inputs.detach().requires_grad_()
            self.source, self.before = inputs, self.residual.detach()
        seen, place = inputs.detach(), (readout.kind, readout.row)
        written = seen[self.real].square().sum(0)
        sums = self.gathered.representational
        sums[place] = sums[place] + written if place in sums else written
        inputs.register_hook(lambda gradient: self._add(place, seen, gradient))
        return inputs if begins else None

    def release(self) -> None:
        super().release()
        del self.source, self.before

    @torch.no_grad()
    def _add(self, place: ReadoutKey, seen: torch.Tensor, gradient: torch.Tensor) -> None:
        each = (seen * gradient).sum(1)  # (rows, columns)
        each = each.unflatten(0, (-1, self.rows_per_feature)).sum(1)
        sums = self.gathered.gradients
        if place not in sums:
            sums[place] = each.new_zeros(len(self.gathered.sizes), each.shape[1])
        sums[place].index_add_(0, self.batches.to(each.device), each)


def _tensors(output: Any) -> dict[str, torch.Tensor]:
    """What the model says: its logits, or where it has none its last hidden states."""
    logits = {name: value for name, value in output.items() if "logits" in name}
    return logits or {"last_hidden_state": output.last_hidden_state}


def divergence(
    output: Mapping[str, torch.Tensor],
    reference: Mapping[str, torch.Tensor],
    real: torch.Tensor,
    binary: bool = False,
    temperature: float = TEMPERATURE,
) -> torch.Tensor:
    """(B,) temperature^2 KL(softmax(reference / temperature) || softmax(output / temperature)), mean over outputs.

    Of logits for each token the mean over tokens; of single numbers and hidden states the squared error instead.
    real: (B, T) bool. binary: whether each logit is a decision of its own (multi-label).
    """
    parts = []
    for name, value in output.items():
        goal = reference[name]
        if name in ("start_logits", "end_logits"):
            value, goal = (v.masked_fill(~real, -1e4) for v in (value, goal))
        if name == "last_hidden_state" or value.shape[-1] == 1:
            part = (value - goal).square().mean(-1)
        elif binary:
            value, goal = value / temperature, torch.sigmoid(goal / temperature)
            least = -(torch.xlogy(goal, goal) + torch.xlogy(1 - goal, 1 - goal))
            both = functional.binary_cross_entropy_with_logits(value, goal, reduction="none") - least
            part = temperature**2 * both.sum(-1)
        else:
            value, goal = ((v / temperature).log_softmax(-1) for v in (value, goal))
            part = temperature**2 * functional.kl_div(value, goal, reduction="none", log_target=True).sum(-1)
        if part.dim() == 2:
            part = (part * real).sum(1) / real.sum(1)
        parts.append(part)
    return torch.stack(parts).mean(0)
