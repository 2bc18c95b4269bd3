"""The largest student for a device that fits: what is forecast is what the file has, and nothing is trained for it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.compress.step import StepContext
from asc_core.errors import UserError
from asc_core.export.device_file import device_file
from asc_core.modeling import PACKINGS, count
from asc_core.recipes import Recipe, on_device
from asc_core.recipes.on_device import SIZES, Fit, batches, largest_within, on_device_steps, within
from tests.evaluate.toy_tasks import encoder_for, toy_task, written
from tests.tiny import save_checkpoint

TASK = toy_task("intent-slots", train=64, validation=16)
TEXTS = toy_task(train=64, validation=16)


def test_what_is_forecast_is_what_the_file_has(tmp_path: Path) -> None:
    encoder = encoder_for(TASK)
    for most in (10**9, largest_within(encoder, TASK, 10**9).bytes - 1):
        found = largest_within(encoder, TASK, most)
        assert found.of_file
        assert found.bytes <= most
        steps = on_device_steps(found.size, steps=1, rounding_steps=1)
        made = encoder
        for step in steps:
            made = step.apply(made, StepContext(TASK, encoder))
        file = device_file(made, PACKINGS["float16"])
        file.write(tmp_path / "model.asc")
        assert (tmp_path / "model.asc").stat().st_size == file.bytes == found.bytes


def test_sizes_get_smaller() -> None:
    encoder = encoder_for(TASK)
    for larger, smaller in pairwise(within(size, encoder) for size in SIZES):
        assert smaller.depth <= larger.depth
        assert smaller.bits <= larger.bits
        assert smaller.least >= larger.least


def test_factors_are_left_out_where_they_would_save_nothing() -> None:
    encoder = encoder_for(TASK)  # a table of a few words
    assert within(SIZES[0], encoder).rank == 0
    steps = on_device_steps(within(SIZES[0], encoder), steps=1, rounding_steps=1)
    assert "embedding" not in [step.kind for step in steps]
    assert within(SIZES[-1], encoder_for(TASK, vocab_size=5000, hidden_size=64)).rank == SIZES[-1].rank


def test_a_budget_that_nothing_fits_is_refused_with_the_least_that_does() -> None:
    encoder = encoder_for(TASK)
    with pytest.raises(UserError, match=r"is too little for .* the smallest size takes"):
        largest_within(encoder, TASK, 10)


def test_an_encoder_without_a_device_file_counts_its_weights() -> None:
    encoder = encoder_for(TASK, "distilbert")
    found = largest_within(encoder, TASK, 10**9)
    assert isinstance(found, Fit)
    assert not found.of_file
    assert found.bytes < count(encoder.model, "float16").bytes


def test_what_shares_its_layers_is_refused() -> None:
    with pytest.raises(UserError, match="no layers of its own"):
        largest_within(encoder_for(TASK, "albert"), TASK, 10**9)


def test_passes_are_counted_in_batches_and_there_are_enough_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert batches(TASK, 3) == (on_device.LEAST, on_device.LEAST // 4)
    monkeypatch.setattr(on_device, "LEAST", 1)
    assert batches(TASK, 4) == (8, 2)
    assert batches(TASK, 0.001) == (1, 1)


def fitted(tmp_path: Path, *options: str) -> Any:
    model = save_checkpoint(encoder_for(TEXTS), tmp_path / "model")
    task = str(written(TEXTS, tmp_path))
    return CliRunner().invoke(app, ["fit", str(model), "--task", task, *options])


def test_the_command_writes_the_recipe_of_the_largest_that_fits(tmp_path: Path) -> None:
    out = tmp_path / "device.json"
    found = fitted(tmp_path, "--preset", "on-device-nlu", "--budget", "bytes=1M", "-o", str(out), "--json")
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    assert said["bytes"] <= 10**6
    recipe = Recipe.load(out)
    assert [step.kind for step in recipe.steps][-1] == "train-quantized"
    assert recipe.to_json()["steps"] == said["recipe"]["steps"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--preset", "tiny"), "There is no preset 'tiny'"),
        (("--preset", "on-device-nlu", "--budget", "flops=10%"), "goes by bytes"),
        (("--preset", "on-device-nlu", "--budget", "bytes=10"), "is too little"),
        ((), "Say what it may take"),
        (("--preset", "no-retraining"), "Say what it may take"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(options: tuple[str, ...], says: str, tmp_path: Path) -> None:
    found = fitted(tmp_path, *options)
    assert found.exit_code == 2
    assert says in found.output
    assert "Traceback" not in found.output
