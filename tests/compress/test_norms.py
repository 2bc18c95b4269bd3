"""Re-estimated norms: least squares feature by feature, and never worse on held-out texts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from asc_core import modeling
from asc_core.compress import Cut, calibrate, refit
from asc_core.compress.calibration import Calibration
from asc_core.compress.norms import NormFit
from asc_core.encoder import Encoder
from asc_core.recipes import Recipe
from tests.compress.cuts import half
from tests.scores.toy import ToyTask
from tests.tiny import logits, padded_batch, tiny

TASK = ToyTask(60)


def a_norm(bias: bool, seed: int) -> nn.LayerNorm:
    torch.manual_seed(seed)
    norm = nn.LayerNorm(6, bias=bias)
    for parameter in norm.parameters():
        nn.init.normal_(parameter, 1.0, 0.5)
    return norm.requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
def test_scale_and_shift_are_the_least_squares_of_each_feature(bias: bool) -> None:
    norm, original = a_norm(bias, 0), a_norm(bias, 1)
    wanted = torch.randn(300, 6)
    sums = 0.7 * wanted + 0.4 * torch.randn(300, 6)
    weights, held_out = torch.rand(300), torch.arange(300) % 5 == 0
    fit = NormFit(norm, original)
    for rows in (slice(0, 100), slice(100, 300)):
        fit.add(sums[rows], wanted[rows], weights[rows], held_out[rows])
    found = fit.best()
    assert found is not None
    x = (sums - sums.mean(1, keepdim=True)) / (sums.var(1, keepdim=True, correction=0) + norm.eps).sqrt()
    for feature in range(6):
        columns = torch.stack([x[:, feature], torch.ones(300)] if bias else [x[:, feature]], 1)
        root = weights.sqrt()[:, None]
        best = torch.linalg.lstsq(root * columns, root * original(wanted)[:, feature, None]).solution.flatten()
        torch.testing.assert_close(found[0][feature], best[0], atol=1e-4, rtol=1e-4)
        if found[1] is not None:
            torch.testing.assert_close(found[1][feature], best[1], atol=1e-4, rtol=1e-4)
    assert (found[1] is not None) == bias


def test_a_norm_stays_where_held_out_texts_say_so() -> None:
    norm = a_norm(True, 0)
    wanted = torch.randn(60, 6)
    held_out = torch.arange(60) % 2 == 0
    sums = torch.where(held_out[:, None], wanted, wanted + torch.randn(60, 6))  # those that are fitted to are spoiled
    fit = NormFit(norm, norm)
    fit.add(sums, wanted, torch.ones(60), held_out)
    assert fit.best() is None
    assert NormFit(norm, norm).best() is None


def held_out_error(
    encoder: Encoder, norm: nn.LayerNorm, original: nn.LayerNorm, calibration: Calibration, place: tuple[str, int]
) -> float:
    """The slow, obvious way: what the norm writes in whole passes, squared distance to what the original's writes."""
    total, seen = 0.0, {}
    hook = norm.register_forward_hook(lambda module, arguments, output: seen.update(output=output))
    for text in calibration.texts:
        with torch.no_grad():
            encoder.model(**text.batch.inputs)
            difference = seen["output"] - original(text.sums[place])
        counted = text.weights[place] * text.held_out[:, None] * text.real
        total += float((difference.square().sum(-1) * counted).sum())
    hook.remove()
    return total


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "mpnet", "deberta-v2", "modernbert"])
def test_no_norm_writes_worse_on_held_out_texts(architecture: str) -> None:
    encoder = tiny(architecture)
    calibration = calibrate(encoder, TASK)
    smaller, repairs = refit(encoder, half(encoder, layers=(0, 2)), calibration)
    table = modeling.architecture_of(encoder.model)
    changed = 0
    for repair in repairs:
        place = (repair.kind, (0, 2)[repair.layer])
        norm = modeling.norm_behind(table, modeling.rows_of(smaller.model)[repair.layer], repair.kind)
        original = modeling.norm_behind(table, modeling.rows_of(encoder.model)[place[1]], repair.kind)
        if norm is None or original is None:
            assert (architecture, repair.kind, repair.norm) == ("modernbert", "ffn", False)
            continue
        assert torch.equal(norm.weight, original.weight) != repair.norm
        after, ours = held_out_error(smaller, norm, original, calibration, place), norm.state_dict()
        ours = {name: tensor.clone() for name, tensor in ours.items()}
        norm.load_state_dict(original.state_dict())
        before = held_out_error(smaller, norm, original, calibration, place)
        norm.load_state_dict(ours)
        assert after < before if repair.norm else after == before
        changed += repair.norm
    assert changed


def test_norms_are_left_alone_where_asked_and_the_recipe_says_so() -> None:
    encoder = tiny()
    calibration = calibrate(encoder, TASK)
    smaller, repairs = refit(encoder, half(encoder), calibration, norms=False)
    assert not any(repair.norm for repair in repairs)
    before = [m.weight for m in encoder.model.modules() if isinstance(m, nn.LayerNorm)]
    after = [m.weight for m in smaller.model.modules() if isinstance(m, nn.LayerNorm)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    plan = half(encoder).to_json()
    without = Recipe((Cut(plan=plan, repair="sequential", norms=False, samples=40),))
    assert without.key != Recipe((Cut(plan=plan, repair="sequential", samples=40),)).key
    again = Recipe.from_json(without.to_json()).apply(encoder, TASK)
    torch.testing.assert_close(logits(again, padded_batch()), logits(without.apply(encoder, TASK), padded_batch()))
