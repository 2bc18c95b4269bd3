from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asc_core.compress.factor import Factor
from asc_core.compress.step import StepContext
from asc_core.encoder import Encoder
from asc_core.errors import Cancelled
from asc_core.evaluate import known_layer_times, layer_times
from asc_core.evaluate.layer_times import cuts, table_of, typical
from asc_core.plan import LatencyTable, by_budget
from asc_core.plan.encoder_cost import cost_model
from asc_core.progress import Progress
from asc_core.runtimes.with_torch import TorchSession
from asc_core.study import Study
from asc_core.values import Plan, Shape
from tests.plan.builders import cost_model_of, layer_times_of, scores_of, shape_of, shapes
from tests.tiny import tiny

LENGTHS = np.array([3, 5, 8, 9, 12])


def small(architecture: str = "bert") -> Encoder:
    return tiny(architecture, num_hidden_layers=2)


def measured(encoder: Encoder, **more: object) -> LatencyTable:
    return layer_times(encoder, LENGTHS, 2, repeats=3, **more)  # type: ignore[arg-type]


@settings(deadline=None)
@example(Shape("bert", 12, 3, heads=(1, 6), neurons=(6, 1), rows=(0, 1), shares_weights=False), 8304)
@given(shapes(most_heads=12, most_neurons=200), st.integers(0, 2**16))
def test_a_table_foretells_the_encoders_that_it_was_made_from(shape: Shape, seed: int) -> None:
    """From the times of an encoder whose parts take what some table says, its parts' times are found again."""
    truth = cost_model_of(shape, latency=layer_times_of(shape, seed))
    times = {name: float(truth.total(plan, "latency")) for name, plan in cuts(shape).items()}
    found = cost_model_of(shape, latency=table_of(shape, times, 1, 9.0, "a test"))
    alike = len(set(shape.heads)) == len(set(shape.neurons)) == 1
    for name, plan in cuts(shape).items():
        if name != "shallow" or alike:  # of uneven rows one alone may end between two measured widths
            assert found.total(plan, "latency") == pytest.approx(times[name], abs=shape.layers * 3), name


def test_times_that_fall_by_noise_are_evened_out() -> None:
    shape = shape_of([4] * 2, [256] * 2)
    truth = cost_model_of(shape, latency=layer_times_of(shape))
    times = {name: float(truth.total(plan, "latency")) for name, plan in cuts(shape).items()}
    times["64 neurons"], times["128 neurons"] = times["128 neurons"] + 100, times["64 neurons"]
    table = table_of(shape, times, 1, 9.0, "a test")
    assert (np.diff(table.ffn) >= 0).all()
    of = dict(zip(table.neurons, table.ffn, strict=True))
    assert of[64] == of[128] > 0


def test_long_texts_and_single_interruptions_do_not_show_in_what_is_typical() -> None:
    truth, turns = {"whole": 4.0, "0 heads": 3.0, "0 neurons": 2.0, "shallow": 1.0}, np.array([1.0, 1.5, 0.8, 1.0, 2.0])
    seconds = {name: of * turns for name, of in truth.items()}
    seconds["whole"][1] *= 3
    seconds["shallow"][2] *= 5
    found = typical(seconds)
    assert {name: time / found["whole"] for name, time in found.items()} == pytest.approx(
        {name: of / 4 for name, of in truth.items()}
    )
    assert found["whole"] == pytest.approx(4e9)


@pytest.mark.parametrize("architecture", ["bert", "albert", "modernbert", "deberta-v2"])
def test_layers_of_every_form_are_timed(architecture: str) -> None:
    encoder = small(architecture)
    table = measured(encoder)
    assert (table.heads[-1], table.neurons[-1]) == (max(encoder.shape.heads), max(encoder.shape.neurons))
    assert (table.batch_size, table.tokens, table.threads) == (2, 7.4, torch.get_num_threads())
    model = cost_model(encoder, LENGTHS).with_latency(table)
    dense = model.dense_total("latency")
    assert 0 < model.total(Plan.full(encoder.shape).drop(0, head=0), "latency") <= dense
    assert table.attention[-1] + table.ffn[-1] + table.layer + table.outside <= dense


def test_an_encoder_that_was_cut_before_is_timed_by_its_own_widths() -> None:
    encoder = small()
    full = Plan.full(encoder.shape)
    uneven = encoder.cut(Plan(encoder.shape, ((0,), full.heads[1]), (full.neurons[0], (1, 2, 3)), full.layers))
    table = measured(uneven)
    assert (table.heads[-1], table.neurons[-1]) == (4, 20)
    assert cost_model(uneven, LENGTHS).with_latency(table).dense.latency > 0  # type: ignore[operator]


def test_a_study_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, study = small(), Study.open(tmp_path / "study")
    first = measured(encoder, study=study)

    def never(*_: object) -> float:
        raise AssertionError("measured again")

    with monkeypatch.context() as patch:
        patch.setattr(TorchSession, "seconds", never)
        assert measured(encoder, study=Study.open(tmp_path / "study")) == first
        assert known_layer_times(encoder, LENGTHS, 2, study) == first
        for other in ({"again": True}, {"study": None}):
            with pytest.raises(AssertionError, match="measured again"):
                measured(encoder, **({"study": study} | other))


def test_other_conditions_are_other_tables(tmp_path: Path) -> None:
    encoder, study = small(), Study.open(tmp_path / "study")
    measured(encoder, study=study)
    here = (encoder, LENGTHS, 2, study)
    assert known_layer_times(*here) is not None
    assert known_layer_times(*here[:2], 3, study) is None
    assert known_layer_times(encoder, LENGTHS + 20, *here[2:]) is None
    assert known_layer_times(tiny(), *here[1:]) is None
    factored = Factor(keep=0.6).apply(encoder, StepContext())
    assert factored.shape == encoder.shape
    assert known_layer_times(factored, *here[1:]) is None, "it takes another time"
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert known_layer_times(*here) is None
    finally:
        torch.set_num_threads(threads)


def test_what_a_stranger_left_in_a_study_is_not_believed(tmp_path: Path) -> None:
    encoder, study = small(), Study.open(tmp_path / "study")
    table = measured(encoder, study=study)
    with sqlite3.connect(study.path / "study.sqlite") as database:
        ((key,),) = database.execute("SELECT key FROM settings").fetchall()
    narrower = table.to_json() | {"heads": [0, 1], "attention": [0, 5]}
    for wrong in (narrower, {"heads": "many"}, 5, [table.to_json()]):
        study.set(key, wrong)
        assert known_layer_times(encoder, LENGTHS, 2, study) is None
    study.set(key, table.to_json())
    assert known_layer_times(encoder, LENGTHS, 2, study) == table


def test_timing_can_be_cancelled() -> None:
    progress = Progress()
    progress.cancel.set()
    with pytest.raises(Cancelled):
        measured(small(), progress=progress)


def test_layers_are_timed_in_a_runtime_of_graphs_too_and_kept_apart(tmp_path: Path) -> None:
    encoder, study = small(), Study.open(tmp_path / "study")
    table = measured(encoder, runtime="onnxruntime", threads=1, study=study)
    assert (table.runtime, table.threads) == ("onnxruntime", 1)
    assert (table.heads, table.neurons) == ((0, 2, 4), (0, 20)), "few widths: each is exported"
    here = (encoder, LENGTHS, 2, study)
    assert known_layer_times(*here, "onnxruntime", 1) == table
    assert known_layer_times(*here, "onnxruntime", 2) is None
    assert known_layer_times(*here, threads=1) is None, "torch was not timed"
    scores = scores_of(encoder.shape)
    model = cost_model(encoder, LENGTHS).with_latency(replace(table, ffn=(0, 1000), attention=(0, 500, 1000)))
    assert by_budget(scores, model, 0.99, "latency").provenance.rule.startswith(
        "keep 0.99 of the latency in onnxruntime"
    )


def test_a_table_that_says_no_runtime_is_of_torch() -> None:
    stored = measured(small()).to_json()
    del stored["runtime"]
    assert LatencyTable.from_json(stored).runtime == "torch"
