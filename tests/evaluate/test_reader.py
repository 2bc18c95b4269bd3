"""Whatever reads token ids and answers can be evaluated: a task asks for no more than a `Reader`."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from asc_core.encoder import Encoder
from asc_core.evaluate import evaluate, evaluating
from asc_core.tasks.base import Reader
from tests.evaluate.toy_tasks import KINDS, encoder_for, toy_task


class Answers:
    """A model that is no `Encoder`: it has what `Reader` names and nothing else, and answers in arrays."""

    def __init__(self, encoder: Encoder):
        self._answer = encoder.model
        self.name, self.source = "answers", "nowhere"
        self.tokenizer, self.device, self.head = encoder.tokenizer, torch.device("cpu"), encoder.head
        self.labels, self.slot_labels = encoder.labels, encoder.slot_labels
        self.max_length, self.type_vocab_size = encoder.max_length, encoder.type_vocab_size
        self.tokens, self.sentences = encoder.tokens, encoder.sentences

    def forward(self, inputs: Mapping[str, torch.Tensor]) -> Any:
        arrays = {name: value.numpy() for name, value in inputs.items()}  # as another runtime takes them
        with torch.inference_mode():
            output = self._answer(**{name: torch.from_numpy(value) for name, value in arrays.items()})
        return SimpleNamespace(**output)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_that_is_no_encoder_gets_the_encoders_figures(kind: str) -> None:
    task = toy_task(kind, train=8, validation=40)
    encoder = encoder_for(task)
    reader: Reader = Answers(encoder)
    found, expected = evaluate(reader, task), evaluate(encoder, task)
    assert found.value == pytest.approx(expected.value, abs=1e-5)
    assert found.interval == pytest.approx(expected.interval, abs=1e-5)


def test_it_is_evaluated_in_slices_and_against_another() -> None:
    task = toy_task(train=8, validation=150)
    encoder, other = encoder_for(task), encoder_for(task, seed=1)
    *_, growing = evaluating(Answers(encoder), task, against=Answers(other))
    *_, expected = evaluating(encoder, task, against=other)
    assert growing == expected
