"""An exported folder is timed beside its original, as its user loads it; where nothing can, nothing is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asc_core.evaluate.layer_times import processor
from asc_core.export import export
from asc_core.export.card import Card
from asc_core.export.timing import Timing, timing_of, version_of
from asc_core.runtimes import RUNTIMES
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
    assert processor() in card


@pytest.mark.parametrize(("form", "runtime"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_graph_is_timed_in_its_runtime_beside_the_original_in_torch(form: str, runtime: str, tmp_path: Path) -> None:
    missing = RUNTIMES[runtime].missing()
    if missing is not None:
        pytest.skip(missing)
    encoder = tiny()
    report = export(
        encoder,
        tmp_path / "out",
        form,
        original=encoder,
        timed=lambda folder, name: timing_of(folder, name, encoder, [9, 12]),
    )
    timing = report.timing
    assert timing is not None
    assert (timing.runtime, timing.threads) == (version_of(runtime), torch.get_num_threads())
    assert timing.milliseconds > 0 < timing.original_milliseconds
    said = f"{version_of(runtime)}, the original in torch {torch.__version__} in float32, "
    assert timing.where.startswith(said)
    assert said in (tmp_path / "out/README.md").read_text()


def test_a_graph_of_torch_has_no_runtime_that_times_it(tmp_path: Path) -> None:
    assert timing_of(tmp_path, "torch-export", tiny(), [3]) is None


def test_the_same_computation_is_not_timed(tmp_path: Path) -> None:
    encoder = tiny()
    export(encoder, tmp_path / "out")
    assert timing_of(tmp_path / "out", "compact", encoder, [9, 12]) is None


def test_a_format_without_a_timer_has_no_time(tmp_path: Path) -> None:
    assert timing_of(tmp_path, "bag", tiny(), [3]) is None
    report = export(tiny(), tmp_path / "out", card=Card())
    assert report.timing is None
    assert "Its time was not measured beside the original." in (tmp_path / "out/README.md").read_text()


def test_one_thread_is_one_thread() -> None:
    timing = Timing(1.0, 2.0, 2.0, 1, 12.0, "torch", "torch", 1, "a machine")
    assert timing.where == "torch, 1 thread, a machine"
