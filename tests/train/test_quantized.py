"""Training in few bits: what is trained is what is stored, the gradient passes, a killed run goes on to the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asc_core import modeling
from asc_core.compress.low_bits import Coded
from asc_core.compress.step import StepContext
from asc_core.errors import Cancelled, UserError
from asc_core.evaluate import measure
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.modeling.quantize import Form
from asc_core.progress import Progress
from asc_core.train.finetune import finetune
from asc_core.train.quantized import TrainQuantized
from asc_core.train.rounded import Rounding, coded, plain, rounded, roundings
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import logits, padded_batch, tiny

TASK = toy_task(train=96, validation=32)
FAST: dict[str, Any] = {"steps": 12, "lr": 5e-3, "batch_size": 16, "patience": None}


@given(
    st.integers(0, 2**16), st.sampled_from([1, 2, 3, 4, 8]), st.sampled_from([3, 8, 64]), st.booleans(), st.booleans()
)
def test_numbers_are_rounded_to_the_nearest_level_of_their_group(
    seed: int, bits: int, group: int, by_columns: bool, zeros: bool
) -> None:
    matrix = torch.randn(7, 10, generator=torch.Generator().manual_seed(seed))
    if zeros:
        matrix[2] = 0
        matrix[:, 3] = 0
    form = Form(bits, group, by_columns)
    rounding = Rounding.of(matrix, form)
    found = rounding.values(matrix)
    lines, values = (matrix.T, found.T) if by_columns else (matrix, found)
    for line, value in zip(lines, values, strict=True):
        for start in range(0, len(line), group):
            numbers, near = line[start : start + group].double(), value[start : start + group].double()
            size = numbers.square().mean().sqrt()
            if not size:
                assert not near.any()
                continue
            off = (numbers[:, None] - rounding.units * size).abs().min(1).values
            widest = rounding.units.abs().max() * size * (2 ** (0.5 / 16) - 1)  # what storing the scale costs at most
            assert ((numbers - near).abs() <= off + 2 * widest + 1e-6).all()


def test_more_bits_are_nearer() -> None:
    matrix = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    errors = []
    for bits in (1, 2, 3, 4, 8):
        form = Form(bits, 64)
        errors.append(float((Rounding.of(matrix, form).values(matrix) - matrix).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.4  # binary weights of normal numbers lose 1 - 2 / pi of the square
    assert errors[-1] < 1e-3


def test_the_gradient_passes_the_rounding() -> None:
    weight = torch.randn(4, 8).requires_grad_()
    wanted = torch.randn(4, 8)
    (Rounding.of(weight, Form(2, 8)).values(weight) * wanted).sum().backward()
    assert torch.equal(weight.grad, wanted)


@pytest.mark.parametrize("architecture", sorted(modeling.TRANSFORMERS))
@pytest.mark.parametrize("bits", [1, 3])
def test_a_model_in_training_answers_as_its_codes_will(architecture: str, bits: int) -> None:
    encoder = tiny(architecture)
    entry = TrainQuantized(bits=bits, group=8).entry
    names = list(modeling.quantizable(encoder.model, outside=True))
    known = roundings(encoder, entry, names)
    student, batch = rounded(encoder, known), padded_batch()
    before = logits(student, batch)
    assert not torch.equal(before, logits(encoder, batch))
    plain(student)
    assert torch.equal(logits(student, batch), logits(encoder, batch))
    stored = Coded(entry, coded(student, known)).encoder(student, names)
    assert torch.equal(logits(stored, batch), before)


@pytest.mark.slow
def test_training_makes_up_for_the_bits_and_leaves_what_it_reports(tmp_path: Path) -> None:
    teacher = finetune(encoder_for(TASK), TASK, epochs=2, lr=1e-2).encoder
    without = measure(_made(teacher, steps=1, lr=1e-9), TASK, "validation").statistics.mean()
    learnt = _made(teacher, steps=24)
    assert measure(learnt, TASK, "validation").statistics.mean() >= without
    export(learnt, tmp_path / "out")
    batch = padded_batch()
    assert torch.equal(logits(load_encoder(tmp_path / "out"), batch), logits(learnt, batch))


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_codes(tmp_path: Path) -> None:
    teacher = encoder_for(TASK)
    step = TrainQuantized(bits=2, group=8, **FAST)
    whole = step.apply(teacher, StepContext(TASK))
    seen = []

    def stop(*event: Any) -> None:
        seen.append(event)
        if len(seen) == 9:
            raise Cancelled

    with pytest.raises(Cancelled):
        step.apply(teacher, StepContext(TASK, folder=tmp_path / "run", progress=Progress(stop)))
    again = step.apply(teacher, StepContext(TASK, folder=tmp_path / "run"))
    read = step.apply(teacher, StepContext(TASK, folder=tmp_path / "run"))
    assert whole.weights == again.weights == read.weights


def test_what_cannot_be_is_said() -> None:
    encoder = encoder_for(TASK)
    with pytest.raises(UserError, match="lora_rank"):
        TrainQuantized(lora_rank=2).apply(encoder, StepContext(TASK))
    codes = TrainQuantized(steps=1, group=8).apply(encoder, StepContext(TASK))
    with pytest.raises(UserError, match="in codes already"):
        TrainQuantized(steps=1, group=8).apply(codes, StepContext(TASK))


def _made(teacher: Any, **changed: Any) -> Any:
    return TrainQuantized(bits=1, embedding_bits=2, group=8, **{**FAST, **changed}).apply(teacher, StepContext(TASK))
