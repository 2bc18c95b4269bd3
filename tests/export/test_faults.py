"""Full disks and kills, really caused: what was there stays, and nothing half-made is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from asc_core.errors import UserError
from asc_core.export import FORMATS, convert, export
from asc_core.loading import load_encoder
from asc_core.values import Plan
from tests.export.conftest import checked_in_process
from tests.tiny import logits, padded_batch, tiny

pytestmark = pytest.mark.faults


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let the test mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # a loaded model still maps its file


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("small_disk", [4, 8, 24, 40, 52, 60], indirect=True)
def test_a_full_disk_leaves_nothing(small_disk: Path, format: str) -> None:
    encoder = tiny()
    with pytest.raises(UserError, match=r"disk of .* is full.*Nothing was written"):
        export(encoder.cut(Plan.full(encoder.shape).drop(layer=0, head=1)), small_disk / "out", format)
    assert list(small_disk.iterdir()) == []


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("small_disk", [190, 230], indirect=True)
def test_a_full_disk_leaves_the_model_that_was_there(small_disk: Path) -> None:
    encoder = tiny()
    smaller = encoder.cut(Plan.full(encoder.shape).drop(layer=0).drop(layer=1))
    export(smaller, small_disk / "out")
    files = sorted(p.name for p in (small_disk / "out").iterdir())
    with pytest.raises(UserError, match=r"disk of .* is full"):
        export(encoder.cut(Plan.full(encoder.shape).drop(layer=0, head=1)), small_disk / "out", overwrite=True)
    assert [p.name for p in small_disk.iterdir()] == ["out"]
    assert sorted(p.name for p in (small_disk / "out").iterdir()) == files
    again = load_encoder(small_disk / "out", device="cpu")
    torch.testing.assert_close(logits(again, padded_batch()), logits(smaller, padded_batch()), atol=1e-4, rtol=0)


@pytest.mark.parametrize("small_disk", [100], indirect=True)
def test_a_full_disk_leaves_no_half_converted_weights(small_disk: Path) -> None:
    state = tiny().model.state_dict()
    torch.save(state, small_disk / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"disk of .* is full"):
        convert(small_disk)
    assert [p.name for p in small_disk.iterdir()] == ["pytorch_model.bin"]


EXPORT_FOR_EVER = """
import sys
from tests.export.conftest import checked_in_process
from asc_core.export import export
from asc_core.values import Plan
from tests.tiny import tiny

encoders = [tiny(), tiny(seed=1)]
smaller = [e.cut(Plan.full(e.shape).drop(layer=i)) for i, e in enumerate(encoders)]
with checked_in_process():
    while True:
        for encoder in smaller:
            export(encoder, sys.argv[1], overwrite=True)
            print("exported", flush=True)
"""


def test_a_kill_leaves_a_whole_model(tmp_path: Path) -> None:
    out = tmp_path / "out"
    both = [tiny(), tiny(seed=1)]
    possible = [logits(e.cut(Plan.full(e.shape).drop(layer=i)), padded_batch()) for i, e in enumerate(both)]
    draw = random.Random(0)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", EXPORT_FOR_EVER, str(out)],
            cwd=Path(__file__).resolve().parents[2], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline() == "exported\n"
        time.sleep(draw.random() * 0.5)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = logits(load_encoder(out, device="cpu"), padded_batch())
        assert min((found - expected).abs().max().item() for expected in possible) < 1e-4
    with checked_in_process():
        export(both[0], out, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_killed_first_export_leaves_no_model(tmp_path: Path) -> None:
    """Killed while the fresh process checks, the longest step."""
    code = EXPORT_FOR_EVER.replace("with checked_in_process():", "if True:")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        cwd=Path(__file__).resolve().parents[2], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not list(tmp_path.glob(".out.*.partial/model.safetensors")):
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    with checked_in_process():
        export(tiny(), tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
