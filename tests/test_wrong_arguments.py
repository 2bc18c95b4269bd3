"""Arguments of the wrong type, and models whose copy would not be what was given: one sentence each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

import asc_core
from asc_core.errors import UserError
from tests.tiny import tiny, tokenizer

ROWS = [{"text": f"the {n} cats sat under a tree", "mood": "ab"[n % 2]} for n in range(40)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"texts": 5}, "texts is a column's name"),
        ({"texts": ["text", 5]}, "texts is a column's name"),
        ({"label": 5}, "label is a column's name"),
        ({"slots": 5}, "slots is a column's name"),
        ({"split_seed": "a"}, "split_seed is a whole number"),
        ({"split_seed": -1}, "split_seed is a whole number"),
        ({"split_seed": 1.5}, "split_seed is a whole number"),
        ({"name": 5}, "name is a text"),
    ],
)
def test_a_task_is_not_made_with_arguments_of_other_types(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        asc_core.load_task(ROWS, **arguments)


def test_numbers_too_long_for_python_to_write_are_no_labels() -> None:
    rows = [row | {"mood": 10**5000 + n} for n, row in enumerate(ROWS)]
    with pytest.raises(UserError, match="more than a thousand digits"):
        asc_core.load_task(rows)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"head": "nope"}, "There is no head 'nope'"),
        ({"head": ["nope"]}, "There is no head"),
        ({"labels": 5}, "labels are a list of names"),
        ({"labels": "abc"}, "labels are a list of names"),
        ({"slot_labels": [1, 2]}, "slot_labels are a list of names"),
        ({"name": 5}, "name is a text"),
    ],
)
def test_an_encoder_is_not_loaded_with_arguments_of_other_types(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        asc_core.load_encoder(tiny().model, tokenizer=tokenizer(), **arguments)


def test_a_name_longer_than_a_file_may_have_is_no_encoder() -> None:
    with pytest.raises(UserError, match="cannot be looked at"):
        asc_core.load_encoder("a" * 5000)


def test_a_model_with_adapters_inside_is_not_copied_without_them() -> None:
    inside, around = tiny().model, tiny().model
    inside.add_adapter(LoraConfig(r=2, target_modules=["query"], init_lora_weights=False))
    base = get_peft_model(around, LoraConfig(r=2, target_modules=["query"])).get_base_model()
    for model in (inside, base):
        with pytest.raises(UserError, match="has adapters put into it"):
            asc_core.load_encoder(model, tokenizer=tokenizer())


def test_a_model_that_is_more_than_its_configuration_and_weights_is_not_copied() -> None:
    def hooked(module: Any, inputs: Any, output: Any) -> Any:
        return output * 2

    changed, other = tiny().model, tiny().model
    changed.bert.encoder.layer[1].intermediate.dense.register_forward_hook(hooked)
    other.bert.encoder.layer[0].intermediate.intermediate_act_fn = torch.nn.Tanh()
    adapted = get_peft_model(
        tiny().model, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"], init_lora_weights=False)
    )
    with adapted.disable_adapter():
        for model in (changed, other, adapted):
            with pytest.raises(UserError, match="answers otherwise than a copy"):
                asc_core.load_encoder(model, tokenizer=tokenizer())
    asc_core.load_encoder(adapted, tokenizer=tokenizer())


def test_looking_at_a_model_leaves_each_part_in_its_mode() -> None:
    model = tiny().model.train()
    model.bert.embeddings.eval()
    modes = [module.training for module in model.modules()]
    asc_core.load_encoder(model, tokenizer=tokenizer())
    assert [module.training for module in model.modules()] == modes
