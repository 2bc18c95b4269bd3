"""What a checkpoint as others leave it gets: the same answers, or one sentence that names the file and the way out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.loading import load_encoder
from tests.accepted.case import Checkpoint, pattern
from tests.accepted.checkpoints import ADAPTERS, READ, REFUSED
from tests.tiny import logits, padded_batch, randomise, save_checkpoint, tiny


@pytest.mark.parametrize("case", READ, ids=lambda case: case.what)
def test_what_does_not_count_makes_no_difference(case: Checkpoint, tmp_path: Path) -> None:
    encoder = tiny()
    folder = save_checkpoint(encoder, tmp_path / "model")
    case.change(folder)
    again = load_encoder(folder, device="cpu")
    torch.testing.assert_close(logits(again, padded_batch()), logits(encoder, padded_batch()), atol=1e-6, rtol=0)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.what)
def test_a_broken_checkpoint_is_refused_in_one_sentence(case: Checkpoint, tmp_path: Path) -> None:
    folder = save_checkpoint(tiny(), tmp_path / "model")
    case.change(folder)
    with pytest.raises(UserError, match=pattern(case.said)) as caught:
        load_encoder(folder, device="cpu")
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model.safetensors", "is a file: give the folder that it lies in"),
        ("model.onnx", "is an ONNX model: give the checkpoint folder"),
        ("model.tar.gz", "is an archive: unpack it"),
    ],
)
def test_a_file_in_place_of_a_folder_is_refused(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"...")
    with pytest.raises(UserError, match=f"{re.escape(name)} {says}"):
        load_encoder(tmp_path / name, device="cpu")


@pytest.mark.parametrize("name", ["missing", "./missing", "/nowhere/at/all", "org/missing"])
def test_what_is_no_folder_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"is not a folder with a checkpoint|is neither a folder here nor a model"):
        load_encoder(name, device="cpu")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_checkpoints_compute_in_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    encoder = tiny()
    stored = Encoder(encoder.copy().model.to(dtype), encoder.tokenizer, "half")
    again = load_encoder(save_checkpoint(stored, tmp_path / "half"), device="cpu")
    assert {p.dtype for p in again.model.parameters()} == {torch.float32}
    expected = Encoder(stored.model.float(), encoder.tokenizer, "float")
    torch.testing.assert_close(logits(again, padded_batch()), logits(expected, padded_batch()), atol=1e-6, rtol=0)


def test_an_encoder_to_be_fine_tuned_may_lack_its_head(tmp_path: Path) -> None:
    base = save_checkpoint(tiny(head="embedding"), tmp_path / "base")
    encoder = load_encoder(base, head="sequence-classification", labels=["yes", "no"], device="cpu")
    assert (encoder.head, encoder.labels) == ("sequence-classification", ("yes", "no"))


def adapter(folder: Path, base: Path, **base_overrides: Any) -> Path:
    settings = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    adapted = peft.get_peft_model(tiny(**base_overrides).model, settings)
    randomise(adapted)
    adapted.save_pretrained(folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(base)}))
    return folder


@pytest.mark.parametrize(("case", "overrides"), ADAPTERS, ids=lambda value: getattr(value, "what", ""))
def test_an_adapter_that_does_not_fit_is_refused(case: Checkpoint, overrides: dict[str, Any], tmp_path: Path) -> None:
    base = save_checkpoint(tiny(head="embedding"), tmp_path / "base")
    folder = adapter(tmp_path / "adapter", base, **overrides)
    case.change(folder)
    with pytest.raises(UserError, match=pattern(case.said)) as caught:
        load_encoder(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_an_adapter_that_fits_changes_the_encoder(tmp_path: Path) -> None:
    base = save_checkpoint(tiny(head="embedding"), tmp_path / "base")
    encoder = load_encoder(adapter(tmp_path / "adapter", base), device="cpu")
    assert encoder.head == "sequence-classification"
    plain = load_encoder(base, head="sequence-classification", device="cpu")
    assert (logits(encoder, padded_batch()) - logits(plain, padded_batch())).abs().max() > 1e-2
