"""`asc speed`: every combination is timed, graphs in their own runtime, encoders in all that are named."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from asc_core.cli import app
from asc_core.export import FORMATS
from asc_core.modeling import PACKINGS
from tests.tiny import save_checkpoint, tiny


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(a checkpoint, its ONNX graph)"""
    root, encoder = tmp_path_factory.mktemp("speed"), tiny()
    graph = root / "graph"
    graph.mkdir()
    FORMATS["onnx"].write(encoder, graph, PACKINGS["float32"])
    return save_checkpoint(encoder, root / "model"), graph


def run(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["speed", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_a_checkpoint_and_a_graph_are_timed_in_turns(folders: tuple[Path, Path]) -> None:
    sizes = ("--batch-size", 1, "--batch-size", 2, "--tokens", 8, "--threads", 1, "--repeats", 3, "--json")
    code, out, err = run(*folders, "--runtime", "torch", "--runtime", "onnxruntime", *sizes)
    assert code == 0, err
    found = json.loads(out)["speeds"]
    assert [(one["runtime"], one["batch_size"]) for one in found] == [
        ("torch", 1), ("onnxruntime", 1), ("onnxruntime", 1), ("torch", 2), ("onnxruntime", 2), ("onnxruntime", 2)
    ]  # fmt: skip
    assert {(one["tokens"], one["threads"]) for one in found} == {(8, 1)}
    assert [one["ratio"] for one in found if one["runtime"] == "torch"] == [1, 1]
    assert all(0 < one["low"] <= one["ms"] <= one["high"] for one in found)


def test_what_cannot_be_timed_is_said(folders: tuple[Path, Path]) -> None:
    model, graph = folders
    assert "is for onnxruntime, which is not among" in run(graph, "--runtime", "torch")[2]
    assert "There is no runtime 'tpu'" in run(model, "--runtime", "tpu")[2]
    code, _, err = run(model, "--runtime", "torch", "--tokens", 500)
    assert code == 2
    assert "tokens at most, not 500" in err


def test_more_texts_than_memory_holds_are_said_in_a_sentence(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 47999999520 bytes.")

    monkeypatch.setattr(importlib.import_module("asc_core.evaluate.speeds"), "measure_in_turns", too_much)
    code, _, err = run(folders[0], "--runtime", "torch", "--tokens", 8, "--batch-size", 99999999)
    assert code == 2
    assert "Memory is too short for 99,999,999 texts of 8 tokens: ask for a smaller batch size." in err
