"""A score of one's own, with a pass of its own: what stands up to `register` is all that one has to write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import asc_core
from asc_core.encoder import Encoder
from asc_core.errors import Cancelled, UserError
from asc_core.plan.budgets import ONE_SCALE
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.probes import Probe, Readout, probing
from asc_core.progress import Progress
from asc_core.scores import METHODS as REGISTRY
from asc_core.scores.describe import described
from asc_core.scores.faithfulness import faithfulness
from asc_core.scores.method import OwnPass, Request
from asc_core.scores.methods import chosen_methods, is_reference, offered, register
from asc_core.study import Study
from asc_core.tasks.base import Task
from asc_core.values import PartValues, Scores
from dashboard.text.method_names import in_order, title_of
from tests.scores.toy import ToyTask
from tests.tiny import tiny

ID = "loudness"


class Loudness(Probe):
    """The mean size of what each head and neuron hands to its readout, summed over texts."""

    def __init__(self) -> None:
        self.sums: dict[str, dict[int, np.ndarray]] = {"attention": {}, "ffn": {}}

    def read(self, readout: Readout, inputs: torch.Tensor) -> None:
        size = inputs.unflatten(-1, (readout.blocks, readout.width)).abs().mean((0, 1, 3)).double().cpu().numpy()
        rows = self.sums[readout.kind]
        rows[readout.row] = rows.get(readout.row, 0) + size


def loudness(encoder: Encoder, task: Task, request: Request) -> dict[str, Scores]:
    examples = task.examples(request.split, request.samples, request.seed)
    features = task.features(examples, encoder)
    probe = Loudness()
    for row in range(len(features)):
        request.progress.step(row, len(features), f"listening to {task.name}")
        with torch.inference_mode(), probing(probe):
            encoder.model(**task.batch(features, [row], encoder).inputs)
    heads, neurons = (
        tuple(sums / len(features) for _, sums in sorted(probe.sums[k].items())) for k in ("attention", "ffn")
    )
    return {ID: request.scores(ID, encoder, task, PartValues(heads, neurons), len(examples.rows))}


METHOD = OwnPass(
    id=ID,
    title="Loudness",
    description="Mean absolute value of what a part hands to its readout.",
    source="a toy",
    parts=("heads", "neurons"),
    one_scale=True,
    run=loudness,
)

METHODS = (METHOD,)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    methods, one_scale = dict(REGISTRY), set(ONE_SCALE)
    register(*METHODS)
    yield
    REGISTRY.clear()
    REGISTRY.update(methods)
    ONE_SCALE.intersection_update(one_scale)


@pytest.mark.parametrize("architecture", ["bert", "albert", "modernbert"])
def test_it_is_scored_beside_others_and_kept(architecture: str, tmp_path: Path) -> None:
    encoder, task, study = tiny(architecture), ToyTask(6), Study.open(tmp_path)
    found = asc_core.score(encoder, task, [ID, "fisher"], samples=4, study=study)
    assert list(found) == [ID, "fisher"]
    mine = found[ID]
    assert mine.values.heads is not None
    assert tuple(map(len, mine.values.heads)) == encoder.shape.heads
    assert mine.texts == found["fisher"].texts, "both say which texts they were made from"
    (kept,) = study.scores(task=task.name, method=ID, weights=encoder.weights)
    assert kept.examples == mine.examples == 4
    for name, values in mine.values.arrays().items():
        np.testing.assert_array_equal(kept.values.arrays()[name], values)
    alone = asc_core.score(encoder, task, [ID], samples=4)[ID]
    np.testing.assert_array_equal(np.concatenate(alone.values.heads), np.concatenate(mine.values.heads))


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_plans_are_made_by_it_with_heads_and_neurons_on_one_scale(keep: float) -> None:
    encoder, task = tiny(), ToyTask(6)
    scores = asc_core.score(encoder, task, [ID])[ID]
    costs = task_cost_model(encoder, task)
    plan = asc_core.by_budget(scores, costs, keep)
    assert costs.cost(plan).flops <= keep * costs.dense.flops
    assert plan == asc_core.by_budget(scores, costs, keep, one_scale=True)
    assert plan.provenance.method == ID


def test_it_is_judged_like_any_other() -> None:
    encoder, task = tiny(), ToyTask(12)
    scores = asc_core.score(encoder, task, [ID])
    truth = asc_core.ablate(encoder, task, parts=("heads",))["ablation"]
    report = faithfulness(encoder, task, scores, truth, curves=("heads",), points=3, split="train")
    assert {m.method for m in report.methods} == {ID, "ablation"}
    assert report.recommendations["heads"].method in (ID, None)
    assert not is_reference(ID)


def test_it_is_listed_wherever_methods_are() -> None:
    assert ID in [method.id for method in chosen_methods(None)], "asked for by default"
    assert f"| `{ID}` | Loudness |" in described()
    assert title_of(ID) == "Loudness"
    assert in_order(["unheard-of", ID, "fisher"]) == ["fisher", ID, "unheard-of"]
    assert ID not in offered()
    with pytest.raises(UserError, match=ID):
        chosen_methods(["unheard-of"])


def test_it_can_be_cancelled() -> None:
    progress = Progress()
    progress.report = lambda done, total, what: progress.cancel.set()
    with pytest.raises(Cancelled):
        asc_core.score(tiny(), ToyTask(6), [ID], progress=progress)


def test_an_id_is_given_once() -> None:
    with pytest.raises(UserError, match=f"{ID!r} already"):
        register(METHOD)
