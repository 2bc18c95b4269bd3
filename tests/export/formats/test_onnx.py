"""The law of export for ONNX: what the cut model answers, the graph answers in onnxruntime, at every shape."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asc_core.encoder import HEADS, Encoder
from asc_core.errors import UserError
from asc_core.export import ExportReport, export
from asc_core.export.answer.with_onnxruntime import session_of
from asc_core.export.formats import onnx as onnx_format
from asc_core.export.graph import TEXT_VECTOR
from asc_core.gates import gated
from asc_core.values import Plan, Shape
from tests.export.conftest import checked_in_process
from tests.export.test_package import half
from tests.modeling.structures import KINDS, batch_within, structured
from tests.test_surgery import VARIANTS, plans
from tests.tiny import ARCHITECTURES, logits, padded_batch, tiny

# To trace and translate a model takes seconds, however small it is: the fast tests share one.


def empty_sublayers(shape: Shape) -> Plan:
    """A layer without heads and one without neurons."""
    heads, neurons = ((), *half(shape).heads[1:]), (half(shape).neurons[0], (), *half(shape).neurons[2:])
    return replace(half(shape), heads=heads, neurons=neurons, layers=(0, 1))


def said(folder: Path, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """As `tests.tiny.logits`, by the graph."""
    session = session_of(folder)
    given = {name: value.numpy() for name, value in inputs.items()}
    given["token_type_ids"] = np.zeros_like(given["input_ids"])
    names = [output.name for output in session.get_outputs() if output.name != TEXT_VECTOR]
    outputs = session.run(names, {wanted.name: given[wanted.name] for wanted in session.get_inputs()})
    mask = inputs["attention_mask"].bool()
    tensors = map(torch.tensor, outputs)
    return torch.cat([(t[mask] if t.dim() >= 2 and t.shape[:2] == mask.shape else t).flatten() for t in tensors])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, ExportReport]:
    encoder = tiny(labels=["bad", "good", "other"], num_hidden_layers=2)
    plan = empty_sublayers(encoder.shape)
    smaller = encoder.cut(plan)
    with checked_in_process():
        out = tmp_path_factory.mktemp("onnx") / "a model"
        return smaller, export(smaller, out, "onnx", plan=plan, original=encoder)


def test_the_folder_holds_what_a_stranger_needs_and_no_code_of_ours(exported: tuple[Encoder, ExportReport]) -> None:
    _, report = exported
    assert set(report.files) == {
        "README.md", "ancestry.json", "config.json", "digests.json", "example.py", "map.svg", "model.onnx",
        "plan.json", "proof.json", "proof.safetensors", "requirements.txt", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    config = json.loads((report.path / "config.json").read_text())
    assert config["model_type"] == "bert"
    assert not {"asc", "auto_map"} & config.keys()
    assert config["id2label"] == {"0": "bad", "1": "good", "2": "other"}
    card = (report.path / "README.md").read_text()
    for line in ("library_name: onnx", "neither torch nor transformers", "intra_op_num_threads", "onnxruntime 1."):
        assert line in card


@pytest.mark.parametrize(("size", "length"), [(1, 1), (1, 2), (1, 64), (4, 12), (3, 7), (9, 33)])
def test_it_answers_at_every_shape(exported: tuple[Encoder, ExportReport], size: int, length: int) -> None:
    encoder, report = exported
    inputs = padded_batch(1, size=min(size, (length + 1) // 2), length=length)
    torch.testing.assert_close(said(report.path, inputs), logits(encoder, inputs), atol=1e-4, rtol=0)


def test_the_graph_names_no_file_of_this_machine_and_its_weights_are_counted(
    exported: tuple[Encoder, ExportReport],
) -> None:
    _, report = exported
    content = (report.path / "model.onnx").read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content
    tensors = onnx.load(report.path / "model.onnx").graph.initializer
    written = sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in tensors)
    assert f"| weights, bytes (float32) | {written:,} |" in (report.path / "README.md").read_text()


def test_the_example_runs_and_says_the_models_label(exported: tuple[Encoder, ExportReport], tmp_path: Path) -> None:
    encoder, report = exported
    example = str(report.path / "example.py")
    code = (
        "import runpy, sys; sys.modules |= dict.fromkeys(['torch', 'transformers', 'asc_core']); "
        f"sys.argv = ['example.py', 'the cat sat', 'a dog']; runpy.run_path({example!r})"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    with torch.inference_mode():
        encoded = encoder.tokenizer("the cat sat", "a dog", return_tensors="pt", return_token_type_ids=True)
        best = encoder.model(**encoded).logits.argmax().item()
    assert done.stdout.strip() == f"logits ['{encoder.labels[best]}']"


def test_a_wrong_graph_is_not_exported_and_a_silent_exporter_stays_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    encoder = tiny(num_hidden_layers=1)
    full = Plan.full(encoder.shape)
    right, wrong = encoder.cut(full.drop(layer=0, head=1)), encoder.cut(full.drop(layer=0, head=2))
    write = onnx_format._write_graph
    monkeypatch.setattr(onnx_format, "_write_graph", lambda _, *others: write(wrong, *others))
    with checked_in_process(), pytest.raises(UserError, match="does not answer like the one in memory"):
        export(right, tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_tokenizer_of_another_kind_is_refused_with_the_format_that_takes_it(tmp_path: Path) -> None:
    encoder = tiny()

    class Slow:
        pass

    with pytest.raises(UserError, match=r"\(Slow\).*no ONNX format\. Export it in the compact format"):
        export(Encoder(encoder.model, Slow(), "tiny"), tmp_path / "out", "onnx")


def test_what_the_exporter_cannot_translate_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise torch.onnx.errors.OnnxExporterError("No translation for aten.strange.\n\nA long report")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(UserError, match=r"\(No translation for aten\.strange\)\. Export it in the compact format\."):
        export(tiny(), tmp_path / "out", "onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_graph_is_checked_in_a_fresh_process(tmp_path: Path) -> None:
    encoder = tiny("modernbert", head="token-classification")
    report = export(encoder.cut(half(encoder.shape)), tmp_path / "out", "onnx", texts=["a cat sat", ("who ?", "a dog")])
    assert (report.checked_in, report.checked_texts) == ("fresh process", 2)
    assert report.max_difference < 1e-4


@pytest.mark.slow
def test_a_shared_tensor_is_in_the_graph_once(tmp_path: Path) -> None:
    encoder = tiny()
    layers = encoder.model.bert.encoder.layer
    layers[2].intermediate.dense.weight = layers[0].intermediate.dense.weight
    with checked_in_process():
        export(encoder, tmp_path / "out", "onnx")
    shapes = [tuple(t.dims) for t in onnx.load(tmp_path / "out/model.onnx").graph.initializer]
    assert sum(shape in ((20, 24), (24, 20)) for shape in shapes) == 2 * 3 - 1


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_head_of_every_architecture_is_translated(architecture: str, head: str, tmp_path: Path) -> None:
    encoder = tiny(architecture, head=head)
    layers = (0,) if architecture == "albert" else (1, 2)
    smaller = encoder.cut(half(encoder.shape, layers))
    with checked_in_process():
        export(smaller, tmp_path / "out", "onnx", original=encoder)
    inputs = padded_batch()
    torch.testing.assert_close(said(tmp_path / "out", inputs), logits(smaller, inputs), atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seed=st.integers(0, 3))
def test_the_graph_answers_like_the_gated_model(variant: str, data: st.DataObject, seed: int, tmp_path: Path) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, seed=seed, **overrides)
    plan = data.draw(plans(encoder.shape))
    inputs = padded_batch(seed)
    with gated(encoder, plan):
        expected = logits(encoder, inputs)
    with checked_in_process():
        export(encoder.cut(plan), tmp_path / "out", "onnx", plan=plan, overwrite=True)
    torch.testing.assert_close(said(tmp_path / "out", inputs), expected, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=1, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_graph_answers_like_the_model_with_structures(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    encoder = structured(data.draw, tiny(), kind)
    with checked_in_process():
        export(encoder, tmp_path / "out", "onnx", overwrite=True)
    inputs = batch_within(int(encoder.model.config.vocab_size))
    torch.testing.assert_close(said(tmp_path / "out", inputs), logits(encoder, inputs), atol=1e-4, rtol=0)
