"""Zeros: as many as were asked for, never worse than simpler choices, stored as bits, and trained around."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import prune

from asc_core import modeling
from asc_core.compress.linear_statistics import MatrixStatistics
from asc_core.compress.quantize import Quantize
from asc_core.compress.second_order import error_of
from asc_core.compress.sparsify import Sparsify, _Matrix, cheapest_of_each
from asc_core.compress.step import StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.modeling.sparse import SparseLinear
from asc_core.recipes import Recipe
from asc_core.recipes.registry import parse_step, step_json
from asc_core.values import Plan
from tests.compress.test_second_order import random_matrix
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.export.conftest import in_process  # noqa: F401 (a fixture)
from tests.modeling.structures import batch_within
from tests.tiny import ARCHITECTURES, logits, padded_batch, tiny

WAYS = ("magnitude", "wanda", "second-order")


def made_sparse(encoder: Encoder, **options: Any) -> Encoder:
    return Sparsify(**{"by": "magnitude", **options}).apply(encoder, StepContext())


def weights_of(encoder: Encoder) -> dict[str, torch.Tensor]:
    """By name, dense."""
    rows = enumerate(modeling.rows_of(encoder.model))
    return {
        f"{number}.{path}": modeling.matrix(module).detach()
        for number, row in rows
        for path, module in row.named_modules()
        if modeling.is_matrix(module)
    }


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_smallest_of_all_are_the_zeros_that_torch_makes(share: float) -> None:
    encoder, other = tiny(), tiny().copy()
    made = made_sparse(encoder, share=share)
    able = modeling.sparsifiable(other.model)
    prune.global_unstructured([(m, "weight") for m in able.values()], prune.L1Unstructured, amount=share)
    found = weights_of(made)
    for name, module in able.items():
        assert torch.equal(found[name], module.weight.detach())


@pytest.mark.parametrize("scope", ["global", "matrix"])
@pytest.mark.parametrize("by", WAYS)
def test_there_are_as_many_zeros_as_were_asked_for(by: str, scope: str) -> None:
    task = toy_task("text-classification")
    encoder = encoder_for(task)
    made = Sparsify(share=0.4, by=by, scope=scope).apply(encoder, StepContext(task))  # type: ignore[arg-type]
    zeros = [one == 0 for one in weights_of(made).values()]
    total = sum(int(one.sum()) for one in zeros) / sum(one.numel() for one in zeros)
    assert total == pytest.approx(0.4, abs=0.02)
    if scope == "matrix":
        assert all(float(one.double().mean()) == pytest.approx(0.4, abs=0.06) for one in zeros)
    else:
        assert max(float(one.double().mean()) for one in zeros) > 0.41


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 20),
    columns=st.integers(1, 40),
    tokens=st.integers(1, 200),
    share=st.floats(0.05, 0.95),
    pattern=st.sampled_from([None, "2:4", "4:8"]),
)
def test_second_order_is_never_worse_than_simpler_choices(
    seed: int, rows: int, columns: int, tokens: int, share: float, pattern: str | None
) -> None:
    matrix, moments = random_matrix(seed, rows, columns, tokens)
    share = 0.5 if pattern is not None else share
    linear = nn.Linear(columns, rows, bias=False)
    linear.weight = nn.Parameter(matrix)
    known = MatrixStatistics(torch.zeros(columns), moments, torch.eye(rows), tokens)
    one, errors = _Matrix.of(linear, known), {}
    for by in WAYS:
        step = Sparsify(share=share, by=by, scope="matrix", pattern=pattern)  # type: ignore[arg-type]
        found = step._made(one, share)
        errors[by] = error_of(found - one.matrix, one.moments)
        if pattern is not None:
            zeros, of = (2, 4) if pattern == "2:4" else (4, 8)
            whole = (found[:, : columns // of * of] == 0).unflatten(1, (-1, of)).sum(-1)
            assert (whole == zeros).all()
            assert (found[:, columns // of * of :] != 0).all()
    assert errors["second-order"] <= min(errors["wanda"], errors["magnitude"])


def test_others_make_up_for_what_is_gone() -> None:
    matrix, moments = random_matrix(3, 30, 60, 500)
    one = _Matrix(matrix.double(), moments.double(), torch.ones(30, 1, dtype=torch.float64))
    errors = {by: error_of(Sparsify(by=by)._made(one, 0.5) - one.matrix, one.moments) for by in WAYS}  # type: ignore[arg-type]
    assert errors["second-order"] < 0.8 * errors["wanda"] < 0.8 * errors["magnitude"]


def test_a_pattern_leaves_the_dearest_of_each_few() -> None:
    prices = torch.tensor([[4.0, 1, 3, 2, 9, 8, 7, 6, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0]])
    gone = cheapest_of_each(prices, 2, 4)
    assert gone.int().tolist() == [[0, 1, 0, 1, 0, 0, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1, 0, 0, 0, 0]]
    made = made_sparse(tiny(), pattern="2:4")
    for one in weights_of(made).values():
        assert ((one == 0).unflatten(1, (-1, 4)).sum(-1) == 2).all()
    with pytest.raises(UserError, match=r"share must be 0\.5"):
        parse_step({"step": "sparsify", "pattern": "2:4", "share": 0.6}, "here")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_takes_fewer_bytes_and_the_same_time(architecture: str) -> None:
    encoder = tiny(architecture)
    made = made_sparse(encoder, share=0.7)
    before, after = modeling.count(encoder.model), modeling.count(made.model)
    numbers = sum(m.weight.numel() for m in modeling.sparsifiable(encoder.model).values())  # type: ignore[operator,union-attr]
    assert before.bytes - after.bytes == pytest.approx(4 * 0.7 * numbers - numbers / 8, rel=0.1)
    assert after.macs == before.macs
    assert logits(made, padded_batch()).isfinite().all()


@pytest.mark.usefixtures("in_process")
def test_it_loads_as_it_was_and_the_embedding_may_be_int8(tmp_path: Path) -> None:
    encoder = tiny()
    encoder = encoder.cut(Plan.full(encoder.shape).drop(0, head=1).drop(2, neuron=3))
    made = Quantize(choose=False).apply(made_sparse(encoder), StepContext())
    assert made.structures[-1]["matrices"] == ["word_embedding"]
    export(made, tmp_path / "out")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert sum(t.numel() * t.element_size() for t in stored.values()) == modeling.count(made.model).bytes
    again, inputs = load_encoder(tmp_path / "out", device="cpu"), batch_within(64)
    assert again.weights == made.weights
    torch.testing.assert_close(logits(again, inputs), logits(made, inputs), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("format", ["dense", "torch-export"])
def test_other_formats_get_the_zeros(format: str, tmp_path: Path) -> None:
    assert export(made_sparse(tiny()), tmp_path / "out", format).max_difference < 1e-4


def test_what_is_left_learns_and_zeros_stay() -> None:
    made, inputs = made_sparse(tiny()).copy(), padded_batch()
    before = {name: one == 0 for name, one in weights_of(made).items()}
    linear: Any = modeling.rows_of(made.model)[0].get_submodule("output.dense")
    assert isinstance(linear, SparseLinear)
    logits_before = logits(made, inputs)
    optimizer = torch.optim.SGD([p for p in made.model.parameters() if p.requires_grad], lr=0.1)
    made.model(**inputs).logits.square().sum().backward()
    assert linear.kept.grad is not None
    assert linear.kept.grad.abs().max() > 0
    optimizer.step()
    assert not torch.equal(logits(made, inputs), logits_before)
    for name, one in weights_of(made).items():
        assert torch.equal(one == 0, before[name])


def test_a_cut_must_come_before() -> None:
    made = made_sparse(tiny())
    with pytest.raises(UserError, match="cut first"):
        made.cut(Plan.full(made.shape).drop(0, head=1))
    with pytest.raises(UserError, match='"cut" cannot come after "sparse"'):
        made.cut(Plan.full(made.shape))
    with pytest.raises(UserError, match="none can get zeros"):
        made_sparse(made)


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        ([], "not given by matrix"),
        ({"0.__class__": 1}, "no matrix of a bert"),
        ({"9.output.dense": 1}, "no matrix 9.output.dense"),
        ({"0.output.dense": -1}, "-1 is no number"),
        ({"0.output.dense": True}, "True is no number"),
        ({"0.output.dense": 1 << 20}, "has no 1048576 numbers"),
    ],
)
def test_an_entry_that_no_model_can_be_built_from_is_refused(kept: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        tiny().with_structure({"kind": "sparse", "kept": kept})


def test_a_mask_that_names_other_numbers_than_there_are_is_refused() -> None:
    made = made_sparse(tiny())
    linear: Any = modeling.rows_of(made.model)[0].get_submodule("output.dense")
    with torch.no_grad():
        linear.mask[0] ^= 1
    with pytest.raises(ValueError, match="the mask of a sparse matrix names"):
        logits(made, padded_batch())


def test_a_recipe_holds_the_step() -> None:
    step = Sparsify(share=0.3, by="wanda", scope="matrix")
    assert parse_step(step_json(step), "here") == step
    assert step.describe() == "30 % of the layers' weights zero (those that multiply little, of each matrix)"
    assert Recipe((step,)).needs_task
    assert not Recipe((Sparsify(by="magnitude"),)).needs_task
    with pytest.raises(UserError, match="cannot follow"):
        Recipe((Sparsify(by="magnitude"), Quantize(choose=False), Sparsify(by="magnitude")))


def test_what_no_text_goes_through_gets_its_share_too() -> None:
    task = toy_task("text-classification")
    encoder = encoder_for(task, architecture="deberta-v2")
    made = Sparsify(share=0.5).apply(encoder, StepContext(task))
    zeros = weights_of(made)
    assert set(made.structures[-1]["kept"]) == set(modeling.sparsifiable(encoder.model))
    assert np.mean([float((one == 0).double().mean()) for one in zeros.values()]) == pytest.approx(0.5, abs=0.1)
