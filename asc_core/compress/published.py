"""Published methods as a whole: which parts each removes for a budget, and the repair that belongs to it.

`scores.methods` has what these papers measure; here is what they do with it, so that they can be used and compared as
published. Nothing is trained in any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from asc_core.compress.bias import Columns, columns_of
from asc_core.compress.calibration import SAMPLES, TOKENS, Calibration
from asc_core.compress.calibrations import Calibrations
from asc_core.compress.kprune import kprune_plan
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.plan import STRATEGIES, CostModel, by_budget, by_layer_drop
from asc_core.plan.cost import Budget
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.plan.layer_drop import Strategy, fewest_dropped
from asc_core.plan.rearrange import rearranged
from asc_core.progress import Progress
from asc_core.scores.gate_gradients import GateTable, gate_gradients
from asc_core.scores.greedy_layers import greedy_layers
from asc_core.scores.rounds import michel_rounds, textpruner_rounds
from asc_core.scores.sweep import sweep
from asc_core.tasks.base import Task
from asc_core.values import PartValues, Plan, Scores

ROUNDS = 16  # of TextPruner's
SHARE = 0.1  # that Michel et al. remove in each round


@dataclass
class MethodInputs:
    """What the methods look at: an encoder, an application, and a budget that is counted in `budget`.

    samples, seed: draw the training examples. What several methods need is computed once. calibrations: shared with
    whoever repairs the cut. tokens: of the calibration at most, see `calibrate`.
    """

    encoder: Encoder
    task: Task
    budget: Budget = "flops"
    samples: int = SAMPLES
    seed: int = 0
    progress: Progress | None = None
    calibrations: Calibrations = field(default_factory=Calibrations)
    tokens: int = TOKENS

    @cached_property
    def cost_model(self) -> CostModel:
        return task_cost_model(self.encoder, self.task)

    @property
    def calibration(self) -> Calibration:
        return self.calibrations.get(
            self.encoder,
            self.task,
            samples=self.samples,
            tokens=self.tokens,
            seed=self.seed,
            progress=self.progress,
        )

    @cached_property
    def columns(self) -> Columns:
        return columns_of(self.encoder, self.calibration, self.progress)

    @cached_property
    def gates(self) -> GateTable:
        return gate_gradients(self.encoder, self.task, samples=self.samples, seed=self.seed, progress=self.progress)

    def scores(self, method: str, values: PartValues) -> Scores:
        return Scores(
            method,
            values,
            self.encoder.shape,
            self.encoder.weights,
            self.task.name,
            "train",
            self.samples,
            self.seed,
            "gold" if self.task.labelled else "sampled",
        )


@dataclass(frozen=True)
class Published:
    """plans(given, keeps): a plan for each share of the original's cost, in order of falling shares.

    repair: what is done to the parts that stay, None = nothing. source: the paper.
    """

    id: str
    description: str
    source: str
    plans: Callable[[MethodInputs, Sequence[float]], Iterator[Plan]]
    repair: str | None = None


def published_plan(
    encoder: Encoder,
    task: Task,
    method: str,
    keep: float,
    budget: Budget = "flops",
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
    calibrations: Calibrations | None = None,
) -> Plan:
    """What a method of `PUBLISHED` keeps within a share of the original's FLOPs, parameters or bytes.

    Raises: UserError (unknown method, a budget out of reach, or the method does not fit encoder or task), Cancelled.
    """
    if method not in PUBLISHED:
        raise UserError(f"There is no published method {method!r}; there are: {', '.join(PUBLISHED)}.")
    if not 0 < keep <= 1:
        raise UserError(f"A budget keeps a share between 0 and 1, so {keep:g} cannot be kept.")
    given = MethodInputs(encoder, task, budget, samples, seed, progress, calibrations or Calibrations())
    plan = next(iter(PUBLISHED[method].plans(given, [keep])))
    return replace(plan, provenance=replace(plan.provenance, weights=encoder.weights, task=task.name, method=method))


def _kwon(given: MethodInputs, keeps: Sequence[float]) -> Iterator[Plan]:
    """Kwon's search, with the Fisher information of single texts as in the paper.

    (The authors' code squares gradients averaged over mini-batches of 32, and cuts worse for it: given one text a batch
    it makes this plan.)
    """
    table = given.gates
    fisher = given.scores("fisher", PartValues(*table.fisher()))
    for keep in keeps:
        yield rearranged(by_budget(fisher, given.cost_model, keep, given.budget), table.heads, table.neurons)


def _kprune(given: MethodInputs, keeps: Sequence[float]) -> Iterator[Plan]:
    for keep in keeps:
        yield kprune_plan(given.encoder, given.calibration, given.cost_model, keep, given.budget, given.progress)


def _michel(given: MethodInputs, keeps: Sequence[float]) -> Iterator[Plan]:
    yield from _rounds(michel_rounds, given, keeps, list(np.arange(1 - SHARE, 0, -SHARE)))


def _textpruner(given: MethodInputs, keeps: Sequence[float]) -> Iterator[Plan]:
    yield from _rounds(textpruner_rounds, given, keeps, list(np.linspace(1, min(keeps), ROUNDS + 1)[1:]))


def _rounds(
    rounds: Callable[..., Iterator[Plan]], given: MethodInputs, keeps: Sequence[float], path: list[float]
) -> Iterator[Plan]:
    """One path through all shares, so that larger models are stations on the way to the smallest."""
    path = [share for share in path if share > min(keeps) and all(abs(share - keep) > 1e-6 for keep in keeps)]
    shares = sorted({*path, *keeps}, reverse=True)
    found = rounds(
        given.encoder,
        given.task,
        given.cost_model,
        shares,
        budget=given.budget,
        samples=given.samples,
        seed=given.seed,
        progress=given.progress,
    )
    for share, plan in zip(shares, found, strict=True):
        if share in keeps:
            yield plan


def _flap(given: MethodInputs, keeps: Sequence[float]) -> Iterator[Plan]:
    """FLAP's adaptive search: fluctuations standardised in each sublayer, then compared over all of them.

    (As the paper has it; the authors' code squares attention's before.)
    """
    variances, width = given.columns.variances, given.encoder.shape.head_width
    blocks: dict[str, list[np.ndarray]] = {"attention": [], "ffn": []}
    for readout in given.encoder.readouts:
        weight = readout.weight.detach().double()
        columns = variances[readout.kind, readout.row] * weight.square().sum(0)
        standard = (columns - columns.mean()) / columns.std().clamp_min(1e-30)
        by_block = standard.view(-1, width).mean(1) if readout.kind == "attention" else standard
        blocks[readout.kind].append(by_block.cpu().numpy())
    # Every value raised alike: a budget would leave out what counts less than nothing.
    least = min(float(values.min(initial=0)) for each in blocks.values() for values in each)
    raised = {kind: tuple(values - least for values in each) for kind, each in blocks.items()}
    for keep in keeps:
        yield _highest(given, raised["attention"], raised["ffn"], keep)


def _highest(given: MethodInputs, heads: tuple[np.ndarray, ...], neurons: tuple[np.ndarray, ...], keep: float) -> Plan:
    """Heads and neurons in the order of their values, whatever they cost, as far as the budget reaches."""
    unit = given.cost_model.unit_costs(given.budget)
    flat = np.concatenate([*heads, *neurons])
    counts = [len(values) for values in (*heads, *neurons)]
    costs = np.repeat(np.asarray([*unit.heads, *unit.neurons], dtype=np.int64), counts)
    order = np.argsort(-flat, kind="stable")
    within = unit.fixed + np.cumsum(costs[order]) <= given.cost_model.limit(keep, given.budget)
    if not within.any():
        raise UserError(f"{keep:.4g} of the {given.budget} is less than what no cut of heads and neurons removes.")
    staying = np.zeros(len(flat), dtype=bool)
    staying[order[within]] = True
    rows = np.split(staying, np.cumsum(counts)[:-1])
    scores = given.scores("flap", PartValues(heads, neurons))
    rule = f"keep {keep:.4g} of the {given.budget}, highest standardised fluctuation"
    return Plan.from_masks(
        given.encoder.shape, rows[: len(heads)], rows[len(heads) :], provenance=scores.provenance(rule)
    )


def _greedy_layers(given: MethodInputs, keeps: Sequence[float]) -> Iterator[Plan]:
    plans = greedy_layers(given.encoder, given.task, samples=given.samples, seed=given.seed, progress=given.progress)
    plan = next(plans)
    for keep in keeps:
        limit = given.cost_model.limit(keep, given.budget)
        while given.cost_model.total(plan, given.budget) > limit:
            smaller = next(plans, None)
            if smaller is None:
                raise UserError(f"One layer alone is more than {keep:.4g} of the {given.budget}.")
            plan = smaller
        rule = f"drop the layer missed least, {len(plan.layers)} stay (keep {keep:.4g} of the {given.budget})"
        yield replace(plan, provenance=replace(plan.provenance, rule=rule))


def _shortgpt(given: MethodInputs, keeps: Sequence[float]) -> Iterator[Plan]:
    (scores,) = sweep(
        given.encoder, given.task, ["update"], samples=given.samples, seed=given.seed, progress=given.progress
    ).values()
    for keep in keeps:
        yield by_budget(scores, given.cost_model, keep, given.budget, level="layers")


def _random_layers(given: MethodInputs, keeps: Sequence[float]) -> Iterator[Plan]:
    layers = given.encoder.shape.layers
    order = np.random.default_rng((given.seed, layers)).permutation(layers)
    gone = [order[:count].tolist() for count in range(layers)]
    for keep in keeps:
        yield fewest_dropped(given.cost_model, keep, gone, f"random by seed {given.seed}", given.budget)


def _dropped(strategy: Strategy, given: MethodInputs, keeps: Sequence[float]) -> Iterator[Plan]:
    for keep in keeps:
        yield by_layer_drop(given.encoder.shape, given.cost_model, keep, strategy, given.budget)


PUBLISHED: dict[str, Published] = {
    method.id: method
    for method in (
        Published(
            "kwon",
            "Most Fisher information within the budget, rearranged in each layer by its cross terms; masks tuned.",
            "Kwon et al. 2022, arXiv 2204.09656",
            _kwon,
            "mask-tuning",
        ),
        Published(
            "kprune",
            "Sublayer by sublayer from the bottom: measure knowledge, choose, reconstruct by least squares.",
            "K-prune, Park et al. 2024, arXiv 2308.03449",
            _kprune,
            "reconstruction",
        ),
        Published(
            "michel-iterative",
            "Sensitivities by layer, taken again after each tenth of the budget.",
            "Michel et al. 2019, arXiv 1905.10650, section 4.2",
            _michel,
        ),
        Published(
            "textpruner-iterative",
            "Sums of weight times gradient, as many parts in every layer, scored again in each of 16 rounds.",
            "TextPruner, Yang et al. 2022, arXiv 2203.15996",
            _textpruner,
        ),
        Published(
            "flap-adaptive",
            "Fluctuations standardised in each sublayer; what goes on average is folded into the biases.",
            "FLAP, An et al. 2024, arXiv 2312.11983",
            _flap,
            "bias",
        ),
        Published(
            "greedy-layers",
            "The layer whose removal costs the least loss, again and again.",
            "Greedy-layer pruning, Peer et al. 2022, arXiv 2105.14839, without its fine-tuning",
            _greedy_layers,
        ),
        Published(
            "shortgpt",
            "The layers that turn the residual stream least.",
            "ShortGPT, Men et al. 2024, arXiv 2403.03853",
            _shortgpt,
        ),
        Published(
            "random-layers",
            "Layers drawn by the seed: what every choice of layers has to beat.",
            "Application Specific Compression, arXiv 2409.05368, its baseline",
            _random_layers,
        ),
        *(
            Published(
                f"{strategy}-layers",
                f"Layers by position alone: {strategy}.",
                "Sajjad et al. 2023, arXiv 2004.03844, section 3",
                partial(_dropped, strategy),  # type: ignore[arg-type]
            )
            for strategy in STRATEGIES
        ),
    )
}
