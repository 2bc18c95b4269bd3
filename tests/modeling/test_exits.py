"""Texts that leave between layers: the others compute as if those had never been there.

No part of the laws of `structures.py`: those cut every model afterwards, and a cut changes which texts leave.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.plan.encoder_cost import cost_model
from asc_core.probes import Probe, Readout, probing
from asc_core.scores.sweep import sweep
from asc_core.values import Plan
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.export.conftest import in_process  # noqa: F401 (a fixture)
from tests.modeling.structures import assert_reloaded_as_built_and_counted, factored, quantized
from tests.modeling.test_tokens import ABLE
from tests.tiny import ARCHITECTURES, logits, padded_batch, tiny

LENGTHS = np.arange(3, 23)


def with_exits(encoder: Encoder, sure: float, layers: tuple[int, ...] = (0, 1), seed: int = 1) -> Encoder:
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for number in range(len(layers)):
        tensors[f"exits.{number}.weight"] = 0.5 * torch.randn(3, encoder.shape.hidden, generator=generator)
        tensors[f"exits.{number}.bias"] = torch.randn(3, generator=generator)
    entry = {"kind": "exits", "layers": list(layers), "sure": sure, "leaving": [0.5 / len(layers)] * len(layers)}
    return encoder.with_structure(entry, tensors)


class _Seen(Probe):
    def __init__(self) -> None:
        self.texts: list[int] = []
        self.states: list[torch.Tensor] = []

    def read(self, readout: Readout, inputs: torch.Tensor) -> None:
        if readout.kind == "ffn":
            self.texts.append(len(inputs))

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self.states.append(after)


@torch.inference_mode()
def slowly(encoder: Encoder, exits: Encoder, inputs: dict[str, torch.Tensor], sure: float) -> tuple[Any, list[int]]:
    """(logits of each text, how many texts each layer runs on), from passes of the whole model."""
    with probing(_Seen()) as seen:
        whole = encoder.model(**inputs).logits
    assert isinstance(seen, _Seen)
    heads: Any = exits.model.exits
    said, runs = [], [0, 0, 0]
    for text in range(len(whole)):
        found = whole[text]
        for layer in range(3):
            runs[layer] += 1
            if layer < 2:
                here = heads[layer](seen.states[layer][text, 0])
                if here.softmax(-1).max() > sure:
                    found = here
                    break
        said.append(found)
    return torch.stack(said), [n for n in runs if n]


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 99), sure=st.floats(0.34, 0.999))
def test_it_says_what_the_slow_code_says_and_runs_no_layer_for_those_who_left(seed: int, sure: float) -> None:
    encoder, inputs = tiny(seed=seed % 3), padded_batch(seed)
    exits = with_exits(encoder, sure, seed=seed)
    wanted, runs = slowly(encoder, exits, inputs, sure)
    with probing(_Seen()) as seen:
        said = logits(exits, inputs)
    assert isinstance(seen, _Seen)
    assert seen.texts == runs
    torch.testing.assert_close(said, wanted.flatten(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ABLE)
def test_where_nobody_may_leave_it_is_the_model_itself(architecture: str) -> None:
    encoder, inputs = tiny(architecture), padded_batch()
    assert torch.equal(logits(with_exits(encoder, 1.0), inputs), logits(encoder, inputs))


@pytest.mark.parametrize("architecture", ABLE)
def test_company_in_a_batch_changes_no_answer(architecture: str) -> None:
    encoder, inputs = with_exits(tiny(architecture), 0.6), padded_batch(seed=3)
    whole = logits(encoder, inputs).view(4, 3)
    for row in range(4):
        real = int(inputs["attention_mask"][row].sum())
        alone = logits(encoder, {name: value[row : row + 1, :real] for name, value in inputs.items()})
        torch.testing.assert_close(alone, whole[row], atol=1e-5, rtol=0)
    assert (whole.flatten() - logits(tiny(architecture), inputs)).abs().max() > 1e-2


def test_texts_that_are_all_sure_leave_the_layers_above_idle() -> None:
    encoder = with_exits(tiny(), 0.01)
    with probing(_Seen()) as seen:
        logits(encoder, padded_batch())
    assert isinstance(seen, _Seen)
    assert seen.texts == [4]


def test_in_training_every_text_goes_through_and_the_loss_of_an_answer_is_its_own() -> None:
    encoder, inputs, labels = with_exits(tiny(), 0.01), padded_batch(), torch.tensor([0, 1, 2, 0])
    output = encoder.model(**inputs, labels=labels)
    assert float(output.loss) == pytest.approx(float(functional.cross_entropy(output.logits, labels)))
    encoder.model.train()
    with probing(_Seen()) as seen:
        encoder.model(**inputs)
    assert isinstance(seen, _Seen)
    assert seen.texts == [4, 4, 4]


def test_the_mean_cost_is_that_of_the_texts_that_get_so_far() -> None:
    encoder = tiny()
    exits = with_exits(encoder, 0.9)
    assert [len(texts) for texts in exits.layer_lengths(LENGTHS)] == [20, 15, 10]
    assert cost_model(exits, LENGTHS).dense == exits.cost(LENGTHS)
    share = exits.cost(LENGTHS).flops / encoder.cost(LENGTHS).flops
    assert share == pytest.approx(0.75, abs=0.02)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_reloaded_it_answers_as_before_and_the_bytes_are_those_counted(architecture: str, tmp_path: Path) -> None:
    encoder = tiny(architecture)
    encoder = encoder.cut(Plan.full(encoder.shape).drop(1, head=0).drop(2, neuron=3))
    if architecture == "bert":
        encoder = quantized(factored(encoder, [{"attention.self.query": 4}, {}, {}]), ["1.output.dense"])
    encoder = with_exits(encoder, 0.7)
    assert_reloaded_as_built_and_counted(encoder, tmp_path / "out", LENGTHS)


def test_a_fresh_process_answers_alike(tmp_path: Path) -> None:
    export(with_exits(tiny(), 0.7), tmp_path / "out")
    assert (tmp_path / "out" / "exits.py").exists()


@pytest.mark.parametrize("format", ["onnx", "openvino", "torch-export", "dense"])
def test_formats_without_a_choice_of_layers_are_refused(format: str, tmp_path: Path) -> None:
    if format == "openvino":
        pytest.importorskip("openvino")
    with pytest.raises(UserError, match=r"(decided while they run|every text through every layer).*compact"):
        export(with_exits(tiny(), 0.7), tmp_path / "out", format)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"layers": []}, "behind no layers"),
        ({"layers": [1, 0]}, "ascending"),
        ({"layers": [1, 2]}, "own head stands"),
        ({"layers": [0, 9]}, "behind no layers"),
        ({"sure": 0}, "no probability"),
        ({"sure": True}, "no probability"),
        ({"leaving": [0.5]}, "one for each exit"),
        ({"leaving": [0.5, 0.6]}, "together at most 1"),
        ({}, "no values for exits.0"),
    ],
)
def test_exits_that_do_not_fit_are_refused(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        tiny().with_structure({"kind": "exits", "layers": [0, 1], "sure": 0.9, "leaving": [0, 0], **entry})


def test_other_heads_and_architectures_and_what_needs_every_text_are_refused() -> None:
    with pytest.raises(UserError, match="only a head that classifies whole texts"):
        with_exits(tiny(head="question-answering"), 0.9)
    with pytest.raises(UserError, match="no probabilities of one class"):
        with_exits(tiny(problem_type="multi_label_classification"), 0.9)
    for architecture in sorted(set(ARCHITECTURES) - set(ABLE)):
        with pytest.raises(UserError, match="read more of a batch"):
            with_exits(tiny(architecture), 0.9)
    task = toy_task()
    exits = encoder_for(task).with_structure(
        {"kind": "exits", "layers": [0], "sure": 0.9, "leaving": [0]},
        {"exits.0.weight": torch.zeros(2, 24), "exits.0.bias": torch.zeros(2)},
    )
    with pytest.raises(UserError, match="Not every token goes through every layer"):
        sweep(exits, task)
    with pytest.raises(UserError, match='"cut" cannot come after "exits"'):
        exits.cut(Plan.full(exits.shape).drop(0, head=1))
    with pytest.raises(UserError, match='"tokens" cannot come after "exits"'):
        exits.with_structure({"kind": "tokens", "keep": [1, 1, 1], "safe": [], "by": "attention"})
