"""A step: layers on one set of weights, with or without what tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator

from asc_core import modeling
from asc_core.compress.layer_groups import cheapest_groups, shareable
from asc_core.compress.linear_statistics import MatrixStatistics, linear_statistics
from asc_core.compress.merged_matrices import ROUNDS, Merged, OfLayer, merged, merged_with_differences
from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.probes import Probe, probing

STATISTICS = 1024  # training texts that matrices are fitted on
BEFORE = ("lower", "weights", "samples", "seed")  # the fields that there were at first

Group = tuple[int, ...]


class Share(Step):
    """Give layers the weights of others, whole or with what tells them apart.

    Which layers: `lower`, the lower one of an adjacent pair, counted from 1; or `groups` of them; or as many groups of
    adjacent layers as `keep` says, those whose merging costs least in closed form (see `merged_matrices`). With none of
    the three the pair that changes the last hidden states on training texts least, or, where matrices are fitted, whose
    merging costs least. weights: of the lowest layer of a group, of the highest one, their mean, or "fitted" to what
    all of them read and write. differences: None = layers of a group are the same; else each has its own biases and
    norms and, at a rank above 0, a difference of that rank from each matrix. samples, seed: draw the texts that a pair
    is chosen on; matrices are fitted on 1,024.
    """

    kind: ClassVar[str] = "share"
    structure: ClassVar[str | None] = "share"
    lower: int | None = Field(
        default=None, ge=1, title="Lower layer", description="Lower layer of the pair; empty: the best pair"
    )
    weights: Literal["lower", "upper", "mean", "fitted"] = Field(
        default="lower", description="Whose weights the layers run on"
    )
    samples: int = Field(default=64, ge=1, description="Training texts to choose the pair on")
    seed: int = Field(default=0, ge=0, description="Seed of the texts")
    keep: int | None = Field(default=None, ge=1, title="Sets of weights", description="So many are left of the layers'")
    groups: tuple[Group, ...] | None = None
    differences: int | None = Field(
        default=None,
        ge=0,
        title="Rank of differences",
        description="Of each layer's matrices from the shared ones; 0: own biases and norms alone; empty: none",
    )

    @model_validator(mode="after")
    def _one_choice(self) -> Share:
        if sum(value is not None for value in (self.lower, self.keep, self.groups)) > 1:
            raise ValueError("lower, keep and groups say the same: give one of them")
        for group in self.groups or ():
            if len(set(group)) != len(group) or len(group) < 2 or min(group) < 1:
                raise ValueError(f"a group is two different layers or more, counted from 1, not {list(group)}")
        named = [layer for group in self.groups or () for layer in group]
        if len(set(named)) != len(named):
            raise ValueError("a layer stands in one group at most")
        return self

    @property
    def needs_task(self) -> bool:
        return self._fits or (self.lower is None and self.groups is None)

    @property
    def _fits(self) -> bool:
        """Whether matrices are fitted to what they read."""
        return self.weights == "fitted" or self.differences is not None

    def cache_key(self) -> Any:
        """A recipe of before there were groups is what it was."""
        said = self.model_dump(mode="json")
        return [self.kind, {name: value for name, value in said.items() if name in BEFORE or value is not None}]

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        able = shareable(encoder)
        pairs = [i for i in range(encoder.shape.layers - 1) if i + 1 in able.get(i, ())]
        if not pairs and (self.groups is None or not any(able.values())):
            raise UserError(f"{encoder.name} has no two adjacent layers of the same widths: share before cutting.")
        if not self._fits and self.lower is None and self.groups is None and self.keep is None:
            return self._best(encoder, pairs, context)
        if self.lower is not None and self.lower - 1 not in pairs:
            known = ", ".join(f"{lower + 1} and {lower + 2}" for lower in pairs)
            raise UserError(f"Layers {self.lower} and {self.lower + 1} cannot share their weights; {known} can.")
        layers = self._of_layers(encoder, context) if self._fits or self.keep is not None else []
        groups = self._groups(encoder, able, layers)
        said = ", ".join(" and ".join(str(layer + 1) for layer in group) for group in groups)
        context.done = f"{self.describe()}: layers {said}"
        return self._shared(encoder, groups, layers)

    def describe(self) -> str:
        whose = {
            "lower": "those of the lower",
            "upper": "those of the upper",
            "mean": "their mean",
            "fitted": "fitted to all of them",
        }[self.weights]
        if self.lower is not None:
            which = f"layers {self.lower} and {self.lower + 1} on one set of weights"
        elif self.groups is not None:
            which = f"{sum(map(len, self.groups))} layers on {len(self.groups)} sets of weights"
        elif self.keep is not None:
            which = f"layers on {self.keep} sets of weights"
        else:
            which = "two adjacent layers on one set of weights"
        more = {None: "", 0: ", biases and norms of their own"}.get(
            self.differences, f", differences of rank {self.differences}"
        )
        return f"{which} ({whose}{more})"

    def _groups(self, encoder: Encoder, able: dict[int, set[int]], layers: Sequence[dict[str, OfLayer]]) -> list[Group]:
        """Of two layers or more each, ascending. Raises: UserError where some cannot share."""
        if self.lower is not None:
            return [(self.lower - 1, self.lower)]
        if self.groups is not None:
            groups = [tuple(sorted(layer - 1 for layer in group)) for group in self.groups]
            for group in groups:
                wrong = next((one for one in group[1:] if one not in able.get(group[0], ())), None)
                if wrong is not None:
                    raise UserError(
                        f"Layers {group[0] + 1} and {wrong + 1} of {encoder.name} cannot share their weights: layers "
                        "of the same widths can, each once."
                    )
            return groups
        keep = self.keep if self.keep is not None else encoder.shape.layers - 1
        return cheapest_groups(encoder, able, keep, lambda group: self._price(layers, group))

    def _price(self, layers: Sequence[dict[str, OfLayer]], group: Group) -> float:
        """What merging a group costs: without the rounds that only refine it."""
        total = 0.0
        for path in layers[group[0]]:
            of_group = [layers[layer][path] for layer in group]
            total += self._merged(of_group, self._given(of_group), rounds=0).price
        return total

    def _of_layers(self, encoder: Encoder, context: StepContext) -> list[dict[str, OfLayer]]:
        """For each layer path -> matrix, with what it reads."""
        names = {id(module): name for name, module in encoder.model.named_modules()}
        table = modeling.architecture_of(encoder.model)
        each = [modeling.matrices(table, layer) for layer in modeling.layers_of(encoder.model)]
        plain = {names[id(m)] for layer in each for m in layer.values() if modeling.takes_any_values(m)}
        known = linear_statistics(
            encoder, context.task, sorted(plain), samples=STATISTICS, seed=self.seed, progress=context.progress
        )
        return [
            {
                path: OfLayer(matrix, _detached(modeling.bias(m)), known.get(names[id(m)]) or _unseen(matrix))
                for path, m in layer.items()
                for matrix in [modeling.matrix(m).detach().cpu()]
            }
            for layer in each
        ]

    def _given(self, layers: Sequence[OfLayer]) -> torch.Tensor | None:
        """The matrix that they run on, where it is not fitted."""
        weights = [layer.weight for layer in layers]
        return {"lower": weights[0], "upper": weights[-1], "mean": torch.stack(weights).mean(0)}.get(self.weights)

    def _merged(self, layers: Sequence[OfLayer], given: torch.Tensor | None, rounds: int = ROUNDS) -> Merged:
        if self.differences is None:
            return merged(layers, given)
        return merged_with_differences(layers, min(self.differences, *layers[0].weight.shape), given, rounds)

    def _shared(self, encoder: Encoder, groups: Sequence[Group], fitted: Sequence[dict[str, OfLayer]] = ()) -> Encoder:
        """groups: in numbers from 0. fitted: the layers' matrices, where they are fitted."""
        layers = modeling.layers_of(encoder.model)
        lowest = {layer: group[0] for group in groups for layer in group}
        first = [layers.index(layer) for layer in layers]  # where some share already
        entry = {"kind": self.structure, "layers": [lowest.get(i, first[i]) for i in range(len(layers))]}
        names = {id(module): name for name, module in encoder.model.named_modules()}
        mixed: dict[str, torch.Tensor] = {}
        for group in groups:
            states, name = [layers[layer].state_dict() for layer in group], names[id(layers[group[0]])]
            mixed |= {f"{name}.{part}": self._mixed([state[part] for state in states]) for part in states[0]}
        made = {
            (group, path): self._merged(of_group, self._given(of_group))
            for group in groups
            for path in (fitted[group[0]] if self._fits else ())
            for of_group in [[fitted[layer][path] for layer in group]]
        }
        for (group, path), found in made.items():
            name = f"{names[id(layers[group[0]])]}.{path}"
            mixed[f"{name}.weight"] = found.weight
            if found.bias is not None:
                mixed[f"{name}.bias"] = found.bias
        shared = encoder.with_structure(entry, mixed if self.weights != "lower" or self._fits else {})
        return shared if self.differences is None else self._apart(encoder, shared, groups, made)

    def _apart(
        self, encoder: Encoder, shared: Encoder, groups: Sequence[Group], made: dict[tuple[Group, str], Merged]
    ) -> Encoder:
        """The shared layers, each with its own biases and norms and its differences."""
        table, old = modeling.architecture_of(shared.model), modeling.layers_of(encoder.model)
        rows, order = modeling.rows_of(shared.model), modeling.executed_rows(shared.model)
        names = {id(module): name for name, module in shared.model.named_modules()}
        of_row = {order[group[0]]: group for group in groups}
        ranks: list[dict[str, int]] = []
        tensors: dict[str, torch.Tensor] = {}
        for number, row in enumerate(rows):
            places = tuple(place for place, at in enumerate(order) if at == number)
            ranks.append({})
            for path, module in modeling.matrices(table, row).items() if len(places) > 1 else ():
                name, found = names[id(module)], made.get((of_row.get(number, ()), path))
                ranks[-1][path] = 0 if found is None else found.first.shape[1]
                tensors[f"{name}.weight"] = modeling.matrix(module)
                biases = [modeling.bias(old[place].get_submodule(path)) for place in places]
                if found is not None and found.biases is not None:
                    tensors[f"{name}.biases"] = found.biases
                elif biases[0] is not None:
                    tensors[f"{name}.biases"] = torch.stack([bias for bias in biases if bias is not None])
                if found is not None and ranks[-1][path]:
                    tensors |= {f"{name}.first": found.first, f"{name}.second": found.second}
            for path, module in modeling.own_modules(table, row).items() if len(places) > 1 else ():
                for turn, place in enumerate(places):
                    own = old[place].get_submodule(path).named_parameters(recurse=False)
                    tensors |= {f"{names[id(module)]}.turns.{turn}.{kind}": values for kind, values in own}
        return shared.with_structure({"kind": "differences", "ranks": ranks}, tensors)

    def _mixed(self, values: Sequence[torch.Tensor]) -> torch.Tensor:
        if self.weights in ("lower", "upper") or not values[0].is_floating_point():
            return values[-1 if self.weights == "upper" else 0]
        return torch.stack(list(values)).mean(0)

    def _best(self, encoder: Encoder, pairs: list[int], context: StepContext) -> Encoder:
        task, split = context.task, context.task.training_split
        features = task.features(task.examples(split, limit=self.samples, seed=self.seed), encoder)
        order = sorted(range(len(features)), key=lambda row: int(features.lengths[row]))
        batches = [task.batch(features, order[start : start + 16], encoder) for start in range(0, len(order), 16)]
        wanted = [_last_states(encoder, batch.inputs) for batch in batches]
        errors = []
        for number, lower in enumerate(pairs):
            context.progress.step(number, len(pairs), "choosing layers that can share")
            made = self._shared(encoder, [(lower, lower + 1)])
            errors.append(
                sum(
                    float(((_last_states(made, batch.inputs) - states).square() * batch.mask[..., None]).sum())
                    for batch, states in zip(batches, wanted, strict=True)
                )
            )
        lower = pairs[errors.index(min(errors))]
        return self._shared(encoder, [(lower, lower + 1)])


def _unseen(matrix: torch.Tensor) -> MatrixStatistics:
    """Of a matrix that no text goes through (DeBERTa's of positions): its own numbers count, beside others next to
    nothing."""
    rows, columns = matrix.shape
    return MatrixStatistics(torch.zeros(columns), torch.eye(columns), torch.zeros(rows, rows), 0)


def _detached(bias: torch.Tensor | None) -> torch.Tensor | None:
    return None if bias is None else bias.detach().cpu()


class _LastStates(Probe):
    states: torch.Tensor

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self.states = after


@torch.inference_mode()
def _last_states(encoder: Encoder, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """(B, T, d), what the last layer wrote."""
    with probing(_LastStates()) as probe:
        encoder.model(**inputs)
    assert isinstance(probe, _LastStates)
    return probe.states
