from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asc_core import modeling
from asc_core.compress import factor
from asc_core.compress.factor import Factor
from asc_core.compress.linear_statistics import MatrixStatistics, linear_statistics
from asc_core.compress.share import Share
from asc_core.compress.step import StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.modeling import rows_of
from asc_core.values import Plan
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import ARCHITECTURES, logits, padded_batch, tiny


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_factors_hold_the_share_of_numbers_and_are_the_nearest_product(architecture: str) -> None:
    encoder = tiny(architecture)
    factored = Factor(keep=0.6).apply(encoder, StepContext())
    assert factored.parameters < encoder.parameters
    for before, after in zip(rows_of(encoder.model), rows_of(factored.model), strict=True):
        table = modeling.architecture_of(encoder.model)
        for path, module in modeling.matrices(table, before).items():
            thin, wanted = after.get_submodule(path), modeling.matrix(module).detach()
            rank = modeling.saving_rank(module, 0.6)
            assert rank is not None
            assert sum(p.numel() for p in (thin.first.weight, thin.second.weight)) <= 0.6 * wanted.numel()
            error = (modeling.matrix(thin) - wanted).square().sum()
            rest = torch.linalg.svdvals(wanted)[rank:].square().sum()  # Eckart and Young
            torch.testing.assert_close(error, rest, atol=1e-4, rtol=1e-3)
            assert modeling.bias(thin) is None or torch.equal(modeling.bias(thin), module.bias)


def test_the_more_is_kept_the_nearer_the_matrices() -> None:
    encoder, path = tiny(), "output.dense"
    wanted = modeling.matrix(rows_of(encoder.model)[0].get_submodule(path)).detach()
    errors = []
    for keep in (0.3, 0.6, 0.9):
        row = rows_of(Factor(keep=keep).apply(encoder, StepContext()).model)[0]
        errors.append(float((modeling.matrix(row.get_submodule(path)) - wanted).norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > errors[-1]


def test_only_what_was_asked_for_is_factored() -> None:
    factored = Factor(keep=0.5, matrices="ffn").apply(tiny(), StepContext())
    (entry,) = factored.structures
    assert {path for row in entry["ranks"] for path in row} == {"intermediate.dense", "output.dense"}


def test_what_cannot_shrink_is_said() -> None:
    with pytest.raises(UserError, match="No matrix of tiny-bert is left"):
        Factor(keep=0.01).apply(tiny(), StepContext())
    once = Factor(keep=0.5).apply(tiny(), StepContext())
    with pytest.raises(UserError, match="No matrix"):
        Factor(keep=0.5).apply(once, StepContext())


def test_a_sublayer_without_parts_stays_as_it_is() -> None:
    encoder = tiny()
    plan = Plan.full(encoder.shape)
    for head in range(4):
        plan = plan.drop(0, head=head)
    cut = encoder.cut(plan)
    factored = Factor(keep=0.6).apply(cut, StepContext())
    assert not [path for path in factored.structures[-1]["ranks"][0] if path.startswith("attention")]
    assert torch.isfinite(logits(factored, padded_batch())).all()


def test_a_shared_layer_in_factors_can_be_saved_as_training_saves_it(tmp_path: Path) -> None:
    shared = Share(lower=1).apply(tiny(), StepContext())
    factored = Factor(keep=0.6).apply(shared, StepContext())
    assert all(parameter.is_contiguous() for parameter in factored.model.parameters())
    factored.model.save_pretrained(tmp_path / "state")


TASK = toy_task("text-classification", train=64, validation=8)


def squares(encoder: Encoder, factored: Encoder, known: dict[str, MatrixStatistics]) -> float:
    """Expected squared change of the model's outputs, by the statistics and the matrices as they are."""
    total = 0.0
    for name, one in known.items():
        before, after = encoder.model.get_submodule(name), factored.model.get_submodule(name)
        lost = (modeling.matrix(before) - modeling.matrix(after)).detach().double()
        moments = one.covariance if modeling.bias(before) is not None else one.inputs
        total += float(torch.trace(one.gradients.double() @ lost @ moments.double() @ lost.T))
    return total


def statistics_of(encoder: Encoder) -> dict[str, MatrixStatistics]:
    names = {id(module): name for name, module in encoder.model.named_modules()}
    rows = modeling.factorable(encoder.model)
    return linear_statistics(encoder, TASK, [names[id(module)] for row in rows for module in row.values()])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nearest_by_the_outputs_is_nearer_by_them_than_any_other_and_no_larger(architecture: str) -> None:
    encoder = encoder_for(TASK, architecture)
    known = statistics_of(encoder)
    found = {
        nearest: Factor(keep=0.6, nearest=nearest).apply(encoder, StepContext(TASK))
        for nearest in ("weights", "inputs", "outputs")
    }
    by = {nearest: squares(encoder, one, known) for nearest, one in found.items()}
    assert by["outputs"] <= 1.02 * min(by.values())  # but for the ridge
    whole = sum(modeling.matrix(encoder.model.get_submodule(name)).numel() for name in known)
    for one in found.values():
        assert encoder.parameters - one.parameters >= 0.4 * whole - max(encoder.shape.neurons) * 4


def test_a_matrix_of_full_rank_is_the_matrix_and_its_bias_stays() -> None:
    encoder = encoder_for(TASK)
    for name, one in statistics_of(encoder).items():
        module = encoder.model.get_submodule(name)
        for nearest in ("inputs", "outputs"):
            decomposed = factor._Decomposed.of(module, one, nearest)
            made = decomposed.factors(name, module, len(decomposed.values))
            product = made[f"{name}.second.weight"] @ made[f"{name}.first.weight"]
            torch.testing.assert_close(product, modeling.matrix(module).detach(), atol=1e-4, rtol=1e-3)
            torch.testing.assert_close(made[f"{name}.second.bias"], modeling.bias(module), atol=1e-4, rtol=1e-3)


def test_what_is_lost_is_the_sum_of_the_prices_that_were_not_paid() -> None:
    encoder = encoder_for(TASK)
    for name, one in statistics_of(encoder).items():
        module, root = encoder.model.get_submodule(name), factor._root
        decomposed = factor._Decomposed.of(module, one, "outputs")
        rank = len(decomposed.values) // 2
        made = decomposed.factors(name, module, rank)
        lost = modeling.matrix(module).detach() - made[f"{name}.second.weight"] @ made[f"{name}.first.weight"]
        weighted = root(one.gradients).T @ lost.double() @ root(one.covariance)
        expected = decomposed.prices[rank:].sum()
        assert float(weighted.square().sum()) == pytest.approx(expected, rel=1e-2, abs=1e-9)


def test_the_bias_takes_over_what_is_lost_on_average() -> None:
    encoder = encoder_for(TASK)
    (name, one), *_ = statistics_of(encoder).items()
    module = encoder.model.get_submodule(name)
    made = factor._Decomposed.of(module, one, "outputs").factors(name, module, 2)
    before = modeling.matrix(module) @ one.mean + modeling.bias(module)
    after = made[f"{name}.second.weight"] @ (made[f"{name}.first.weight"] @ one.mean) + made[f"{name}.second.bias"]
    torch.testing.assert_close(after, before.detach(), atol=1e-4, rtol=1e-3)


def test_recipes_of_before_there_was_another_way_make_what_they_made() -> None:
    assert Factor(keep=0.5).cache_key() == ["factor", {"keep": 0.5, "matrices": "all"}]
    assert not Factor(keep=0.5).needs_task
    assert Factor(keep=0.5, nearest="outputs").needs_task
