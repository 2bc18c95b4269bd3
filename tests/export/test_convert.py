"""Pickled weights become safetensors, and a pickle that would run something runs nothing."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from asc_core.errors import Cancelled, UserError
from asc_core.export import convert, unpickle
from asc_core.loading import load_encoder
from asc_core.progress import Progress
from tests.tiny import logits, padded_batch, save_checkpoint, tiny

pytestmark = pytest.mark.slow


def pickled(folder: Path, **overrides: Any) -> Path:
    """A checkpoint as it looked before safetensors."""
    encoder = tiny(**overrides)
    save_checkpoint(encoder, folder)
    (folder / "model.safetensors").unlink()
    torch.save(OrderedDict(encoder.model.state_dict()), folder / "pytorch_model.bin")
    return folder


class Malicious:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.trace}'",)


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the seconds of a new interpreter; for files that are broken but harmless."""

    def run(script: Path, arguments: list[str], scratch: Path, cancel: threading.Event) -> str:
        try:
            for old, new in zip(arguments[::2], arguments[1::2], strict=True):
                unpickle.rewrite(old, new)
        except Exception as error:
            return unpickle.reason(error)
        return ""

    monkeypatch.setitem(convert.__globals__, "run_alone", run)


def test_a_pickled_checkpoint_loads_after_conversion(tmp_path: Path) -> None:
    folder = pickled(tmp_path / "old")
    torch.save({"lr": 1.0}, folder / "training_args.bin")
    with pytest.raises(UserError, match="asc convert"):
        load_encoder(folder, device="cpu")
    assert convert(folder) == folder / "model.safetensors"
    again = load_encoder(folder, device="cpu")
    torch.testing.assert_close(logits(again, padded_batch()), logits(tiny(), padded_batch()), atol=0, rtol=0)
    assert (folder / "pytorch_model.bin").exists()
    assert not list(folder.glob(".*.partial"))
    with pytest.raises(UserError, match="safetensors already"):
        convert(folder)


def test_a_malicious_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    folder = pickled(tmp_path / "bad")
    trace = tmp_path / "was-here"
    torch.save({"weight": torch.ones(2), "more": Malicious(trace)}, folder / "pytorch_model.bin")
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert trace.exists()  # it really is malicious
    trace.unlink()
    with pytest.raises(UserError, match=r"asks to run (posix|nt|os)\.system") as caught:
        convert(folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="asc convert"):
        load_encoder(folder, device="cpu")
    assert not trace.exists()
    assert not list(folder.glob("*.safetensors"))
    assert not list(folder.glob(".*.partial"))


@pytest.mark.usefixtures("in_this_process")
def test_weights_in_several_files_and_shared_tensors(tmp_path: Path) -> None:
    folder = pickled(tmp_path / "shards")
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    names = sorted(state)
    state[names[1]] = state[names[0]]
    big = torch.arange(10.0)
    parts = [dict.fromkeys(names[:2], state[names[0]]) | {"view": big[2:5]}, {n: state[n] for n in names[2:]}]
    weight_map = {}
    for i, part in enumerate(parts, start=1):
        file = f"pytorch_model-0000{i}-of-00002.bin"
        torch.save(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    new = convert(folder)
    assert new == folder / "model.safetensors.index.json"
    mapped = json.loads(new.read_text())["weight_map"]
    assert set(mapped) == set(weight_map)
    for name, file in mapped.items():
        expected = big[2:5] if name == "view" else state[name]
        torch.testing.assert_close(load_file(folder / file)[name], expected, atol=0, rtol=0)


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"weight_map": {"a": "../../secret.bin"}}, "not pickled weights of this folder"),
        ({"weight_map": {"a": "config.json"}}, "not pickled weights of this folder"),
        ({"weight_map": {"a": "pytorch_model-00001-of-00001.bin"}}, "lacks pytorch_model-00001"),
        ({"weight_map": {"a": 1}}, "does not say which weight"),
        ([], "does not say which weight"),
    ],
)
def test_an_index_cannot_lead_elsewhere(index: Any, says: str, tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=says):
        convert(tmp_path)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no pickle at all", "cannot be converted"),
        (b"", "cannot be converted"),
        ([1, 2], "not a table"),
        ({}, "not a table"),
    ],
)
def test_what_is_no_checkpoint_is_refused(content: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=says):
        convert(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["pytorch_model.bin"]


def test_there_has_to_be_one_file_to_convert(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has none"):
        convert(tmp_path)
    (tmp_path / "a.pt").touch()
    (tmp_path / "b.pt").touch()
    with pytest.raises(UserError, match=r"several \(a\.pt, b\.pt\)"):
        convert(tmp_path)
    with pytest.raises(UserError, match="not a folder"):
        convert(tmp_path / "nothing")


def test_a_cancelled_conversion_leaves_nothing(tmp_path: Path) -> None:
    folder = pickled(tmp_path / "old")
    cancel = threading.Event()
    progress = Progress(lambda done, total, what: cancel.set(), cancel)
    with pytest.raises(Cancelled):
        convert(folder, progress)
    assert not list(folder.glob("*.safetensors"))
    assert not list(folder.glob(".*.partial"))
