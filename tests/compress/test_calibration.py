"""Growing calibrations: what a slice says is what one pass over all texts says of the same texts."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import pytest
import torch

from asc_core.compress import calibrate, refit
from asc_core.compress.calibration import Calibration, GrowingCalibration, slice_ends
from asc_core.compress.moments import MomentSums
from asc_core.errors import UserError
from tests.compress.cuts import half
from tests.scores.toy import ToyTask
from tests.tiny import ARCHITECTURES, logits, padded_batch, tiny

TASK = ToyTask(60)
module: Any = sys.modules["asc_core.compress.calibration"]


def by_text(calibration: Calibration) -> dict[tuple[int, ...], Any]:
    """Of each text, by its tokens: (held out, what the last FFN leaves in the stream, the weights there)."""
    found = {}
    place = list(calibration.texts[0].sums)[-1]
    for text in calibration.texts:
        for row, real in enumerate(text.real):
            ids = tuple(text.batch.inputs["input_ids"][row][real].tolist())
            found[ids] = bool(text.held_out[row]), text.sums[place][row][real], text.weights[place][row][real]
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_in_slices_or_at_once_a_repair_is_the_same(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny(architecture)
    at_once = calibrate(encoder, TASK, moments=True)
    assert len(at_once.slices) == 1
    monkeypatch.setattr(module, "FIRST_TOKENS", 60)
    in_slices = calibrate(encoder, TASK, moments=True)
    assert len(in_slices.slices) > 2
    assert in_slices.tokens == at_once.tokens
    first, second = by_text(at_once), by_text(in_slices)
    assert first.keys() == second.keys()
    for ids, (held_out, sums, weights) in first.items():
        assert second[ids][0] == held_out
        torch.testing.assert_close(second[ids][1], sums, atol=1e-3, rtol=1e-3)  # two half precisions next to each other
        torch.testing.assert_close(second[ids][2], weights, atol=1e-3, rtol=1e-3)
    if encoder.shape.shares_weights:
        with pytest.raises(UserError, match="layers share"):
            refit(encoder, half(encoder), in_slices)
        return
    for mode in ("sequential", "one-shot"):
        models = [refit(encoder, half(encoder), each, mode)[0] for each in (at_once, in_slices)]  # type: ignore[arg-type]
        # batches of other lengths add up in another order, and a tie of two ridges may fall either way
        torch.testing.assert_close(*(logits(model, padded_batch()) for model in models), atol=5e-2, rtol=5e-2)


def test_fewer_tokens_are_the_first_ones_of_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_TOKENS", 60)
    encoder = tiny()
    growing = GrowingCalibration(encoder, TASK, moments=True)
    fewer = calibrate(encoder, TASK, tokens=growing.grow().tokens, moments=True)
    assert growing.latest is not None
    few, some = by_text(fewer), by_text(growing.latest)
    assert few.keys() == some.keys()
    assert all(few[ids][0] == some[ids][0] and torch.equal(few[ids][1], some[ids][1]) for ids in few)
    before = [fit.moments.clone() for fit in growing.latest.moments.fits(("ffn", 0), torch.arange(21))]  # type: ignore[union-attr]
    first = growing.latest
    while not growing.complete:
        growing.grow()
    after = [fit.moments for fit in first.moments.fits(("ffn", 0), torch.arange(21))]  # type: ignore[union-attr]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "what was handed out does not grow"
    assert growing.latest.tokens > first.tokens


def test_moments_are_those_of_the_definition() -> None:
    torch.manual_seed(0)
    sums, x, weights = MomentSums(), torch.randn(50, 7), torch.rand(50)
    whole, kept = torch.randn(8, 3), torch.tensor([1, 4, 7])
    for part in (slice(0, 20), slice(20, 50)):
        sums.add(("ffn", 0), 0, x[part], weights[part])
    sums.add(("ffn", 0), 1, x, weights)
    first, second = sums.snapshot({("ffn", 0): whole}).fits(("ffn", 0), kept)
    a = torch.cat([x, torch.ones(50, 1)], 1)
    gram = (a * weights[:, None]).T @ a
    for fit in (first, second):
        torch.testing.assert_close(fit.moments, gram[kept][:, kept])
        torch.testing.assert_close(fit.cross, (gram @ whole)[kept])
        assert fit.square == pytest.approx(float((a @ whole).square().sum(1) @ weights), rel=1e-5)


def test_slices_double_and_end_with_all_that_fit() -> None:
    import numpy as np

    assert slice_ends(np.full(10, 5), 1000) == [10]
    ends = slice_ends(np.full(2000, 10), 16384)
    assert ends[-1] == 1638
    tokens = [10 * end for end in ends]
    assert tokens[0] <= module.FIRST_TOKENS
    assert all(1.9 < later / earlier < 2.1 for earlier, later in pairwise(tokens[:-1]))
    assert slice_ends(np.full(20, 5000), 100) == [8], "a refit needs a few texts"
