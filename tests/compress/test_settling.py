"""How many tokens are enough: judged on texts that no refit saw, the same every time."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import pytest
import torch

from asc_core.compress import Calibrations, Cut, StepContext, refit, settling
from asc_core.compress.calibration import GrowingCalibration
from asc_core.compress.settling import Settling, error_at_the_end, every_second
from asc_core.errors import Cancelled
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from tests.compress.cuts import half
from tests.scores.toy import ToyTask
from tests.tiny import logits, padded_batch, tiny

TASK = ToyTask(400)
module: Any = sys.modules["asc_core.compress.calibration"]


@pytest.fixture(autouse=True)
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_TOKENS", 64)


def whole(encoder: Any) -> GrowingCalibration:
    growing = GrowingCalibration(encoder, TASK)
    while not growing.complete:
        growing.grow()
    return growing


def test_the_original_itself_has_no_error_and_a_refit_less_than_the_cut() -> None:
    encoder = tiny()
    calibration = whole(encoder).latest
    assert calibration is not None
    assert error_at_the_end(encoder, calibration) == pytest.approx(0, abs=1e-6)
    plan = every_second(encoder.shape)
    cut = error_at_the_end(encoder.cut(plan), calibration)
    assert 0 < error_at_the_end(refit(encoder, plan, calibration)[0], calibration) < cut


def test_it_settles_where_twice_as_many_tokens_gain_less_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny()
    growing, settled = GrowingCalibration(encoder, TASK), Settling()
    errors, ends = [], []
    while not growing.complete:
        calibration = growing.grow()
        ends.append(settled.settled(encoder, calibration))
        errors.append(settled.error)
    assert errors[: settling.JUDGING_SLICES] == [None] * settling.JUDGING_SLICES
    known = [error for error in errors if error is not None]
    assert len(known) > 2
    expected = [before - after < settling.HARDLY_LESS * before for before, after in pairwise(known)]
    assert ends[-len(expected) :] == expected
    monkeypatch.setattr(settling, "HARDLY_LESS", -1e9)
    assert Calibrations().get(encoder, TASK, until_settled=True).tokens == calibration.tokens, "none is ever enough"


def test_with_all_tokens_the_settled_repair_is_the_usual_one_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "HARDLY_LESS", -1e9)
    encoder, shared = tiny(), Calibrations(most=3)
    usual, settled = (Cut(plan=half(encoder), repair="sequential", until_settled=until) for until in (False, True))
    first, second = (step.apply(encoder, StepContext(TASK, calibrations=shared)) for step in (usual, settled))
    torch.testing.assert_close(logits(first, padded_batch()), logits(second, padded_batch()), atol=0, rtol=0)
    assert usual.cache_key() != settled.cache_key()
    assert usual.lineage(encoder) != settled.lineage(encoder)


def test_a_quick_repair_says_what_it_is_and_leaves_the_recipe_as_it_is() -> None:
    encoder, shared = tiny(), Calibrations()
    recipe = Recipe((Cut(plan=half(encoder), repair="sequential", until_settled=True),), "x", "toy")
    assert recipe.has_quick_form
    quick = recipe.made(encoder, TASK, calibrations=shared, provisional=True)
    assert quick.provisional.startswith("repaired (one-shot) on ")
    assert quick.prefix_keys(TASK) is None, "nothing of it is like the model that it stands for"
    final = recipe.made(encoder, TASK, calibrations=shared)
    assert final.provisional == ""
    assert final.prefix_keys(TASK) is not None
    assert quick.encoder.shape == final.encoder.shape
    error = {name: error_at_the_end(made.encoder, shared.get(encoder, TASK)) for name, made in
             (("quick", quick), ("final", final))}  # fmt: skip
    assert error["quick"] < error_at_the_end(encoder.cut(half(encoder)), shared.get(encoder, TASK))
    assert not Recipe((Cut(plan=half(encoder), repair="bias"),), "x", "toy").has_quick_form


def test_an_encoder_whose_second_moments_are_too_large_is_repaired_quickly_on_few_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOMENTS_MEMORY", 100)
    encoder, shared = tiny(), Calibrations()
    step = Cut(plan=half(encoder), repair="sequential", until_settled=True)
    context = StepContext(TASK, calibrations=shared, provisional=True)
    step.apply(encoder, context)
    assert context.instead.startswith("repaired (sequential) on ")
    assert not step.calibrating(encoder).get("moments")


def test_a_cancelled_refinement_leaves_what_there_was() -> None:
    encoder, shared = tiny(), Calibrations()
    step, stop = Cut(plan=half(encoder), repair="sequential", until_settled=True), Progress()
    begun = shared.first(encoder, TASK, **step.calibrating(encoder))
    stop.cancel.set()
    with pytest.raises(Cancelled):
        step.apply(encoder, StepContext(TASK, calibrations=shared, progress=stop))
    assert shared.first(encoder, TASK, **step.calibrating(encoder)) is begun
