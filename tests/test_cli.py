"""The whole way on the command line, as a user walks it, on a tiny checkpoint and files of their own."""

from __future__ import annotations

import csv
import json
import random
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.recipes import Recipe
from asc_core.runtimes.with_torch import TorchSession
from asc_core.study import Study
from asc_core.values import Plan
from tests.tiny import WORDS, save_checkpoint, tiny

pytestmark = pytest.mark.slow

LABELS = ["negative", "positive"]


def run(*arguments: object, exit_code: int = 0) -> Any:
    """Run a verb with --json. Returns the object that it printed, or what it said where it should fail."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.stderr
    if exit_code:
        assert result.stdout == ""
        return result.stderr.strip().splitlines()[-1]
    lines = result.stdout.strip().splitlines()
    assert len(lines) == 1, "--json prints one object and nothing else"
    return json.loads(lines[0])


def write_rows(path: Path, count: int, seed: int) -> None:
    draw = random.Random(seed)
    lines = ["text\tmood"]
    for _ in range(count):
        label = draw.choice(LABELS)
        words = [*draw.choices(WORDS[5:40], k=draw.randint(2, 9)), {"negative": "bad", "positive": "great"}[label]]
        lines.append(" ".join(words) + "\t" + label)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint "model", other weights of its shape "twin", and a task "mood.toml"."""
    folder = tmp_path_factory.mktemp("project")
    save_checkpoint(tiny(labels=LABELS, num_labels=2), folder / "model")
    save_checkpoint(tiny(labels=LABELS, num_labels=2, seed=1), folder / "twin")
    for split, count in (("train", 90), ("validation", 40), ("test", 40)):
        write_rows(folder / f"{split}.tsv", count, seed=count)
    (folder / "mood.toml").write_text(
        'kind = "text-classification"\ntexts = ["text"]\nlabel = "mood"\n\n'
        '[data]\ntrain = "train.tsv"\nvalidation = "validation.tsv"\ntest = "test.tsv"\n'
    )
    return folder


@pytest.fixture(scope="module")
def plan(project: Path) -> Path:
    task = ("--task", project / "mood.toml")
    run("score", project / "model", *task, "-m", "fisher", "-m", "asc-b", "--samples", 64, "--study", project / "study")
    out = project / "plan.json"
    made = run(
        "plan", project / "model", *task, "--study", project / "study", "-m", "fisher", "--keep-flops", 0.5, "-o", out
    )
    assert made["kept_flops"] <= 0.5
    return out


@pytest.mark.slow
def test_what_was_guessed_is_said(project: Path, tmp_path: Path) -> None:
    """Class numbers, semicolons: both are in the notes, of figures and of scores."""
    rows = [line.split("\t") for line in (project / "train.tsv").read_text().splitlines()[1:]]
    lines = [f"{text};{LABELS.index(mood)}" for text, mood in rows]
    (tmp_path / "train.csv").write_text("\n".join(["text;mood", *lines]) + "\n")
    (tmp_path / "t.toml").write_text(
        'kind = "text-classification"\ntexts = ["text"]\nlabel = "mood"\n[data]\ntrain = "train.csv"\n'
    )
    notes = run("evaluate", project / "model", "--task", tmp_path / "t.toml", "--split", "train")["notes"]
    assert any("semicolons" in note for note in notes)
    assert any("0 = negative, 1 = positive" in note for note in notes)
    scored = run("score", project / "model", "--task", tmp_path / "t.toml", "-m", "fisher", "--study", tmp_path / "s")
    assert "0 = negative, 1 = positive" in scored["scores"][0]["notes"]


def test_from_scores_to_a_smaller_model_that_is_evaluated(project: Path, plan: Path) -> None:
    made = run("compress", project / "model", "--plan", plan, "-o", project / "smaller")
    assert made["parameters"] < made["original_parameters"]
    assert made["max_difference"] < 1e-4
    task = ("--task", project / "mood.toml")
    dense = run("evaluate", project / "model", *task)
    found = run("evaluate", project / "smaller", *task, "--against", project / "model")
    assert found["split"] == "validation"
    assert found["examples"] == 40
    assert found["difference"] == pytest.approx(found["value"] - dense["value"])
    assert found["difference_interval"][0] <= found["difference"] <= found["difference_interval"][1]
    assert found["flops"] <= 0.5 * dense["flops"]
    assert found["parameters"] == made["parameters"]
    assert {"metric", "value", "interval", "bytes"} <= set(found)
    assert run("evaluate", project / "smaller", *task, "--split", "test")["split"] == "test"
    loose = run("evaluate", project / "smaller", *task, "--against", project / "model", "--half-width", 100)
    assert loose == found, "so few examples are seen at the first look"


def test_thresholds_and_shares_make_plans_too(project: Path, plan: Path) -> None:
    base = ("plan", project / "model", "--task", project / "mood.toml", "--study", project / "study", "-o")
    run(*base, project / "layers.json", "-m", "asc-b", "--threshold", 0.9)
    run(*base, project / "shares.json", "-m", "fisher", "--keep-heads", 0.5, "--keep-neurons", 0.25)
    shares = Plan.load(project / "shares.json")
    assert sum(map(len, shares.heads)) == 6
    assert sum(map(len, shares.neurons)) == 15
    assert shares.provenance.method == "fisher"


def test_several_budgets_make_a_plan_that_holds_them_all(
    project: Path, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_parameters(session: TorchSession, texts: object) -> float:
        """Seconds: a clock would find a tiny encoder's widths alike."""
        return 1e-7 * session.encoder.parameters

    monkeypatch.setattr(TorchSession, "seconds", by_parameters)
    base = ("plan", project / "model", "--task", project / "mood.toml", "--study", project / "study", "-m", "fisher")
    budgets = ("--budget", "flops=0.6", "--budget", "latency=0.95", "--latency-batch", 2)
    made = run(*base, *budgets, "--round-to", 4, "-o", project / "several.json")
    assert made["kept_flops"] <= 0.6
    assert made["kept_latency"] <= 0.95
    assert all(len(kept) % 4 == 0 for kept in Plan.load(project / "several.json").neurons)
    alone = run(*base, "--keep-flops", 0.6, "-o", project / "alone.json")
    assert "kept_latency" not in alone
    both = run(*base, "--keep-flops", 0.6, "--keep-parameters", 0.9, "-o", project / "both.json")
    assert both["kept_flops"] <= 0.6
    assert both["kept_parameters"] <= 0.9


def test_a_task_with_a_test_split_alone_goes_all_the_way(project: Path, tmp_path: Path) -> None:
    text = (project / "mood.toml").read_text().partition("[data]")[0]
    (project / "alone.toml").write_text(text + '[data]\ntest = "test.tsv"\n')
    common = ("--task", project / "alone.toml", "--split", "test")
    study = ("--study", tmp_path / "study")
    run("score", project / "model", *common, *study, "-m", "fisher", "--samples", 32)
    plan, out = tmp_path / "plan.json", tmp_path / "small"
    run("plan", project / "model", *common, *study, "-m", "fisher", "--keep-flops", 0.6, "-o", plan)
    made = run("compress", project / "model", "--plan", plan, *common, "--repair", "one-shot", "-o", out)
    assert made["max_difference"] < 1e-4
    assert "--task alone.toml --split test" in (out / "README.md").read_text()
    assert run("export", out, *common, "-o", tmp_path / "exported")["max_difference"] < 1e-4


@pytest.mark.slow
def test_format_and_packing_of_a_cut_can_be_said(project: Path, plan: Path, tmp_path: Path) -> None:
    options = ("--plan", plan, "--format", "dense", "--packing", "float16", "-o", tmp_path / "small")
    run("compress", project / "model", *options)
    assert "--format dense --packing float16" in (tmp_path / "small/README.md").read_text()
    assert run("export", project / "model", "--dtype", "float16", "-o", tmp_path / "old")["packing"] == "float16"
    assert "onnx" in run("export", project / "model", "--format", "gguf", "-o", tmp_path / "no", exit_code=2)


@pytest.mark.parametrize("method", ["kwon", "kprune", "greedy-layers"])
def test_a_published_method_needs_no_scores_and_makes_a_plan(project: Path, method: str) -> None:
    base = ("plan", project / "model", "--task", project / "mood.toml", "--study", project / "empty", "-m", method)
    out = project / f"{method}.json"
    made = run(*base, "--keep-flops", 0.7, "-o", out)
    assert 0 < made["kept_flops"] <= 0.7
    assert Plan.load(out).provenance.method == method
    assert "for one budget" in run(*base, "--threshold", 0.5, "-o", out, exit_code=2)
    assert "for one budget" in run(*base, "--keep-flops", 0.7, "--keep-parameters", 0.9, "-o", out, exit_code=2)


@pytest.mark.slow
def test_a_published_repair_makes_a_model(project: Path) -> None:
    task, out = ("--task", project / "mood.toml"), project / "published.json"
    run("plan", project / "model", *task, "--study", project / "empty", "-m", "kwon", "--keep-flops", 0.6, "-o", out)
    made = run(
        "compress", project / "model", "--plan", out, *task, "--repair", "mask-tuning", "-o", project / "mask-tuned"
    )
    assert made["parameters"] < made["original_parameters"]
    card = (project / "mask-tuned" / "README.md").read_text()
    assert "masks tuned layer by layer" in card
    assert "--recipe recipe.json" in card
    assert Recipe.load(project / "mask-tuned" / "recipe.json").summary == [{"step": "cut", "repair": "mask-tuning"}]


def test_layer_times_are_measured_once(project: Path) -> None:
    base = ("latency", project / "model", "--task", project / "mood.toml", "--study", project / "timed")
    first = run(*base, "--latency-batch", 2)
    assert first["batch_size"] == 2
    assert first["heads"][-1] == 4
    assert run(*base, "--latency-batch", 2) == first


def test_faithfulness_says_which_scores_to_go_by(project: Path, plan: Path) -> None:
    model, task, study = project / "model", project / "mood.toml", project / "study"
    run("score", model, "--task", task, "-m", "update", "--stop-when-stable", 0.1, "--samples", 90, "--study", study)
    found = run("faithfulness", model, "--task", task, "--study", study, "--samples", 16, "--held-out", 12)
    assert {m["method"]: m["examples"] for m in found["methods"]} == {
        "fisher": 64, "asc-b": 64, "update": 64, "ablation": 16
    }  # fmt: skip
    assert found["held_out"] == {"split": "validation", "examples": 12}
    assert set(found["believe"]) == {"heads", "layers"}
    result = CliRunner().invoke(
        app, ["faithfulness", str(model), "--task", str(task), "--study", str(study), "--samples", "16"]
    )
    assert result.stdout.startswith("| method")
    assert "heads: " in result.stdout.splitlines()[-2]
    assert "asc score" in run("trust", model, "--task", task, "--study", project / "none", exit_code=2)


def test_finetune_makes_a_checkpoint_that_knows_the_task(project: Path) -> None:
    task = ("--task", project / "mood.toml")
    made = run("finetune", project / "model", *task, "-o", project / "tuned", "--epochs", 2, "--lr", 3e-3)
    again = run("evaluate", project / "tuned", *task)
    assert again["value"] == pytest.approx(made["value"], abs=1e-9)


PLAN = "plan {p}/model --task {p}/mood.toml -m fisher -o {p}/x.json"


@pytest.mark.parametrize(
    ("command", "says"),
    {
        "no such model": ("evaluate {p}/missing --task {p}/mood.toml", "missing is not a folder"),
        "no such task": ("evaluate {p}/model --task {p}/missing.toml", "no task file"),
        "no such split": ("evaluate {p}/model --task {p}/mood.toml --split shifted", "shifted"),
        "no scores yet": (PLAN + " --study {p}/empty --keep-flops 0.5", "asc score"),
        "two rules": (PLAN + " --study {p}/study --keep-flops 0.5 --threshold 1", "Say one rule"),
        "a budget without a share": (PLAN + " --study {p}/study --budget flops", "NAME=SHARE"),
        "a budget twice": (PLAN + " --study {p}/study --keep-flops 0.5 --budget flops=0.6", "given twice"),
        "no such budget": (PLAN + " --study {p}/study --budget speed=0.6", "no budget 'speed'"),
        "widths without a budget": (PLAN + " --study {p}/study --threshold 1 --round-to 4", "--round-to goes with"),
        "a curve along two budgets": (
            "frontier {p}/model --task {p}/mood.toml --study {p}/study -m fisher --budget flops --budget bytes",
            "name one for the curve",
        ),
        "unknown method": ("score {p}/model --task {p}/mood.toml --study {p}/study -m magic", "magic"),
        "a plan of other weights": ("compress {p}/twin --plan {p}/plan.json -o {p}/x", "--transfer"),
        "not a plan": ("compress {p}/model --plan {p}/model/config.json -o {p}/x", "is not a plan"),
        "neither plan nor recipe": ("compress {p}/model -o {p}/x", "either --plan or --recipe"),
    }.values(),
)
def test_bad_input_is_one_sentence_and_exit_code_2(project: Path, plan: Path, command: str, says: str) -> None:
    said = run(*(part.format(p=project) for part in command.split()), exit_code=2)
    assert says in said
    assert not (project / "x").exists()


@pytest.mark.slow
def test_a_frontier_is_measured_with_repair_and_its_recipes_can_be_applied(project: Path, tmp_path: Path) -> None:
    common = (project / "model", "--task", project / "mood.toml", "--study", project / "study")
    run("score", *common, "-m", "obs", "--samples", 64)
    found = run("frontier", *common, "--keep", 0.7, "--keep", 0.4, "-o", tmp_path / "recipes")
    assert [point["keep"] for point in found["points"]] == [0.4, 0.7]
    for point in found["points"]:
        assert point["kept_flops"] <= point["keep"]
        assert (point["estimate"]["examples"], point["estimate"]["split"]) == (40, "validation")
    recipe = tmp_path / "recipes/0.40.json"
    task = ("--task", project / "mood.toml")
    run("compress", project / "model", "--recipe", recipe, *task, "-o", tmp_path / "small")
    measured = run("evaluate", tmp_path / "small", *task, "--against", project / "model")
    assert measured["value"] == found["points"][0]["estimate"]["value"]


def test_the_smallest_model_within_a_loss_is_found_or_said_to_be_out_of_reach(project: Path, tmp_path: Path) -> None:
    common = (project / "model", "--task", project / "mood.toml", "--study", project / "study")
    run("score", *common, "-m", "obs", "--samples", 64)
    more = ("--budget", "parameters", "--budget", "flops=0.95", "--round-to", 2)
    found = run("frontier", *common, *more, "--repair", "one-shot", "--max-drop", 60, "-o", tmp_path / "recipe.json")
    (point,) = found["points"]
    assert point["estimate"]["difference_interval"][0] >= -0.6
    assert point["kept_flops"] <= 0.95
    assert point["kept_parameters"] <= point["keep"]
    assert json.loads((tmp_path / "recipe.json").read_text())["steps"][0]["repair"] == "one-shot"
    assert (found["max_drop"], found["max_drop_by"], found["within"]) == (60, "interval", True)
    by_value = run("frontier", *common, *more, "--repair", "one-shot", "--max-drop", 60, "--max-drop-by", "value")
    assert by_value["points"][0]["keep"] <= point["keep"]
    never = ("frontier", *common, "--repair", "none", "--max-drop", 0, "-o", tmp_path / "none.json", "--json")
    result = CliRunner().invoke(app, [*map(str, never)])
    assert result.exit_code == 3
    assert not json.loads(result.stdout)["within"]
    assert "nearest" in result.stderr
    assert "by the whole 95 % interval" in result.stderr
    assert "--max-drop-by value" in result.stderr
    assert not (tmp_path / "none.json").exists(), "nobody takes it for what was asked for"
    assert "one of interval, value" in run("frontier", *common, "--max-drop-by", "mean", exit_code=2)


@pytest.mark.slow
def test_frontier_repairs_layers_that_share_weights_by_their_own_repair_and_says_so(
    project: Path, tmp_path: Path
) -> None:
    save_checkpoint(tiny("albert", labels=LABELS, num_labels=2), tmp_path / "albert")
    common = (tmp_path / "albert", "--task", project / "mood.toml", "--study", tmp_path / "study")
    run("score", *common, "-m", "obs", "--samples", 64)
    result = CliRunner().invoke(app, ["frontier", *map(str, common), "--keep", "0.6", "-o", str(tmp_path / "recipes")])
    assert result.exit_code == 0
    assert "repair: shared-weights, as layers of albert share their weights" in result.stdout
    assert json.loads((tmp_path / "recipes/0.60.json").read_text())["steps"][0]["repair"] == "shared-weights"
    said = run("frontier", *common, "--keep", 0.6, "--repair", "sequential", exit_code=2)
    assert "shared-weights" in said


def test_a_single_split_is_scored_and_judged_once_split_names_it(project: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "only.tsv", 40, 9)
    (tmp_path / "only.toml").write_text(
        'name = "only"\nkind = "text-classification"\ntexts = ["text"]\nlabel = "mood"\n[data]\ntest = "only.tsv"\n'
    )
    common = (project / "model", "--task", tmp_path / "only.toml", "--study", tmp_path / "study")
    assert "say `--split test`" in run("score", *common, "-m", "fisher", exit_code=2)
    assert run("score", *common, "-m", "fisher", "--split", "test")["scores"][0]["split"] == "test"
    assert "say `--split test`" in run("faithfulness", *common, exit_code=2)
    run("faithfulness", *common, "--split", "test", "--samples", 8, "--held-out", 8)


def test_repair_needs_the_task(project: Path, plan: Path, tmp_path: Path) -> None:
    said = run(
        "compress", project / "model", "--plan", plan, "--repair", "sequential", "-o", tmp_path / "x", exit_code=2
    )
    assert "--task" in said


@pytest.mark.slow
def test_a_plan_of_other_weights_can_be_asked_for(project: Path, plan: Path) -> None:
    run("compress", project / "twin", "--plan", plan, "--transfer", "-o", project / "transferred")


def test_a_plan_for_another_shape_is_refused_by_fingerprint(project: Path, plan: Path) -> None:
    save_checkpoint(tiny(num_hidden_layers=2), project / "shallow")
    said = run("compress", project / "shallow", "--plan", plan, "-o", project / "x", exit_code=2)
    assert "another shape" in said


@pytest.mark.slow
def test_a_ready_recipe_is_written_applied_and_its_model_loads(project: Path, tmp_path: Path) -> None:
    recipe, task = tmp_path / "plus.json", ("--task", project / "mood.toml")
    written = run("recipe", "asc-plus", "--keep", 0.5, "--steps", 3, "--lr", 1e-3, "-o", recipe)
    assert written["starts"] == "fine-tuned"
    made = run("compress", project / "model", "--recipe", recipe, *task, "-o", tmp_path / "small")
    assert made["parameters"] < made["original_parameters"]
    assert not list(tmp_path.glob(".*"))  # the state of the training is gone
    card = (tmp_path / "small/README.md").read_text()
    assert "distilled from the original" in card
    assert "--recipe recipe.json" in card
    assert Recipe.load(tmp_path / "small/recipe.json").key == Recipe.load(recipe).key
    taught = run("distil", tmp_path / "small", "--teacher", project / "model", *task, "-o", tmp_path / "more",
                 "--steps", 4, "--lr", 1e-3)  # fmt: skip
    assert taught["value"] >= taught["before"]
    again = run("evaluate", tmp_path / "more", *task)
    assert again["value"] == pytest.approx(taught["value"], abs=1e-9)


@pytest.mark.slow
def test_what_rows_cost_is_a_table_and_a_file_of_tokens_says_which_go(project: Path, tmp_path: Path) -> None:
    task, tokens = ("--task", project / "mood.toml"), tmp_path / "tokens.csv"
    found = run("vocabulary", project / "model", *task, "--rows", 12, "--rows", 30, "--tokens", tokens)
    assert (found["split"], found["original_rows"]) == ("validation", 64)
    few, more = found["choices"]
    assert (few["rows"], more["rows"]) == (12, 30)
    assert few["megabytes"] < more["megabytes"]
    assert few["coverage"] < more["coverage"] < 1
    assert few["changed"] >= more["changed"] > 0
    assert more["on_changed"]["examples"] == round(40 * more["changed"])
    listed = tokens.read_text().splitlines()
    assert listed[0] == "id,token,stays,needed,train,validation,general_rank,pieces,distance"
    said = run("vocabulary", project / "model", *task, "--rows", 12, "--margin", 3, exit_code=2)
    assert "either --margin or --rows" in said
    assert "cannot do without 9 tokens" in run("vocabulary", project / "model", *task, "--rows", 2, exit_code=2)
    some = run("vocabulary", project / "model", *task, "--rows", 12, "--rows", 9999)  # of which the last drops nothing
    assert [choice["rows"] for choice in some["choices"]] == [12]
    assert "tokens of" in run("vocabulary", project / "model", *task, "--margin", 9999, exit_code=2)


@pytest.mark.slow
def test_a_card_says_what_texts_with_dropped_tokens_lose(project: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "few.json"
    recipe.write_text('{"format": "asc-recipe/1", "steps": [{"step": "vocabulary", "rows": 20}]}')
    made = run(
        "compress", project / "model", "--recipe", recipe, "--task", project / "mood.toml", "-o", tmp_path / "few"
    )
    (rows,) = [note for note in made["notes"] if note.startswith("20 of 64 tokens stay")]
    card = (tmp_path / "few/README.md").read_text()
    assert f"- {rows}" in card
    assert " examples with a dropped token: accuracy" in card
    assert "Assumed: the tokenizer's own order is that of general frequency" in card


@pytest.mark.slow
def test_a_recipe_that_begins_with_the_pretrained_encoder(project: Path, tmp_path: Path) -> None:
    task = ("--task", project / "mood.toml")
    base = tiny(seed=5)
    save_checkpoint(base, tmp_path / "base")
    for name in ("asc", "sajjad"):
        run("recipe", name, "--threshold", 0.999, "--epochs", 1, "-o", tmp_path / "r.json")
        made = run("compress", tmp_path / "base", "--recipe", tmp_path / "r.json", *task, "-o", tmp_path / name)
        assert made["max_difference"] < 1e-4
        assert run("evaluate", tmp_path / name, *task)["examples"] == 40


def test_an_unknown_recipe_is_refused(tmp_path: Path) -> None:
    assert "asc-plus" in run("recipe", "magic", "-o", tmp_path / "x.json", exit_code=2)
    assert "budget" in run("recipe", "asc-plus", "--budget", "weight", "-o", tmp_path / "x.json", exit_code=2)


@pytest.mark.slow
def test_a_matrix_is_measured_and_kept(project: Path, tmp_path: Path) -> None:
    apps = [f"{name}={project / name},{project / 'mood.toml'}" for name in ("model", "twin")]
    common = (*apps, "--study", tmp_path / "study", "--samples", 32, "--general", project / "mood.toml")
    found = run("matrix", *common)
    assert found["columns"] == ["model", "twin"]
    assert found["rows"][:2] == found["columns"]
    assert len(found["cells"]) == 2 * len(found["rows"])
    assert {price["row"] for price in found["prices"]} == set(found["agnostic"])
    assert run("matrix", *common) == found
    assert "two applications" in run("matrix", apps[0], "--study", tmp_path / "study", exit_code=2)


@pytest.mark.slow
def test_a_shared_plan_trades_one_application_for_another(project: Path, tmp_path: Path) -> None:
    apps = [f"{name}={project / name},{project / 'mood.toml'}" for name in ("model", "twin")]
    found = run("shared", *apps, "--samples", 32, "--points", 2, "-o", tmp_path / "plans")
    assert [point["weights"] for point in found["points"]] == [{"model": 1, "twin": 0}, {"model": 0, "twin": 1}]
    assert {path.stem for path in (tmp_path / "plans").iterdir()} == {"1.00-0.00", "0.00-1.00"}
    assert "max, sum" in run("shared", *apps, "--reduce", "min", "--samples", 32, exit_code=2)


def test_a_frontier_that_is_interrupted_keeps_the_points_that_it_has(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asc_core.recipes import frontier as module

    study = tmp_path / "study"
    common = (project / "model", "--task", project / "mood.toml", "--study", study)
    run("score", *common, "-m", "obs", "--samples", 64)
    whole = module.Workbench.point

    def interrupted(bench: Any, keep: float) -> Any:
        if keep > 0.6:
            raise KeyboardInterrupt
        return whole(bench, keep)

    monkeypatch.setattr(module.Workbench, "point", interrupted)
    out = tmp_path / "recipes"
    with pytest.raises((KeyboardInterrupt, AssertionError)):
        run("frontier", *common, "--keep", 0.5, "--keep", 0.7, "-o", out)
    (kept,) = Study.open(study).evaluations()
    assert kept["name"].startswith("0.50")
    assert [file.name for file in out.iterdir()] == ["0.50.json"]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (
            "plan {p}/model --task {p}/mood.toml --study {p}/study -m asc-b --threshold 0.9 --min-heads 1 -o x",
            "whole layers",
        ),
        (
            "plan {p}/model --task {p}/mood.toml --study {p}/study -m fisher --keep-flops 0.5 -o {p}/mood.toml/x",
            "cannot be written",
        ),
        ("evaluate {p}/model --task {p}/mood.toml --device nowhere", "device nowhere cannot be used"),
        ("compress {p}/model --plan {p}/plan.json -o {p}/twin", "twin exists already"),
        ("export {p}/model -o {p}/twin", "twin exists already"),
        ("frontier {p}/model --task {p}/mood.toml --study {p}/study --max-drop 1 --keep 0.5", "either --keep"),
        ("recipe asc-plus --budget latency --task {p}/mood.toml -o {p}/r.json", "latency"),
    ],
)
def test_what_cannot_be_is_said(project: Path, plan: Path, command: str, says: str) -> None:
    assert says in run(*(part.format(p=project) for part in command.split()), exit_code=2)


@pytest.mark.parametrize("option", [("--seed", "-1"), ("--scope", "any")])
def test_a_value_that_an_option_cannot_have_is_named(project: Path, plan: Path, option: tuple[str, str]) -> None:
    common = [str(project / "model"), "--task", str(project / "mood.toml"), "--study", str(project / "study")]
    result = CliRunner().invoke(app, ["plan", *common, "-m", "fisher", "--keep-flops", "0.5", "-o", "x", *option])
    assert result.exit_code == 2
    assert option[0] in re.sub(r"\x1b\[[0-9;]*m", "", result.output)


def test_a_threshold_keeps_the_heads_that_it_is_told_to(project: Path, plan: Path, tmp_path: Path) -> None:
    common = (project / "model", "--task", project / "mood.toml", "--study", project / "study", "-m", "fisher")
    run("plan", *common, "--threshold", 1e9, "--min-heads", 2, "-o", tmp_path / "plan.json")
    assert {len(heads) for heads in Plan.load(tmp_path / "plan.json").heads} == {2}


def test_scores_of_texts_that_were_corrected_are_not_cut_by(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(project, folder)
    common = (folder / "model", "--task", folder / "mood.toml", "--study", folder / "own", "-m", "fisher")
    run("score", *common, "--samples", 64)
    write_rows(folder / "train.tsv", 90, seed=5)
    said = run("plan", *common, "--keep-flops", 0.5, "-o", tmp_path / "x.json", exit_code=2)
    assert "of the texts that its file holds now" in said
    run("score", *common, "--samples", 64)
    run("plan", *common, "--keep-flops", 0.5, "-o", tmp_path / "x.json")


def test_the_dashboard_is_told_what_it_may_keep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from asc_core.cli import pages

    started: list[dict[str, str]] = []
    monkeypatch.setattr(pages.os, "execve", lambda program, command, environment: started.append(environment))
    monkeypatch.setattr(pages.subprocess, "call", lambda command, env: 0)
    monkeypatch.setattr(pages.os, "chdir", lambda folder: None)
    monkeypatch.delenv("ASC_MEMORY", raising=False)
    for said in ((), ("--memory", "3GB"), ("--memory", "3 apples")):
        result = CliRunner().invoke(app, ["dashboard", "--study", str(tmp_path / "study"), *said])
    assert [environment.get("ASC_MEMORY") for environment in started] == [None, "3000000000"]
    assert result.exit_code == 2
    assert "--memory is '3 apples': write an amount of memory such as 4GB" in " ".join(result.stderr.split())


def test_a_dashboard_that_others_reach_needs_passwords(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from asc_core.cli import pages

    started: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(
        pages.os, "execve", lambda program, command, environment: started.append((command, environment))
    )
    monkeypatch.setattr(pages.subprocess, "call", lambda command, env: 0)
    monkeypatch.setattr(pages.os, "chdir", lambda folder: None)
    passwords = tmp_path / "passwords"

    def said(*arguments: object) -> str:
        return " ".join(CliRunner().invoke(app, ["dashboard", *map(str, arguments)]).stderr.split())

    for host in ("0.0.0.0", "::", "192.168.0.7"):
        assert "--share PASSWORDS" in said("--host", host)
    assert "not 'example.org'" in said("--host", "example.org")
    assert "asc password" in said("--host", "0.0.0.0", "--share", passwords)
    assert "without a port" in said("--name", "a,b")
    assert not started

    made = CliRunner().invoke(
        app, ["password", str(passwords), "ada"], input="long enough indeed\nlong enough indeed\n"
    )
    assert made.exit_code == 0
    said("--host", "0.0.0.0", "--share", passwords, "--name", "studio.example.org")
    said()
    (shared, theirs), (alone, mine) = started
    assert shared[shared.index("--server.address") + 1] == "0.0.0.0"
    assert "studio.example.org" in theirs["ASC_HOSTS"].split(",")
    assert theirs["ASC_PASSWORDS"] == str(passwords)
    assert alone[alone.index("--server.address") + 1] == "127.0.0.1"
    assert "ASC_PASSWORDS" not in mine
    for name, value in (("--browser.gatherUsageStats", "false"), ("--client.showErrorDetails", "none")):
        assert alone[alone.index(name) + 1] == value


def test_no_name_in_a_table_is_a_spreadsheets_formula(tmp_path: Path) -> None:
    from asc_core.cli.stored import COLUMNS, _write_csv

    row = dict.fromkeys(COLUMNS, 1) | {"task": "=cmd|' /C calc'!A0", "method": "@x", "weights": "w", "score": -0.5}
    _write_csv(tmp_path / "scores.csv", [row])
    (read,) = csv.DictReader((tmp_path / "scores.csv").open())
    assert (read["task"][:2], read["method"], read["weights"], read["score"]) == ("'=", "'@x", "w", "-0.5")


def test_streamlit_started_by_hand_here_is_set_as_the_command_sets_it() -> None:
    root = Path(__file__).parents[1]
    settings = [root / ".streamlit" / "config.toml", root / "dashboard" / "streamlit.toml"]
    first, second = (tomllib.loads(file.read_text(encoding="utf-8")) for file in settings)
    assert first == second
    assert first["server"]["address"] == "127.0.0.1"
