"""What the benchmark of on-device understanding says of models is what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.recipes.registry import parse_step
from benchmarks import nlu
from benchmarks.report import on_device


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auroc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[int, bool]]) -> None:
    statistics = np.asarray(rows, dtype=float)
    inside, outside = (statistics[statistics[:, 1] == real, 0] for real in (1, 0))
    if len(inside) and len(outside):
        pairs = [(a > b) + 0.5 * (a == b) for a in inside for b in outside]
        assert nlu.auroc(statistics) == pytest.approx(np.mean(pairs))


class Sized:
    """What recipes ask of an application."""

    labels = 0.5
    task: Any = None

    def size(self, share: float) -> nlu.DeviceSize:
        return nlu.DeviceSize(2, 6, 384, 96)


@pytest.mark.parametrize("name", nlu.VARIANTS)
def test_every_variant_is_a_recipe(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nlu, "batches", lambda task: (1, 1))
    steps = nlu.VARIANTS[name].steps(Sized(), 3)
    made = [parse_step(step, "test") for step in steps]
    assert {getattr(step, "seed", 3) for step in made if step.kind != "quantize"} == {3}
    whole = len(nlu.VARIANTS["99 %"].steps(Sized(), 3))
    left_out = name.removeprefix("99 % without ")
    if left_out != name:
        assert len(made) == whole - (left_out in nlu.STEPS)


def cell(name: str, of: str, lost: float, rate: float, size: int = 900_000) -> dict[str, Any]:
    metrics = {"intent-accuracy": {"original": 98.0, "values": [97.0], "lost": lost, "interval": [0.1, 2.0]}}
    return {"set": of, "name": name, "seeds": 1, "bytes": size, "rate": rate, "metrics": metrics, "steps": []}


def test_the_report_is_of_the_worst_set_and_of_rates_that_were_met() -> None:
    cells = [
        cell("99 %", "atis", 1.0, 99.1),
        cell("99 %", "snips", 2.5, 99.0, 910_000),
        cell("97.4 %", "atis", 3.0, 97.5, 2_000_000),
        cell("99.5 %", "atis", 9.0, 99.6, 400_000),
        cell("BiLSTM, codes, aware", "atis", 3.1, 97.6),
    ]
    found = nlu.report(cells, [], None)
    assert (found["at_99"], found["at_97_4"], found["bilstm_at_97_4"]) == (2.5, 2.5, 3.1)
    assert found["bytes_at_3_7"] == 910_000
    page = on_device.said(found)
    assert "| 99 % | SNIPS | 910 | 99.00 % | 1 | intents 2.5 [0.1, 2.0] |" in page
    cells[1]["rate"] = 98.9
    assert nlu.report(cells, [], None)["at_99"] is None
