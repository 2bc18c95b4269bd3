from __future__ import annotations

import gc
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from asc_core.batches import BatchLimits
from asc_core.encoder import Encoder
from asc_core.errors import Cancelled, UserError
from asc_core.evaluate import estimate, evaluate, evaluating, measure, measure_latency, measuring
from asc_core.evaluate.features import _kept, tokenised
from asc_core.evaluate.per_example import FIRST_SLICE, PerExampleResult, representative_order
from asc_core.evaluate.sequential import schedule
from asc_core.probes import Probe, probing
from asc_core.progress import Progress
from asc_core.tasks import Task
from asc_core.values import Plan
from tests.evaluate.toy_tasks import KINDS, encoder_for, toy_task

pytestmark = pytest.mark.slow


def plain_statistics(encoder: Encoder, task: Task, split: str, reference: Encoder | None = None) -> np.ndarray:
    """One example at a time, without padding, in the split's order."""
    examples = task.examples(split)
    rows = []
    for i in range(len(examples)):
        one = examples.subset([i])
        features = task.features(one, encoder)

        def answers(model: Encoder, features: Any = features) -> list[Any]:
            batches = [task.batch(features, [f], model) for f in range(len(features))]
            with torch.inference_mode():
                return [task.predict(model.model(**batch.inputs), batch)[0] for batch in batches]

        wanted = None if reference is None else answers(reference)
        rows.append(task.statistics(answers(encoder), features, one, wanted))
    return np.concatenate(rows)


def smaller_than(encoder: Encoder) -> Encoder:
    plan = Plan.full(encoder.shape).drop(0, head=1).drop(1, head=0).drop(2, head=3)
    for neuron in range(0, 20, 3):
        plan = plan.drop(1, neuron=neuron)
    return encoder.cut(plan)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_measured_is_what_a_plain_loop_measures(kind: str) -> None:
    task = toy_task(kind, validation=70)
    encoder = encoder_for(task)
    *_, last = measuring(encoder, task, "validation")
    at_once = measure(encoder, task, "validation")
    plain = plain_statistics(encoder, task, "validation")
    np.testing.assert_allclose(at_once.statistics, plain, atol=1e-4)
    np.testing.assert_allclose(last.statistics, plain, atol=1e-4)
    assert task.metric.value(at_once.statistics) == pytest.approx(task.metric.value(plain), abs=1e-4)
    assert last.complete
    assert len(at_once) == len(task.examples("validation"))


@pytest.mark.parametrize("kind", ["text-classification", "pair-classification", "regression"])
def test_agreement_is_measured_on_texts_without_labels(kind: str) -> None:
    task = toy_task(kind, validation=70, label=None)
    original = encoder_for(toy_task(kind))
    smaller = smaller_than(original)
    whole = evaluate(smaller, task, against=original)
    plain = plain_statistics(smaller, task, "validation", original)
    assert whole.value == pytest.approx(task.metric.value(plain), abs=1e-4)
    assert whole.metric == "agreement"
    assert whole.difference == pytest.approx(whole.value - 1)
    stored = measure(original, task)
    assert evaluate(smaller, task, against=stored) == whole
    assert [e.examples for e in evaluating(smaller, task, against=stored)] == schedule(70, FIRST_SLICE)
    with pytest.raises(UserError, match="--against"):
        evaluate(smaller, task)


def test_estimates_tighten_and_the_last_one_is_the_whole_evaluation() -> None:
    task = toy_task(validation=300)
    original = encoder_for(task)
    smaller = smaller_than(original)
    measured = measure(original, task)
    found = list(evaluating(smaller, task, against=measured))
    assert [e.examples for e in found] == [64, 112, 225, 300]
    widths = [np.subtract(*e.difference_interval[::-1]) for e in found if e.difference_interval]
    assert widths == sorted(widths, reverse=True)
    at_once = evaluate(smaller, task, against=original)
    assert (found[-1].value, found[-1].difference) == (at_once.value, at_once.difference)
    assert at_once.half_width < found[-1].half_width < 1.4 * at_once.half_width, (
        "the price of having been allowed to stop before"
    )
    assert (found[-1].valid, at_once.valid) == ("anytime", "single")
    assert found[-1].complete
    assert not found[0].complete
    assert {(e.split, e.total) for e in found} == {("validation", 300)}
    assert found[-1].difference == pytest.approx(found[-1].value - evaluate(original, task).value)


def test_an_evaluation_ends_when_it_is_as_tight_as_asked() -> None:
    task = toy_task(validation=300)
    original = encoder_for(task)
    found = list(evaluating(smaller_than(original), task, against=original))
    asked = (found[0].half_width + found[1].half_width) / 2
    stopped = list(evaluating(smaller_than(original), task, against=original, stop_at_half_width=asked))
    assert stopped == found[:2]
    assert stopped[-1].half_width <= asked < stopped[0].half_width
    alone = list(evaluating(original, task, stop_at_half_width=0.5))
    assert len(alone) == 1, "without an original it is the metric's own interval"


def test_a_stopped_evaluation_goes_on_from_where_it_was() -> None:
    task = toy_task(validation=300)
    encoder = encoder_for(task)
    first, *_, last = list(measuring(encoder, task))
    seen: list[int] = []
    progress = Progress(lambda done, total, what: seen.append(done))
    *_, gone_on = measuring(encoder, task, known=first, progress=progress)
    np.testing.assert_array_equal(gone_on.statistics, last.statistics)
    np.testing.assert_array_equal(gone_on.numbers, last.numbers)
    assert min(seen) == len(first) == 64
    elsewhere = replace(first, numbers=first.numbers + 1)
    *_, anew = measuring(encoder, task, known=elsewhere)
    np.testing.assert_array_equal(anew.statistics, last.statistics)


def test_a_model_does_not_differ_from_itself() -> None:
    task = toy_task(validation=100)
    encoder = encoder_for(task)
    own = evaluate(encoder, task, against=encoder)
    assert own.difference == 0
    assert own.difference_interval is not None
    assert own.difference_interval[0] < 0 < own.difference_interval[1]


def test_the_difference_of_equally_good_models_is_0_on_average() -> None:
    """Paired on the same examples: two models that err at random, each on a tenth of the texts."""
    generator = np.random.default_rng(0)
    metric = toy_task().metric
    found = []
    for _ in range(300):
        ours, theirs = (
            PerExampleResult(
                "accuracy", "validation", np.arange(200), (generator.random((200, 1)) < 0.9).astype(float), 200
            )
            for _ in range(2)
        )
        one = estimate(ours, metric, theirs)
        assert one.difference_interval is not None
        found.append((one.difference, *one.difference_interval))
    differences, low, high = np.asarray(found, dtype=float).T
    assert abs(differences.mean()) < 3 * 0.03 / 300**0.5
    assert ((low <= 0) & (high >= 0)).mean() > 0.91


def test_a_sample_is_paired_with_the_whole_originals_outcome() -> None:
    task = toy_task(validation=200)
    original = encoder_for(task)
    smaller = smaller_than(original)
    measured = measure(original, task)
    sample = evaluate(smaller, task, against=measured, limit=50, seed=3)
    other = evaluate(smaller, task, against=original, limit=50, seed=3)
    unnoted = [
        replace(found, notes=()) for found in (sample, other)
    ]  # what is noted on the original is of its examples
    assert unnoted[0] == unnoted[1]
    assert (sample.examples, sample.total) == (50, 50)
    few = measure(original, task, limit=20, seed=4)
    with pytest.raises(ValueError, match="not all of the examples"):
        evaluate(smaller, task, against=few)


@pytest.mark.parametrize("kind", ["text-classification", "question-answering", "intent-slots", "tagging"])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_stored_outcome_comes_back(kind: str, labelled: bool, tmp_path: Path) -> None:
    task = toy_task(kind, validation=70)
    encoder = encoder_for(task)
    unlabelled = task if labelled else toy_task(kind, validation=70, metric="agreement")
    *_, measured = measuring(encoder, unlabelled)
    arrays, metadata = measured.to_arrays()
    save_file(arrays, tmp_path / "measured.safetensors", metadata)
    again = PerExampleResult.from_arrays(load_file(tmp_path / "measured.safetensors"), metadata)
    smaller = smaller_than(encoder)
    assert evaluate(smaller, unlabelled, against=again) == evaluate(smaller, unlabelled, against=encoder)
    assert (again.split, again.total, again.truncated, again.mean_length) == (
        measured.split, measured.total, measured.truncated, measured.mean_length,
    )  # fmt: skip
    assert (again.predictions is None) == labelled


def test_every_beginning_of_the_order_has_the_shares_of_the_whole() -> None:
    task = toy_task(validation=400)
    examples, features = tokenised(encoder_for(task), task, "validation")
    order = representative_order(features, len(examples), seed=0)
    assert sorted(order) == list(range(400))
    positive = np.asarray(features.targets) == 1
    for n in (20, 64, 128):
        assert abs(positive[order[:n]].mean() - positive.mean()) <= 1 / n + 1e-9
    assert (order != representative_order(features, len(examples), seed=1)).any()


def test_cancelling_ends_an_evaluation_before_its_next_batch() -> None:
    task = toy_task(validation=200)
    encoder = encoder_for(task)
    calls: list[int] = []
    encoder.model.register_forward_hook(lambda *_: calls.append(1))
    progress = Progress()

    def report(done: int, total: int, what: str) -> None:
        assert total == 200
        if done >= 70:
            progress.cancel.set()
            calls.clear()

    progress.report = report
    with pytest.raises(Cancelled):
        list(evaluating(encoder, task, progress=progress))
    assert not calls


def test_cancelling_ends_an_evaluation_within_one_layer() -> None:
    task = toy_task(validation=200)
    encoder = encoder_for(task)
    progress, entered = Progress(), []

    class CancelInTheSecondLayer(Probe):
        def enter(self, layer: int, hidden: torch.Tensor) -> None:
            entered.append(layer)
            if len(entered) == 2:
                progress.cancel.set()

    with probing(CancelInTheSecondLayer()), pytest.raises(Cancelled):
        measure(encoder, task, progress=progress)
    assert entered == [0, 1]


def test_progress_counts_up_to_the_whole() -> None:
    task = toy_task(validation=200)
    seen: list[tuple[int, int]] = []
    progress = Progress(lambda done, total, what: seen.append((done, total)))
    list(evaluating(encoder_for(task), task, progress=progress))
    assert seen == sorted(seen)
    assert seen[-1] == (200, 200)


@pytest.mark.parametrize("message", ["CUDA out of memory", "DefaultCPUAllocator: can't allocate memory"])
def test_a_shortage_of_memory_halves_the_batch(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = toy_task(validation=70)
    encoder = encoder_for(task)
    wanted = measure(encoder, task)
    sizes: list[int] = []
    forward = encoder.model.forward

    def short(input_ids: torch.Tensor, **inputs: Any) -> Any:
        sizes.append(input_ids.numel())
        if input_ids.numel() > 60:
            raise RuntimeError(message)
        return forward(input_ids=input_ids, **inputs)

    monkeypatch.setattr(encoder.model, "forward", short)
    found = measure(encoder, task, limits=BatchLimits(64, 400, 500))
    np.testing.assert_array_equal(found.statistics, wanted.statistics)
    failed = [size for size in sizes if size > 60]
    assert failed
    assert failed == sorted(failed, reverse=True)
    assert len(failed) <= 4, "what failed once is not tried again"


def test_no_memory_for_one_text_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    task = toy_task(validation=10)
    encoder = encoder_for(task)

    def short(**inputs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(encoder.model, "forward", short)
    with pytest.raises(UserError, match="smaller max_length"):
        measure(encoder, task)


def test_another_error_is_not_taken_for_a_shortage_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    task = toy_task(validation=10)
    encoder = encoder_for(task)

    def broken(**inputs: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(encoder.model, "forward", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        measure(encoder, task)


def test_texts_are_tokenised_once_for_all_cuts_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    task = toy_task(validation=40)
    encoder = encoder_for(task)
    made: list[int] = []
    features = task.features
    monkeypatch.setattr(task, "features", lambda *a: made.append(1) or features(*a))
    for model in (encoder, smaller_than(encoder), encoder.copy()):
        evaluate(model, task, against=encoder)
    assert len(made) == 1
    evaluate(encoder_for(task, "distilbert"), task)
    assert len(made) == 2
    for seed in range(12):
        evaluate(encoder, task, limit=5, seed=seed)
    assert len(_kept[task]) == 8


def test_what_was_tokenised_goes_with_its_task() -> None:
    task = toy_task(validation=10)
    evaluate(encoder_for(task), task)
    gone = weakref.ref(task)
    del task
    gc.collect()
    assert gone() is None


def test_evaluating_records_no_gradients() -> None:
    task = toy_task(validation=10)
    encoder = encoder_for(task)
    recorded: list[bool] = []
    encoder.model.register_forward_hook(lambda *_: recorded.append(torch.is_grad_enabled()))
    evaluate(encoder, task)
    assert recorded == [False] * len(recorded)
    assert torch.is_grad_enabled()


def test_latency_is_measured_in_turns_on_the_same_texts() -> None:
    encoder = encoder_for(toy_task())
    slow = encoder.copy()
    turns: list[tuple[str, tuple[int, ...]]] = []
    encoder.model.register_forward_hook(
        lambda m, a, k, o: turns.append(("A", tuple(k["input_ids"].flatten().tolist()))), with_kwargs=True
    )

    def delay(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        turns.append(("B", tuple(kwargs["input_ids"].flatten().tolist())))
        time.sleep(0.1)

    slow.model.register_forward_hook(delay, with_kwargs=True)
    found = measure_latency({"fast": encoder, "slow": slow}, np.arange(5, 30), batch_size=4, repeats=5)
    assert [name for name, _ in turns] == ["A", "B"] * 8
    assert all(a[1] == b[1] for a, b in zip(turns[::2], turns[1::2], strict=True))
    assert found["slow"].median >= 0.1, "the pause itself is in every turn"
    assert found["fast"].ratio == 1
    assert found["slow"].ratio < 1
    assert found["fast"].low <= found["fast"].median <= found["fast"].high
    progress = Progress()
    progress.cancel.set()
    with pytest.raises(Cancelled):
        measure_latency({"fast": encoder}, np.arange(5, 30), progress=progress)
