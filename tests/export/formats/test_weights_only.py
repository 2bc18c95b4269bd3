"""Weights and JSON alone: every head of every architecture comes back by our loader; nothing in the folder can run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asc_core.encoder import HEADS
from asc_core.export import export
from asc_core.export.verify import verify
from asc_core.loading import load_encoder
from tests.export.conftest import checked_in_process
from tests.export.test_package import half
from tests.modeling.structures import batch_within, structured, structures
from tests.tiny import ARCHITECTURES, logits, tiny

ENDINGS = {".json", ".safetensors", ".md", ".svg", ".txt"}


def assert_holds_no_code(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert path.is_dir() or path.suffix in ENDINGS, path
        if path.suffix == ".json":
            assert "auto_map" not in path.read_text(), path


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_head_of_every_architecture_comes_back(architecture: str, head: str, tmp_path: Path) -> None:
    encoder = tiny(architecture, head=head)
    smaller = encoder.cut(half(encoder.shape, (0,) if architecture == "albert" else (1, 2)))
    with checked_in_process():
        report = export(smaller, tmp_path / "out", "weights-only")
    assert_holds_no_code(report.path)
    assert report.max_difference < 1e-5


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kinds=structures())
def test_random_structures_come_back(data: st.DataObject, kinds: list[str], tmp_path: Path) -> None:
    encoder = tiny()
    for kind in kinds:
        encoder = structured(data.draw, encoder, kind)
    with checked_in_process():
        export(encoder, tmp_path / "out", "weights-only", overwrite=True)
    assert_holds_no_code(tmp_path / "out")
    again, inputs = load_encoder(tmp_path / "out", device="cpu"), batch_within(encoder.tokens)
    torch.testing.assert_close(logits(again, inputs), logits(encoder, inputs), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_fresh_process_answers_by_our_loader_and_so_does_verify(tmp_path: Path) -> None:
    encoder = tiny("modernbert", head="token-classification")
    report = export(encoder.cut(half(encoder.shape)), tmp_path / "out", "weights-only", packing="float16")
    assert report.checked_in == "fresh process"
    assert "auto" not in json.loads((report.path / "proof.json").read_text())["request"]
    assert verify(report.path).max_difference < 1e-4
    card = (report.path / "README.md").read_text()
    assert "ASC Studio builds the model, and without it nothing loads this folder." in card
    assert "trust_remote_code" not in card


def test_an_uncut_model_is_an_ordinary_checkpoint(tmp_path: Path) -> None:
    with checked_in_process():
        report = export(tiny(), tmp_path / "out", "weights-only")
    assert_holds_no_code(report.path)
    assert json.loads((report.path / "config.json").read_text())["model_type"] == "bert"
    assert "import asc_core" not in (report.path / "README.md").read_text()
