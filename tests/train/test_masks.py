"""Masks: what magnitude prunes, what chance would, and what a masked encoder is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.train.masks import (
    Masks,
    at_random,
    by_magnitude,
    masked,
    matrices_of,
    overlap,
    read_masks,
    reinitialised,
    shuffled,
    sparsity,
    whole,
    write_masks,
)
from tests.modeling.structures import quantized
from tests.tiny import ARCHITECTURES, tiny


def pruned(encoder: Encoder, share: float = 0.4) -> Masks:
    return by_magnitude(whole(encoder), encoder, share)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_masks_by_magnitude_are_those_of_torch(architecture: str) -> None:
    encoder = tiny(architecture)
    found = by_magnitude(pruned(encoder, 0.3), encoder, 0.5)
    other = encoder.copy()
    modules = matrices_of(other)
    wanted = [(module, "weight") for module in modules.values()]
    total = sum(module.weight.numel() for module in modules.values())
    for amount in (round(0.3 * total), round(0.5 * (total - round(0.3 * total)))):
        prune.global_unstructured(wanted, prune.L1Unstructured, amount=amount)
    assert {name: mask.tolist() for name, mask in found.items()} == {
        name: module.weight_mask.bool().tolist() for name, module in modules.items()
    }
    assert sparsity(found) == pytest.approx(1 - 0.7 * 0.5, abs=2 / total)


def test_a_masked_encoder_has_its_own_values_and_exact_zeros() -> None:
    encoder = tiny()
    before = encoder.weights
    masks = pruned(encoder)
    made = masked(encoder, masks)
    states = encoder.model.state_dict()
    for name, values in made.model.state_dict().items():
        mask = masks.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        wanted = states[name] if mask is None else torch.where(mask, states[name], torch.zeros(()))
        assert torch.equal(values, wanted), name
    del encoder.__dict__["weights"]
    assert encoder.weights == before


def test_random_masks_keep_as_many_of_each_matrix_elsewhere() -> None:
    masks = pruned(tiny())
    drawn, again, other = at_random(masks, 0), at_random(masks, 0), at_random(masks, 1)
    assert all(torch.equal(drawn[name], again[name]) for name in masks)
    assert all(drawn[name].sum() == mask.sum() for name, mask in masks.items())
    assert any(not torch.equal(drawn[name], other[name]) for name in masks)
    assert any(not torch.equal(drawn[name], masks[name]) for name in masks)


def test_shuffled_weights_are_the_ones_that_stay_in_another_order() -> None:
    encoder = tiny()
    masks = pruned(encoder)
    made = matrices_of(shuffled(encoder, masks, 3))
    moved = 0
    for name, module in matrices_of(encoder).items():
        old, new, mask = module.weight.detach(), made[name].weight.detach(), masks[name]
        assert torch.equal(old[mask].sort().values, new[mask].sort().values)
        assert torch.equal(old[~mask], new[~mask])
        moved += int((old != new).sum())
    assert moved > 100


def test_reinitialised_matrices_are_drawn_as_their_class_does_and_the_rest_stays() -> None:
    encoder = tiny()
    made = reinitialised(encoder, 0)
    values = torch.cat([module.weight.detach().flatten() for module in matrices_of(made).values()])
    assert float(values.std()) == pytest.approx(encoder.model.config.initializer_range, rel=0.05)
    assert not any(module.bias.any() for module in matrices_of(made).values())
    new = {f"{name}.{kind}" for name in matrices_of(encoder) for kind in ("weight", "bias")}
    for name, tensor in encoder.model.state_dict().items():
        assert name in new or torch.equal(tensor, made.model.state_dict()[name])
    again = reinitialised(encoder, 0)
    assert again.weights == made.weights
    assert reinitialised(encoder, 1).weights != made.weights


def test_overlap_against_slow_code_and_against_many_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    one = {"a": torch.rand(20, 30, generator=generator) < 0.3, "b": torch.rand(10, 10, generator=generator) < 0.8}
    other = {"a": torch.rand(20, 30, generator=generator) < 0.5, "b": torch.rand(10, 10, generator=generator) < 0.6}
    sets = [
        {(name, place) for name, mask in masks.items() for place in mask.flatten().nonzero().flatten().tolist()}
        for masks in (one, other)
    ]
    jaccard, chance = overlap(one, other)
    assert jaccard == pytest.approx(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))
    drawn = [overlap(at_random(one, seed), other)[0] for seed in range(200)]
    assert chance == pytest.approx(float(np.mean(drawn)), abs=0.005)
    assert overlap(one, one)[0] == 1


def test_masks_come_back_from_a_file_of_one_bit_a_weight(tmp_path: Path) -> None:
    masks = pruned(tiny()) | {"odd": torch.tensor([True, False, True])}
    write_masks(tmp_path / "seed" / "m.safetensors", masks)
    again = read_masks(tmp_path / "seed" / "m.safetensors")
    assert again.keys() == masks.keys()
    assert all(torch.equal(again[name], mask) for name, mask in masks.items())
    numbers = sum(mask.numel() for mask in masks.values())
    assert (tmp_path / "seed" / "m.safetensors").stat().st_size < numbers / 8 + 200 * len(masks)


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    encoder = tiny()
    with pytest.raises(UserError, match="different shapes"):
        overlap(whole(encoder), whole(tiny(num_hidden_layers=2)))
    (tmp_path / "m").write_text("no masks")
    with pytest.raises(UserError, match="no masks that can be read"):
        read_masks(tmp_path / "m")
    names = [f"{row}.{path}" for row in range(3) for path in _paths(encoder)]
    with pytest.raises(UserError, match="no matrices"):
        whole(quantized(encoder, names))


def _paths(encoder: Encoder) -> list[str]:
    from asc_core import modeling

    return list(modeling.matrices(modeling.architecture_of(encoder.model), modeling.rows_of(encoder.model)[0]))
