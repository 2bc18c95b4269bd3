from __future__ import annotations

import numpy as np
import pytest

from asc_core.encoder import Encoder
from asc_core.parts import KINDS
from asc_core.scores import sweep
from asc_core.tasks.base import Targets
from asc_core.values import PartValues
from tests.scores.toy import PairTask, ToyTask, single_example_gradients
from tests.test_surgery import VARIANTS
from tests.tiny import tiny

pytestmark = pytest.mark.slow


def flat(values: PartValues, part: str) -> np.ndarray:
    found = getattr(values, part)
    return np.concatenate(found) if isinstance(found, tuple) else found


@pytest.mark.parametrize("variant", VARIANTS)
def test_fisher_and_michel_equal_a_loop_of_single_example_backward_passes(variant: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder, task = tiny(name, **overrides), ToyTask(7, padding=2)
    gradients = single_example_gradients(encoder, ToyTask(7))
    scores = sweep(encoder, task, ["fisher", "michel"], batch_tokens=40)
    for part in KINDS:
        expected = gradients[part]
        assert np.abs(expected).max() > 1e-3, part
        np.testing.assert_allclose(flat(scores["fisher"].values, part), (expected**2).mean(0), rtol=2e-3, atol=1e-7)
        np.testing.assert_allclose(flat(scores["michel"].values, part), np.abs(expected).mean(0), rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("task", [ToyTask(6, windows=True), PairTask(6)], ids=["windows", "two texts a feature"])
def test_windows_count_one_by_one_and_paired_texts_together(task: ToyTask) -> None:
    encoder = tiny()
    expected = single_example_gradients(encoder, task)
    scores = sweep(encoder, task, ["fisher"], batch_tokens=60)["fisher"]
    for part in KINDS:
        np.testing.assert_allclose(flat(scores.values, part), (expected[part] ** 2).mean(0), rtol=2e-3, atol=1e-7)
    assert ("windows" in scores.notes) == task.windows


@pytest.mark.parametrize("targets", ["gold", "argmax"])
def test_the_labels_that_were_asked_for_are_used_and_named(targets: Targets) -> None:
    encoder, task = tiny(), ToyTask(6)
    expected = single_example_gradients(encoder, task, targets)["heads"]
    scores = sweep(encoder, task, ["fisher", "update"], targets=targets)
    np.testing.assert_allclose(flat(scores["fisher"].values, "heads"), (expected**2).mean(0), rtol=2e-3)
    assert (scores["fisher"].labels, scores["update"].labels) == (targets, "none")


@pytest.mark.parametrize("variant", VARIANTS)
def test_taylor_and_cross_terms_equal_those_of_single_example_gradients(variant: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, **overrides)
    gradients = single_example_gradients(encoder, ToyTask(7))
    scores = sweep(encoder, ToyTask(7, padding=2), ["fisher", "taylor2", "fisher-neuron-cross"], batch_tokens=40)
    for part in KINDS:
        g = gradients[part]
        np.testing.assert_allclose(flat(scores["taylor2"].values, part), (g**2 / 2 - g).mean(0), rtol=2e-3, atol=2e-5)
    heads, neurons = gradients["heads"], np.split(gradients["neurons"], len(encoder.shape.heads), axis=1)
    np.testing.assert_allclose(scores["fisher"].details["cross.heads"], heads.T @ heads / 7, rtol=2e-3, atol=1e-5)
    for row, g in enumerate(neurons):
        found = scores["fisher-neuron-cross"].details[f"cross.neurons.{row}"]
        np.testing.assert_allclose(found, g.T @ g / 7, rtol=2e-3, atol=1e-5)


def weight_gradients(encoder: Encoder, task: ToyTask, targets: Targets) -> dict[str, np.ndarray]:
    """part -> |sum of W * dL/dW over its columns|, with TextPruner's own formula, L the mean loss of all examples."""
    features = task.features(task.examples("train"), encoder)
    encoder = encoder.copy()
    for i in range(len(features)):
        batch = task.batch(features, [i], encoder)
        (task.loss(encoder.model(**batch.inputs), batch, targets).sum() / len(features)).backward()
    found: dict[str, list[np.ndarray]] = {"attention": [], "ffn": []}
    for readout in encoder.readouts:
        weight = readout.weight
        assert weight.grad is not None
        columns = (weight * weight.grad).sum(0).view(readout.blocks, readout.width)
        found[readout.kind].append(columns.sum(1).abs().detach().numpy())
    return {"heads": np.concatenate(found["attention"]), "neurons": np.concatenate(found["ffn"])}


@pytest.mark.parametrize("variant", VARIANTS)
def test_textpruner_needs_no_gradient_of_a_weight(variant: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, **overrides)
    scores = sweep(encoder, ToyTask(6, padding=2), ["textpruner", "textpruner-self"], batch_tokens=40)
    for method, targets in (("textpruner", "gold"), ("textpruner-self", "argmax")):
        for part, expected in weight_gradients(encoder, ToyTask(6), targets).items():  # type: ignore[arg-type]
            assert expected.max() > 1e-3
            np.testing.assert_allclose(flat(scores[method].values, part), expected, rtol=2e-3, atol=2e-5)


def test_methods_with_a_loss_of_their_own_use_it_beside_that_of_the_others() -> None:
    encoder, task = tiny("albert"), ToyTask(6)
    scores = sweep(encoder, task, ["all"], seed=3)
    alone = sweep(encoder, task, ["fisher"], targets="sampled", seed=3)["fisher"]
    np.testing.assert_allclose(
        flat(scores["kprune-predictive"].values, "neurons"), flat(alone.values, "neurons") / 2, rtol=1e-4
    )
    argmax = single_example_gradients(encoder, task, "argmax")["heads"]
    np.testing.assert_allclose(
        flat(scores["textpruner-self"].values, "heads"), np.abs(argmax.mean(0)), rtol=2e-3, atol=2e-5
    )
    gold = single_example_gradients(encoder, task)["heads"]
    np.testing.assert_allclose(flat(scores["fisher"].values, "heads"), (gold**2).mean(0), rtol=2e-3)
    labels = {name: scores[name].labels for name in ("fisher", "kprune-predictive", "textpruner-self")}
    assert labels == {"fisher": "gold", "kprune-predictive": "sampled", "textpruner-self": "argmax"}
    unlabelled = sweep(encoder, ToyTask(6, labelled=False), ["kprune-predictive"], targets="gold")
    assert unlabelled["kprune-predictive"].labels == "sampled"


def test_an_absolute_value_has_the_folded_interval_of_the_signed_one() -> None:
    scores = sweep(tiny(), ToyTask(30), ["textpruner", "taylor2"])
    for part in KINDS:
        low, value, high = (flat(v, part) for v in (scores["textpruner"].low, scores["textpruner"].values,
                                                    scores["textpruner"].high))  # fmt: skip
        assert (low >= 0).all()
        assert (low <= value + 1e-9).all()
        assert (value <= high + 1e-9).all()
        assert (low == 0).any()
    assert flat(scores["taylor2"].low, "neurons").min() < 0


def test_michel_by_layer_has_unit_norm_and_the_same_order() -> None:
    scores = sweep(tiny(), ToyTask(6), ["michel", "michel-normalised"])
    for part in ("heads", "neurons"):
        raw, normalised = getattr(scores["michel"].values, part), getattr(scores["michel-normalised"].values, part)
        for a, b in zip(raw, normalised, strict=True):
            np.testing.assert_allclose(b, a / np.linalg.norm(a))


def test_michel_by_token_bounds_michel_by_example() -> None:
    """|sum| <= sum of absolutes, for one example exactly: token mean times tokens >= |gate gradient|."""
    encoder, task = tiny(), ToyTask(1)
    scores = sweep(encoder, task, ["michel", "michel-token"])
    tokens = len(task.rows[0]["ids"])
    by_token, by_example = (flat(scores[m].values, "heads") for m in ("michel-token", "michel"))
    assert (by_token * tokens >= by_example * (1 - 1e-5)).all()
    assert (by_token * tokens > by_example * 1.01).any()


def test_a_model_that_was_cut_can_be_scored_again() -> None:
    encoder = tiny()
    full = encoder.shape
    from asc_core.values import Plan

    smaller = encoder.cut(Plan(full, ((), (0, 2), (1,)), (tuple(range(5)), (), (3, 4)), (0, 1, 2)))
    gradients = single_example_gradients(smaller, ToyTask(5))
    scores = sweep(smaller, ToyTask(5))
    np.testing.assert_allclose(
        flat(scores["fisher"].values, "neurons"), (gradients["neurons"] ** 2).mean(0), rtol=2e-3, atol=1e-7
    )
    assert [len(h) for h in scores["update"].values.heads or ()] == [0, 2, 1]
