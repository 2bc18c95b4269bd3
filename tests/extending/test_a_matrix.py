"""A type of matrix that is made of no linears and of more than parameters: bytes that index a few values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import PreTrainedModel

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.gates import gated
from asc_core.loading import load_encoder
from asc_core.modeling import STRUCTURES, Structure
from asc_core.modeling.architectures import put_submodule
from asc_core.modeling.linears import (
    Marginal,
    bias,
    columns_of,
    marginal,
    matrix,
    own_macs,
    put,
    rows_of_matrix,
    select,
)
from asc_core.modeling.structure import Entry
from asc_core.plan.encoder_cost import cost_model
from asc_core.recipes.order import check_order
from asc_core.values import Plan
from tests.export.conftest import in_process  # noqa: F401 (a fixture)
from tests.modeling.structures import batch_within
from tests.tiny import logits, tiny

LENGTHS = np.array([3, 9, 17, 40])


class Indexed(nn.Module):
    """values[indices] as a matrix; the bias is a parameter of its own."""

    indices: torch.Tensor

    def __init__(self, columns: int, rows: int):
        super().__init__()
        self.values = nn.Parameter(torch.zeros(16))
        self.bias = nn.Parameter(torch.zeros(rows))
        self.register_buffer("indices", torch.zeros(rows, columns, dtype=torch.uint8))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(inputs, matrix(self), self.bias)


@matrix.register
def _(module: Indexed) -> torch.Tensor:
    return module.values[module.indices.int()]


@bias.register
def _(module: Indexed) -> torch.Tensor | None:
    return module.bias


@rows_of_matrix.register
def _(module: Indexed) -> int:
    return module.indices.shape[0]


@columns_of.register
def _(module: Indexed) -> int:
    return module.indices.shape[1]


@select.register
def _(module: Indexed, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> None:
    if rows is not None:
        module.indices = module.indices[rows]
        module.bias = nn.Parameter(module.bias.detach()[rows].clone(), requires_grad=module.bias.requires_grad)
    if columns is not None:
        module.indices = module.indices[:, columns]


@put.register
def _(module: Indexed, values: torch.Tensor, offset: torch.Tensor | None) -> None:
    raise ValueError("a few values cannot be every matrix")


@marginal.register
def _(module: Indexed) -> Marginal:
    rows, columns = module.indices.shape
    return Marginal(row=1, column=0, row_macs=columns, column_macs=rows, row_bytes=columns, column_bytes=rows)


@own_macs.register
def _(module: Indexed) -> int:
    return module.indices.numel()


class Index(Structure):
    """All plain matrices of the layers: {"kind": "index"}."""

    kind = "index"
    after = frozenset({"cut", "vocabulary"})
    before = frozenset({"cut", "vocabulary"})

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        for row, matrices in zip(modeling.rows_of(model), modeling.factorable(model), strict=True):
            for path, module in matrices.items():
                plain: Any = module
                put_submodule(row, path, Indexed(plain.in_features, plain.out_features).to(plain.weight.device))

    def needs(self, model: PreTrainedModel, entry: Entry) -> tuple[str, ...]:
        made = [(path, module) for path, module in model.named_modules() if isinstance(module, Indexed)]
        return tuple(f"{path}.{name}" for path, module in made for name in module.state_dict())


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRUCTURES, Index.kind, Index())


def indexed(encoder: Encoder) -> Encoder:
    """Rounded to 16 values between the least and the greatest of each matrix."""
    tensors: dict[str, torch.Tensor] = {}
    names = {id(module): name for name, module in encoder.model.named_modules()}
    for matrices in modeling.factorable(encoder.model):
        for module in matrices.values():
            weight, name = modeling.matrix(module).detach(), names[id(module)]
            values = torch.linspace(float(weight.min()), float(weight.max()), 16)
            nearest = (weight[..., None] - values).abs().argmin(-1)
            offset = modeling.bias(module)
            assert offset is not None
            tensors |= {f"{name}.values": values, f"{name}.indices": nearest.to(torch.uint8), f"{name}.bias": offset}
    return encoder.with_structure({"kind": "index"}, tensors)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("architecture", ["bert", "albert", "distilbert"])
@pytest.mark.parametrize("packing", sorted(modeling.PACKINGS))
def test_it_is_counted_cut_and_reloaded_by_what_it_is(architecture: str, packing: str, tmp_path: Path) -> None:
    dense = tiny(architecture)
    made = indexed(dense).packed(packing)
    assert made.cost(LENGTHS).flops == dense.cost(LENGTHS).flops
    assert made.parameters < dense.parameters
    plan = Plan.full(made.shape).drop(0, head=1).drop(0, neuron=2)
    plan = plan if made.shape.shares_weights else plan.drop(layer=1)
    smaller, inputs = made.cut(plan), batch_within(64)
    with gated(made, plan):
        expected = logits(made, inputs)
    torch.testing.assert_close(logits(smaller, inputs), expected, atol=1e-4, rtol=0)
    assert cost_model(made, LENGTHS).cost(plan) == smaller.cost(LENGTHS)
    for number, encoder in enumerate((made, smaller)):
        folder = tmp_path / str(number)
        export(encoder, folder)
        again = load_encoder(folder, device="cpu")
        assert (again.weights, again.parameters) == (encoder.weights, encoder.parameters)
        stored = load_file(folder / "model.safetensors").values()
        assert sum(t.numel() * t.element_size() for t in stored) == again.cost(LENGTHS).bytes


def test_a_structure_says_itself_what_may_follow_it() -> None:
    made = indexed(tiny())
    made.cut(Plan.full(made.shape).drop(0, head=1))
    with pytest.raises(UserError, match='"share" cannot come after "index"'):
        made.with_structure({"kind": "share", "layers": [0, 0, 2]})


def test_steps_are_ordered_by_what_either_structure_says() -> None:
    class Step:
        def __init__(self, structure: str):
            self.adds = self.kind = structure

    check_order([Step("index"), Step("cut")])  # type: ignore[list-item]
    with pytest.raises(UserError, match="cannot follow"):
        check_order([Step("index"), Step("share")])  # type: ignore[list-item]
