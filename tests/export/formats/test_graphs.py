"""What holds for formats that are graphs: every head of every architecture, a text's vector, the folder, its example.

An export is compared by itself, at every odd shape, so that it came to be is what is tested.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from asc_core.encoder import HEADS, Encoder
from asc_core.errors import UserError
from asc_core.export import FORMATS, export
from asc_core.export.formats import openvino as openvino_format
from asc_core.export.graph import TEXT_VECTOR
from asc_core.sentences import POOLINGS, Sentences
from asc_core.values import Plan
from tests.export.conftest import checked_in_process
from tests.export.test_package import half
from tests.modeling.structures import KINDS, structured
from tests.tiny import ARCHITECTURES, tiny

needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="openvino is an extra (requirements-openvino.txt) and not installed here"
)
OPENVINO = pytest.param("openvino", marks=needs_openvino)
GRAPHS = ("onnx", "torch-export", OPENVINO)
OTHERS = ("torch-export", OPENVINO)  # ONNX has a file of its own
FILE = {"onnx": "model.onnx", "torch-export": "model.pt2", "openvino": "model.xml"}
# What each runs without.
WITHOUT = {
    "onnx": ("torch", "transformers", "asc_core", "openvino"),
    "torch-export": ("transformers", "asc_core", "onnxruntime", "openvino"),
    "openvino": ("torch", "transformers", "asc_core", "onnxruntime"),
}


def unit(vector: torch.Tensor) -> torch.Tensor:
    return functional.normalize(vector, dim=-1)


def cut(architecture: str = "bert", head: str = "sequence-classification", **overrides: object) -> Encoder:
    encoder = tiny(architecture, head=head, **overrides)
    return encoder.cut(half(encoder.shape, (0,) if architecture == "albert" else (1, 2)))


def run_example(folder: Path, form: str, scratch: Path, *texts: str) -> str:
    """In an environment that lacks what the format promises to do without, and knows nothing of this project."""
    code = (
        f"import runpy, sys; sys.modules |= dict.fromkeys({WITHOUT[form]!r}); "
        f"sys.argv = ['example.py', *{list(texts)!r}]; runpy.run_path({str(folder / 'example.py')!r})"
    )
    installed = [
        path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if not (Path(path) / "tests").exists()
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(installed)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=scratch, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("form", GRAPHS)
def test_the_folder_is_enough_and_its_example_says_the_models_label(form: str, tmp_path: Path) -> None:
    encoder = cut(labels=["bad", "good", "other"])
    report = export(encoder, tmp_path / "a model", form, texts=["a cat sat", ("who ?", "a dog")])
    assert report.checked_in == "fresh process"
    assert {"README.md", "config.json", "example.py", FILE[form], "requirements.txt", "tokenizer.json"} <= set(
        report.files
    )
    config = json.loads((report.path / "config.json").read_text())
    assert config["model_type"] == "bert"
    assert not {"asc", "auto_map"} & config.keys()
    with torch.inference_mode():
        encoded = encoder.tokenizer("the cat sat", "a dog", return_tensors="pt", return_token_type_ids=True)
        best = encoder.model(**encoded).logits.argmax().item()
    assert run_example(report.path, form, tmp_path, "the cat sat", "a dog") == f"logits ['{encoder.labels[best]}']"
    content = b"".join(path.read_bytes() for path in report.path.iterdir())
    assert b"site-packages" not in content
    assert str(Path(__file__).parents[3]).encode() not in content


@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("form", GRAPHS)
def test_every_pooling_and_what_follows_it_is_in_the_graph(form: str, pooling: str, tmp_path: Path) -> None:
    encoder = cut(head="embedding", num_hidden_layers=3)
    encoder.sentences = Sentences((pooling, "mean"), (unit,), prompt="who : ", pools_prompt=False)
    with checked_in_process():
        report = export(encoder, tmp_path / "out", form)
    assert report.max_difference < 1e-4
    assert f"`{TEXT_VECTOR}`: pooling ({pooling} and mean)" in (report.path / "README.md").read_text()
    assert "texts = ['who : ' + text for text in texts]" in (report.path / "example.py").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("form", GRAPHS)
def test_a_graph_that_pools_otherwise_is_not_exported(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, module = cut(head="embedding"), importlib.import_module(type(FORMATS[form]).__module__)
    traceable = module.traceable

    def other_pooling(*given: object) -> object:
        traced = traceable(*given)
        traced.module.pooling = Sentences(("cls",))
        return traced

    monkeypatch.setattr(module, "traceable", other_pooling)
    with checked_in_process(), pytest.raises(UserError, match="does not answer like the one in memory"):
        export(encoder, tmp_path / "out", form)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("form", OTHERS)
def test_every_head_of_every_architecture_is_translated(
    form: str, architecture: str, head: str, tmp_path: Path
) -> None:
    with checked_in_process():
        report = export(cut(architecture, head), tmp_path / "out", form)
    assert report.max_difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("form", GRAPHS)
def test_positions_that_no_layer_asks_for_any_more_are_no_obstacle(form: str, tmp_path: Path) -> None:
    """ModernBERT makes positions for each kind of layer, without gradients; one kind has lost all its heads here."""
    encoder = tiny("modernbert")
    plan = Plan.full(encoder.shape).drop(layer=0)
    for head in range(encoder.shape.heads[1]):
        plan = plan.drop(layer=1, head=head)
    with checked_in_process():
        assert export(encoder.cut(plan), tmp_path / "out", form).max_difference < FORMATS[form].tolerance


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", OTHERS)
@settings(max_examples=1, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_structures_are_in_the_graph(form: str, kind: str, data: st.DataObject, tmp_path: Path) -> None:
    with checked_in_process():
        report = export(structured(data.draw, tiny(), kind), tmp_path / "out", form, overwrite=True)
    assert report.max_difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("part", ["heads", "neurons"])
@pytest.mark.parametrize("form", OTHERS)
def test_a_layer_without_any_heads_or_neurons_is_in_the_graph(form: str, part: str, tmp_path: Path) -> None:
    encoder = tiny()
    full = Plan.full(encoder.shape)
    plan = replace(full, **{part: ((), *getattr(full, part)[1:])})
    with checked_in_process():
        assert export(encoder.cut(plan), tmp_path / "out", form).max_difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", OPENVINO])
@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_stored_in_half_it_answers_like_the_rounded_model_in_half_the_bytes(
    form: str, architecture: str, tmp_path: Path
) -> None:
    encoder = cut(architecture, hidden_size=32, vocab_size=512)
    with checked_in_process():  # within 1e-4 of the model whose weights went through float16, or it is not exported
        half_, whole = (export(encoder, tmp_path / name, form, packing=name) for name in ("float16", "float32"))
    assert whole.max_difference < 1e-4 < half_.max_difference

    def weights(folder: Path) -> int:
        said = re.search(r"weights, bytes \(float\d+\) \| ([\d,]+)", (folder / "README.md").read_text())
        assert said is not None
        return int(said[1].replace(",", ""))

    assert weights(half_.path) < 0.6 * weights(whole.path)


def test_the_opset_is_the_one_on_the_card(tmp_path: Path) -> None:
    with checked_in_process():
        report = export(cut(num_hidden_layers=3), tmp_path / "out", "onnx")
    opset = {entry.domain: entry.version for entry in onnx.load(report.path / "model.onnx").opset_import}[""]
    assert f"opset {opset}." in (report.path / "README.md").read_text()


def test_openvino_is_refused_before_the_work_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_format, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"requirements-openvino\.txt, or export in the ONNX format"):
        export(tiny(), tmp_path / "out", "openvino")
    assert list(tmp_path.iterdir()) == []
