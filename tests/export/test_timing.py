"""An exported folder is timed beside its original, as its user loads it; where nothing can, nothing is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from asc_core.export import export
from asc_core.export.card import Card
from asc_core.export.timing import Timing, machine, timing_of
from asc_core.values import Plan
from tests.tiny import tiny

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.mark.parametrize("form", ["compact", "weights-only", "dense"])
def test_a_folder_is_loaded_and_timed_in_turns(form: str, tmp_path: Path) -> None:
    encoder = tiny()
    smaller = encoder.cut(Plan.full(encoder.shape).drop(layer=0))
    report = export(
        smaller,
        tmp_path / "out",
        form,
        original=encoder,
        timed=lambda folder, name: timing_of(folder, name, encoder, [9, 12]),
    )
    timing = report.timing
    assert timing is not None
    assert timing.milliseconds > 0 < timing.original_milliseconds
    assert (timing.batch_size, timing.tokens) == (1, 10.5)
    card = (tmp_path / "out/README.md").read_text()
    assert f"{timing.ratio:.2f} times as fast there, which says nothing about another machine" in card
    assert machine() in card


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_graph_is_timed_in_its_own_runtime_beside_the_original_in_torch(form: str, tmp_path: Path) -> None:
    pytest.importorskip({"onnx": "onnxruntime"}.get(form, form))
    encoder = tiny()
    report = export(
        encoder,
        tmp_path / "out",
        form,
        timed=lambda folder, name: timing_of(folder, name, encoder, [9, 12]),
    )
    timing = report.timing
    assert timing is not None
    assert timing.milliseconds > 0 < timing.original_milliseconds
    assert "the original in torch" in timing.where
    assert timing.where.startswith({"onnx": "ONNX Runtime", "openvino": "OpenVINO"}[form])
    assert timing.where in (tmp_path / "out/README.md").read_text()


def test_the_same_computation_is_not_timed(tmp_path: Path) -> None:
    encoder = tiny()
    export(encoder, tmp_path / "out")
    assert timing_of(tmp_path / "out", "compact", encoder, [9, 12]) is None


def test_a_format_without_a_timer_has_no_time(tmp_path: Path) -> None:
    assert timing_of(tmp_path, "bag", tiny(), [3]) is None
    report = export(tiny(), tmp_path / "out", card=Card())
    assert report.timing is None
    assert "Its time was not measured." in (tmp_path / "out/README.md").read_text()


def test_one_thread_is_one_thread() -> None:
    timing = Timing(1.0, 2.0, 2.0, 1, 12.0, "torch", 1, "a machine")
    assert timing.where == "torch, 1 thread, a machine"
