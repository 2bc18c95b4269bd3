"""What to deploy: limits, forecasts that say that they are such, and a search that goes on where it was stopped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.errors import UserError
from asc_core.evaluate.speeds import Conditions
from asc_core.recipes.deployment import Figure, Limits, Option, Variant, ranked
from asc_core.recipes.deployment_search import Deployment
from asc_core.scores.sweep import sweep
from asc_core.study import Study
from tests.evaluate.toy_tasks import encoder_for, toy_task, written
from tests.tiny import save_checkpoint

UNKNOWN = float("nan")


def option(title: str, mb: float, ms: float, points: float) -> Option:
    size, time, lost = (Figure(value, rests_on="a test") for value in (mb, ms, points))
    return Option(title, size, time, lost)


OPTIONS = [
    option("whole", 90, 30, 0),
    option("half", 50, 15, 0.5),
    option("small", 8, 5, 1.2),
    option("unknown", 5, 4, UNKNOWN),
]


@pytest.mark.parametrize(
    ("limits", "goal", "order"),
    [
        (Limits(points=1), "mb", ["half", "whole", "unknown", "small"]),
        (Limits(points=1, mb=60), "ms", ["half", "unknown", "small", "whole"]),
        (Limits(mb=60, ms=20), "points", ["half", "small", "unknown", "whole"]),
        (Limits(mb=60, ms=20, points=2), "points", ["half", "small", "unknown", "whole"]),
        (Limits(), "points", ["whole", "half", "small", "unknown"]),
    ],
)
def test_what_is_within_the_limits_comes_first_and_the_best_of_it(limits: Limits, goal: str, order: list[str]) -> None:
    assert limits.goal == goal
    assert [one.title for one in ranked(OPTIONS, limits)] == order


def test_a_limit_is_no_negative_number() -> None:
    with pytest.raises(UserError, match="0 or more"):
        Limits(mb=-1)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return at(tmp_path)


def at(folder: Path, **more: object) -> Deployment:
    task = toy_task(train=24, validation=24)
    encoder = encoder_for(task)
    scores = sweep(encoder, task, ["magnitude"], samples=8)["magnitude"]
    options: dict[str, object] = {"runtime": "torch", "conditions": Conditions(1, 8, 1)}
    study = Study.open(folder / "study")
    return Deployment(encoder, task, study, Limits(mb=1.0), scores, **(options | more))  # type: ignore[arg-type]


def test_before_anything_is_measured_all_figures_are_forecasts_and_say_what_they_rest_on(
    deployment: Deployment,
) -> None:
    for one in deployment.options():
        assert not one.measured
        assert all(figure.rests_on for figure in one.figures.values())


def test_choosing_measures_what_forecasts_rest_on_then_the_best_and_ranks_again(deployment: Deployment) -> None:
    first, *_, last = deployment.choosing(most=2)
    assert [one.variant for one in first if one.measured] == [Variant()], "ranked again as soon as anything is known"
    by_variant = {one.variant: one for one in last}
    assert by_variant[Variant()].measured
    assert by_variant[Variant(0.5)].measured, "a cut, or nothing is known of any"
    assert by_variant[Variant(vocabulary=True)].measured
    forecast = by_variant[Variant(0.5, vocabulary=True)]
    if not forecast.measured:
        assert forecast.mb.value < by_variant[Variant(0.5)].mb.value
        assert "vocabulary as on the original" in forecast.points.rests_on
    assert by_variant[Variant()].points.value == 0


def test_what_was_measured_is_in_the_study_and_not_measured_again(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, first = deployment.choosing(most=1)
    again = at(tmp_path)

    def never(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(Deployment, "measure", never)
    assert again.options() == first
    assert next(iter(again.choosing())) == first
    elsewhere = at(tmp_path, conditions=Conditions(2, 8, 1))
    whole = next(one for one in elsewhere.options() if one.variant == Variant())
    assert whole.mb.measured
    assert whole.points.measured, "answers and bytes are those of any batch"
    assert not whole.ms.measured
    with pytest.raises(AssertionError, match="measured again"):
        next(iter(elsewhere.choosing()))


def test_a_cut_that_was_measured_counts_for_every_runtime_and_its_time_stays_a_forecast(deployment: Deployment) -> None:
    deployment.measure(Variant())
    deployment.measure(Variant(0.5))
    elsewhere = Deployment(
        deployment.encoder,
        deployment.task,
        deployment.study,
        Limits(),
        deployment.scores,
        conditions=Conditions(4, 8, 1),
    )
    found = next(one for one in elsewhere.options() if one.variant == Variant(0.5))
    assert found.points.measured
    assert not found.ms.measured


def test_other_recipes_of_the_study_are_ranked_too(deployment: Deployment) -> None:
    deployment.measure(Variant())
    recipe = Deployment.recipe(deployment, Variant(0.6))
    assert recipe is not None
    bare = type(recipe)((recipe.steps[0].model_copy(update={"repair": None}),))
    made = bare.apply(deployment.encoder, deployment.task)
    deployment._keep_for_others(bare, made, deployment_estimate(deployment))
    other = next(one for one in deployment.options() if one.recipe_key == bare.key)
    assert other.variant is None
    assert other.points.measured
    assert not other.mb.measured


def deployment_estimate(deployment: Deployment):  # type: ignore[no-untyped-def]
    from asc_core.evaluate import estimate

    return estimate(deployment.original, deployment.task.metric, deployment.original)


def test_texts_longer_than_the_model_takes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tokens at most, not 500"):
        at(tmp_path, conditions=Conditions(1, 500, 1))


def test_the_command_line_ranks_measures_and_writes_the_best_recipe(tmp_path: Path) -> None:
    task = toy_task(train=40, validation=24)
    model = save_checkpoint(encoder_for(task), tmp_path / "model")
    common = [str(model), "--task", str(written(task, tmp_path)), "--study", str(tmp_path / "study")]
    done = CliRunner().invoke(app, ["score", *common, "-m", "magnitude", "--samples", "8"])
    assert done.exit_code == 0, done.output
    where = ["-m", "magnitude", "--runtime", "torch", "--tokens", "8", "--static", "--json"]
    arguments = ["choose", *common, *where, "--points", "100", "--measure", "9", "-o", str(tmp_path / "best.json")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["goal"] == "mb"
    best = found["options"][0]
    assert best["fits"]
    assert best["measured"]
    assert found["static"]["estimate"]["value"] > 0.8
    steps = json.loads((tmp_path / "best.json").read_text())["steps"]
    assert ("vocabulary" in [step["step"] for step in steps]) == best["vocabulary"]
    none = CliRunner().invoke(app, ["choose", *common, *where, "--mb", "0", "--measure", "0"])
    assert none.exit_code == 3
    assert "Nothing known is within these limits" in none.stderr
