"""One matrix for several layers: against least squares on the inputs themselves, and what more rank is worth."""

from __future__ import annotations

import pytest
import torch

from asc_core.compress.linear_statistics import MatrixStatistics
from asc_core.compress.merged_matrices import OfLayer, _Weighed, merged, merged_with_differences

ROWS, COLUMNS, TEXTS = 7, 9, 200


def layers(
    count: int = 3, seed: int = 0, biased: bool = True, columns: int = COLUMNS
) -> tuple[list[OfLayer], list[torch.Tensor]]:
    """(matrices with statistics, the inputs (texts, columns) that these are of)."""
    generator = torch.Generator().manual_seed(seed)
    made, inputs = [], []
    for _ in range(count):
        mixing = torch.randn(columns, columns, generator=generator)
        x = torch.randn(TEXTS, columns, generator=generator) @ mixing + torch.randn(columns, generator=generator)
        gradients = torch.randn(TEXTS, ROWS, generator=generator)
        known = MatrixStatistics(x.mean(0), x.T @ x / TEXTS, gradients.T @ gradients / TEXTS, TEXTS)
        bias = torch.randn(ROWS, generator=generator) if biased else None
        made.append(OfLayer(torch.randn(ROWS, columns, generator=generator), bias, known))
        inputs.append(x)
    return made, inputs


def worth(layer: OfLayer) -> float:
    return float(layer.known.gradients.diagonal().mean())


@pytest.mark.parametrize("biased", [True, False])
def test_the_one_matrix_is_the_regression_on_all_inputs(biased: bool) -> None:
    made, inputs = layers(biased=biased)
    rows, wanted = [], []
    for layer, x in zip(made, inputs, strict=True):
        scale = (worth(layer) / TEXTS) ** 0.5
        rows.append(scale * (torch.cat([x, torch.ones(TEXTS, 1)], 1) if biased else x))
        wanted.append(scale * (x @ layer.weight.T + (layer.bias if layer.bias is not None else 0)))
    solution = torch.linalg.lstsq(torch.cat(rows).double(), torch.cat(wanted).double()).solution.T
    found = merged(made)
    torch.testing.assert_close(found.weight, solution[:, :COLUMNS], atol=1e-2, rtol=1e-2)
    assert (found.bias is None) is not biased
    missed = (torch.cat(rows).double() @ solution.T - torch.cat(wanted)).square().sum()
    assert found.price == pytest.approx(float(missed), rel=1e-2)


@pytest.mark.parametrize("biased", [True, False])
def test_the_price_is_what_the_layers_write_otherwise(biased: bool) -> None:
    made, inputs = layers(biased=biased)
    found = merged_with_differences(made, 2)
    lost = 0.0
    for number, (layer, x) in enumerate(zip(made, inputs, strict=True)):
        weight = found.weight + found.second[number] @ found.first[number]
        off = x.double() @ (weight - layer.weight).T
        if found.biases is not None and layer.bias is not None:
            off = off + found.biases[number] - layer.bias
        lost += worth(layer) * float(off.square().sum(1).mean())
    assert found.price == pytest.approx(lost, rel=1e-2)


@pytest.mark.parametrize("columns", [COLUMNS, 4])
def test_more_rank_never_costs_more_and_full_rank_nothing(columns: int) -> None:
    made, _ = layers(columns=columns)
    prices = [merged_with_differences(made, rank).price for rank in (0, 1, 2, min(ROWS, columns))]
    assert prices == sorted(prices, reverse=True)
    assert prices[-1] < 1e-9 * prices[0]
    found = merged_with_differences(made, min(ROWS, columns))
    for number, layer in enumerate(made):
        weight = found.weight + found.second[number] @ found.first[number]
        torch.testing.assert_close(weight.float(), layer.weight, atol=1e-4, rtol=1e-4)


def test_each_round_lowers_the_price_and_no_other_difference_of_its_rank_is_nearer() -> None:
    made, _ = layers(seed=5)
    prices = [merged_with_differences(made, 2, rounds=rounds).price for rounds in (0, 1, 4, 12)]
    assert prices == sorted(prices, reverse=True)
    base = made[0].weight
    found = merged_with_differences(made, 2, base)
    for number, layer in enumerate(made):
        one = _Weighed.alone(layer)
        lost = one.lost(base + found.second[number] @ found.first[number])
        rest = torch.linalg.svdvals((layer.weight - base).double() @ one.root)[2:].square().sum()
        assert lost == pytest.approx(one.worth * float(rest), rel=1e-6, abs=1e-9)
        torch.testing.assert_close(found.first[number].norm(dim=1), found.second[number].norm(dim=0))


@pytest.mark.parametrize("rank", [0, 2])
def test_the_fitted_matrix_costs_no_more_than_any_given_one(rank: int) -> None:
    made, _ = layers(seed=rank)
    given = [layer.weight for layer in made] + [torch.stack([layer.weight for layer in made]).mean(0)]
    best = merged_with_differences(made, rank).price
    assert all(best <= merged_with_differences(made, rank, base).price * (1 + 1e-9) for base in given)
    assert all(merged(made).price <= merged(made, base).price * (1 + 1e-9) for base in given)
    assert best <= merged(made).price


def test_layers_that_are_alike_cost_nothing() -> None:
    (one, *_), _ = layers()
    assert merged([one, one]).price < 1e-8
    torch.testing.assert_close(merged([one, one]).weight.float(), one.weight, atol=1e-5, rtol=1e-5)


def test_one_with_a_given_matrix_gets_the_bias_that_is_best_beside_it() -> None:
    made, _ = layers()
    base = made[0].weight
    found = merged(made, base)
    assert found.bias is not None
    torch.testing.assert_close(found.weight, base.double())
    other = torch.cat([found.weight, found.bias[:, None] + 0.05], 1)
    assert sum(_Weighed.with_bias(layer).lost(other) for layer in made) > found.price
