"""Ablation against the obvious loop: one example, one part, one pass of the whole gated model at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from asc_core.encoder import Encoder
from asc_core.errors import Cancelled, UserError
from asc_core.gates import Gates, gated, plan_gates
from asc_core.parts import ABLATED
from asc_core.probes import Probe, probing
from asc_core.progress import Progress
from asc_core.scores import ablation
from asc_core.scores.ablated_forward import AblatedForward
from asc_core.scores.ablation import ablate
from asc_core.scores.reliability import reliability
from asc_core.study import Study
from asc_core.tasks import Task, task_from_rows
from asc_core.values import Plan, Scores
from tests.evaluate.toy_tasks import encoder_for, toy_task

SAMPLES = 9
CASES = {
    "bert": ("bert", "text-classification", {}),
    "distilbert": ("distilbert", "pair-classification", {}),
    "albert": ("albert", "text-classification", {}),
    "albert with inner groups": (
        "albert",
        "text-classification",
        {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2},
    ),
    "modernbert on its first token": ("modernbert", "text-classification", {}),
    "modernbert on all tokens": ("modernbert", "text-classification", {"classifier_pooling": "mean"}),
    "deberta with convolution": ("deberta-v2", "text-classification", {}),
    "mpnet": ("mpnet", "text-classification", {}),
    "answers in windows": ("bert", "question-answering", {}),
    "tags": ("roberta", "tagging", {}),
    "intents and slots": ("bert", "intent-slots", {}),
    "numbers": ("electra", "regression", {}),
    "two texts a feature": ("bert", "sentence-similarity", {}),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models are slower on several threads, and a resumed run is only the same on as many threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def case(name: str) -> tuple[Encoder, Task]:
    architecture, kind, overrides = CASES[name]
    if kind != "sentence-similarity":
        task = toy_task(kind)
        return encoder_for(task, architecture, **overrides), task
    words = ["the cat sat on a mat", "a big dog ran", "rome is not a small city", "play good music", "in paris"]
    rows = [{"a": words[i % 5], "b": words[i // 5], "score": float(i % 3)} for i in range(25) if i % 5 != i // 5]
    fields = {"texts": ["a", "b"], "label": "score"}
    splits = {"train": lambda: rows, "test": lambda: rows[:5]}
    task = task_from_rows("toy-similarity", kind, fields, splits, metric="pearson")  # ranks have ties but for rounding
    return encoder_for(task, architecture, **overrides), task


class Obvious:
    """Loss and metric of a probed encoder, one feature at a time and unpadded."""

    def __init__(self, encoder: Encoder, task: Task, samples: int = SAMPLES):
        self.encoder, self.task = encoder, task
        self.examples = task.examples("train", samples, 0)
        self.features = task.features(self.examples, encoder)
        self.dense = self.run(Probe())

    def run(self, probe: Probe) -> tuple[float, float]:
        losses, predictions = [], []
        with torch.inference_mode():
            for i in range(len(self.features)):
                batch = self.task.batch(self.features, [i], self.encoder)
                with probing(probe):
                    output = self.encoder.model(**batch.inputs)
                losses.append(float(self.task.loss(output, batch)))
                predictions += self.task.predict(output, batch)
        statistics = self.task.statistics(predictions, self.features, self.examples)
        return float(np.mean(losses)), self.task.metric.value(statistics)

    def changes(self, probe: Probe) -> tuple[float, float]:
        """(change of the loss, of the metric), both as scores."""
        loss, metric = self.run(probe)
        return loss - self.dense[0], self.dense[1] - metric


def each_part(encoder: Encoder, scores: Scores) -> Iterator[tuple[Probe, Any]]:
    """(a probe that switches a part off, a function from PartValues to the part's number)"""
    shape, full = encoder.shape, Plan.full(encoder.shape)
    for row, heads in enumerate(shape.heads):
        for head in range(heads):
            yield plan_gates(encoder, full.drop(row, head=head)), lambda v, r=row, h=head: v.heads[r][h]
        yield Gates({("attention", row): torch.zeros(heads)}), lambda v, r=row: v.attention[r]
        yield Gates({("ffn", row): torch.zeros(shape.neurons[row])}), lambda v, r=row: v.ffn[r]
        group_of = scores.details[f"groups.{row}"]
        assert len(group_of) == shape.neurons[row]
        for group in range(group_of.max() + 1):
            own = group_of == group
            plan = full
            for neuron in np.flatnonzero(own):
                plan = plan.drop(row, neuron=int(neuron))
            yield plan_gates(encoder, plan), lambda v, r=row, own=own: v.neurons[r][own].sum()
    for layer in range(shape.layers):
        yield Gates({}, frozenset([layer])), lambda v, n=layer: v.layers[n]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_part_changes_loss_and_metric_as_in_the_obvious_loop(name: str) -> None:
    encoder, task = case(name)
    scores = ablate(encoder, task, samples=SAMPLES, groups=3, batch_tokens=100)
    loss, metric = scores["ablation"], scores["ablation-metric"]
    obvious = Obvious(encoder, task)
    largest = 0.0
    for probe, part in each_part(encoder, loss):
        expected = obvious.changes(probe)
        assert part(loss.values) == pytest.approx(expected[0], abs=2e-5)
        assert part(metric.values) == pytest.approx(expected[1], abs=1e-4)
        largest = max(largest, abs(expected[0]))
    assert largest > 0.05
    assert loss.examples == SAMPLES
    assert loss.values.neurons is not None
    assert all(len({round(x, 12) for x in row}) <= 3 for row in loss.values.neurons)


@pytest.mark.parametrize(
    ("name", "shortcut"),
    [
        ("bert", True),
        ("modernbert on its first token", True),
        ("modernbert on all tokens", False),
        ("answers in windows", False),
        ("tags", False),
        ("two texts a feature", False),
    ],
)
def test_the_shortcut_is_taken_where_the_head_reads_the_first_token(name: str, shortcut: bool) -> None:
    encoder, task = case(name)
    features = task.features(task.examples("train", 4, 0), encoder)
    runner = AblatedForward(encoder, task, features, [], 100)
    with torch.inference_mode():
        runner.dense(np.arange(4))
    assert runner.first_token_only is shortcut


def flat(scores: Mapping[str, Scores]) -> dict[str, np.ndarray]:
    return {f"{m}.{name}": a for m, s in scores.items() for name, a in s.to_arrays()[0].items()}


def same(a: Mapping[str, Scores], b: Mapping[str, Scores], atol: float = 0) -> None:
    left, right = flat(a), flat(b)
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_allclose(left[name], right[name], atol=atol, rtol=0, err_msg=name)


def test_the_same_seed_gives_the_same_and_batches_make_no_difference() -> None:
    encoder, task = case("bert")
    first = ablate(encoder, task, samples=SAMPLES, groups=3)
    same(first, ablate(encoder, task, samples=SAMPLES, groups=3))
    small = ablate(encoder, task, samples=SAMPLES, groups=3, batch_tokens=1)
    for kind in ("value", "low", "high"):
        a, b = (
            {k: v for k, v in flat({"": s["ablation"]}).items() if k.startswith(f".{kind}")} for s in (first, small)
        )
        for name in a:
            np.testing.assert_allclose(a[name], b[name], atol=1e-5, err_msg=name)
    other = ablate(encoder, task, samples=SAMPLES, groups=3, seed=1)
    assert not np.allclose(first["ablation"].values.layers, other["ablation"].values.layers)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 200, 500])
def test_a_killed_ablation_goes_on_to_the_same_result(tmp_path: Any, steps: int, monkeypatch: Any) -> None:
    encoder, task = case("intents and slots")
    options: dict[str, Any] = {"samples": 20, "groups": 3, "batch_tokens": 60}
    expected = ablate(encoder, task, **options)
    monkeypatch.setattr(ablation, "SECONDS_BETWEEN_SAVES", 0.0)
    study = Study.open(tmp_path / "study")
    progress = Progress()
    progress.report = lambda done, total, what: progress.cancel.set() if done >= steps else None
    with pytest.raises(Cancelled):
        ablate(encoder, task, study=study, progress=progress, **options)
    seen: list[int] = []
    resumed = ablate(
        encoder, task, study=study, progress=Progress(lambda done, total, what: seen.append(done)), **options
    )
    same(resumed, expected)
    assert (seen[0] > 0) == (steps > 1)  # what was done was not done again
    stored = {s.method: s for s in study.scores()}
    same({m: stored[m] for m in resumed}, resumed)
    assert not list((tmp_path / "study").rglob("*partial*/*"))


def test_only_the_parts_that_were_asked_for_are_scored() -> None:
    encoder, task = case("bert")
    values = ablate(encoder, task, parts=("layers",), samples=4)["ablation"].values
    assert set(values.arrays()) == {"layers"}


def test_a_part_that_does_not_exist_is_refused() -> None:
    encoder, task = case("bert")
    with pytest.raises(UserError, match="'neurons'; there are: heads"):
        ablate(encoder, task, parts=("neurons",))


def test_a_task_without_labels_is_refused() -> None:
    encoder = encoder_for(toy_task())
    with pytest.raises(UserError, match="no labels"):
        ablate(encoder, toy_task(label=None))


def test_intervals_hold_the_value_and_narrow_with_the_examples() -> None:
    encoder, task = case("distilbert")
    widths = []
    for samples in (10, 90):
        scores = ablate(encoder, task, parts=("heads",), samples=samples)["ablation"]
        low, value, high = (np.concatenate(v.heads) for v in (scores.low, scores.values, scores.high))  # type: ignore
        assert ((low <= value) & (value <= high)).all()
        widths.append(np.mean(high - low))
    assert widths[1] < 0.6 * widths[0]


def test_an_interval_is_as_wide_as_the_normal_one() -> None:
    encoder, task = case("bert")
    scores = ablate(encoder, task, parts=("layers",), samples=80)["ablation"]
    obvious = Obvious(encoder, task, 80)
    each = []
    with torch.inference_mode():
        for probe in (Probe(), Gates({}, frozenset([1]))):
            batch = task.batch(obvious.features, range(80), encoder)
            with probing(probe):
                each.append(task.loss(encoder.model(**batch.inputs), batch).numpy())
    error = np.std(each[1] - each[0]) / np.sqrt(80)
    assert scores.low is not None
    assert scores.high is not None
    assert scores.low.layers is not None
    assert scores.high.layers is not None
    assert (scores.high.layers[1] - scores.low.layers[1]) / (2 * 1.96) == pytest.approx(error, rel=0.25)


def test_reliability_of_signal_and_of_noise() -> None:
    generator = np.random.default_rng(0)
    parts = generator.normal(size=60)
    assert reliability(np.tile(parts, (2, 5, 1))) == pytest.approx(1)
    assert reliability(generator.normal(size=(2, 50, 60))) < 0.2
    noisy = np.stack([parts + generator.normal(size=(50, 60)) for _ in range(2)])  # r = 1/2, so 2 r / (1 + r) = 2/3
    assert reliability(noisy) == pytest.approx(2 / 3, abs=0.1)
    assert reliability(np.stack([parts[None], -parts[None]])) == 0


def test_details_hold_the_reliability_of_every_kind() -> None:
    encoder, task = case("bert")
    scores = ablate(encoder, task, samples=40, groups=3)
    for result in scores.values():
        for kind in ABLATED:
            assert 0 <= result.details[f"reliability.{kind}"][0] <= 1


def test_ablation_leaves_the_encoder_and_its_probes_alone() -> None:
    encoder, task = case("bert")
    batch = task.batch(task.features(task.examples("train", 3, 0), encoder), range(3), encoder)
    plan = Plan.full(encoder.shape).drop(layer=1)
    with torch.inference_mode(), gated(encoder, plan):
        before = encoder.model(**batch.inputs).logits
    ablate(encoder, task, samples=4, groups=2)
    with torch.inference_mode(), gated(encoder, plan):
        assert torch.equal(encoder.model(**batch.inputs).logits, before)
