"""What a device takes is measured where nothing but numpy is imported, and counted as the model in memory counts it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.encoder import Encoder
from asc_core.errors import Cancelled, UserError
from asc_core.export import device_report as module
from asc_core.export.answer.numpy_model import Model
from asc_core.export.device_file import FILE, device_file
from asc_core.export.device_report import bytes_moved, device_report, disk_parts, multiply_adds
from asc_core.modeling import PACKINGS
from asc_core.progress import Progress
from tests.export.test_package import half
from tests.modeling.structures import packed, structured
from tests.tiny import save_checkpoint, tiny

few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = [("the cat sat on the mat", None), ("who is in paris ?", "a dog")]


def written(encoder: Encoder, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    device_file(encoder, PACKINGS["float32"]).write(folder / FILE)
    return folder


@few
@given(data=st.data(), kind=st.sampled_from(["cut", "factor", "quantize", "share"]), tokens=st.integers(1, 40))
def test_multiply_adds_of_the_layers_are_those_of_the_encoder(
    data: st.DataObject, kind: str, tokens: int, tmp_path: Path
) -> None:
    encoder = structured(data.draw, tiny(head="token-classification"), kind)
    model = Model(written(encoder, tmp_path) / FILE)
    head = tokens * encoder.model.classifier.weight.numel()
    assert multiply_adds(model, tokens) - head == encoder.cost(np.array([tokens])).flops / 2


@few
@given(data=st.data(), kind=st.sampled_from(["cut", "factor", "quantize", "vocabulary"]))
def test_parts_on_disk_add_up_to_the_file_and_arrays_to_what_was_decoded(
    data: st.DataObject, kind: str, tmp_path: Path
) -> None:
    encoder = structured(data.draw, tiny(), kind)
    path = written(encoder, tmp_path) / FILE
    parts, model = disk_parts(path), Model(path)
    assert sum(parts.values()) == path.stat().st_size
    assert list(parts.values()) == sorted(parts.values(), reverse=True)
    words = encoder.model.get_input_embeddings().state_dict().values()
    assert parts["words"] == sum(tensor.numel() * tensor.element_size() for tensor in words)
    biases = sum(
        tensor.size for name, tensor in model.tensors.items() if name.endswith(".bias") or "norm" in name.split(".")[-2]
    )
    rows_read = bytes_moved(model, 1) - bytes_moved(model, 0)
    assert model.bytes_held == bytes_moved(model, 0) + 4 * biases
    assert rows_read == sum(
        tensor[:1].nbytes
        for name, tensor in model.tensors.items()
        if name.split(".")[0] in model.said["tables"] and not name.endswith("levels")
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = tiny(labels=["bad", "good", "other"])
    encoder = packed(encoder.cut(half(encoder.shape)), ["word_embedding", "0.output.dense"], 4, 8, 4)
    return written(encoder, tmp_path_factory.mktemp("device") / "a model")


def test_a_report_is_of_a_process_without_torch(folder: Path) -> None:
    report = device_report(folder, TEXTS, repeats=2)
    assert report.here.runtime == "numpy"
    assert report.original is None
    assert report.ratio is None
    assert 0 < report.here.median <= report.here.p90
    assert 0 < report.here.bare <= report.here.imported <= report.here.most
    assert report.here.cold_start > 0
    assert report.here.arrays == Model(folder / FILE).bytes_held
    assert sum(report.disk.values()) == (folder / FILE).stat().st_size
    json.dumps(report.to_json(), allow_nan=False)


@pytest.mark.slow
def test_a_process_that_imported_torch_is_not_taken_for_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process of the original stands in for one."""
    save_checkpoint(tiny(), written(tiny(), tmp_path / "both"))
    process = module._Process
    monkeypatch.setattr(module, "_Process", lambda runtime, model: process("torch", model))
    with pytest.raises(RuntimeError, match="which a device has not"):
        device_report(tmp_path / "both", TEXTS, repeats=1)


@pytest.mark.slow
def test_the_command_asks_the_original_in_turns(folder: Path, tmp_path: Path) -> None:
    save_checkpoint(tiny(), tmp_path / "original")
    (tmp_path / "texts.txt").write_text("the cat sat\nwho is in paris ?\ta dog\n\n")
    arguments = ["device", str(folder), "--beside", str(tmp_path / "original"), "--repeats", "3"]
    arguments += ["--texts", str(tmp_path / "texts.txt")]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["requests"] == 2
    assert said["original"]["runtime"] == "torch"
    assert said["original"]["growth"] > said["here"]["growth"] > 0
    assert said["ratio"] > 0
    shown = CliRunner().invoke(app, arguments)
    assert "x as fast as the original" in shown.stdout


def test_what_holds_no_device_is_refused_with_the_way_out(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no model\.asc.*asc export --format device"):
        device_report(tmp_path)
    (tmp_path / FILE).write_bytes((folder / FILE).read_bytes()[:-1])
    with pytest.raises(UserError, match="is damaged"):
        device_report(tmp_path)
    with pytest.raises(UserError, match="one text or more"):
        device_report(folder, [])


@pytest.mark.slow
def test_an_original_that_cannot_be_loaded_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no-such-model cannot be asked in torch"):
        device_report(folder, TEXTS, beside=str(tmp_path / "no-such-model"), repeats=1)


def test_it_can_be_cancelled_and_leaves_no_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Any] = []
    load = module._Process.load
    monkeypatch.setattr(module._Process, "load", lambda self, text: (begun.append(self), load(self, text)))
    progress = Progress()
    progress.cancel.set()
    with pytest.raises(Cancelled):
        device_report(folder, TEXTS, repeats=2, progress=progress)
    assert begun[0].process.returncode is not None
    assert not math.isnan(begun[0].said["cold_start"])
