"""From a Python shell and a notebook: models in memory, arguments of wrong types, bars."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

import asc_core
from asc_core.arguments import checked
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.progress import Progress, bar, in_notebook
from asc_core.tasks import Task, load_task
from tests.tiny import WORDS, tiny

PLAIN = [word for word in WORDS[5:] if word.isalpha()]
ROWS = [{"text": f"{PLAIN[i % 20]} the {PLAIN[i // 20 % 20]}", "label": "ab"[i % 2]} for i in range(40)]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return tiny(labels=["a", "b"], num_labels=2)


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(ROWS)


# Models in memory


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert"])
def test_a_model_in_memory_is_the_encoder_that_its_folder_would_be(architecture: str) -> None:
    own = tiny(architecture)
    loaded = asc_core.load_encoder(own.model, tokenizer=own.tokenizer, name="mine", device="cpu")
    assert (loaded.name, loaded.source, loaded.weights) == ("mine", "mine", own.weights)


def test_a_model_in_memory_stays_as_it_is(encoder: Encoder) -> None:
    model = encoder.copy().model.train()
    loaded = asc_core.load_encoder(model, tokenizer=encoder.tokenizer, device="cpu")
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.zero_()
    assert model.training
    assert all(parameter.abs().sum() > 0 for parameter in encoder.model.parameters() if parameter.ndim > 1)


def test_an_adapter_on_a_model_in_memory_is_merged_into_a_copy(encoder: Encoder) -> None:
    config = peft.LoraConfig(r=2, target_modules=["query"], init_lora_weights=False)
    wrapped = peft.get_peft_model(encoder.copy().model, config)
    loaded = asc_core.load_encoder(wrapped, tokenizer=encoder.tokenizer, name="lora", device="cpu")
    assert loaded.weights != encoder.weights
    assert loaded.shape == encoder.shape
    assert any("lora" in name for name, _ in wrapped.named_parameters()), "the user's own is not merged"


def test_a_head_may_be_asked_for(encoder: Encoder) -> None:
    bare = encoder.model.base_model
    loaded = asc_core.load_encoder(
        bare, tokenizer=encoder.tokenizer, head="sequence-classification", labels=["p", "q", "r"], device="cpu"
    )
    assert loaded.labels == ("p", "q", "r")


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (3, {}, "a transformers model with its tokenizer, load_encoder.model, tokenizer=tokenizer.; not int"),
        (torch.nn.Linear(2, 2), {}, "not Linear"),
        (tiny().model, {}, "needs its tokenizer"),
        (tiny().model, {"tokenizer": "bert"}, "needs its tokenizer.*not str"),
        ("folder", {"tokenizer": tiny().tokenizer}, "folder brings its own tokenizer"),
        (tiny().model, {"tokenizer": tiny().tokenizer, "base": "x"}, "no adapter, so it has no base"),
    ],
)
def test_what_is_no_encoder_is_refused(source: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        asc_core.load_encoder(source, **options)


# Arguments


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda e, t: asc_core.score("demo:nli", t),
            r"score: encoder must be an encoder .asc_core.load_encoder., not str",
        ),
        (lambda e, t: asc_core.score(e, "demo:nli"), r"score: task must be a task .asc_core.load_task., not str"),
        (lambda e, t: asc_core.score(e, t, study="here"), "study must be a study"),
        (lambda e, t: asc_core.score(e, t, 3), "no scoring method 3"),
        (
            lambda e, t: asc_core.evaluate(e, t, against="it"),
            "against must be an encoder .* or a stored result, not str",
        ),
        (lambda e, t: asc_core.compress(e, "plan.json"), "what must be a plan .* or a recipe .*, not str"),
        (lambda e, t: asc_core.by_budget({}, None, 0.5), r"scores must be the scores of one method .*, not dict"),
        (lambda e, t: asc_core.export(e.model, "out"), "export: encoder must be an encoder"),
        (lambda e, t: asc_core.finetune(e, ROWS), "task must be a task .*, not list"),
        (lambda e, t: asc_core.Study.open(3), "give its path, not int"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named_with_how_to_get_the_right_one(
    call: Callable[..., Any], said: str, encoder: Encoder, task: Task
) -> None:
    with pytest.raises(UserError, match=said):
        call(encoder, task)


def test_right_arguments_go_through_and_others_are_not_looked_at(encoder: Encoder, task: Task) -> None:
    def function(encoder: Encoder, task: Task | None = None, count: int = 0) -> Any:
        return encoder, task, count

    function.__annotations__ = {"encoder": "Encoder", "task": "Task | None", "count": "int"}
    assert checked(function)(encoder, None, "three") == (encoder, None, "three")
    assert checked(function)(task=task, encoder=encoder) == (encoder, task, 0)
    with pytest.raises(TypeError):
        checked(function)()


def test_one_method_may_stand_for_itself(encoder: Encoder, task: Task) -> None:
    assert list(asc_core.score(encoder, task, "magnitude")) == ["magnitude"]


def test_a_metric_of_ones_own_goes_all_the_way(encoder: Encoder, tmp_path: Path) -> None:
    def share_of_a(gold: Any, decided: Any) -> float:
        return float((decided == 0).mean())

    task = load_task(ROWS, metric=share_of_a)
    found = asc_core.evaluate(encoder, task, "train", against=encoder)
    assert (found.metric, found.difference) == ("share_of_a", 0.0)


# Bars


class _Kernel:
    class ZMQInteractiveShell:
        pass

    def __init__(self) -> None:
        self.shell = self.ZMQInteractiveShell()


def test_in_a_notebook_there_is_a_bar_by_default_and_elsewhere_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not in_notebook()
    assert Progress().report is None
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: _Kernel().shell))
    assert in_notebook()
    assert Progress().report is not None


def test_a_bar_goes_as_far_as_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []

    class Bar:
        def __init__(self, total: int, desc: str, leave: bool):
            self.total, self.desc, self.n, self.closed = total, f"{desc}: ", 0, False
            shown.append(self)

        def update(self, n: int) -> None:
            self.n += n

        def close(self) -> None:
            self.closed = True

    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=Bar))
    progress = Progress(bar())
    for done in (1, 3, 4):
        progress.step(done, 4, "scoring")
    progress.step(1, 2, "evaluating")
    progress.step(1, 5, "repairing")
    assert [(b.desc, b.n, b.total, b.closed) for b in shown] == [
        ("scoring: ", 4, 4, True),
        ("evaluating: ", 1, 2, True),
        ("repairing: ", 1, 5, False),
    ]


def test_without_tqdm_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert bar() is None
