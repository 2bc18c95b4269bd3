"""A few bits for a number: what is stored is what is computed, packed, cut, written and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from asc_core import modeling
from asc_core.compress.factor import Factor
from asc_core.compress.low_bits import Grid, even_levels, kmeans_levels, nearest_codes
from asc_core.compress.quantize import Quantize
from asc_core.compress.step import StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.modeling.packed import FINENESS, NOTHING, bytes_of_line, packed, scales_of, unpacked
from asc_core.modeling.quantize import Form
from asc_core.recipes import Recipe
from asc_core.recipes.registry import parse_step, step_json
from asc_core.values import Plan
from tests.compress.test_quantize import spiked
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.export.conftest import in_process  # noqa: F401 (a fixture)
from tests.modeling.structures import batch_within
from tests.tiny import ARCHITECTURES, logits, padded_batch, tiny


def in_bits(encoder: Encoder, bits: int, **options: object) -> Encoder:
    return Quantize(bits=bits, **{"choose": False, "group": 8, **options}).apply(encoder, StepContext())  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), bits=st.integers(1, 8), lines=st.integers(0, 4), width=st.integers(1, 40))
def test_codes_lie_packed_without_a_gap_and_come_back(data: st.DataObject, bits: int, lines: int, width: int) -> None:
    numbers = [data.draw(st.integers(0, (1 << bits) - 1)) for _ in range(lines * width)]
    codes = torch.tensor(numbers, dtype=torch.uint8).reshape(lines, width)
    stored = packed(codes, bits)
    assert stored.shape == (lines, bytes_of_line(bits, width))
    assert stored.dtype == torch.uint8
    assert torch.equal(unpacked(stored, bits, width), codes)
    for line, row in zip(stored.tolist(), codes.tolist(), strict=True):
        whole = int.from_bytes(bytes(line), "little")
        assert whole == sum(code << bits * place for place, code in enumerate(row))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_no_number_within_the_range_is_further_off_than_half_a_step(bits: int) -> None:
    lines = torch.randn(70, 33, generator=torch.Generator().manual_seed(0))
    found = nearest_codes(lines, Form(bits, 8), even_levels(bits))
    scale = scales_of(found.scales).repeat_interleave(8, 1)[:, :33]
    ends = float(found.levels.abs().max()) * scale
    steps = float(found.levels[1] - found.levels[0]) * scale
    off = (found.values() - lines).abs()
    inside = lines.abs() <= ends
    assert (off[inside] <= steps[inside] * 0.5001).all()
    assert (off[~inside] <= (lines.abs() - ends)[~inside] * 1.0001).all()


def test_a_scale_is_the_best_of_those_that_are_tried() -> None:
    numbers = torch.randn(50, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = Grid(even_levels(2), float(numbers.abs().max()))

    def error(scales: torch.Tensor) -> torch.Tensor:
        values = scales_of(scales).double()[:, None]
        return (grid.levels[grid.nearest(numbers, values)] * values - numbers).square().sum(1)

    best, largest = grid.scales(numbers), numbers.abs().amax(1) / grid.levels.abs().max()
    whole = (-FINENESS * torch.log2(largest)).floor().to(torch.uint8)
    for more in range(0, 15, 2):
        assert (error(best) <= error(whole + more) * 1.0001).all()
    assert error(best).sum() < 0.8 * error(whole).sum()


def test_zeros_and_empty_matrices_stay_what_they_are() -> None:
    lines = torch.zeros(3, 10)
    lines[1, 8:] = 1.0
    found = nearest_codes(lines, Form(4, 4), even_levels(4))
    assert found.scales.tolist()[0] == [NOTHING] * 3
    assert torch.equal(found.values()[[0, 2]], torch.zeros(2, 10))
    torch.testing.assert_close(found.values()[1], lines[1], atol=0.03, rtol=0)
    assert nearest_codes(torch.zeros(0, 5), Form(4, 4), even_levels(4)).values().shape == (0, 5)


def test_k_means_finds_the_values_that_there_are() -> None:
    values = torch.tensor([-1.0, -0.3, 0.1, 0.7])
    drawn = torch.randint(0, 4, (40, 64), generator=torch.Generator().manual_seed(0))
    lines = values[drawn] * torch.tensor([1.0, 3.0]).repeat(20)[:, None]
    found = nearest_codes(lines, Form(2, 64), kmeans_levels(lines, 2, 64))
    even = nearest_codes(lines, Form(2, 64), even_levels(2))
    errors = [float((one.values() - lines).square().mean()) for one in (found, even)]
    assert errors[0] < 0.05 * errors[1]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_answers_nearly_as_before_in_fewer_bytes(architecture: str) -> None:
    encoder, inputs = tiny(architecture), padded_batch()
    before, bytes_, far = logits(encoder, inputs), [], []
    for bits in (8, 4, 3, 2):
        made = in_bits(encoder, bits)
        bytes_.append(modeling.count(made.model).bytes)
        far.append(float((logits(made, inputs) - before).norm() / before.norm()))
        assert modeling.count(made.model).macs == modeling.count(encoder.model).macs
    assert far[0] < 0.1
    assert far[0] < far[1] < max(far[2:])
    assert bytes_ == sorted(bytes_, reverse=True)
    assert len(set(bytes_)) == 4
    assert bytes_[0] < modeling.count(encoder.model).bytes


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("options", [{}, {"levels": "k-means"}, {"embedding_bits": 4}])
def test_after_a_cut_and_factors_it_lies_packed_and_loads_as_it_was(options: dict[str, Any], tmp_path: Path) -> None:
    encoder = tiny()
    encoder = encoder.cut(Plan.full(encoder.shape).drop(0, head=1).drop(2, neuron=3))
    encoder = Factor(keep=0.6, matrices="ffn").apply(encoder, StepContext())
    made = in_bits(encoder, 3, **options)
    export(made, tmp_path / "out")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert sum(t.numel() * t.element_size() for t in stored.values()) == modeling.count(made.model).bytes
    assert stored["bert.encoder.layer.1.attention.self.query.codes"].shape == (24, 9)
    again, inputs = load_encoder(tmp_path / "out", device="cpu"), batch_within(64)
    assert again.weights == made.weights
    torch.testing.assert_close(logits(again, inputs), logits(made, inputs), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("format", ["dense", "onnx", "openvino", "torch-export"])
def test_other_formats_get_what_the_codes_say(format: str, tmp_path: Path) -> None:
    if format == "openvino":
        pytest.importorskip("openvino")
    made, inputs = in_bits(tiny(), 4, embedding_bits=4), batch_within(64)
    report = export(made, tmp_path / "out", format)  # compared with the model in memory
    assert report.max_difference < 1e-4
    if format == "dense":
        again = load_encoder(tmp_path / "out", device="cpu")
        torch.testing.assert_close(logits(again, inputs), logits(made, inputs), atol=1e-5, rtol=0)
    else:
        assert "multiplied out" in (tmp_path / "out" / "README.md").read_text()


def test_a_cut_takes_lines_and_leaves_the_codes_of_the_others() -> None:
    encoder = tiny()
    made, width = in_bits(encoder, 4), encoder.shape.head_width
    smaller = made.cut(Plan.full(encoder.shape).drop(0, head=1).drop(1, neuron=3))
    rows: list[Any] = [modeling.rows_of(one.model)[0] for one in (made, smaller)]
    left = [i for i in range(24) if i // width != 1]
    for path, lines_are in (("attention.self.query", 0), ("attention.output.dense", 1)):
        whole, cut = (row.get_submodule(path) for row in rows)
        assert torch.equal(cut.codes, whole.codes[left])
        assert torch.equal(modeling.matrix(cut), modeling.matrix(whole).index_select(lines_are, torch.tensor(left)))
    with pytest.raises(ValueError, match="cannot lose columns"):
        modeling.select(rows[0].get_submodule("attention.self.query"), columns=torch.arange(3))


def test_what_is_kept_decoded_follows_what_it_came_from() -> None:
    made = in_bits(tiny(), 4)
    linear: Any = modeling.rows_of(made.model)[0].get_submodule("attention.self.query")
    before = modeling.matrix(linear)
    assert modeling.matrix(linear) is before
    with torch.no_grad():
        linear.levels.mul_(2)
    torch.testing.assert_close(modeling.matrix(linear), 2 * before)
    assert made.copy().model.state_dict().keys() == made.model.state_dict().keys()
    copied: Any = modeling.rows_of(made.copy().model)[0].get_submodule("attention.self.query")
    assert copied._kept is None


@pytest.mark.parametrize("options", [{"bits": 4, "group": 8}, {"bits": 2, "group": 8, "levels": "k-means"}, {}])
def test_second_order_rounding_keeps_answers_nearer(options: dict[str, Any]) -> None:
    task = toy_task("text-classification")
    encoder, far = encoder_for(task), []
    inputs = task.batch(task.features(task.examples("train", 64, 0), encoder), np.arange(32), encoder).inputs
    before = logits(encoder, inputs)
    for rounding in ("nearest", "second-order"):
        step = Quantize(rounding=rounding, choose=False, activations="none", embedding=False, **options)
        far.append(float((logits(step.apply(encoder, StepContext(task)), inputs) - before).norm()))
    assert far[1] < far[0]


def test_factors_and_what_no_text_goes_through_are_rounded_too() -> None:
    task = toy_task("text-classification")
    factored = Factor(keep=0.6, matrices="ffn").apply(encoder_for(task), StepContext())
    for encoder in (factored, encoder_for(task, architecture="deberta-v2")):
        made = Quantize(bits=4, rounding="second-order", choose=False).apply(encoder, StepContext(task))
        assert made.structures[-1]["matrices"] == list(modeling.quantizable(encoder.model))


def test_what_a_first_step_leaves_a_second_one_takes() -> None:
    first = in_bits(tiny(), 4, keep=("output.dense",), embedding=False)
    second = Quantize(choose=False).apply(first, StepContext())
    kinds = {type(m).__name__ for m in modeling.rows_of(second.model)[0].modules()}
    assert {"PackedLinear", "QuantizedLinear"} <= kinds
    assert "Linear" not in kinds
    assert logits(second, padded_batch()).isfinite().all()
    Recipe((Quantize(bits=4), Quantize()))


def test_a_choice_leaves_what_hurts_in_few_bits() -> None:
    task = toy_task("question-answering")
    encoder, context = spiked(encoder_for(task)), StepContext(task)
    made = Quantize(bits=4, group=64, most_changed=0.1).apply(encoder, context)
    assert "0.output.dense" in modeling.quantizable(made.model)
    assert context.done is not None
    assert "in 4 bits, float32 stay" in context.done
    assert "inputs stay float32" in context.done


def test_a_step_in_plain_int8_is_what_it_was() -> None:
    assert Quantize(choose=False).cache_key() == [
        "quantize",
        {
            "activations": "dynamic",
            "embedding": True,
            "choose": False,
            "most_changed": 0.01,
            "keep": [],
            "samples": 256,
            "seed": 0,
        },
    ]
    assert Quantize(choose=False).describe() == "matrices in int8, inputs rounded in each call"
    assert Quantize(bits=4).cache_key() != Quantize().cache_key()
    made = Quantize(choose=False).apply(tiny(), StepContext())
    assert set(made.structures[-1]) == {"kind", "bits", "matrices", "activations"}


def test_a_recipe_holds_the_step() -> None:
    step = Quantize(bits=3, group=32, rounding="second-order", levels="k-means", embedding_bits=4)
    assert parse_step(step_json(step), "here") == step
    assert Recipe((Quantize(bits=4, choose=False, rounding="second-order"),)).needs_task
    assert not Recipe((Quantize(bits=4, choose=False),)).needs_task
    assert step.describe() == (
        "matrices in 3 bits, a scale for each 32, k-means, rounded to second order, word embedding in 4 bits, inputs "
        "stay float32, about 1 % of answers changed at most"
    )
    with pytest.raises(UserError, match="bits"):
        parse_step({"step": "quantize", "bits": 5}, "here")
