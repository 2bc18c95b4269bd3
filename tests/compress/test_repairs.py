"""Repairs of published methods: mathematics against slow code, never worse on their own objective, as recipe steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from asc_core.compress import (
    REPAIRS,
    Cut,
    calibrate,
    fold_means,
    mask_tuning,
    prune,
    reconstruct,
    tune_masks,
)
from asc_core.compress.bias import columns_of
from asc_core.compress.bottom_up import bottom_up
from asc_core.compress.fit import Fit
from asc_core.compress.mask_tuning import block_scales
from asc_core.compress.reconstruct import least_squares
from asc_core.compress.solutions import solution_of
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.gates import Gates
from asc_core.probes import probing
from asc_core.progress import Progress
from asc_core.recipes import Recipe
from asc_core.values import Plan
from tests.compress.cuts import everything_seen, half, wanted_sums
from tests.scores.toy import ToyTask
from tests.tiny import logits, padded_batch, tiny

pytestmark = pytest.mark.slow

ARCHITECTURES = ["bert", "distilbert", "mpnet", "deberta-v2", "modernbert"]
TASK = ToyTask(60)


@pytest.mark.parametrize(("blocks", "width"), [(7, 1), (3, 4)])
@pytest.mark.parametrize("seed", range(3))
def test_scales_are_what_least_squares_finds_for_the_blocks_contributions(seed: int, blocks: int, width: int) -> None:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(40, blocks * width))
    weight, target = generator.normal(size=(5, blocks * width)), generator.normal(size=(40, 5))
    a = np.stack(
        [(x[:, k * width : (k + 1) * width] @ weight[:, k * width : (k + 1) * width].T).ravel() for k in range(blocks)],
        axis=1,
    )
    rest = np.concatenate([target.ravel() - a.sum(1), np.zeros(blocks)])
    wanted = 1 + np.linalg.lstsq(np.vstack([a, np.eye(blocks)]), rest, rcond=None)[0]
    fit = Fit(bias=False)
    fit.add(torch.from_numpy(x), torch.from_numpy(target), torch.ones(40))
    found = block_scales(fit, torch.from_numpy(weight.T.copy()), blocks)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("skipped", ["none", "attention", "ffn"])
def test_what_is_seen_on_the_way_up_is_what_the_finished_model_computes(architecture: str, skipped: str) -> None:
    encoder = tiny(architecture)
    plan, calibration = half(encoder, (0, 2)), calibrate(encoder, TASK)
    smaller = prune(encoder, plan)
    seen, noise = {}, torch.Generator().manual_seed(0)
    for site in bottom_up(smaller, plan.layers, calibration, Progress(), ""):
        if site.readout.kind != skipped:  # a repair may leave a readout alone and not look at what it reads
            parts = [(one.inputs[one.text.real], one.wanted[one.text.real]) for one in site.seen]
            seen[site.readout.kind, site.layer] = [torch.cat(both) for both in zip(*parts, strict=True)]
            start = solution_of(site.readout.linear)
            site.set_weight(start + 0.1 * torch.randn(start.shape, generator=noise))
    for (kind, layer), (inputs, wanted) in seen.items():
        computed, sums = everything_seen(smaller, calibration, kind, layer)
        torch.testing.assert_close(inputs, computed, atol=1e-5, rtol=1e-4)
        written = smaller.readouts[2 * layer + (kind == "ffn")].linear(computed)
        still = wanted_sums(calibration, kind, plan.layers[layer]) - (sums - written)
        torch.testing.assert_close(wanted, still, atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_mask_tuning_never_raises_what_it_minimises_at_any_readout(architecture: str) -> None:
    encoder = tiny(architecture)
    plan, calibration = half(encoder), calibrate(encoder, TASK)
    tuned, scales = tune_masks(encoder, plan, calibration)
    by_hand, fell = prune(encoder, plan), 0
    for number, site in enumerate(bottom_up(by_hand, plan.layers, calibration, Progress(), "")):
        if number == len(encoder.readouts) - 1:
            break  # fitted to first tokens alone
        weight, bias, fit = site.readout.weight.T, site.readout.bias, Fit(bias=False)
        for seen in site.seen:
            real = seen.text.real
            wanted = seen.wanted[real] - (0 if bias is None else bias)
            fit.add(seen.inputs[real], wanted, torch.ones(len(wanted)))
        before, scaled = fit.error(weight), weight * scales[number].repeat_interleave(site.readout.width)[:, None]
        assert fit.error(scaled) <= before * (1 + 1e-5)
        fell += fit.error(scaled) < 0.95 * before
        torch.testing.assert_close(tuned.readouts[number].linear.weight.T, scaled, atol=1e-4, rtol=1e-4)
        site.set_weight(scaled)
    assert fell


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gates_of_the_tuned_values_say_what_the_tuned_cut_says(architecture: str) -> None:
    encoder = tiny(architecture)
    plan = half(encoder)
    tuned, scales = tune_masks(encoder, plan, calibrate(encoder, TASK))
    gates = {}
    for readout, values in zip(encoder.readouts, scales, strict=True):
        gate = torch.zeros(readout.blocks)
        gate[list((plan.heads if readout.kind == "attention" else plan.neurons)[readout.row])] = values
        gates[readout.kind, readout.row] = gate
    with probing(Gates(gates)):
        expected = logits(encoder, padded_batch())
    torch.testing.assert_close(logits(tuned, padded_batch()), expected, atol=1e-3, rtol=1e-3)


def test_mask_tuning_ends_at_the_first_layer_whose_values_go_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny()
    plan, calibration = half(encoder), calibrate(encoder, TASK)
    every = tune_masks(encoder, plan, calibration)[1]
    monkeypatch.setattr(mask_tuning, "FARTHEST", float(every[0].abs().max()) * 1.0001)
    tuned, scales = tune_masks(encoder, plan, calibration)
    first_too_far = next(i for i, values in enumerate(every) if values.abs().max() > mask_tuning.FARTHEST)
    assert len(scales) == first_too_far >= 1
    cut = prune(encoder, plan)
    for number, (ours, theirs) in enumerate(zip(tuned.readouts, cut.readouts, strict=True)):
        assert torch.equal(ours.linear.weight, theirs.linear.weight) == (number >= first_too_far)


@torch.no_grad()
def test_the_last_ffn_is_tuned_for_the_first_token_where_only_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_tuning, "FARTHEST", 1e9)
    classifier, tagger = tiny(), tiny(head="token-classification")
    for encoder, only_first in ((classifier, True), (tagger, False)):
        task = ToyTask(60) if only_first else TokenTask(60)
        plan, calibration = half(encoder), calibrate(encoder, task)
        tuned, scales = tune_masks(encoder, plan, calibration)
        last = encoder.shape.layers - 1
        untuned = tuned.readouts[-1].linear
        weight = untuned.weight / scales[-1]
        errors = []
        for chosen in (weight, untuned.weight):
            total = 0.0
            for site in bottom_up(tuned, plan.layers, calibration, Progress(), ""):
                if (site.readout.kind, site.layer) != ("ffn", last):
                    continue
                for seen in site.seen:
                    tokens = seen.text.real.clone()
                    tokens[:, 1:] &= not only_first
                    rest = seen.wanted[tokens] - untuned.bias - seen.inputs[tokens] @ chosen.T
                    total += float(rest.square().sum())
            errors.append(total)
        assert errors[1] < errors[0]


class TokenTask(ToyTask):
    """The same for each token."""

    def loss(self, output: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return output.logits.square().sum((1, 2))


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_reconstruction_is_the_least_squares_that_numpy_finds(architecture: str) -> None:
    encoder = tiny(architecture)
    plan, calibration = half(encoder), calibrate(encoder, TASK)
    found, cut = reconstruct(encoder, plan, calibration), prune(encoder, plan)
    for number, readout in enumerate(found.readouts):
        # What lies below is as `found` has it, so its inputs there are those that this readout was solved on.
        x, written = everything_seen(found, calibration, readout.kind, number // 2)
        weight, bias = readout.weight, readout.bias
        own = x @ weight.T + (0 if bias is None else bias)
        target = wanted_sums(calibration, readout.kind, plan.layers[number // 2]) - (written - own)
        target = target if bias is None else target - bias
        least = np.linalg.lstsq(x.double().numpy(), target.double().numpy(), rcond=None)[0]
        error = float((target - x @ weight.T).square().sum())
        assert error == pytest.approx(float(((target - x @ torch.from_numpy(least).float()) ** 2).sum()), rel=1e-3)
        assert error <= float((target - x @ cut.readouts[number].linear.weight.T).square().sum())
    assert not torch.equal(found.readouts[0].linear.weight, cut.readouts[0].linear.weight)


def test_columns_that_depend_on_one_another_are_solved_for_all_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    a = torch.cat([a, a[:, :1], torch.zeros(30, 1, dtype=torch.float64)], 1)
    b = torch.randn(30, 3, generator=generator, dtype=torch.float64)
    found = least_squares(a.T @ a, a.T @ b)
    least = np.linalg.lstsq(a.numpy(), b.numpy(), rcond=None)[0]
    assert float((a @ found - b).square().sum()) == pytest.approx(float(((a.numpy() @ least - b.numpy()) ** 2).sum()))
    assert least_squares(torch.zeros(0, 0), torch.zeros(0, 3)).shape == (0, 3)


def test_means_and_variances_are_those_of_all_real_tokens() -> None:
    encoder = tiny()
    calibration = calibrate(encoder, TASK)
    columns = columns_of(encoder, calibration)
    for readout in encoder.readouts:
        x = everything_seen(encoder, calibration, readout.kind, readout.row)[0].double()
        place = (readout.kind, readout.row)
        torch.testing.assert_close(columns.means[place], x.mean(0), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(columns.variances[place], x.var(0, correction=0), atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("kind", ["head", "neuron"])
def test_with_its_bias_repaired_a_readout_writes_on_average_what_it_wrote(kind: str) -> None:
    encoder = tiny()
    calibration = calibrate(encoder, TASK)
    plan = Plan.full(encoder.shape).drop(0, **{kind: 1})
    site = "attention" if kind == "head" else "ffn"
    mean = wanted_sums(calibration, site, 0).mean(0)
    cut = everything_seen(prune(encoder, plan), calibration, site, 0)[1].mean(0)
    repaired = everything_seen(fold_means(encoder, plan, calibration), calibration, site, 0)[1].mean(0)
    torch.testing.assert_close(repaired, mean, atol=1e-4, rtol=1e-4)
    assert float((cut - mean).abs().max()) > 1e-2


def test_a_readout_without_a_bias_keeps_none() -> None:
    encoder = tiny("modernbert")
    plan, calibration = half(encoder), calibrate(encoder, TASK)
    repaired = fold_means(encoder, plan, calibration)
    torch.testing.assert_close(logits(repaired, padded_batch()), logits(prune(encoder, plan), padded_batch()))


@pytest.mark.parametrize("repair", REPAIRS)
def test_a_recipe_with_any_repair_comes_back_from_its_file_and_makes_the_same_model(repair: Any) -> None:
    encoder = tiny()
    plan = half(encoder, (0, 2))
    step = Cut(plan=plan, repair=repair, samples=40, tokens=300, seed=1)
    recipe = Recipe((step,), "x", "toy")
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe
    assert again.steps[0].repair == repair  # type: ignore[attr-defined]
    others = {Recipe((Cut(plan=plan, repair=name),)).key for name in (None, *REPAIRS)}
    assert len(others) == 1 + len(REPAIRS)
    first, second = recipe.apply(encoder, TASK), again.apply(encoder, TASK)
    torch.testing.assert_close(logits(first, padded_batch()), logits(second, padded_batch()), atol=0, rtol=0)
    cut = logits(prune(encoder, plan), padded_batch())
    assert float((logits(first, padded_batch()) - cut).abs().max()) > 1e-3
    with pytest.raises(UserError, match="needs the task"):
        recipe.apply(encoder)


@pytest.mark.parametrize("repair", [tune_masks, reconstruct, fold_means])
def test_what_does_not_belong_together_is_refused_by_every_repair(repair: Any) -> None:
    encoder, other = tiny(seed=0), tiny(seed=1)
    with pytest.raises(UserError, match="other weights"):
        repair(encoder, Plan.full(encoder.shape), calibrate(other, TASK))
    albert = tiny("albert")
    with pytest.raises(UserError, match="layers share"):
        repair(albert, Plan.full(albert.shape), calibrate(albert, TASK))


@pytest.mark.parametrize("repair", [tune_masks, reconstruct, fold_means])
def test_emptied_sublayers_and_removed_layers_are_repaired_around(repair: Any) -> None:
    encoder: Encoder = tiny()
    plan = half(encoder, (0, 2))
    for head in plan.heads[0]:
        plan = plan.drop(0, head=head)
    weights = encoder.weights
    found = repair(encoder, plan, calibrate(encoder, TASK))
    smaller = found[0] if isinstance(found, tuple) else found
    assert (smaller.shape.layers, smaller.shape.heads[0]) == (2, 0)
    assert torch.isfinite(logits(smaller, padded_batch())).all()
    del encoder.__dict__["weights"]
    assert encoder.weights == weights


def test_an_unknown_repair_is_refused() -> None:
    with pytest.raises(UserError, match="choose one of sequential"):
        Recipe.repaired(half(tiny()), "glue")
    with pytest.raises(ValueError, match="choose one of sequential"):
        Cut(plan=half(tiny()), repair="glue")
