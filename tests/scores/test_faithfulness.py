from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asc_core.encoder import Encoder
from asc_core.errors import Cancelled, UserError
from asc_core.gates import gated
from asc_core.progress import Progress
from asc_core.scores import sweep
from asc_core.scores.ablation import ABLATION, ablate
from asc_core.scores.faithfulness import _interval, faithfulness, faithfulness_in_study, report_key
from asc_core.scores.faithfulness_report import FaithfulnessReport, faithfulness_table
from asc_core.scores.removal import Removal, ascending, remove_in_order
from asc_core.study import Study
from asc_core.tasks import Task
from asc_core.values import PartValues, Plan, Scores
from tests.evaluate.toy_tasks import encoder_for, toy_task

pytestmark = pytest.mark.slow

PARTS = ("heads", "attention", "ffn", "layers")
METHODS = ["fisher", "update", "asc-b", "random"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def application() -> tuple[Encoder, Task]:
    """A toy application whose classifier is fitted to the dense encoder, so that removing heads does harm."""
    task = toy_task(train=300, validation=120)
    encoder = encoder_for(task).copy()
    features = task.features(task.examples("train"), encoder)
    head = encoder.model.classifier
    optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
    batch = task.batch(features, np.arange(len(features)), encoder)
    with torch.no_grad():
        pooled = encoder.model.bert(**batch.inputs).pooler_output
    for _ in range(200):
        optimiser.zero_grad()
        output = type("Output", (), {"logits": head(pooled)})()
        task.loss(output, batch).mean().backward()
        optimiser.step()
    return Encoder(encoder.model, encoder.tokenizer, "learnt"), task


@pytest.fixture(scope="module")
def ground_truth(application: tuple[Encoder, Task]) -> Scores:
    return ablate(*application, parts=(*PARTS, "neuron-groups"), samples=48, groups=3)[ABLATION]


@pytest.fixture(scope="module")
def report(application: tuple[Encoder, Task], ground_truth: Scores) -> FaithfulnessReport:
    scores = sweep(*application, METHODS, samples=48)
    negated = tuple(-row for row in ground_truth.values.heads or ())
    scores["reversed"] = replace(ground_truth, method="reversed", values=PartValues(heads=negated), details={})
    return faithfulness(*application, scores, ground_truth, curves=("heads", "layers", "neurons"), samples=40)


def method(report: FaithfulnessReport, name: str):
    return next(m for m in report.methods if m.method == name)


def test_the_truth_agrees_with_itself_wholly(report: FaithfulnessReport) -> None:
    own = method(report, ABLATION)
    assert set(own.agreement) == {*PARTS, "neuron-groups"}
    for kind, found in own.agreement.items():
        assert found.spearman == pytest.approx(1), kind
        assert found.kendall == pytest.approx(1), kind
        assert found.top_overlap == pytest.approx(1), kind
    against = method(report, "reversed").agreement["heads"]
    assert (against.spearman, against.kendall) == (pytest.approx(-1), pytest.approx(-1))


def test_methods_are_judged_on_the_parts_that_they_score(report: FaithfulnessReport, ground_truth: Scores) -> None:
    assert set(method(report, "asc-b").agreement) == {"layers"}
    assert set(method(report, "asc-b").relative_aucs) == {"layers"}
    assert set(method(report, "fisher").agreement) == {*PARTS, "neuron-groups"}
    assert set(method(report, "fisher").relative_aucs) == {"heads", "layers", "neurons"}
    assert report.ceiling("heads") == pytest.approx(float(ground_truth.details["reliability.heads"][0]) ** 0.5)


def test_a_group_of_neurons_is_judged_by_the_sum_of_its_scores(
    application: tuple[Encoder, Task], ground_truth: Scores
) -> None:
    """Scores that are right on groups and noise inside them agree wholly."""
    generator = np.random.default_rng(0)
    neurons = []
    for row, values in enumerate(ground_truth.values.neurons or ()):
        noise, groups = generator.normal(size=len(values)), ground_truth.details[f"groups.{row}"]
        inside = np.bincount(groups, noise) / np.bincount(groups)
        neurons.append(values + noise - inside[groups])
    scores = replace(ground_truth, method="x", values=PartValues(neurons=tuple(neurons)), details={})
    found = faithfulness(*application, {"x": scores}, ground_truth, curves=())
    assert method(found, "x").agreement["neuron-groups"].spearman == pytest.approx(1)
    assert found.recommendations == {}


def test_curves_equal_gated_evaluation_one_text_at_a_time(
    application: tuple[Encoder, Task], ground_truth: Scores
) -> None:
    encoder, task = application
    order = ascending(ground_truth, "heads")
    found = remove_in_order(encoder, task, {"x": order}, points=4, samples=12, batch_tokens=40)
    assert found.removed.tolist() == [0, 4 / 12, 8 / 12, 1]
    features = task.features(task.examples("validation", 12), encoder)
    for point, count in enumerate((0, 4, 8, 12)):
        plan = Plan.full(encoder.shape)
        for head in order[:count]:
            plan = plan.drop(layer=int(head) // 4, head=int(head) % 4)
        with torch.inference_mode(), gated(encoder, plan):
            for i in range(12):
                batch = task.batch(features, [i], encoder)
                loss = float(task.loss(encoder.model(**batch.inputs), batch))
                assert found.losses["x"][i, point] == pytest.approx(loss, abs=1e-4)


def removal(losses: dict[str, list[float]], chance: list[list[float]]) -> Removal:
    """One example, heads removed at 0, a half and all."""
    tables = {name: np.asarray([curve]) for name, curve in losses.items()}
    numbers = np.arange(1)
    return Removal(
        "heads", np.array([0, 0.5, 1]), tables, np.asarray(chance)[:, None], np.ones(1, dtype=int), numbers, "x"
    )


def test_the_area_by_hand() -> None:
    """Chance: (0 + 2) / 4 + (2 + 4) / 4 = 2 above the dense loss of 1."""
    found = removal({"a": [1, 2, 5], "b": [1, 3, 5], "free": [1, 1, 1]}, [[1, 2, 5], [1, 4, 5]])
    assert found.chance_curve.tolist() == [1, 3, 5]
    assert found.chance_curves.tolist() == [[1, 2, 5], [1, 4, 5]]
    assert found.relative_auc("a") == pytest.approx(1.5 / 2)
    assert found.relative_auc("b") == pytest.approx(1)
    assert found.relative_auc("free") == 0
    assert np.isnan(removal({"a": [1, 2, 5]}, [[1, 1, 1]]).relative_auc("a"))


def test_the_reverse_of_the_true_order_costs_more_and_random_orders_cost_one(application: tuple[Encoder, Task]) -> None:
    encoder, task = application
    true = ascending(ablate(encoder, task, parts=("heads",), samples=200)[ABLATION], "heads")
    randoms = {f"r{i}": np.random.default_rng(100 + i).permutation(len(true)) for i in range(8)}
    found = remove_in_order(
        encoder, task, {"true": true, "reverse": true[::-1], **randoms}, samples=None, random_seeds=range(12)
    )
    assert found.relative_auc("true") < 0.9
    assert found.relative_auc("reverse") > 1.1
    assert np.mean([found.relative_auc(name) for name in randoms]) == pytest.approx(1, abs=0.2)
    low, high = np.percentile(found.drawn_relative_aucs("true"), (2.5, 97.5))
    assert low < found.relative_auc("true") < high


def test_the_method_to_go_by_has_the_smallest_area_and_is_no_baseline(report: FaithfulnessReport) -> None:
    for kind, found in report.recommendations.items():
        areas = {m.method: m.relative_aucs[kind] for m in report.methods if kind in m.relative_aucs}
        chosen = {name: area for name, area in areas.items() if name not in (ABLATION, "random")}
        assert np.isfinite(list(areas.values())).all()
        if min(chosen.values()) >= 1:
            assert found.method is None
            continue
        assert found.method == min(chosen, key=lambda name: chosen[name])
        assert found.method not in found.indistinguishable
        assert any(kind in sentence and found.method in sentence for sentence in report.in_words())


def test_methods_that_the_examples_cannot_tell_apart_are_named(
    application: tuple[Encoder, Task], ground_truth: Scores
) -> None:
    """Twice the same order, and one against it."""
    heads = ground_truth.values.heads or ()
    scores = {
        name: replace(
            ground_truth, method=name, values=PartValues(heads=tuple(sign * row for row in heads)), details={}
        )
        for name, sign in (("twin", 2), ("other twin", 3), ("against", -1))
    }
    found = faithfulness(*application, scores, ground_truth, curves=("heads",), samples=40)
    areas = {m.method: m.relative_aucs["heads"] for m in found.methods}
    assert areas["twin"] == areas["other twin"] == areas[ABLATION] < areas["against"]
    assert found.recommendations["heads"].method == "twin"
    assert found.recommendations["heads"].indistinguishable == ("other twin",)
    assert found.in_words() == ["heads: go by twin (not told apart on these examples: other twin)"]


def test_where_removing_at_random_costs_nothing_no_method_is_recommended() -> None:
    """A random model is no better than one without heads."""
    task = toy_task(validation=40)
    encoder = encoder_for(task)
    found = faithfulness(
        encoder, task, sweep(encoder, task, ["fisher"]), ablate(encoder, task, parts=("heads",))[ABLATION]
    )
    assert method(found, "fisher").relative_aucs["heads"] is None
    assert found.recommendations["heads"].method is None
    assert "costs nothing" in found.in_words()[0]


def test_the_report_is_json_and_a_table(report: FaithfulnessReport) -> None:
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert faithfulness_table(data) == report.table()
    lines = report.table().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert {line.split("|")[1].strip() for line in lines[2:]} == {*METHODS, "reversed", ABLATION, "(ceiling)"}
    points = len(data["removed"]["heads"])
    assert points == 10
    assert all(len(m["curves"]["heads"]) == points for m in data["methods"] if "heads" in m["curves"])
    assert data["removed"]["layers"][-1] == pytest.approx(2 / 3), "the last layer stays"


def test_a_study_keeps_the_truth_and_the_report(application: tuple[Encoder, Task], tmp_path: Path) -> None:
    encoder, task = application
    study = Study.open(tmp_path)
    sweep(encoder, task, ["fisher", "asc-b"], samples=32, study=study)
    options = {"samples": 24, "held_out": 20}
    found = faithfulness_in_study(encoder, task, study, **options)
    assert study.get(report_key(encoder.weights, task.name)) == json.loads(json.dumps(found.to_json()))
    assert study.scores(method=ABLATION)[0].examples == 24
    assert {m.method for m in found.methods} == {"fisher", "asc-b", ABLATION}
    said: list[str] = []
    again = faithfulness_in_study(
        encoder, task, study, progress=Progress(lambda d, t, what: said.append(what)), **options
    )
    assert again.to_json() == found.to_json()
    assert not any("ablating" in what for what in said), "the stored ablation is taken"


def test_a_cancelled_curve_goes_on_to_the_same_end(
    application: tuple[Encoder, Task], ground_truth: Scores, tmp_path: Path
) -> None:
    encoder, task = application
    study, orders = Study.open(tmp_path), {"x": ascending(ground_truth, "heads")}
    progress = Progress()
    progress.report = lambda done, total, what: progress.cancel.set() if done >= total / 2 else None
    options = {"points": 4, "samples": 30, "batch_tokens": 60}
    with pytest.raises(Cancelled):
        remove_in_order(encoder, task, orders, progress=progress, study=study, **options)
    steps: list[float] = []
    resumed = remove_in_order(
        encoder, task, orders, study=study, progress=Progress(lambda d, t, w: steps.append(d / t)), **options
    )
    assert 0.2 < steps[0] <= 0.6
    whole = remove_in_order(encoder, task, orders, **options)
    np.testing.assert_array_equal(resumed.losses["x"], whole.losses["x"])


def test_answers_in_windows_count_by_example() -> None:
    task = toy_task("question-answering", train=20, validation=12)
    encoder = encoder_for(task)
    ground_truth = ablate(encoder, task, parts=("heads",), samples=8)[ABLATION]
    found = remove_in_order(encoder, task, {"x": ascending(ground_truth, "heads")}, points=3, samples=6)
    assert found.losses["x"].shape == (6, 3)
    assert found.windows.sum() > 6


def test_layers_that_share_weights_have_no_curve() -> None:
    task = toy_task(validation=12)
    encoder = encoder_for(task, "albert")
    ground_truth = ablate(encoder, task, parts=PARTS, samples=8)[ABLATION]
    scores = sweep(encoder, task, ["fisher"], samples=8)
    found = faithfulness(encoder, task, scores, ground_truth, points=3, samples=8)
    assert set(found.removed) == {"heads"}
    with pytest.raises(UserError, match="share weights"):
        remove_in_order(encoder, task, {"x": np.arange(3)}, "layers")


def test_what_cannot_be_judged_is_one_sentence(application: tuple[Encoder, Task], ground_truth: Scores) -> None:
    encoder, task = application
    with pytest.raises(UserError, match="no scores"):
        faithfulness(encoder, task, {}, ground_truth)
    with pytest.raises(UserError, match="other weights"):
        faithfulness(encoder, task, {"x": replace(ground_truth, method="x", weights="?")}, ground_truth)
    with pytest.raises(UserError, match="task other"):
        faithfulness(encoder, task, {"x": replace(ground_truth, method="x", task="other")}, ground_truth)
    with pytest.raises(UserError, match="attention"):
        remove_in_order(encoder, task, {}, "attention")


def test_a_few_draws_without_a_value_do_not_hide_an_interval() -> None:
    drawn = np.linspace(0, 1, 100)
    assert _interval(drawn) == pytest.approx((0.025, 0.975))
    drawn[[3, 50]] = np.nan, np.inf
    assert _interval(drawn) == pytest.approx((0.025, 0.975), abs=0.02)
    drawn[10:40] = np.nan
    assert _interval(drawn) is None
    assert _interval(np.array([])) is None
