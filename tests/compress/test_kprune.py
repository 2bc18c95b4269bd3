"""K-prune: what is measured, what is chosen, and that its search and its reconstruction make one model."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from asc_core.compress import calibrate, kprune, reconstruct
from asc_core.compress.kprune import _Walk, divergence, kprune_plan, within
from asc_core.compress.residual_sums import ResidualSums
from asc_core.errors import UserError
from asc_core.gates import apply_gate
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.probes import Probe, Readout, probing
from tests.scores.toy import ToyTask
from tests.tiny import logits, padded_batch, tiny

pytestmark = pytest.mark.slow

TASK = ToyTask(60)


@pytest.mark.parametrize("architecture", ["bert", "deberta-v2", "modernbert", "mpnet"])
def test_the_search_leaves_the_model_that_its_plan_and_the_reconstruction_make(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[_Walk] = []

    class Kept(_Walk):
        def __init__(self, *args: Any):
            super().__init__(*args)
            walks.append(self)

    monkeypatch.setattr(kprune, "_Walk", Kept)
    encoder = tiny(architecture)
    weights, calibration, costs = encoder.weights, calibrate(encoder, TASK), task_cost_model(encoder, TASK)
    plan = kprune_plan(encoder, calibration, costs, 0.5)
    cut = logits(reconstruct(encoder, plan, calibration), padded_batch())
    torch.testing.assert_close(logits(walks[0].runner.encoder, padded_batch()), cut, atol=2e-3, rtol=2e-3)
    del encoder.__dict__["weights"]
    assert encoder.weights == weights


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("budget", ["flops", "parameters"])
def test_the_budget_is_kept_and_nearly_used_up(keep: float, budget: Any) -> None:
    encoder = tiny()
    costs = task_cost_model(encoder, TASK)
    keep = max(keep, 0.6) if budget == "parameters" else keep
    plan = kprune_plan(encoder, calibrate(encoder, TASK), costs, keep, budget)
    limit = keep * costs.dense_total(budget)
    assert limit - max(*costs.unit_costs(budget).heads, *costs.unit_costs(budget).neurons) < costs.total(plan, budget)
    assert costs.total(plan, budget) <= limit


class ColumnGates(Probe):
    """A gate on every column of every readout, asking for its gradient."""

    def __init__(self, readouts: list[Readout]):
        self.gates = {(r.kind, r.row): torch.ones(r.blocks * r.width, requires_grad=True) for r in readouts}
        self.inputs: dict[tuple[str, int], torch.Tensor] = {}

    def read(self, readout: Readout, inputs: torch.Tensor) -> torch.Tensor:
        self.inputs[readout.kind, readout.row] = inputs.detach()
        return apply_gate(inputs, self.gates[readout.kind, readout.row], 1)


def test_knowledge_is_measured_as_defined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kprune, "BATCH", 1)  # each example by itself
    encoder = tiny()
    calibration = calibrate(encoder, TASK)
    walk, costs = _Walk(encoder, calibration), [3, 2] * 3
    scores, fit = walk.measure(0, costs, kprune.Progress())
    walk.prune(0, np.array([True, False, True, False]), fit)
    scores, _ = walk.measure(1, costs, kprune.Progress())
    readouts, pruned = encoder.readouts, walk.runner.encoder
    predictive = {(r.kind, r.row): torch.zeros(r.blocks * r.width) for r in readouts}
    squares = {place: values.clone() for place, values in predictive.items()}
    features = 0
    for text in calibration.texts:
        for row in range(len(text.batch.mask)):
            real = int(text.batch.mask[row].sum())
            inputs = {name: value[row : row + 1, :real] for name, value in text.batch.inputs.items()}
            with torch.no_grad():
                goal = (encoder.model(**inputs).logits / 2).softmax(-1)
            gates = ColumnGates(readouts)
            with probing(gates):
                output = pruned.model(**inputs).logits
            loss = 4 * functional.kl_div((output / 2).log_softmax(-1), goal, reduction="batchmean")
            loss.backward()
            for place, gate in gates.gates.items():
                assert gate.grad is not None
                predictive[place] += gate.grad.square() / 2
                squares[place] += gates.inputs[place][0].square().sum(0)
            features += 1
    assert len(scores) == len(readouts) - 1
    for number, found in enumerate(scores, start=1):
        readout = pruned.readouts[number]
        place = (readout.kind, readout.row)
        written = readout.weight.detach().square().mean(0)
        columns = predictive[place] / features + 2.5e-4 * squares[place] * written / calibration.tokens
        blocks = columns.view(readout.blocks, -1).mean(1)
        wanted = blocks * (64 / 3 if readout.kind == "attention" else 1 / 2)
        np.testing.assert_allclose(found, wanted.numpy(), rtol=2e-3, atol=1e-7)


def test_at_the_uncut_model_only_representational_knowledge_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny()
    calibration = calibrate(encoder, TASK)
    scores, _ = _Walk(encoder, calibration).measure(0, [1] * 6, kprune.Progress())
    monkeypatch.setattr(kprune, "REPRESENTATIONAL", 0.0)
    predictive, _ = _Walk(encoder, calibration).measure(0, [1] * 6, kprune.Progress())
    assert max(float(values.max()) for values in predictive) < 1e-6 * min(float(values.max()) for values in scores)


def test_what_is_measured_does_not_depend_on_the_encoders_batches() -> None:
    encoder, task = tiny(), ToyTask(70)
    found = []
    for tokens in (20, 90, 4096):
        calibration = calibrate(encoder, task, batch_tokens=tokens)
        walk = _Walk(encoder, calibration)
        assert sorted(torch.cat(walk.batches).bincount().tolist()) == [35, 35]
        _, fit = walk.measure(0, [1] * 6, kprune.Progress())
        walk.prune(0, np.array([True, False, True, False]), fit)
        found.append(walk.measure(1, [1] * 6, kprune.Progress())[0])
    for other in found[1:]:
        for one, same in zip(found[0], other, strict=True):
            np.testing.assert_allclose(one, same, rtol=1e-3, atol=1e-9)


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=4), st.integers(0, 40), st.data())
@settings(deadline=None)
def test_the_highest_stay_in_order_until_one_does_not_fit(
    values: list[list[int]], limit: int, data: st.DataObject
) -> None:
    costs = [data.draw(st.integers(1, 5)) for _ in values]
    scores = [np.asarray(each, dtype=float) for each in values]
    found = within(scores, costs, limit)
    wanted = [np.zeros(len(each), dtype=bool) for each in scores]
    ranked = sorted((-v, s, i) for s, each in enumerate(values) for i, v in enumerate(each))
    left = limit
    for _, s, i in ranked:
        left -= costs[s]
        if left < 0:
            break
        wanted[s][i] = True
    for one, other in zip(found, wanted, strict=True):
        assert one.tolist() == other.tolist()


def test_a_batchs_activations_are_let_go_without_waiting_for_the_garbage_collector() -> None:
    encoder = tiny()
    gc.collect()
    gc.disable()
    try:
        walk = _Walk(encoder, calibrate(encoder, TASK, batch_tokens=60))
        walk.measure(0, [1] * 6, kprune.Progress())
        kept = [type(each).__name__ for each in gc.get_objects() if issubclass(type(each), ResidualSums)]
    finally:
        gc.enable()
    assert kept == []


def test_divergence_of_every_kind_of_output() -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    real = torch.tensor([[True, True, True], [True, True, False]])
    for name, one, other in (
        ("logits", draw(2, 4), draw(2, 4)),
        ("logits", draw(2, 1), draw(2, 1)),
        ("logits", draw(2, 3, 4), draw(2, 3, 4)),
        ("start_logits", draw(2, 3), draw(2, 3)),
        ("last_hidden_state", draw(2, 3, 5), draw(2, 3, 5)),
    ):
        for binary in (False, True):
            found = divergence({name: one}, {name: other}, real, binary)
            assert found.shape == (2,)
            assert (found > 1e-3).all()
            same = divergence({name: other}, {name: other}, real, binary)
            torch.testing.assert_close(same, torch.zeros(2), atol=1e-5, rtol=0)
    one, other = draw(2, 3), draw(2, 3)
    p, q = (other[1, :2] / 2).softmax(-1), (one[1, :2] / 2).softmax(-1)
    found = divergence({"end_logits": one}, {"end_logits": other}, real)
    assert float(found[1]) == pytest.approx(4 * float((p * (p / q).log()).sum()), rel=1e-4)


def test_a_budget_below_all_cuts_is_refused() -> None:
    encoder = tiny()
    with pytest.raises(UserError, match="give more"):
        kprune_plan(encoder, calibrate(encoder, TASK), task_cost_model(encoder, TASK), 0.01, "parameters")
