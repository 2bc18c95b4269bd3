from __future__ import annotations

import json
from typing import Any

import pytest

from asc_core.errors import UserError
from asc_core.scores.compare import Agreement
from asc_core.scores.faithfulness_report import (
    FaithfulnessReport,
    MethodFaithfulness,
    Recommendation,
    Sample,
    faithfulness_table,
)

NAN = float("nan")


def report() -> FaithfulnessReport:
    """With everything that can be missing, once there and once not."""
    method = MethodFaithfulness(
        "fisher",
        "gold",
        "train",
        64,
        {
            "heads": Agreement(12, 0.5, (0.2, 0.8), 0.4, (0.1, 0.6), 0.3, 0.25),
            "layers": Agreement(3, NAN, None, NAN, None, 1.0, 0.25),
        },
        {"heads": (1.0, 1.5, 2.0), "layers": (1.0, 3.0)},
        {"heads": 0.4, "layers": None},
        {"heads": (0.3, 0.5), "layers": None},
    )
    return FaithfulnessReport(
        "nli",
        "w",
        Sample("train", 64),
        Sample("validation", 32),
        {"heads": 0.81},
        {"heads": (0.0, 0.5, 1.0), "layers": (0.0, 1.0)},
        {"heads": (1.0, 2.0, 3.0), "layers": (1.0, 1.0)},
        {"heads": ((1.0, 1.9, 2.9), (1.0, 2.1, 3.1)), "layers": ((1.0, 1.0), (1.0, 1.0))},
        (method,),
        {"heads": Recommendation("fisher"), "layers": Recommendation(None)},
    )


def test_a_report_comes_back_from_disk_as_it_was() -> None:
    stored = json.loads(json.dumps(report().to_json(), allow_nan=False))
    again = FaithfulnessReport.from_json(stored)
    assert again.to_json() == report().to_json()
    assert again.ceiling("heads") == pytest.approx(0.9)
    assert again.table() == report().table() == faithfulness_table(stored)
    assert again.in_words()[0] == "heads: go by fisher"
    assert again.recommendations["heads"] == Recommendation("fisher")


def test_a_report_of_an_earlier_version_is_read() -> None:
    stored = report().to_json()
    del stored["chance_range"]
    assert FaithfulnessReport.from_json(stored).chance_range == {}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"believe": {"heads": {"method": "unheard-of", "as_good": []}}}, "not among the methods"),
        ({"removed": {"heads": [0.0, 1.0], "layers": [0.0, 1.0]}}, "a loss for each share"),
        ({"chance": {"heads": [1.0, 2.0, 3.0]}}, "a random order"),
        ({"held_out": {"split": "validation", "examples": "many"}}, "held_out.examples"),
        ({"methods": [{"method": "fisher"}]}, "agreement"),
        ({"truth": None}, "ground_truth"),
        ({"believe": []}, "AttributeError"),
    ],
)
def test_what_is_no_report_is_refused_in_one_sentence(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why) as refused:
        FaithfulnessReport.from_json(report().to_json() | changed)
    assert "asc faithfulness" in str(refused.value)
    for other in (None, [], "report", {}):
        with pytest.raises(UserError):
            FaithfulnessReport.from_json(other)
