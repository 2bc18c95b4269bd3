"""What a broken checkpoint gets: one sentence that names the file and the way out, never wrong weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.loading import load_encoder
from tests.tiny import logits, padded_batch, randomise, save_checkpoint, tiny

Break = Callable[[Path], Any]


def edit_config(**values: Any) -> Break:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def write(name: str, content: bytes) -> Break:
    return lambda folder: (folder / name).write_bytes(content)


def remove(*names: str) -> Break:
    return lambda folder: [(folder / name).unlink() for name in names]


def truncate(name: str, keep: float) -> Break:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep)])

    return change


def edit_weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Break:
    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        weights = load_file(path)
        change(weights)
        save_file(weights, path, metadata={"format": "pt"})

    return apply


def shards(index: bytes, *names: str) -> Break:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).write_bytes((folder / "model.safetensors").read_bytes())
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_bytes(index)

    return change


def pickle_only(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


FIRST = "model-00001-of-00002.safetensors"
BROKEN: dict[str, tuple[Break, str]] = {
    "no tokenizer": (remove("tokenizer.json"), "no tokenizer .* copy the tokenizer files"),
    "tokenizer cut off": (truncate("tokenizer.json", 0.5), "tokenizer cannot be loaded"),
    "tokenizer of something else": (write("tokenizer.json", b'{"version": "1.0"}'), "tokenizer cannot be loaded"),
    "weights cut off": (truncate("model.safetensors", 0.7), r"model\.safetensors is broken"),
    "weights cut off in the header": (truncate("model.safetensors", 0.01), r"model\.safetensors is broken"),
    "empty weights": (write("model.safetensors", b""), r"model\.safetensors is broken"),
    "garbage as weights": (write("model.safetensors", bytes(range(256)) * 99), r"model\.safetensors is broken"),
    "a header that claims too much": (
        write("model.safetensors", b"\xff" * 7 + b"\x7f{}"),
        r"model\.safetensors is broken",
    ),
    "a page of HTML as weights": (
        write("model.safetensors", b"<!DOCTYPE html><html>"),
        r"model\.safetensors is broken",
    ),
    "no weights": (remove("model.safetensors"), "has no weights"),
    "pickle only": (pickle_only, "only pickled weights.*asc convert"),
    "a layer's weights missing": (
        edit_weights(lambda w: [w.pop(n) for n in list(w) if ".layer.1." in n]),
        r"lacks weights.*layer\.1.* and \d+ more",
    ),
    "the head's weights missing": (
        edit_weights(lambda w: w.pop("classifier.bias")),
        r"lacks weights.*: classifier\.bias\.",
    ),
    "a weight of another size": (
        edit_weights(lambda w: w.update({"classifier.weight": torch.zeros(5, 24)})),
        "do not fit its configuration",
    ),
    "no configuration": (remove("config.json"), r"no config\.json"),
    "configuration cut off": (truncate("config.json", 0.5), r"config\.json cannot be read"),
    "configuration that is a list": (
        write("config.json", b"[]"),
        r"config\.json cannot be read: it is not a JSON object",
    ),
    "configuration in Latin-1": (write("config.json", b'{"a": "\xe9"}'), r"config\.json cannot be read"),
    "unknown architecture": (edit_config(model_type="gpt2"), "'gpt2' is not supported; supported are: albert, bert"),
    "unheard-of architecture": (edit_config(model_type="nonsense"), "Supported architectures: albert, bert"),
    "no architecture": (edit_config(model_type=None), "Supported architectures: albert, bert"),
    "a number that is a word": (edit_config(num_hidden_layers="six"), "configuration cannot be read"),
    "heads that do not divide the width": (edit_config(num_attention_heads=7), "do not fit its configuration"),
    "no heads at all": (
        edit_config(num_attention_heads=0),
        "do not fit its configuration|configuration cannot be read",
    ),
    "more layers than weights": (edit_config(num_hidden_layers=5), r"lacks weights.*layer\.3"),
    "an activation nobody knows": (edit_config(hidden_act="magic"), "do not fit its configuration"),
    "an index cut off": (shards(b'{"weight_map": {"a', FIRST), r"index\.json cannot be read"),
    "an index without a map": (shards(b"{}", FIRST), "does not say which weight is in which file"),
    "an index that names a missing file": (
        shards(json.dumps({"weight_map": {"a": FIRST, "b": "model-00002-of-00002.safetensors"}}).encode(), FIRST),
        "lacks model-00002-of-00002",
    ),
    "a compact model without its record": (edit_config(model_type="asc-bert"), "no asc that says"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_checkpoint_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    damage, says = BROKEN[case]
    folder = save_checkpoint(tiny(), tmp_path / "model")
    damage(folder)
    with pytest.raises(UserError, match=says) as caught:
        load_encoder(folder, device="cpu")
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["missing", "./missing", "/nowhere/at/all", "org/missing", "file"])
def test_what_is_no_folder_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"is not a folder with a checkpoint|is neither a folder here nor a model"):
        load_encoder(name, device="cpu")


def test_a_whole_checkpoint_loads(tmp_path: Path) -> None:
    """The table above breaks what this one shows to be sound."""
    encoder = tiny()
    again = load_encoder(save_checkpoint(encoder, tmp_path / "model"), device="cpu")
    torch.testing.assert_close(logits(again, padded_batch()), logits(encoder, padded_batch()), atol=0, rtol=0)


def test_weights_in_several_files_load(tmp_path: Path) -> None:
    encoder = tiny()
    encoder.model.save_pretrained(tmp_path / "model", max_shard_size="20KB")
    encoder.tokenizer.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors.index.json").exists()
    again = load_encoder(tmp_path / "model", device="cpu")
    torch.testing.assert_close(logits(again, padded_batch()), logits(encoder, padded_batch()), atol=0, rtol=0)


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


def rename_weights(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    save_file({n.replace("layer.1.", "block.1."): t for n, t in load_file(path).items()}, path)


def edit_adapter(**values: Any) -> Break:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


BROKEN_ADAPTERS: dict[str, tuple[Break, dict[str, Any], str]] = {
    "of a wider encoder": (lambda f: None, {"hidden_size": 32}, "does not fit the encoder"),
    "of a deeper encoder": (
        lambda f: None,
        {"num_hidden_layers": 5},
        "holds a weight that the encoder has no place for",
    ),
    "of a shallower encoder": (lambda f: None, {"num_hidden_layers": 2}, "lacks: .*layer.2"),
    "with other names": (rename_weights, {}, "holds a weight that the encoder has no place for"),
    "for modules that are not there": (edit_adapter(target_modules=["q_proj"]), {}, "does not fit the encoder"),
    "of an unknown kind": (edit_adapter(peft_type="MAGIC"), {}, "does not fit the encoder"),
    "cut off": (truncate("adapter_model.safetensors", 0.5), {}, r"adapter_model\.safetensors is broken"),
    "without weights": (remove("adapter_model.safetensors"), {}, "has no weights"),
    "with settings cut off": (truncate("adapter_config.json", 0.5), {}, r"adapter_config\.json cannot be read"),
    "without a base": (edit_adapter(base_model_name_or_path=None), {}, "say which encoder it adapts"),
    "with a base that is gone": (edit_adapter(base_model_name_or_path="./gone"), {}, "is neither a folder here"),
}


@pytest.mark.parametrize("case", BROKEN_ADAPTERS)
def test_an_adapter_that_does_not_fit_is_refused(case: str, tmp_path: Path) -> None:
    damage, overrides, says = BROKEN_ADAPTERS[case]
    base = save_checkpoint(tiny(head="embedding"), tmp_path / "base")
    folder = adapter(tmp_path / "adapter", base, **overrides)
    damage(folder)
    with pytest.raises(UserError, match=says) as caught:
        load_encoder(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_an_adapter_that_fits_changes_the_encoder(tmp_path: Path) -> None:
    base = save_checkpoint(tiny(head="embedding"), tmp_path / "base")
    encoder = load_encoder(adapter(tmp_path / "adapter", base), device="cpu")
    assert encoder.head == "sequence-classification"
    plain = load_encoder(base, head="sequence-classification", device="cpu")
    assert (logits(encoder, padded_batch()) - logits(plain, padded_batch())).abs().max() > 1e-2
