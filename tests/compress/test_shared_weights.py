"""The repair of encoders whose layers share weights: closer to the original than the cut, and an ordinary cut model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from asc_core.compress import Cut, StepContext, calibrate, prune, shared_weights
from asc_core.compress.fit import Fit
from asc_core.compress.repairs import REPAIRS, default_repair
from asc_core.compress.shared_weights import fit_all_calls
from asc_core.compress.solutions import set_weight, solution_of
from asc_core.encoder import Encoder
from asc_core.errors import Cancelled, UserError
from asc_core.export import export
from asc_core.gates import gated
from asc_core.loading import load_encoder
from asc_core.progress import Progress
from asc_core.recipes import STEPS
from asc_core.values import Plan
from tests.compress.cuts import everything_seen, half, wanted_sums
from tests.export.conftest import checked_in_process
from tests.scores.toy import ToyTask
from tests.tiny import logits, padded_batch, tiny

pytestmark = pytest.mark.slow

TASK = ToyTask(120)
KINDS = ("albert", "two groups", "inner layers", "shared bert", "shared modernbert")


class FirstWord(ToyTask):
    """A class that can be learned: by the first word's id."""

    def __init__(self, count: int, seed: int):
        super().__init__(count, seed=seed)
        for row in self.rows:
            row["label"] = int(row["ids"][1]) % 3


@functools.cache
def sharing(kind: str, seed: int = 0) -> Encoder:
    if kind.startswith("shared"):
        return STEPS["share"].model_validate({"lower": 2}).apply(tiny(kind.split()[1], seed=seed), StepContext())
    own = {"two groups": {"num_hidden_layers": 4, "num_hidden_groups": 2}, "inner layers": {"inner_group_num": 2}}
    return tiny("albert", seed=seed, **own.get(kind, {}))


@functools.cache
def trained(kind: str, seed: int = 0) -> Encoder:
    encoder, task = sharing(kind, seed).copy(), FirstWord(200, seed)
    features = task.features(task.examples("train"), encoder)
    torch.manual_seed(seed)
    optimiser = torch.optim.AdamW(encoder.model.parameters(), lr=3e-3)
    for _ in range(60):
        batch = task.batch(features, torch.randperm(len(features))[:32].tolist(), encoder)
        loss = functional.cross_entropy(encoder.model(**batch.inputs).logits, batch.targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    encoder.model.eval()
    return encoder.with_model(encoder.model)


def off(one: Encoder, original: Encoder, seed: int = 99) -> float:
    """Mean squared difference of logits on texts that no repair has seen."""
    task = FirstWord(200, seed)
    batch = task.batch(task.features(task.examples("train"), one), range(200), one)
    return float((logits(one, batch.inputs) - logits(original, batch.inputs)).square().mean())


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", KINDS)
def test_on_unseen_texts_it_is_nearer_to_the_trained_original_than_the_cut_alone(kind: str, seed: int) -> None:
    original = trained(kind, seed)
    plan = half(original)
    repaired, errors = fit_all_calls(original, plan, calibrate(original, FirstWord(200, seed + 10)))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]
    assert off(repaired, original) < off(prune(original, plan), original)


@pytest.mark.parametrize("kind", KINDS)
def test_a_readout_is_fitted_to_the_sums_over_all_its_calls(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = sharing(kind)
    plan, calibration, seen = half(encoder), calibrate(encoder, TASK), []
    monkeypatch.setattr(shared_weights, "_solved", lambda start, fitted, held_out: seen.append(fitted + held_out))
    fit_all_calls(encoder, plan, calibration)
    cut = prune(encoder, plan)
    assert len(seen) == len(cut.readouts)
    for readout, found in zip(cut.readouts, seen, strict=True):
        slow = Fit(readout.bias is not None)
        for layer in [layer for layer, row in enumerate(encoder.shape.rows) if row == readout.row]:
            inputs, sums = everything_seen(cut, calibration, readout.kind, layer)
            written = readout.linear(inputs).detach()
            wanted = wanted_sums(calibration, readout.kind, layer) - (sums - written)
            weights = torch.cat([text.weights[readout.kind, layer][text.real] for text in calibration.texts])
            slow.add(inputs, wanted, weights)
        torch.testing.assert_close(found.moments, slow.moments, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(found.cross, slow.cross, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("layers", ["all", "fewer"])
@pytest.mark.parametrize("kind", ["albert", "two groups", "shared bert"])
def test_gated_cut_and_reloaded_agree(kind: str, layers: str, tmp_path: Path) -> None:
    encoder = trained(kind)
    kept = {"all": tuple(range(encoder.shape.layers)), "fewer": (0, 2)}[layers]
    if kind == "shared bert" and layers == "fewer":
        kept = (0, 1)
    plan = half(encoder, kept)
    repaired = Cut(plan=plan, repair="shared-weights").apply(encoder, StepContext(TASK))
    assert repaired.shape == prune(encoder, plan).shape
    whole = encoder.copy()
    rows = sorted({encoder.shape.rows[layer] for layer in kept})
    for readout in repaired.readouts:
        row = rows[readout.row]
        full = next(one for one in whole.readouts if (one.kind, one.row) == (readout.kind, row))
        blocks = (plan.heads if readout.kind == "attention" else plan.neurons)[row]
        columns = (torch.tensor(blocks)[:, None] * readout.width + torch.arange(readout.width)).flatten()
        solution, small = solution_of(full.linear).clone(), solution_of(readout.linear)
        solution[columns] = small[: readout.columns]
        solution[full.columns :] = small[readout.columns :]
        set_weight(full.linear, solution)
    with gated(whole, plan):
        expected = logits(whole, padded_batch())
    torch.testing.assert_close(logits(repaired, padded_batch()), expected, atol=1e-4, rtol=1e-4)
    with checked_in_process():
        export(repaired, tmp_path / "out")
    again = logits(load_encoder(tmp_path / "out", device="cpu"), padded_batch())
    torch.testing.assert_close(again, expected, atol=1e-4, rtol=1e-4)


def test_where_nothing_is_cut_nothing_changes() -> None:
    encoder = sharing("albert")
    repaired, errors = fit_all_calls(encoder, Plan.full(encoder.shape), calibrate(encoder, TASK))
    assert len(errors) == 1
    torch.testing.assert_close(logits(repaired, padded_batch()), logits(encoder, padded_batch()), atol=0, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_default_where_layers_share_and_other_repairs_name_it(kind: str) -> None:
    encoder = sharing(kind)
    assert default_repair(encoder.shape) == "shared-weights"
    assert default_repair(tiny().shape) == "sequential"
    for name in set(REPAIRS) - {"shared-weights"}:
        with pytest.raises(UserError, match=r"choose the repair shared-weights, .* or none"):
            Cut(plan=half(encoder), repair=name).apply(encoder, StepContext(TASK))


def test_it_can_be_cancelled() -> None:
    encoder = sharing("albert")
    calibration = calibrate(encoder, TASK)
    seen: list[str] = []

    def cancel_soon() -> Callable[[int, int, str], None]:
        def report(done: int, total: int, what: str) -> None:
            seen.append(what)
            if len(seen) > 2:
                progress.cancel.set()

        return report

    progress = Progress(cancel_soon())
    with pytest.raises(Cancelled):
        fit_all_calls(encoder, half(encoder), calibration, progress=progress)
