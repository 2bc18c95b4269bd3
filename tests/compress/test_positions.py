"""A shorter table of positions: texts that fit are answered as before, longer ones lose their end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asc_core import modeling
from asc_core.compress.positions import Positions
from asc_core.compress.step import StepContext
from asc_core.errors import UserError
from asc_core.evaluate import measure
from asc_core.export import export
from asc_core.loading import load_encoder
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import logits, padded_batch, tiny

TASK = toy_task(train=64, validation=32)
WITH_TABLE = [name for name in sorted(modeling.TRANSFORMERS) if modeling.positions_of(tiny(name).model) is not None]


@pytest.mark.parametrize("architecture", WITH_TABLE)
def test_texts_that_fit_are_answered_as_before(architecture: str, tmp_path: Path) -> None:
    encoder, batch = tiny(architecture), padded_batch(length=12)
    rows = 12 + modeling.rows_before(encoder.model.config)
    made = encoder.with_structure({"kind": "positions", "rows": rows})
    assert made.max_length == 12
    assert encoder.max_length > 12
    assert torch.equal(logits(made, batch), logits(encoder, batch))
    export(made, tmp_path / "out")
    read = load_encoder(tmp_path / "out")
    assert read.max_length == 12
    assert torch.equal(logits(read, batch), logits(made, batch))
    gone = encoder.model.config.max_position_embeddings - rows
    table = modeling.positions_of(encoder.model)
    assert isinstance(table, torch.nn.Embedding)
    assert encoder.parameters - made.parameters == gone * table.embedding_dim


def test_as_many_as_the_training_texts_need() -> None:
    encoder, context = encoder_for(TASK), StepContext(TASK)
    made = Positions().apply(encoder, context)
    longest = int(TASK.features(TASK.examples("train"), encoder).lengths.max())
    assert longest <= made.max_length < longest + 8
    assert "0 of 64 training texts are longer" in str(context.done)
    before, after = (measure(one, TASK, "validation").statistics for one in (encoder, made))
    assert (before == after).all()
    assert made.tokenizer.model_max_length == made.max_length
    assert encoder.tokenizer.model_max_length > made.max_length


def test_longer_texts_are_cut_off_and_that_is_said() -> None:
    encoder, context = encoder_for(TASK), StepContext(TASK)
    made = Positions(tokens=4).apply(encoder, context)
    assert made.max_length == 4
    assert "0 of 64" not in str(context.done)
    assert len(measure(made, TASK, "validation").statistics) == 32


@pytest.mark.parametrize("rows", [0, -1, 10**9, True, 1.5])
def test_an_impossible_table_is_refused(rows: object) -> None:
    with pytest.raises(UserError, match="positions of"):
        tiny().with_structure({"kind": "positions", "rows": rows})


def test_what_has_no_table_is_refused() -> None:
    for architecture in set(modeling.TRANSFORMERS) - set(WITH_TABLE):
        encoder = tiny(architecture)
        with pytest.raises(UserError, match="has no table of"):
            encoder.with_structure({"kind": "positions", "rows": 8})
        with pytest.raises(UserError, match="has no table of positions"):
            Positions().apply(encoder, StepContext(TASK))
    with pytest.raises(UserError, match="fewer than the"):
        Positions(tokens=5000).apply(encoder_for(TASK), StepContext(TASK))


def test_a_task_that_allows_longer_texts_is_answered_with_the_positions_that_are_left() -> None:
    task = toy_task(train=64, validation=32, max_length=32)
    encoder = encoder_for(task)
    made = Positions().apply(encoder, StepContext(task))
    assert made.max_length < 32
    before, after = (measure(one, task, "validation").statistics for one in (encoder, made))
    assert (before == after).all()
