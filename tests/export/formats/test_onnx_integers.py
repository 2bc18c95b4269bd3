"""int8 in ONNX: integers in the file and in the products, answers as in memory, and the speed beside float32 said."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest
import torch

from asc_core.checkpoint.digests import write_digests
from asc_core.compress.quantize import Quantize
from asc_core.compress.step import StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import comparison, export
from asc_core.export.comparison import Questions, equal_answers
from asc_core.export.proof import read_proof
from asc_core.export.verify import verify
from asc_core.modeling import QuantizedLinear
from tests.export.conftest import checked_in_process, in_process  # noqa: F401 (a fixture)
from tests.tiny import tiny

pytestmark = [pytest.mark.usefixtures("in_process")]


def in_int8(activations: str = "dynamic", **options: object) -> Encoder:
    encoder = tiny(labels=["bad", "good", "other"], num_hidden_layers=1)
    return Quantize(choose=False, activations=activations, **options).apply(encoder, StepContext())  # type: ignore[arg-type]


def test_products_are_of_integers_and_what_is_said_of_speed_stands_on_the_card(tmp_path: Path) -> None:
    made = in_int8(keep=("output.dense",))
    report = export(made, tmp_path / "out", "onnx")
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("MatMulInteger") == 5
    assert sum(tensor.data_type == onnx.TensorProto.INT8 for tensor in graph.initializer) == 6
    assert report.equal is not None
    assert report.equal >= 0.9
    assert re.match(r"int8 is (slower|faster) than float32 on this machine: 1 x 24 tokens [\d.]+ ms", report.speed)
    card = (tmp_path / "out" / "README.md").read_text()
    assert report.speed in card
    assert "got the same answer from both" in card
    assert "without VNNI" in card
    assert "of 24 differ by less than 1e-04" in card
    assert read_proof(tmp_path / "out")[0].rounds
    assert verify(tmp_path / "out").max_difference < report.tolerance


def test_weights_alone_are_integers_in_the_file_and_exact(tmp_path: Path) -> None:
    wide = tiny(num_hidden_layers=1, hidden_size=96, intermediate_size=192)  # the exporter computes what is tiny
    made = Quantize(choose=False, activations="none").apply(wide, StepContext())
    report = export(made, tmp_path / "out", "onnx")
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    assert "MatMulInteger" not in [node.op_type for node in graph.node]
    assert sum(tensor.data_type == onnx.TensorProto.INT8 for tensor in graph.initializer) == 7
    assert (report.equal, report.speed) == (None, "")
    assert report.max_difference < 1e-4


def test_a_wrong_scale_is_not_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asc_core.export.formats import onnx as form

    def wrong(model: torch.nn.Module) -> bool:
        for module in model.modules():
            if isinstance(module, QuantizedLinear):
                module.scale = torch.nn.Parameter(module.scale * 1.5, requires_grad=False)
        return bool(right(model))

    right = form.in_integers
    monkeypatch.setattr(form, "in_integers", wrong)
    with pytest.raises(UserError, match="does not answer like the one in memory"):
        export(in_int8(), tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


def test_too_few_equal_answers_are_not_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "equal_answers", lambda *_: 0.4)
    with pytest.raises(UserError, match=r"answers only 40.0% of 10 texts like the one in memory \(at least 50%"):
        export(in_int8(), tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


def test_equal_answers_are_counted_over_the_texts_alone() -> None:
    batch = {"input_ids": [[1]] * 4, "attention_mask": [[1]] * 4}
    questions = Questions([("a", None)] * 6, 8, [batch, batch])
    wanted = {f"{i}.logits": torch.tensor([[0.0, 1.0]] * 4) for i in range(2)}
    found = {name: value.clone() for name, value in wanted.items()}
    found["0.logits"][0] = torch.tensor([1.0, 0.0])
    found["1.logits"][3] = torch.tensor([1.0, 0.0])  # of a random sequence
    assert equal_answers(wanted, found, questions) == pytest.approx(5 / 6)
    numbers = {name: value[:, :1] for name, value in wanted.items()}
    assert equal_answers(numbers, numbers, questions) is None


@pytest.mark.parametrize("digests_anew", [False, True], ids=["on export", "on verify"])
def test_what_is_smaller_than_rounding_shows_in_short_texts(
    digests_anew: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asc_core.export.formats import onnx as form

    def slightly_wrong(model: torch.nn.Module) -> bool:
        first = next(module for module in model.modules() if isinstance(module, QuantizedLinear))
        first.scale = torch.nn.Parameter(first.scale * 1.01, requires_grad=False)
        return bool(right(model))

    right = form.in_integers
    monkeypatch.setattr(form, "_speed", lambda *_: "")
    if digests_anew:
        export(in_int8(), tmp_path / "right", "onnx")
        monkeypatch.setattr(comparison, "check_short_texts", lambda *_: None)
    monkeypatch.setattr(form, "in_integers", slightly_wrong)
    if not digests_anew:
        with pytest.raises(UserError, match=r"of 24 texts of 2 tokens, only \d+ differ by less than 1e-04"):
            export(in_int8(), tmp_path / "out", "onnx")
        assert not (tmp_path / "out").exists()
        return
    export(in_int8(), tmp_path / "wrong", "onnx")  # within all else that is allowed
    monkeypatch.undo()
    (tmp_path / "right" / "model.onnx").write_bytes((tmp_path / "wrong" / "model.onnx").read_bytes())
    write_digests(tmp_path / "right")
    with checked_in_process(), pytest.raises(UserError, match=r"of 24 texts .* is not what was exported"):
        verify(tmp_path / "right")
