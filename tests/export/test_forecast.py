"""Bytes are forecast before anything is built: exactly where parameters are written, nearly where a graph is."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asc_core.compress.step import StepContext
from asc_core.export import FORMATS, export
from asc_core.export.forecast import BESIDE, bytes_beside, int8_bytes, weight_bytes
from asc_core.recipes.int8 import int8_step
from tests.export.conftest import checked_in_process
from tests.export.test_package import half
from tests.test_surgery import plans
from tests.tiny import ARCHITECTURES, tiny


def written(folder: Path) -> int:
    found = re.search(r"weights, bytes \(float\d+\) \| ([\d,]+)", (folder / "README.md").read_text())
    assert found is not None
    return int(found[1].replace(",", ""))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["compact", "weights-only", "dense", "device"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), packing=st.sampled_from(["float32", "float16"]))
def test_parameters_are_forecast_exactly(
    architecture: str, form: str, data: st.DataObject, packing: str, tmp_path: Path
) -> None:
    encoder = tiny(architecture)
    plan = data.draw(plans(encoder.shape))
    smaller = encoder.cut(plan)
    if FORMATS[form].refuses(smaller) is not None:
        return
    with checked_in_process():
        export(smaller, tmp_path / "out", form, packing=packing, overwrite=True)
    assert weight_bytes(encoder, FORMATS[form], packing, plan) == written(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torch-export", "openvino"])
def test_a_graph_is_forecast_nearly(form: str, tmp_path: Path) -> None:
    if form == "openvino" and find_spec("openvino") is None:
        pytest.skip("openvino is an extra (requirements-openvino.txt) and not installed here")
    encoder = tiny(hidden_size=64, vocab_size=2000)
    plan = half(encoder.shape)
    with checked_in_process():
        export(encoder.cut(plan), tmp_path / "out", form)
    assert weight_bytes(encoder, FORMATS[form], "float32", plan) == pytest.approx(written(tmp_path / "out"), rel=0.05)


@pytest.mark.parametrize(
    "form", ["compact", *(pytest.param(graph, marks=pytest.mark.slow) for graph in ("onnx", "torch-export"))]
)
def test_int8_is_forecast_for_all_matrices(form: str, tmp_path: Path) -> None:
    encoder = tiny(hidden_size=96, intermediate_size=192, vocab_size=2000)
    plan, step = half(encoder.shape), int8_step(form, choose=False)
    with checked_in_process():
        export(step.apply(encoder.cut(plan), StepContext()), tmp_path / "out", form)
    forecast = int8_bytes(encoder, FORMATS[form], step.activations, plan)
    assert forecast == pytest.approx(written(tmp_path / "out"), rel=0 if form == "compact" else 0.05)
    assert forecast < 0.4 * weight_bytes(encoder, FORMATS[form], "float32", plan)


def test_what_lies_beside_the_weights_is_mostly_the_tokenizer(tmp_path: Path) -> None:
    encoder = tiny()
    with checked_in_process():
        report = export(encoder, tmp_path / "out")
    tokenizer = sum((report.path / name).stat().st_size for name in report.files if name.startswith("tokenizer"))
    assert bytes_beside(encoder) == BESIDE + tokenizer
