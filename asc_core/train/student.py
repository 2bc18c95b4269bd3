"""A step: a fresh student of free depth, heads and width, made of its teacher's parts and taught by it.

The residual stream keeps its width. A narrower one would need the norms to commute with a projection, which they do not
(each divides by the deviation of all its inputs); `factor` and `vocabulary` shrink what that width costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from asc_core.compress.calibration import SAMPLES, TOKENS
from asc_core.compress.cut import Cut, RepairName
from asc_core.compress.step import StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.scores.greedy_layers import greedy_layers
from asc_core.scores.sweep import sweep
from asc_core.tasks.base import Task
from asc_core.tasks.text_file import content_of
from asc_core.train.run import Trained
from asc_core.train.steps import Distil, once
from asc_core.values import Plan, Provenance, Shape


class Student(Distil):
    """A smaller encoder of the teacher's parts, as many in every layer, which then learns from it.

    depth: layers, heads and width (neurons): of each layer; None = as the teacher has. parts: "important" drops the
    layers that the task misses least one after the other (greedy), keeps the heads and neurons of highest score
    (`method`), and lets `repair` fit what stays; "evenly" takes layers, heads and neurons at equal distances and
    repairs nothing, as DistilBERT begins (Sanh et al. 2019, arXiv 1910.01108, section 3). texts: a file of further
    texts, one example a line, two texts of one apart by a tab: soft targets and hidden states of them are learnt, too.
    samples: of the task's texts that parts are chosen and fitted on. The other fields are those of `distil`. The width
    of the residual stream stays the teacher's.
    """

    kind: ClassVar[str] = "student"
    structure: ClassVar[str | None] = "cut"
    depth: int | None = Field(default=None, ge=1, title="Layers", description="Empty: as many as the teacher")
    heads: int | None = Field(default=None, ge=1, title="Heads a layer", description="Empty: as many as the teacher")
    width: int | None = Field(default=None, ge=1, title="Neurons a layer", description="Empty: as many as the teacher")
    parts: Literal["important", "evenly"] = Field(
        default="important", title="Made of", description="The teacher's parts that it begins with"
    )
    method: str = Field(default="obs", title="Score", description="Says which heads and neurons are important")
    repair: RepairName = "sequential"
    samples: int = Field(default=SAMPLES, ge=8, description="Texts that parts are chosen and fitted on")
    texts: str = Field(default="", title="Further texts", description="A file of texts without labels, one a line")

    def plan(self, encoder: Encoder, context: StepContext) -> Plan:
        """Which parts of the teacher the student is made of. Raises: UserError where it has not as many."""
        shape, task = encoder.shape, context.task
        self._check(encoder)
        layers = self._layers(encoder, task, context)
        heads, neurons = self._blocks(encoder, task, context)
        rule = f"student of {len(layers)} layers, {self.parts} parts"
        return Plan(
            shape,
            heads,
            neurons,
            layers,
            Provenance(weights=encoder.weights, task=task.name, rule=rule, seed=self.seed),
        )

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        teacher = context.teacher or encoder
        plan = self.plan(encoder, context)
        cut = Cut(
            plan=plan,
            repair=self.repair if self.parts == "important" and not plan.keeps_all else None,
            samples=self.samples,
            tokens=TOKENS,
            seed=self.seed,
        )
        student = cut.apply(encoder, context)

        def train(out: Path | None) -> Trained:
            return self.learn(student, teacher, context, out, self.texts or None)

        return once(train, context, student, f"{self._made(plan)}, {self._taught} ({self._with}, {{account}})")

    def cache_key(self) -> Any:
        said = self.model_dump(mode="json")
        return [self.kind, said | ({"texts": content_of(self.texts)} if self.texts else {})]

    def describe(self) -> str:
        asked = {"layers": self.depth, "heads": self.heads, "neurons": self.width}
        sizes = (
            ", ".join(f"{count} {what}" for what, count in asked.items() if count is not None) or "its teacher's size"
        )
        return f"student of {sizes} ({self.parts} parts), {self._taught} ({self._with}, at most {self.steps} steps)"

    @property
    def _taught(self) -> str:
        return "distilled from the original" + (" on further texts, too" if self.texts else "")

    def _made(self, plan: Plan) -> str:
        layer = plan.layers[0]
        return (
            f"student of {len(plan.layers)} layers of {len(plan.heads[layer])} heads and {len(plan.neurons[layer])} "
            f"neurons ({self.parts} parts)"
        )

    def _check(self, encoder: Encoder) -> None:
        shape = encoder.shape
        if shape.shares_weights:
            raise UserError(
                f"Layers of {encoder.name} share their weights, so no student can be made of some of them: cut heads "
                "and neurons, and distil."
            )
        for what, asked, there in (
            ("layers", self.depth, shape.layers),
            ("heads a layer", self.heads, min(shape.heads)),
            ("neurons a layer", self.width, min(shape.neurons)),
        ):
            if asked is not None and asked > there:
                raise UserError(
                    f"A student is made of its teacher's parts, and {encoder.name} has {there} {what}: ask for no more."
                )

    def _layers(self, encoder: Encoder, task: Task, context: StepContext) -> tuple[int, ...]:
        count = self.depth if self.depth is not None else encoder.shape.layers
        if count == encoder.shape.layers or self.parts == "evenly":
            return evenly(encoder.shape.layers, count)
        plans = greedy_layers(encoder, task, samples=self.samples, seed=self.seed, progress=context.progress)
        return next(plan.layers for plan in plans if len(plan.layers) == count)

    def _blocks(
        self, encoder: Encoder, task: Task, context: StepContext
    ) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
        """(heads, neurons) that each row keeps."""
        shape = encoder.shape
        if self.parts == "evenly":
            return _spread(shape.heads, self.heads), _spread(shape.neurons, self.width)
        if self.heads is None and self.width is None:
            return _spread(shape.heads, None), _spread(shape.neurons, None)
        found = sweep(encoder, task, [self.method], samples=self.samples, seed=self.seed, progress=context.progress)[
            self.method
        ].values
        return (
            _highest(found.heads, shape, "heads", self.heads, self.method),
            _highest(found.neurons, shape, "neurons", self.width, self.method),
        )


def evenly(there: int, count: int) -> tuple[int, ...]:
    """`count` of `there` places at equal distances, the first and the last among them (DistilBERT's of 12: 0, 2, 4, 7,
    9, 11); a single one is the last."""
    if count == 1:
        return (there - 1,)
    return tuple(round(i * (there - 1) / (count - 1)) for i in range(count))


def _spread(counts: Sequence[int], wanted: int | None) -> tuple[tuple[int, ...], ...]:
    return tuple(evenly(there, there if wanted is None else wanted) if there else () for there in counts)


def _highest(
    scores: Sequence[np.ndarray] | None, shape: Shape, kind: str, wanted: int | None, method: str
) -> tuple[tuple[int, ...], ...]:
    counts = shape.heads if kind == "heads" else shape.neurons
    if wanted is None:
        return _spread(counts, None)
    if scores is None:
        raise UserError(f"{method} says nothing of single {kind}: choose another score, such as obs or magnitude.")
    return tuple(tuple(sorted(np.argsort(-row, kind="stable")[:wanted].tolist())) for row in scores)
