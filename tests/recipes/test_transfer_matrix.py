"""The application matrix: every cell is what it says, and nothing is computed twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import asc_core
from asc_core.compress import calibrate, refit
from asc_core.compress.choose import counted
from asc_core.errors import UserError
from asc_core.evaluate import measure
from asc_core.evaluate.intervals import least_half_width
from asc_core.recipes import transfer_matrix as module
from asc_core.recipes.agnosticism_gap import agnosticism_gaps, mean_difference
from asc_core.recipes.transfer_matrix import (
    GENERAL,
    MAGNITUDE,
    MIXED,
    ORIGINAL,
    RANDOM,
    Application,
    Cell,
    Settings,
    TransferMatrix,
)
from asc_core.recipes.transfer_matrix_store import cells_in_study, keep_report, report, reports
from asc_core.study import Study
from asc_core.tasks.base import Metric
from asc_core.tasks.texts import Texts
from asc_core.train.steps import Distil, Finetune
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import logits, padded_batch, tiny

pytestmark = pytest.mark.slow

MOOD, PAIR = toy_task(train=60), toy_task("pair-classification", train=60)
APPS = [Application("mood", encoder_for(MOOD, seed=1), MOOD), Application("pair", encoder_for(PAIR, seed=2), PAIR)]
ASKED = Settings(samples=40)
GENERAL_TEXT = toy_task("tagging", train=60)


@pytest.fixture(scope="module")
def whole() -> tuple[TransferMatrix, list[Cell]]:
    matrix = TransferMatrix(APPS, ASKED, GENERAL_TEXT)
    return matrix, list(matrix.cells())


def test_there_is_a_cell_for_every_row_and_column(whole: tuple[TransferMatrix, list[Cell]]) -> None:
    matrix, cells = whole
    assert matrix.rows == ["mood", "pair", MIXED, GENERAL, MAGNITUDE, RANDOM]
    assert {(c.row, c.column) for c in cells} == {(r, a.name) for r in matrix.rows for a in APPS}
    assert len({c.key for c in cells}) == len(cells)
    for cell in cells:
        assert cell.estimate.difference is not None
        assert cell.estimate.examples == 60


def test_a_cell_is_the_rows_plan_on_the_columns_model_repaired_on_the_rows_texts(
    whole: tuple[TransferMatrix, list[Cell]],
) -> None:
    mood, pair = APPS
    scores = asc_core.score(mood.encoder, MOOD, ["obs"], samples=40)["obs"]
    costs = asc_core.task_cost_model(mood.encoder, MOOD)
    budget, keep = counted("layer-parameters", 0.5, costs)
    plan = asc_core.by_budget(scores, costs, keep, budget)
    texts = calibrate(pair.encoder, Texts(MOOD), samples=40)
    expected, _ = refit(pair.encoder, plan, texts, transfer=True)
    found = whole[0].compressed("mood", pair)
    torch.testing.assert_close(logits(found, padded_batch()), logits(expected, padded_batch()))
    cell = next(c for c in whole[1] if (c.row, c.column) == ("mood", "pair"))
    outcome = measure(expected, PAIR, "validation")
    np.testing.assert_array_equal(cell.measured.statistics, outcome.statistics)


def test_every_cut_is_within_the_budget(whole: tuple[TransferMatrix, list[Cell]]) -> None:
    matrix = whole[0]
    for row in matrix.rows:
        for column in APPS:
            costs = asc_core.task_cost_model(column.encoder, column.task)
            share = costs.cost(matrix.plan(row, column)).encoder_parameters / costs.dense.encoder_parameters
            assert 0.4 < share <= 0.5 + 1e-9


def test_known_cells_are_not_computed_again(
    whole: tuple[TransferMatrix, list[Cell]], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix, cells = whole
    known = {cell.key: cell.measured for cell in cells} | {matrix.key(ORIGINAL, a): matrix.original(a) for a in APPS}
    monkeypatch.setattr(module, "measure", lambda *a, **k: pytest.fail("measured again"))
    again = list(TransferMatrix(APPS, ASKED, GENERAL_TEXT, known=known).cells())
    assert [(c.row, c.column, c.estimate) for c in again] == [(c.row, c.column, c.estimate) for c in cells]


def test_a_study_keeps_every_cell_as_it_is_measured(
    whole: tuple[TransferMatrix, list[Cell]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    study = Study.open(tmp_path / "study")
    first = cells_in_study(TransferMatrix(APPS, ASKED, GENERAL_TEXT), study)
    some = [next(first) for _ in range(5)]  # and then it is killed
    measured = []
    monkeypatch.setattr(module, "measure", lambda *a, **k: measured.append(1) or measure(*a, **k))
    rest = TransferMatrix(APPS, ASKED, GENERAL_TEXT)
    cells = list(cells_in_study(rest, study))
    assert [(c.key, c.estimate) for c in cells[:5]] == [(c.key, c.estimate) for c in some]
    assert [(c.key, c.estimate) for c in cells] == [(c.key, c.estimate) for c in whole[1]]
    assert len(measured) == len(cells) - 5 + 1  # and the second column's original
    found = json.loads(json.dumps(report(rest, cells)))
    assert len(found["cells"]) == len(cells)
    for made in (found, found | {"trained": ["x"]}, found):
        keep_report(study, made)
    assert [made["trained"] for made in reports(study)] == [["x"], []]
    assert found["prices"][0]["value"] <= found["prices"][-1]["value"]


@pytest.mark.parametrize("change", [{"keep": 0.4}, {"seed": 1}, {"method": "magnitude"}, {"repair": None}])
def test_other_settings_are_other_cells(change: dict) -> None:
    one, other = (TransferMatrix(APPS, s) for s in (ASKED, replace(ASKED, **change)))
    assert one.key("mood", APPS[1]) != other.key("mood", APPS[1])


def test_one_pretrained_encoder_is_cut_and_then_trained_for_each_column() -> None:
    base = tiny(seed=3)
    then = [Finetune(epochs=1, lr=1e-2, batch_size=16), Distil(steps=3, lr=1e-2, batch_size=16)]
    matrix = TransferMatrix(APPS, replace(ASKED, repair=None), base=base, then=then)
    smaller = matrix.compressed("mood", APPS[1])
    assert (smaller.head, smaller.labels) == (PAIR.head, PAIR.labels)
    expected = matrix.plan("mood", APPS[1])
    assert smaller.shape.heads == tuple(len(expected.heads[layer]) for layer in expected.layers)


def test_tasks_without_labels_are_compared_with_their_whole_model() -> None:
    blind = toy_task(train=60, label=None)
    apps = [Application("blind", encoder_for(MOOD, seed=1), blind), APPS[1]]
    cells = list(TransferMatrix(apps, ASKED).cells())
    assert {cell.estimate.metric for cell in cells} == {"agreement", "accuracy"}


def test_prices_are_differences_from_the_own_row(whole: tuple[TransferMatrix, list[Cell]]) -> None:
    matrix, cells = whole
    found = agnosticism_gaps(matrix, cells)
    assert [p.value for p in found] == sorted(p.value for p in found)
    assert {p.row for p in found} == {MIXED, GENERAL, MAGNITUDE, RANDOM}
    value = {(c.row, c.column): c.estimate.value for c in cells}
    for price in found:
        assert price.value == pytest.approx(np.mean([value[a.name, a.name] - value[price.row, a.name] for a in APPS]))
        assert price.interval[0] <= price.value <= price.interval[1]
    assert len(agnosticism_gaps(matrix, cells[:-1])) == 3  # a row that is not complete has no price


SHARE = Metric("share", ("right",), from_rows=lambda rows: rows[:, 0].mean(), binary=True)


def test_a_price_is_never_sure_because_nothing_was_seen() -> None:
    same = (np.arange(200) % 3 > 0).astype(float)[:, None]
    value, (low, high) = mean_difference([(same, same, SHARE)] * 2)
    assert value == 0
    assert low == -high == pytest.approx(-least_half_width(200) / np.sqrt(2))


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_the_interval_of_a_mean_difference_is_that_of_independent_columns(seed: int) -> None:
    generator = np.random.default_rng(seed)
    pairs = [(generator.integers(0, 2, (n, 1)).astype(float), np.zeros((n, 1)), SHARE) for n in (400, 900)]
    value, (low, high) = mean_difference(pairs, seed)
    spread = np.sqrt(sum(a.var() / len(a) for a, _, _ in pairs)) / 2
    assert value == pytest.approx(np.mean([a.mean() for a, _, _ in pairs]))
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.1)


@pytest.mark.parametrize("name", [ORIGINAL, MIXED, GENERAL, MAGNITUDE, RANDOM])
def test_an_application_cannot_be_called_like_a_cut_that_knows_none(name: str) -> None:
    with pytest.raises(UserError, match=f"cannot be called {name}"):
        TransferMatrix([APPS[0], Application(name, APPS[1].encoder, PAIR)])


def test_models_of_different_shapes_or_names_that_occur_twice_are_refused() -> None:
    with pytest.raises(UserError, match="cannot cut the other"):
        TransferMatrix([APPS[0], Application("wide", encoder_for(PAIR, hidden_size=32), PAIR)])
    with pytest.raises(UserError, match="each under its own name"):
        TransferMatrix([APPS[0], APPS[0]])
    with pytest.raises(UserError, match="each under its own name"):
        TransferMatrix(APPS[:1])
    other = toy_task(train=60, seed=5)
    with pytest.raises(UserError, match="different texts are called"):
        TransferMatrix([APPS[0], Application("other", APPS[0].encoder, other)])
    with pytest.raises(UserError, match="different texts are called"):
        TransferMatrix(APPS, general=other)
    assert TransferMatrix([APPS[0], Application("other", APPS[0].encoder, MOOD)], general=MOOD).rows


def test_other_training_texts_are_other_cells() -> None:
    other = toy_task(train=60, seed=5)
    assert other.name == MOOD.name
    changed = [Application("mood", APPS[0].encoder, other), APPS[1]]
    one, two = TransferMatrix(APPS, ASKED), TransferMatrix(changed, ASKED)
    assert one.key("mood", APPS[1]) != two.key("mood", APPS[1])
    assert one.key("pair", APPS[1]) == two.key("pair", APPS[1])
    assert one.key(MIXED, APPS[1]) != two.key(MIXED, APPS[1])
