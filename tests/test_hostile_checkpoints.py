"""Checkpoints that were made to do harm: one sentence each, in bounded time and memory."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from asc_core import modeling
from asc_core.checkpoint import tokenizer_bounds, trial
from asc_core.checkpoint.trial import MATCHES, SPLITS, went_well
from asc_core.errors import UserError
from asc_core.loading import load_encoder
from asc_core.train.finetune import finetune
from asc_core.train.heads import encoder_for_task, with_head_for
from asc_core.values import Plan
from tests.evaluate.toy_tasks import toy_task
from tests.tiny import save_checkpoint, tiny

VOCABULARY = {"[UNK]": 0, "a": 1}
DOUBLED = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
DOUBLED_DEEP = {"type": "Sequence", "pretokenizers": [{"type": "Sequence", "pretokenizers": [DOUBLED] * 30}]}
OWN_SPLIT = {"type": "Split", "pattern": {"Regex": "\\d+"}, "behavior": "Isolated", "invert": False}
PADDED = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "a"}
NO_PREFIX = {"vocab": {"aé": 0, "é": 1, "a": 2}, "merges": ["a é"], "continuing_subword_prefix": "###"}


def written(**parts: Any) -> dict[str, Any]:
    """A tokenizer.json of words."""
    plain = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    model = {"type": "WordLevel", "vocab": VOCABULARY, "unk_token": "[UNK]"}
    return {"version": "1.0", "added_tokens": [], "model": model, **plain, **parts}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_checkpoint(tiny(), tmp_path / "model")


def with_tokenizer(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"normalizer": {"type": "Sequence", "normalizers": [DOUBLED] * 40}}, r"1e\+12 times as long"),
        ({"normalizer": {"type": "Replace", "pattern": {"Regex": ""}, "content": "x" * 1000}}, r"1e\+03 times as long"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 1000}}, "steps, more than"),
        ({"pre_tokenizer": DOUBLED_DEEP}, "times as long"),
        ({"padding": PADDED | {"strategy": {"Fixed": 10**9}}}, "padding.strategy = 1,000,000,000"),
        ({"padding": PADDED | {"strategy": "BatchLongest", "pad_to_multiple_of": 10**9}}, "pad_to_multiple_of"),
    ],
)
def test_tokenizers_that_would_explode_are_not_read(folder: Path, parts: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        load_encoder(with_tokenizer(folder, written(**parts)), device="cpu")


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(b"\4\0\0\0abcd").decode()}},
        {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
        {"model": {"type": "BPE"} | NO_PREFIX},
    ],
)
def test_files_that_make_the_library_panic_are_one_sentence(folder: Path, parts: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="its tokenizer"):
        load_encoder(with_tokenizer(folder, written(**parts)), device="cpu")


def test_a_split_without_an_end_is_tried_elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_LIMITS", trial._LIMITS.replace(str(trial.SECONDS), "2"))
    load_encoder(with_tokenizer(folder, written(pre_tokenizer=OWN_SPLIT)), device="cpu")
    assert not went_well("while True: pass", {})
    assert not went_well("x = bytearray(1 << 40)", {})
    assert not went_well(MATCHES, {"patterns": ["(a+)+b"], "names": ["a" * 40]})
    assert went_well(MATCHES, {"patterns": [r".*\.(query|value)"], "names": ["encoder.layer.0.attention.self.query"]})
    path = folder / "tokenizer.json"
    assert went_well(SPLITS, {"file": str(path), "texts": ["a a"], "most": 10})
    assert not went_well(SPLITS, {"file": str(path), "texts": ["a1" * 100], "most": 10})


def test_a_file_that_changes_is_tried_again(folder: Path) -> None:
    load_encoder(with_tokenizer(folder, written()), device="cpu")
    with_tokenizer(folder, written(normalizer={"type": "Sequence", "normalizers": [DOUBLED] * 40}))
    with pytest.raises(UserError, match="times as long"):
        tokenizer_bounds.check_tokenizer(folder, "here")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "digests.json", "vocab.txt"])
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(UserError, match=f"{name} is neither a file nor a folder"):
        load_encoder(folder, device="cpu")


def test_a_device_is_not_read(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="neither a file nor a folder"):
        load_encoder(folder, device="cpu")


@pytest.fixture
def adapter(folder: Path, tmp_path: Path) -> Path:
    """Of rank 2 on the tiny encoder, as peft writes one."""
    import peft

    model = load_encoder(folder, device="cpu").model
    settings = peft.LoraConfig(r=2, target_modules=["query"])
    peft.get_peft_model(model, settings).save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(folder)}))
    return tmp_path / "adapter"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"r": 10**9}, r"r is 1,000,000,000, and no weight"),
        ({"rank_pattern": {"query": 10**9}}, "rank_pattern of query is 1,000,000,000"),
        ({"layer_replication": [[0, 2]] * 100_000}, "layer_replication makes 200,000 layers"),
        ({"target_modules": "((((a|[a-z.])+)+)+)+#"}, "does not come to an end"),
        ({"target_modules": "(" * 5000}, "selects modules by an expression"),
        ({"rank_pattern": {"(([a-z.])+)+#": 2}}, "does not come to an end"),
    ],
)
def test_adapters_ask_for_no_more_than_they_bring(
    adapter: Path, change: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_LIMITS", trial._LIMITS.replace(str(trial.SECONDS), "2"))
    assert load_encoder(adapter, device="cpu")
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=says):
        load_encoder(adapter, device="cpu")


@pytest.mark.parametrize(
    "change", [{"num_labels": 10**8}, {"num_hidden_layers": 10**9}, {"hidden_size": 10**9}, {"vocab_size": 10**12}]
)
def test_configurations_ask_for_no_more_than_their_weights(folder: Path, change: dict[str, int]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    before = time.process_time()
    with pytest.raises(UserError, match="config"):
        load_encoder(folder, device="cpu")
    assert time.process_time() - before < 60  # of work, not on the clock: it was no attempt to build that


def test_a_header_that_promises_more_than_there_is_is_one_sentence(folder: Path) -> None:
    save_file({"w": torch.ones(2)}, folder / "model.safetensors")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + content[8:])
    with pytest.raises(UserError, match="is broken"):
        load_encoder(folder, device="cpu")


EVIL = "open({!r}, 'w').write('was run')\n"


@pytest.mark.parametrize("lora_rank", [None, 2])
def test_training_takes_nobodys_code_along(folder: Path, tmp_path: Path, lora_rank: int | None) -> None:
    ran, outside = tmp_path / "ran", tmp_path / "outside.py"
    for path in (folder / "modeling_evil.py", folder / "tokenization_evil.py", outside):
        path.write_text(EVIL.format(str(ran)))
    for name, code in (
        ("config.json", {"AutoModel": "modeling_evil.Evil", "AutoConfig": f"{outside}--modeling_evil.Evil"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["tokenization_evil.Evil", f"{outside.with_suffix('')}.Evil"]}),
    ):
        file = folder / name
        content = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(
            json.dumps(content | {"auto_map": code, "custom_pipelines": {"x": {"impl": "modeling_evil.Evil"}}})
        )
    task = toy_task(train=32)
    out = tmp_path / "trained"
    finetune(encoder_for_task(folder, task, device="cpu"), task, out, epochs=1, max_steps=1, lora_rank=lora_rank)
    assert not [*out.rglob("*.py")]
    assert "evil" not in "".join(path.read_text() for path in out.rglob("*.json")).lower()
    if lora_rank is None:
        assert load_encoder(out, device="cpu")
    assert not ran.exists()


def test_a_cut_model_is_trained_with_our_own_code_beside_it(tmp_path: Path) -> None:
    encoder = tiny()
    cut = encoder.cut(Plan.full(encoder.shape).drop(0, head=0))
    vars(cut.model.config)["auto_map"] = {"AutoModel": "modeling_evil.Evil"}
    task = toy_task(train=32)
    finetune(with_head_for(cut, task), task, tmp_path / "trained", epochs=1, max_steps=1)
    said = json.loads((tmp_path / "trained" / "config.json").read_text())["auto_map"]
    assert all(place.startswith(f"{modeling.ENTRY_MODULE}.") for place in said.values())
    assert {path.name: path.read_text() for path in (tmp_path / "trained").glob("*.py")} == modeling.sources()


def test_a_modeling_file_that_was_tampered_with_is_said(tmp_path: Path) -> None:
    encoder = tiny()
    cut = encoder.cut(Plan.full(encoder.shape).drop(0, head=0))
    task = toy_task(train=32)
    finetune(with_head_for(cut, task), task, tmp_path / "trained", epochs=1, max_steps=1)
    file = tmp_path / "trained" / f"{modeling.ENTRY_MODULE}.py"
    file.write_text(file.read_text() + EVIL.format(str(tmp_path / "ran")))
    with pytest.raises(UserError, match=rf"{file.name} has .* bytes, and had"):
        load_encoder(tmp_path / "trained", device="cpu")
