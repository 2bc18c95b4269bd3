"""Ready-made recipes side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from asc_core.errors import UserError
from asc_core.evaluate import evaluate, measure
from asc_core.recipes.comparison import COMPARABLE, compare_presets
from asc_core.recipes.presets import PRESETS, PresetOptions, preset_recipe
from asc_core.study import Study
from tests.evaluate.toy_tasks import encoder_for, toy_task

pytestmark = pytest.mark.slow

TASK = toy_task(train=64)


def test_every_entry_is_its_recipe_within_the_size_and_kept_in_the_study(tmp_path: Path) -> None:
    encoder = encoder_for(TASK, num_hidden_layers=4)
    study = Study.open(tmp_path / "study")
    original = measure(encoder, TASK)
    for steps in (0, 2):
        knobs = PresetOptions(keep=0.5, steps=steps, lr=1e-3)
        entries = list(compare_presets(encoder, TASK, original, knobs, study=study))
        assert [entry.name for entry in entries] == list(COMPARABLE)
        for entry in entries:
            assert 0.2 < entry.kept <= 0.5
            assert study.evaluation(encoder.weights, entry.recipe.key, TASK.name, "validation") == entry.estimate
        random = next(entry for entry in entries if entry.name == "random")
        again = evaluate(random.recipe.apply(encoder, TASK), TASK, against=original)
        assert again == random.estimate
    assert len(study.evaluations()) == 2 * len(COMPARABLE)


@pytest.mark.parametrize("name", PRESETS)
def test_without_steps_nothing_is_trained_after_the_cut(name: str) -> None:
    recipe = preset_recipe(name, PresetOptions(steps=0))
    assert [step.kind for step in recipe.steps if step.trains] == {
        "asc": ["finetune", "finetune"], "sajjad": ["finetune"]
    }.get(name, [])  # fmt: skip


def test_a_recipe_for_another_start_is_refused() -> None:
    encoder = encoder_for(TASK)
    with pytest.raises(UserError, match="fine-tuned model"):
        list(compare_presets(encoder, TASK, measure(encoder, TASK), names=["sajjad"]))
