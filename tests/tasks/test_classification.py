"""Classes, label sets and numbers."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from asc_core.errors import UserError
from asc_core.tasks import Batch, Task, task_from_rows
from tests.tasks.running import output_of, predictions, run
from tests.tiny import tiny

ROWS = [{"text": f"the cat {w}", "y": y} for w, y in zip("sat ran on under mat tree".split(), "abcabc", strict=True)]


def _task(rows: list[dict[str, Any]] = ROWS, kind: str = "text-classification", **options: Any) -> Task:
    fields = {"texts": ["text"], "label": options.pop("label", "y")}
    return task_from_rows("t", kind, fields, {"train": lambda: rows, "test": lambda: rows}, **options)


def test_accuracy_is_that_of_the_models_answers_by_name() -> None:
    names = ["b", "c", "a"]
    encoder = tiny(labels=names)
    task = _task()
    examples = task.examples("test")
    features = task.features(examples, encoder)
    found = predictions(task, features, encoder)
    right = [names[int(np.argmax(p))] == row["y"] for p, row in zip(found, examples.rows, strict=True)]
    assert run(task, encoder)[1] == pytest.approx(np.mean(right))
    assert task.metric.binary


def test_the_loss_is_the_cross_entropy_with_the_label_of_that_name() -> None:
    names = ["b", "c", "a"]
    encoder = tiny(labels=names)
    task = _task()
    features = task.features(task.examples("test"), encoder)
    batch = task.batch(features, range(6), encoder)
    output = output_of(encoder, batch)
    wanted = torch.tensor([names.index(row["y"]) for row in ROWS])
    expected = functional.cross_entropy(output.logits, wanted, reduction="none")
    torch.testing.assert_close(task.loss(output, batch), expected)


def test_targets_of_the_models_own_follow_its_distribution() -> None:
    logits = torch.tensor([[0.0, 2.0, -1.0]]).expand(4000, 3)
    task, batch = _task(), Batch({})
    generator = torch.Generator().manual_seed(0)
    losses = task.loss(SimpleNamespace(logits=logits), batch, "sampled", generator)
    values, counts = losses.unique(return_counts=True)
    drawn = dict(zip(values.tolist(), (counts / 4000).tolist(), strict=True))
    for p in torch.softmax(logits[0], 0).tolist():
        nearest = min(drawn, key=lambda loss: abs(loss + np.log(p)))
        assert drawn[nearest] == pytest.approx(p, abs=0.03)
    best = task.loss(SimpleNamespace(logits=logits), batch, "argmax")
    assert best[0].item() == pytest.approx(-float(torch.log_softmax(logits[0], 0)[1]))


@pytest.mark.parametrize(
    ("metric", "options", "expected"),
    [
        pytest.param("f1", {"labels": ["no", "yes"]}, 2 / 3, id="the second class is the positive one"),
        pytest.param("f1", {"labels": ["no", "yes"], "positive": "no"}, 0, id="or the one that is named"),
        pytest.param("macro-f1", {"labels": ["no", "yes"]}, 1 / 3, id="macro"),
        pytest.param("mcc", {"labels": ["no", "yes"]}, 0, id="mcc"),
        pytest.param(None, {"labels": ["no", "yes"]}, 0.5, id="accuracy by default"),
    ],
)
def test_metrics_by_choice_whatever_the_models_order(metric: str | None, options: dict, expected: float) -> None:
    rows = [{"text": "the cat", "y": "yes"}, {"text": "the cat", "y": "no"}]
    task = _task(rows, metric=metric, **options)
    features = task.features(task.examples("test"), tiny(labels=["yes", "no"]))
    always_yes = [np.asarray([1.0, 0.0])] * 2  # the model's first output is "yes"
    statistics = task.statistics(always_yes, features, task.examples("test"))
    assert task.metric.value(statistics) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"metric": "f1"}, "name it with `positive`", id="three classes"),
        pytest.param({"metric": "f1", "positive": "d"}, "positive = 'd' is no label", id="unknown positive"),
        pytest.param({"metric": "entity-f1"}, "accuracy, macro-f1, f1, mcc, agreement", id="a metric of other tasks"),
    ],
)
def test_metrics_that_cannot_be(options: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _ = _task(**options).metric


@pytest.mark.parametrize(
    ("values", "label", "options"),
    [
        pytest.param([["x", "z"], [], ["y"]], "y", {}, id="lists"),
        pytest.param(["x, z", "", "y"], "y", {}, id="text with commas"),
        pytest.param(None, ["x", "y", "z"], {}, id="a column for each"),
    ],
)
def test_sets_of_labels_are_read(values: list | None, label: Any, options: dict) -> None:
    if values is None:
        columns = [{"x": 1, "y": 0, "z": 1}, {"x": 0, "y": 0, "z": 0}, {"x": 0, "y": 1, "z": 0}]
        rows = [{"text": "the cat", **c} for c in columns]
    else:
        rows = [{"text": "the cat", "y": v} for v in values]
    task = _task(rows, "multi-label", label=label, **options)
    assert task.labels == ("x", "y", "z")
    encoder = tiny(labels=["z", "y", "x"])
    features = task.features(task.examples("test"), encoder)
    assert np.stack(features.targets).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]  # type: ignore[arg-type]
    batch = task.batch(features, [0, 1, 2], encoder)
    output = output_of(encoder, batch)
    expected = functional.binary_cross_entropy_with_logits(output.logits, batch.targets, reduction="none").mean(1)
    torch.testing.assert_close(task.loss(output, batch), expected)


def test_a_regression_compares_numbers() -> None:
    rows = [{"text": "the cat", "y": "1.5"}, {"text": "a dog", "y": 2}]
    task = _task(rows, "regression")
    encoder = tiny(num_labels=1)
    features = task.features(task.examples("test"), encoder)
    batch = task.batch(features, [1, 0], encoder)
    output = output_of(encoder, batch)
    torch.testing.assert_close(task.loss(output, batch), (output.logits[:, 0] - torch.tensor([2.0, 1.5])) ** 2)
    with pytest.raises(UserError, match="needs a head with one output; tiny-bert has 3"):
        task.features(task.examples("test"), tiny())
