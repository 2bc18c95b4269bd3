"""int8: what is stored is what is computed, and the choice leaves in float32 what hurts."""

from __future__ import annotations

from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from asc_core import modeling
from asc_core.compress.factor import Factor
from asc_core.compress.matrix_scan import Effect, MatrixScan, MatrixScanner, bearable, least_kept
from asc_core.compress.quantize import Quantize
from asc_core.compress.step import StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.modeling.quantize import quantized, rounded_to_bytes
from asc_core.recipes import Recipe
from asc_core.recipes.registry import parse_step, step_json
from asc_core.values import Plan
from tests.evaluate.toy_tasks import KINDS, encoder_for, toy_task
from tests.export.conftest import in_process  # noqa: F401 (a fixture)
from tests.modeling.structures import batch_within
from tests.tiny import ARCHITECTURES, logits, padded_batch, tiny


def in_int8(encoder: Encoder, **options: object) -> Encoder:
    return Quantize(choose=False, **options).apply(encoder, StepContext())  # type: ignore[arg-type]


def spiked(encoder: Encoder, path: str = "output.dense") -> Encoder:
    """One weight of a matrix in the first layer is so large that its row has no other number left in int8."""
    made = encoder.copy()
    with torch.no_grad():
        weight: Any = modeling.rows_of(made.model)[0].get_submodule(path).weight
        weight.mul_(20)
        weight[:, 0] = 3e4 * weight.abs().max()
    return made


def test_no_number_is_further_off_than_half_a_step_of_its_row() -> None:
    values = torch.randn(70, 33, generator=torch.Generator().manual_seed(0))
    codes, scale = quantized(values)
    assert codes.dtype == torch.int8
    assert codes.abs().amax(1).tolist() == [127] * 70
    assert ((codes * scale[:, None] - values).abs() <= scale[:, None] * 0.5001).all()


def test_rows_of_zeros_and_empty_matrices_stay_what_they_are() -> None:
    for values in (torch.zeros(3, 4), torch.zeros(0, 4), torch.zeros(3, 0)):
        codes, scale = quantized(values)
        assert codes.shape == values.shape
        assert torch.equal(codes * scale[:, None], values)


def test_inputs_are_rounded_as_onnx_says() -> None:
    inputs = torch.tensor([[-1.0, 0.0, 0.5], [2.0, 0.013, 1.99]])
    steps, step = rounded_to_bytes(inputs)
    scale = np.float32(3.0 / 255)
    zero = np.round(1 / scale)
    wanted = np.clip(np.round(inputs.numpy() / scale) + zero, 0, 255) - zero
    assert float(step) == pytest.approx(float(scale))
    np.testing.assert_array_equal(steps.numpy(), wanted)
    assert not rounded_to_bytes(torch.zeros(2, 3))[0].any()


@pytest.mark.parametrize("activations", ["none", "dynamic"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_answers_nearly_as_before_at_a_quarter_of_the_bytes(architecture: str, activations: str) -> None:
    encoder, inputs = tiny(architecture), padded_batch()
    made = in_int8(encoder, activations=activations)
    before, after = logits(encoder, inputs), logits(made, inputs)
    assert not torch.equal(after, before)
    assert float((after - before).norm()) < 0.25 * float(
        before.norm()
    )  # the tiny ones are random and deep for their width
    named = sum(p.numel() for m in modeling.quantizable(encoder.model).values() for p in m.parameters())
    bytes_ = [modeling.count(one.model).bytes for one in (encoder, made)]
    scales = made.parameters - encoder.parameters
    assert 0 < scales < 0.1 * named
    assert bytes_[0] - bytes_[1] > 2.5 * named
    macs = [modeling.count(one.model).macs for one in (encoder, made)]
    assert macs[0] == macs[1]


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("activations", ["none", "dynamic"])
def test_after_a_cut_and_factors_it_lies_in_int8_and_loads_as_it_was(activations: str, tmp_path: Path) -> None:
    encoder = tiny()
    encoder = encoder.cut(Plan.full(encoder.shape).drop(0, head=1).drop(2, neuron=3))
    encoder = Factor(keep=0.6, matrices="ffn").apply(encoder, StepContext())
    made = in_int8(encoder, activations=activations)
    export(made, tmp_path / "out")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert sum(t.numel() * t.element_size() for t in stored.values()) == modeling.count(made.model).bytes
    assert {str(t.dtype) for name, t in stored.items() if name.endswith("codes")} == {"torch.int8"}
    again, inputs = load_encoder(tmp_path / "out", device="cpu"), batch_within(64)
    assert again.weights == made.weights
    torch.testing.assert_close(logits(again, inputs), logits(made, inputs), atol=1e-5, rtol=0)


@pytest.mark.usefixtures("in_process")
def test_the_original_class_gets_what_the_codes_say_or_it_is_said_why_not(tmp_path: Path) -> None:
    encoder = Factor(keep=0.6, matrices="ffn").apply(tiny(), StepContext())
    made, inputs = in_int8(encoder, activations="none"), batch_within(64)
    export(made, tmp_path / "out", "dense")
    again = load_encoder(tmp_path / "out", device="cpu")
    torch.testing.assert_close(logits(again, inputs), logits(made, inputs), atol=1e-5, rtol=0)
    with pytest.raises(UserError, match=r"does not round.*compact"):
        export(in_int8(encoder), tmp_path / "other", "dense")


def test_a_cut_of_codes_is_the_codes_of_what_stays() -> None:
    encoder = tiny()
    plan = Plan.full(encoder.shape).drop(0, head=1).drop(1, neuron=3).drop(2)
    made, width = in_int8(encoder), encoder.shape.head_width
    smaller = made.cut(plan)
    assert torch.isfinite(logits(smaller, padded_batch())).all()
    rows: list[Any] = [modeling.rows_of(one.model)[0] for one in (made, smaller)]
    whole, cut = (row.get_submodule("attention.self.query") for row in rows)
    assert torch.equal(cut.codes, whole.codes[[i for i in range(len(whole.codes)) if i // width != 1]])


def test_what_cannot_follow_is_refused() -> None:
    made = in_int8(tiny())
    with pytest.raises(UserError, match="No matrix of tiny-bert is left to quantize"):
        in_int8(made)
    with pytest.raises(UserError, match='"factor" cannot come after "quantize"'):
        made.with_structure({"kind": "factor", "ranks": [{}, {}, {}]})
    with pytest.raises(UserError, match="cannot follow"):
        Recipe((Quantize(), Factor()))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"bits": 4}, "4 bits have no group"),
        ({"bits": 5}, "5 bits"),
        ({"bits": True}, "True bits"),
        ({"group": 0}, "groups of 0"),
        ({"embedding_bits": 3}, "word embedding of 3 bits"),
        ({"bits": 4, "group": 64, "activations": "dynamic"}, "no rounded inputs"),
        ({"activations": "static"}, "static"),
        ({"matrices": 3}, "no list"),
        ({"matrices": ["0.__class__"]}, "no matrix of a bert"),
        ({"matrices": ["9.output.dense"]}, "no matrix 9.output.dense"),
        ({"matrices": ["0.output.dense"] * 2}, "twice"),
    ],
)
def test_an_entry_that_no_model_can_be_built_from_is_refused(entry: dict, says: str) -> None:
    whole = {"kind": "quantize", "bits": 8, "matrices": [], "activations": "none"} | entry
    with pytest.raises(UserError, match=says):
        tiny().with_structure(whole)


def test_names_to_keep_are_a_matrix_a_path_or_a_layer() -> None:
    encoder = tiny()
    made = in_int8(encoder, keep=("0.output.dense", "attention.self.query", "2", "word_embedding"))
    named = set(made.structures[-1]["matrices"])
    assert named == {
        f"{row}.{path}"
        for row in range(2)
        for path in (
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense",
        )
        if (row, path) != (0, "output.dense")
    }
    with pytest.raises(UserError, match="no matrix 'nothing'"):
        in_int8(encoder, keep=("nothing",))


@pytest.mark.parametrize("kind", KINDS)
def test_a_scan_is_what_quantizing_each_matrix_does(kind: str) -> None:
    task = toy_task(kind)
    encoder = encoder_for(task)
    scanner = MatrixScanner(encoder, task)
    scan = scanner.scan()
    assert scan.names == tuple(modeling.quantizable(encoder.model))
    assert max(one.divergence for one in scan.alone) > 0
    for name in (scan.names[0], scan.names[1], scan.names[-1]):
        whole, found = scanner.effect([name]), scan.alone[scan.names.index(name)]
        assert found.divergence == pytest.approx(whole.divergence, rel=1e-2, abs=1e-9)
    paths, grid = scan.grid()
    assert grid.shape == (len(encoder.shape.heads), len(paths))
    assert np.isfinite(grid).all()


def test_the_matrix_that_hurts_stays_and_the_others_do_not() -> None:
    task = toy_task("question-answering")
    encoder = spiked(encoder_for(task))
    scan = MatrixScanner(encoder, task, activations="none").scan()
    worst = scan.names[int(np.argmax([one.divergence for one in scan.alone]))]
    assert worst == "0.output.dense"
    context = StepContext(task)
    made = Quantize(activations="none", most_changed=0.1).apply(encoder, context)
    assert worst not in made.structures[-1]["matrices"]
    assert context.done is not None
    assert worst in context.done
    assert MatrixScanner(encoder, task, activations="none").effect(made.structures[-1]["matrices"]).share <= bearable(
        0.1, len(task.examples("train"))
    )


def test_how_many_answers_may_change_by_chance() -> None:
    """Against the sum of the binomial's terms, and at the ends to the letter."""
    for share, texts in ((0.01, 256), (0.02, 64), (0.3, 40)):
        most = round(bearable(share, texts) * texts)
        terms = [comb(texts, k) * share**k * (1 - share) ** (texts - k) for k in range(texts + 1)]
        assert sum(terms[:most]) < 0.95 <= sum(terms[: most + 1])
    assert bearable(0.01, 256) == 5 / 256
    assert bearable(0.0, 256) == 0.0
    assert bearable(1.0, 256) == 1.0


def test_the_fewest_are_kept_so_that_what_is_expected_stays_below() -> None:
    alone = tuple(Effect(divergence, 0.0) for divergence in (1.0, 90.0, 9.0))
    scan = MatrixScan(("0.a", "0.b", "0.c"), alone, Effect(100.0, 0.5), (1, 1, 1), "none", 10, 10)
    assert least_kept(scan, 0.5) == ()
    assert least_kept(scan, 0.16) == ("0.b",)  # 0.5 * sqrt(10 / 100) = 0.158
    assert least_kept(scan, 0.15) == ("0.b", "0.c")
    assert least_kept(scan, 0.0) == ("0.b", "0.c", "0.a")


def test_a_recipe_holds_the_step() -> None:
    step = Quantize(keep=("output.dense",), most_changed=0.02)
    assert parse_step(step_json(step), "here") == step
    assert Recipe((step,)).needs_task
    assert not Recipe((Quantize(choose=False),)).needs_task


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_scan_that_is_read_may_name_the_matrices_of_every_architecture(architecture: str) -> None:
    names = tuple(modeling.quantizable(tiny(architecture).model))
    effects = tuple(Effect(0.1, 0.0) for _ in names)
    scan = MatrixScan(names, effects, Effect(0.2, 0.1), tuple(range(len(names))), "none", 3, 9)
    assert (~np.isnan(scan.grid()[1])).sum() == sum(name != modeling.EMBEDDING for name in names)
    with pytest.raises(ValueError, match="no matrices"):
        MatrixScan(("1000000.query",), effects[:1], Effect(0.2, 0.1), (1,), "none", 3, 9)
