"""Structures and packings as steps: through files, order, training and resuming, evaluation with reuse, and export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asc_core.bounded_cache import BoundedCache
from asc_core.compress.cut import Cut
from asc_core.compress.factor import Factor
from asc_core.compress.pack import Pack
from asc_core.compress.share import Share
from asc_core.compress.step import Step, StepContext
from asc_core.compress.vocabulary import Vocabulary
from asc_core.errors import Cancelled, UserError
from asc_core.evaluate import evaluate, measure
from asc_core.evaluate.prefix_cache import PrefixReuse, prefix_shelf
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.plan.encoder_cost import task_cost
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.train.steps import Distil, Finetune
from asc_core.values import Plan
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.test_cli import run
from tests.tiny import logits, padded_batch, save_checkpoint

TASK = toy_task()
ENCODER = encoder_for(TASK)
PLAN = Plan.full(ENCODER.shape).drop(0, head=1)
STEPS: dict[str, Step] = {
    "factor": Factor(keep=0.6),
    "share": Share(lower=2),
    "vocabulary": Vocabulary(),
    "pack": Pack(),
}


def shared_cut() -> Cut:
    """A cut of the encoder whose second and third layer run on one set of weights."""
    shape = Share(lower=2).apply(ENCODER, StepContext()).shape
    return Cut(plan=Plan.full(shape).drop(0, head=1).drop(1, neuron=3))


@pytest.mark.parametrize("kind", STEPS)
def test_a_step_goes_through_a_file(kind: str, tmp_path: Path) -> None:
    recipe = Recipe((STEPS[kind],), task="toy")
    recipe.save(tmp_path / "recipe.json")
    again = Recipe.load(tmp_path / "recipe.json")
    assert (again, again.key) == (recipe, recipe.key)
    left, right = (r.apply(ENCODER, TASK) for r in (recipe, again))
    assert left.weights == right.weights
    assert left.blueprint == right.blueprint


@pytest.mark.slow
def test_all_of_them_compose_and_travel(tmp_path: Path) -> None:
    recipe = Recipe((Vocabulary(), Share(lower=2), shared_cut(), Factor(keep=0.6), Pack()))
    made = recipe.apply(ENCODER, TASK)
    assert [entry["kind"] for entry in made.structures] == ["vocabulary", "share", "cut", "factor"]
    assert task_cost(made, TASK).bytes < task_cost(ENCODER, TASK).bytes / 3
    report = export(made, tmp_path / "out", recipe=recipe)
    assert report.max_difference < 1e-4
    again = load_encoder(tmp_path / "out", device="cpu")
    assert (again.weights, again.blueprint, task_cost(again, TASK)) == (
        made.weights,
        made.blueprint,
        task_cost(made, TASK),
    )
    before, after = (evaluate(e, TASK, "validation") for e in (made, again))
    assert before == after


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ((Factor(keep=0.6), Share(lower=1)), "Step 2 of the recipe (share) cannot follow a step of the kind factor"),
        ((Factor(keep=0.6), Vocabulary(), Share(lower=1)), "Step 3 of the recipe (share) cannot follow"),
    ],
)
def test_a_senseless_order_is_refused_wherever_it_enters(steps: tuple[Step, ...], says: str) -> None:
    with pytest.raises(UserError) as error:
        Recipe(steps)
    assert says in str(error.value)
    written = {
        "format": "asc-recipe/1",
        "steps": [{"step": step.kind, **step.model_dump(mode="json")} for step in steps],
    }
    with pytest.raises(UserError) as error:
        Recipe.from_json(written)
    assert says in str(error.value)


def test_a_repair_of_factored_readouts_is_refused_with_the_way_out() -> None:
    recipe = Recipe(
        (Factor(keep=0.6), Cut(plan=Plan.full(ENCODER.shape).drop(0, head=1), repair="sequential", transfer=True))
    )
    with pytest.raises(UserError, match="cut and repair first, then factor"):
        recipe.apply(ENCODER, TASK)


def test_nothing_is_reused_of_what_they_make_and_below_a_cut_it_is() -> None:
    cache = prefix_shelf(BoundedCache(1 << 30))
    for step in STEPS.values():
        recipe = Recipe((Cut(plan=PLAN), step))
        made = recipe.made(ENCODER, TASK)
        keys = made.prefix_keys(TASK)
        plain = measure(made.encoder, TASK)
        reused = measure(made.encoder, TASK, reuse=None if keys is None else PrefixReuse(cache, keys))
        np.testing.assert_array_equal(plain.statistics, reused.statistics)


@pytest.mark.slow
@pytest.mark.parametrize("trained", [Finetune(epochs=1, seed=1), Distil(steps=30, seed=1)], ids=["finetune", "distil"])
@pytest.mark.parametrize("kind", ["factor", "share", "vocabulary"])
def test_training_after_a_structure_resumes_and_keeps_it(kind: str, trained: Step, tmp_path: Path) -> None:
    recipe = Recipe((STEPS[kind], trained))
    expected = recipe.apply(ENCODER, TASK)
    assert [entry["kind"] for entry in expected.structures][:1] == [kind]
    stopped = 0
    for steps in (2, 4):  # batches until it is cancelled
        progress = Progress()
        seen = 0

        def count(done: int, total: int, what: str) -> None:
            nonlocal seen
            seen += 1
            if seen > 4 * steps:  # noqa: B023
                progress.cancel.set()  # noqa: B023

        progress.report = count
        try:
            recipe.apply(ENCODER, TASK, progress, tmp_path)
        except Cancelled:
            stopped += 1
    assert stopped
    resumed = recipe.apply(ENCODER, TASK, folder=tmp_path)
    read = recipe.apply(ENCODER, TASK, folder=tmp_path)
    for found in (resumed, read):
        assert (found.blueprint, found.parameters) == (expected.blueprint, expected.parameters)
        inputs = TASK.batch(TASK.features(TASK.examples("validation"), found), range(6), found).inputs
        torch.testing.assert_close(logits(found, inputs), logits(expected, inputs), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["compact", "dense", "onnx"])
def test_the_command_line_applies_and_exports_them(format: str, tmp_path: Path) -> None:
    save_checkpoint(ENCODER, tmp_path / "model")
    packing = (Pack(),) if format == "compact" else ()
    Recipe((Share(lower=2), Factor(keep=0.6, matrices="ffn"), *packing)).save(tmp_path / "recipe.json")
    out = tmp_path / "out"
    made = run("compress", tmp_path / "model", "--recipe", tmp_path / "recipe.json", "--format", format, "-o", out)
    assert made["max_difference"] < 1e-3
    card = (out / "README.md").read_text()
    assert "layers 2 and 3 on one set of weights" in card
    assert "in two factors" in card
    if format != "onnx":
        assert logits(load_encoder(out, device="cpu"), padded_batch()).isfinite().all()
