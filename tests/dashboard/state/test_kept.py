"""What is kept in a study comes back; what anyone else has put there does no harm; old studies keep their spelling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asc_core.compress.matrix_scan import Effect, MatrixScan
from asc_core.evaluate.loss_prediction import Prediction
from asc_core.study import Study
from dashboard.state import kept
from dashboard.state.application import Application, Facts
from dashboard.state.cut_settings import CutSettings
from dashboard.state.kept import Setting
from dashboard.state.speed import Speed

APPLICATION = Application("nli", "enc", "task")
FACTS = Facts("text-classification", "accuracy", {"train": 3}, "a text", "yes", ("yes", "no"))
SETTINGS = CutSettings("nli", "fisher")
# how -> (key as in the first studies, value, its JSON there where that is short)
KEPT: dict[str, tuple[Any, str, Any, Any]] = {
    "weights": (lambda s: kept.weights(s, APPLICATION), "weights:enc", "abc", "abc"),
    "facts": (lambda s: kept.facts(s, APPLICATION), "facts-2:task", FACTS, {**FACTS.__dict__, "labels": ["yes", "no"]}),
    "scoring": (
        lambda s: kept.scoring_run(s, APPLICATION),
        "watched:nli",
        kept.ScoringRun(["fisher"], 64),
        {"methods": ["fisher"], "samples": 64},
    ),
    "trust": (
        lambda s: kept.trust_run(s, APPLICATION),
        "judging:nli",
        kept.TrustRun(64, 32),
        {"samples": 64, "held_out": 32},
    ),
    "pace": (lambda s: kept.pace(s, APPLICATION), "pace:enc:nli", kept.Pace(0.25), {"seconds": 0.25}),
    "plan": (lambda s: kept.plan_settings(s, "k"), "move:k", SETTINGS, SETTINGS.to_json()),
    "plan of one": (lambda s: kept.plan_settings(s, "k", "nli"), "move:nli:k", SETTINGS, SETTINGS.to_json()),
    "pin": (
        lambda s: kept.pin_settings(s, "small"),
        "pin-move:small",
        kept.PinnedSettings("k", SETTINGS),
        {"plan": "k", "move": SETTINGS.to_json()},
    ),
    "speed": (
        lambda s: kept.speed(s, "w", APPLICATION, "k"),
        "latency:w:nli:k",
        Speed(0.5, 2.0, 32),
        {"original": 0.5, "ratio": 2.0, "batch": 32},
    ),
    "matrices": (
        lambda s: kept.matrix_scan(s, "w", APPLICATION, "none"),
        "matrices:w:nli:none",
        MatrixScan(("0.output.dense",), (Effect(0.5, 0.25),), Effect(0.5, 0.25), (6,), "none", 4, 9),
        {
            "names": ["0.output.dense"],
            "alone": [{"divergence": 0.5, "changed": 0.25, "decides": True}],
            "together": {"divergence": 0.5, "changed": 0.25, "decides": True},
            "numbers": [6],
            "activations": "none",
            "texts": 4,
            "tokens": 9,
        },
    ),
    "series": (lambda s: kept.series(s, APPLICATION, "r"), "series:nli:r", "nli|fisher", "nli|fisher"),
    "predictions": (
        lambda s: kept.predictions(s, "w", APPLICATION, "validation"),
        "foretold:w:nli:validation",
        [Prediction(0.5, -0.1, -0.2, 0.0, -0.05)],
        [{"keep": 0.5, "predicted": -0.1, "low": -0.2, "high": 0.0, "measured": -0.05}],
    ),
}


@pytest.fixture
def own(tmp_path: Path) -> Study:
    return Study.open(tmp_path / "study")


@pytest.mark.parametrize("name", KEPT)
def test_what_is_kept_comes_back_and_is_spelled_as_in_the_first_studies(name: str, own: Study) -> None:
    accessor, key, value, stored = KEPT[name]
    setting: Setting[Any] = accessor(own)
    assert setting.get() is None
    setting.set(value)
    assert own.get(key) == stored
    assert accessor(own).get() == value
    setting.set(None)
    assert own.get(key) is None


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("foreign", [7, True, {"a": 1}, [1], [{"keep": "a"}], {"samples": "many", "methods": 3}])
def test_what_is_nothing_of_the_kind_counts_as_not_kept(name: str, foreign: Any, own: Study) -> None:
    accessor, key, _, _ = KEPT[name]
    own.set(key, foreign)
    assert accessor(own).get() is None


@pytest.mark.parametrize("name", ["999999999.output.dense", "x.output.dense", "<b>", ""])
def test_a_scan_of_what_is_no_matrix_counts_as_not_kept(name: str, own: Study) -> None:
    accessor, key, _, stored = KEPT["matrices"]
    own.set(key, {**stored, "names": [name]})
    assert accessor(own).get() is None
    own.set(key, {**stored, "numbers": []})
    assert accessor(own).get() is None


def test_head_shares_come_back_for_the_same_weights_and_examples_only(own: Study) -> None:
    shares = np.arange(6.0).reshape(2, 3)
    kept.keep_head_shares(own, APPLICATION, "w", 256, shares, "train")
    found = kept.head_shares(own, APPLICATION, "w", 256)
    assert found is not None
    assert np.array_equal(found, shares)
    assert kept.head_shares(own, APPLICATION, "other", 256) is None
    assert kept.head_shares(own, APPLICATION, "w", 128) is None
