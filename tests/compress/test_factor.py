from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asc_core import modeling
from asc_core.compress.factor import Factor
from asc_core.compress.share import Share
from asc_core.compress.step import StepContext
from asc_core.errors import UserError
from asc_core.modeling import rows_of
from asc_core.values import Plan
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
