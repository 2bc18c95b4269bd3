from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asc_core.errors import Cancelled
from asc_core.progress import Progress
from asc_core.scores import METHODS, sweep
from asc_core.scores.compare import spearman
from asc_core.scores.magnitude import chance
from asc_core.scores.ranking_stability import (
    EarlyStop,
    fresh_correlation,
    growing_slices,
    stability,
    stability_curve,
    stopped_early,
)
from asc_core.scores.streaming import Sums
from asc_core.study import Study
from asc_core.values import Scores
from tests.scores.toy import ToyTask
from tests.tiny import tiny


def squared_gradients(generator: np.random.Generator, scale: np.ndarray, n: int) -> np.ndarray:
    """(n, parts) skewed and of one common factor an example, as per-example Fisher is."""
    return scale * generator.gamma(0.5, size=(n, len(scale))) * generator.gamma(1, size=(n, 1))


@pytest.mark.parametrize(("n", "spread"), [(40, 0.3), (150, 0.3), (60, 1.0), (400, 1.0)])
def test_stability_is_the_correlation_that_fresh_samples_have(n: int, spread: float) -> None:
    generator = np.random.default_rng(n)
    scale = np.exp(spread * generator.normal(size=72))
    fresh, expected = [], []
    for _ in range(30):
        a, b = (squared_gradients(generator, scale, n) for _ in range(2))
        fresh.append(spearman(a.mean(0), b.mean(0)))
        weights = generator.poisson(1, (200, n))
        expected.append(fresh_correlation(weights @ a / weights.sum(1, keepdims=True)))
    assert np.mean(expected) == pytest.approx(np.mean(fresh), abs=0.05)


def test_a_ranking_of_noise_is_not_stable_and_one_without_noise_is() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(100, 72))
    weights = generator.poisson(1, (200, 100))
    assert fresh_correlation(weights @ noise / weights.sum(1, keepdims=True)) < 0.4
    assert fresh_correlation(np.tile(np.arange(9.0), (50, 1))) == pytest.approx(1)
    assert fresh_correlation(np.ones((50, 9))) == 0


def test_slices_double_and_hold_every_window_of_an_example_once() -> None:
    example = np.repeat(np.arange(300), np.random.default_rng(0).integers(1, 4, 300))
    slices = growing_slices(example, seed=3)
    assert [len(np.unique(example[s])) for s in slices] == [64, 64, 128, 44]
    np.testing.assert_array_equal(np.sort(np.concatenate(slices)), np.arange(len(example)))
    assert sum(len(np.unique(example[s])) for s in slices) == 300
    assert abs(example[slices[0]].mean() - 150) < 40, "a random sample, not the first ones"
    assert [len(s) for s in growing_slices(np.arange(10), seed=0)] == [10]


METHODS_USED = ["fisher", "update", "magnitude"]


def test_a_watched_sweep_to_the_end_gives_the_same_scores_and_a_curve() -> None:
    encoder, task = tiny(), ToyTask(150)
    plain, watched = sweep(encoder, task, METHODS_USED), sweep(encoder, task, METHODS_USED, stop_when_settled=1)
    for name in METHODS_USED:
        for part, values in plain[name].values.arrays().items():
            np.testing.assert_allclose(watched[name].values.arrays()[part], values, rtol=1e-3, atol=1e-6)
        assert watched[name].examples == plain[name].examples
        assert watched[name].notes == plain[name].notes
    curve = stability_curve(watched["fisher"].details, "heads")
    assert curve is not None
    assert curve[0].tolist() == [64, 128, 150]
    assert ((curve[1] >= 0) & (curve[1] <= 1)).all()
    assert {"stability.neurons", "stability.layers"} <= watched["fisher"].details.keys()
    assert stability_curve(watched["magnitude"].details, "heads") is None
    assert stability_curve(plain["fisher"].details, "heads") is None
    again = Scores.from_arrays(*watched["fisher"].to_arrays())
    np.testing.assert_array_equal(again.details["stability.heads"], curve[1])


def test_a_settled_sweep_stops_says_so_and_can_go_on(tmp_path: Path) -> None:
    encoder, task, study = tiny(), ToyTask(300), Study.open(tmp_path)
    early = sweep(encoder, task, ["update"], stop_when_settled=0.5, study=study)["update"]
    assert early.examples == 64
    assert "Stopped after 64 of 300" in early.notes
    steps: list[int] = []
    on = sweep(
        encoder, task, ["update"], stop_when_settled=1, study=study, progress=Progress(lambda d, t, w: steps.append(d))
    )["update"]
    assert steps[0] == 64, "what was done is not done again"
    assert on.examples == 300
    at_once = sweep(encoder, task, ["update"], stop_when_settled=1)["update"]
    for part, values in at_once.values.arrays().items():
        np.testing.assert_array_equal(on.values.arrays()[part], values)
    for name, values in at_once.details.items():
        np.testing.assert_array_equal(on.details[name], values)
    assert {s.examples for s in study.scores(method="update")} == {64, 300}
    assert not list((tmp_path / "partial").glob("*")), "nothing is left once it is complete"


def test_a_cancelled_watched_sweep_goes_on_to_the_same_end(tmp_path: Path) -> None:
    encoder, task, study = tiny(), ToyTask(150), Study.open(tmp_path)
    options = {"stop_when_settled": 1, "batch_tokens": 64}
    progress = Progress()
    progress.report = lambda done, total, what: progress.cancel.set() if done >= 100 else None
    with pytest.raises(Cancelled):
        sweep(encoder, task, ["fisher"], study=study, progress=progress, **options)
    resumed, whole = (sweep(encoder, task, ["fisher"], study=s, **options)["fisher"] for s in (study, None))
    for name, values in whole.to_arrays()[0].items():
        np.testing.assert_array_equal(resumed.to_arrays()[0][name], values)


def test_every_watched_ranking_has_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"fisher": {"heads": 0.99, "neurons": 0.2, "layers": 0.9}, "update": {"heads": 0.95}}
    monkeypatch.setattr("asc_core.scores.ranking_stability.stability", lambda method, *rest: found[method.id])
    methods = [METHODS["fisher"], METHODS["update"]]

    def settles(at: float, batches: int = 4) -> bool:
        return EarlyStop(methods, tiny().shape, [4, 9], [64, 128], at).should_stop(batches, None)  # type: ignore[arg-type]

    assert settles(0.9), "single neurons do not count"
    assert not settles(0.92)
    assert not settles(0.5, batches=3), "only at the end of a slice"
    found["fisher"]["heads"] = found["fisher"]["layers"] = found["update"]["heads"] = 1.0
    assert not settles(1.0), "1 means to the end"


def test_neurons_have_a_stability_too_that_grows_with_the_sample() -> None:
    encoder = tiny()
    few, many = (sweep(encoder, ToyTask(600), ["michel"], samples=n, stop_when_settled=1)["michel"] for n in (32, 600))
    curves = [stability_curve(s.details, "neurons") for s in (few, many)]
    assert curves[0] is not None
    assert curves[1] is not None
    assert curves[0][1][-1] < curves[1][1][-1]


def test_methods_that_look_at_no_data_have_no_stability() -> None:
    assert stability(METHODS["magnitude"], Sums(), tiny().shape) == {}


@pytest.mark.parametrize("note", ["", "3 texts were cut."])
def test_that_a_sweep_stopped_early_is_known_from_numbers_and_in_older_scores_from_their_note(note: str) -> None:
    encoder = tiny()
    made = Scores("fisher", chance(encoder), encoder.shape, encoder.weights, "toy", "train", 64, notes=note)
    early_stop = EarlyStop([], encoder.shape, [1, 2], [64, 1000], 0.95)
    early_stop.curve = [{"examples": 64, "stability": {}}]
    assert stopped_early(made) is None
    assert stopped_early(replace(made, details=early_stop.details("fisher"))) == (64, 1000)
    assert stopped_early(replace(made, notes=f"{note} {early_stop.note}")) == (64, 1000)
    whole = replace(made, examples=1000, details=early_stop.details("fisher"))
    assert stopped_early(whole) is None
