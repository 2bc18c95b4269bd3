"""Recipes that choose and train: the ASC pipeline, budgets, distillation, and what a killed run leaves behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import asc_core
from asc_core.compress import StepContext, calibrate, refit
from asc_core.compress.choose import CutBySimilarity, CutToBudget
from asc_core.errors import Cancelled
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.train.steps import Distil, Finetune
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import logits, padded_batch, tiny

pytestmark = pytest.mark.slow

TASK = toy_task(train=96)
TRAIN = Finetune(epochs=1, lr=1e-2, batch_size=16)
TEACH = Distil(steps=5, lr=1e-2, batch_size=16)
HALF = CutToBudget(keep=0.5, budget="layer-parameters", samples=40)


def test_the_pipeline_of_asc_survives_its_file_and_makes_the_same_model_again(tmp_path: Path) -> None:
    pipeline = Recipe((TRAIN, CutBySimilarity(threshold=0.9, samples=40), TRAIN), "tiny", "toy")
    pipeline.save(tmp_path / "asc.json")
    again = Recipe.load(tmp_path / "asc.json")
    assert again == pipeline
    assert again.key == pipeline.key
    first, second = (recipe.apply(encoder_for(TASK), TASK) for recipe in (pipeline, again))
    torch.testing.assert_close(logits(first, padded_batch()), logits(second, padded_batch()), atol=0, rtol=0)


def test_the_cut_by_similarity_is_that_of_the_rule() -> None:
    encoder = encoder_for(TASK)
    scores = asc_core.score(encoder, TASK, ["asc-a"], samples=40)["asc-a"]
    matrix = scores.similarity
    assert matrix is not None
    threshold = float(matrix[0, 1:].max()) - 0.001  # at least one layer is like the embeddings
    step = CutBySimilarity(threshold=threshold, variant="a", exact=True, samples=40)
    plan = step.plan(encoder, TASK)
    assert plan == asc_core.asc_greedy(scores, threshold, exact=True)
    assert 0 < len(plan.layers) < encoder.shape.layers
    assert step.apply(encoder, StepContext(TASK)).shape.layers == len(plan.layers)


def test_a_cut_to_a_budget_is_the_plan_and_the_repair() -> None:
    encoder = encoder_for(TASK)
    smaller = HALF.apply(encoder, StepContext(TASK))
    costs = asc_core.task_cost_model(encoder, TASK)
    kept = asc_core.task_cost_model(smaller, TASK).dense.encoder_parameters / costs.dense.encoder_parameters
    assert 0.4 < kept <= 0.5
    plan = HALF.plan(encoder, TASK)
    expected, _ = refit(encoder, plan, calibrate(encoder, TASK, samples=40))
    torch.testing.assert_close(logits(smaller, padded_batch()), logits(expected, padded_batch()))


def test_half_the_layer_parameters_are_half_of_equal_layers() -> None:
    encoder = tiny(num_hidden_layers=4)
    for method in ("top-layers", "random-layers", "greedy-layers"):
        step = CutToBudget(method=method, keep=0.5, budget="layer-parameters", repair=None, samples=24)
        assert len(step.plan(encoder_for(TASK, num_hidden_layers=4), TASK).layers) == encoder.shape.layers // 2


def test_random_layers_follow_the_seed() -> None:
    encoder = encoder_for(TASK, num_hidden_layers=6)
    plans = {
        CutToBudget(method="random-layers", keep=0.5, budget="layer-parameters", repair=None, seed=seed)
        .plan(encoder, TASK)
        .layers
        for seed in (0, 0, 1, 2, 3, 4)
    }
    assert 1 < len(plans) <= 5
    assert all(len(layers) == 3 for layers in plans)


def test_the_teacher_is_the_model_before_its_first_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    from asc_core.train import steps

    seen = []
    kept = steps.distil

    def listen(student: object, teacher: object, *args: object, **kwargs: object) -> object:
        seen.append((student, teacher))
        return kept(student, teacher, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(steps, "distil", listen)
    encoder = encoder_for(TASK)
    Recipe((TRAIN, HALF, TEACH, TEACH)).apply(encoder, TASK)
    trained = TRAIN.apply(encoder, StepContext(TASK))
    assert [teacher.weights for _, teacher in seen] == [trained.weights] * 2
    assert all(student.shape != encoder.shape for student, _ in seen)


def test_a_base_encoder_gets_its_head_after_layers_were_dropped() -> None:
    base = tiny(num_hidden_layers=4)
    drop = CutToBudget(method="top-layers", keep=0.5, budget="layer-parameters", repair=None)
    found = Recipe((drop, TRAIN)).apply(base, TASK)
    assert (found.shape.layers, found.head, found.labels) == (2, TASK.head, TASK.labels)


def test_a_cancelled_recipe_goes_on_where_it_was(tmp_path: Path) -> None:
    recipe = Recipe((TRAIN, HALF, TEACH))
    whole = recipe.apply(encoder_for(TASK), TASK)
    progress = Progress()
    steps: list[int] = []

    def report(done: int, total: int, what: str) -> None:
        if what == "training steps" and total == 5 and done == 3:
            progress.cancel.set()

    progress.report = report
    with pytest.raises(Cancelled):
        recipe.apply(encoder_for(TASK), TASK, progress, folder=tmp_path)
    watching = Progress(report=lambda done, total, what: steps.append(done) if what == "training steps" else None)
    again = recipe.apply(encoder_for(TASK), TASK, watching, folder=tmp_path)
    assert steps[0] in (3, 4)  # the fine-tuning before it was read, not repeated
    torch.testing.assert_close(logits(again, padded_batch()), logits(whole, padded_batch()), atol=0, rtol=0)
    third = recipe.apply(encoder_for(TASK), TASK, folder=tmp_path)
    torch.testing.assert_close(logits(third, padded_batch()), logits(whole, padded_batch()), atol=0, rtol=0)


KILLED = """
import os, random, signal, sys
import torch; torch.set_num_threads(1)
from asc_core.train import run; run.SECONDS_BETWEEN_CHECKPOINTS = 0.0
from tests.evaluate.toy_tasks import encoder_for
from tests.tiny import logits, padded_batch
from tests.train.test_training_steps import HALF, TASK, TEACH, TRAIN, Recipe

left = None  # what is still done to the disk before the kill
def die(event, arguments):
    global left
    on_disk = event.startswith(("os.", "shutil.")) or event == "open"
    if left is not None and on_disk and any(folder in str(argument) for argument in arguments):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die)

folder, seed = sys.argv[1], int(sys.argv[2])
generator = random.Random(seed)
whole = logits(Recipe((TRAIN, HALF, TEACH)).apply(encoder_for(TASK), TASK), padded_batch())
killed = 0
while True:
    after = generator.randrange(10, 20 + 10 * killed)  # ever later, so that one gets through
    child = os.fork()
    if not child:
        code = 1
        try:
            left = after
            again = Recipe((TRAIN, HALF, TEACH)).apply(encoder_for(TASK), TASK, folder=folder)
            left = None
            code = 0 if torch.equal(logits(again, padded_batch()), whole) else 2
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        print(killed)
        sys.exit(os.WEXITSTATUS(status))
    killed += 1
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_a_recipe_killed_again_and_again_ends_in_the_same_model(tmp_path: Path, seed: int) -> None:
    """Each kill comes at a random one of the things that are done to the folder, until one run gets through."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run"), str(seed)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) > 3


def test_other_training_data_under_the_same_name_is_learnt_anew(tmp_path: Path) -> None:
    recipe, corrected = Recipe((TRAIN,)), toy_task(train=96, seed=3)
    assert corrected.name == TASK.name
    recipe.apply(encoder_for(TASK), TASK, folder=tmp_path)
    found = recipe.apply(encoder_for(TASK), corrected, folder=tmp_path)
    expected = recipe.apply(encoder_for(TASK), corrected)
    torch.testing.assert_close(logits(found, padded_batch()), logits(expected, padded_batch()), atol=0, rtol=0)


def test_the_repair_is_part_of_a_cuts_key() -> None:
    keys = {
        Recipe((HALF.model_copy(update=change),)).key
        for change in ({}, {"repair": None}, {"repair": "one-shot"}, {"tokens": 999}, {"seed": 1})
    }
    assert len(keys) == 5
