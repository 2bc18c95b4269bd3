"""Checkpoint folders as others leave them, each made of a sound one: read as if nothing were, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.accepted.case import Checkpoint

Change = Callable[[Path], Any]


def edit_json(name: str, **values: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def edit_config(**values: Any) -> Change:
    return edit_json("config.json", **values)


def edit_adapter(**values: Any) -> Change:
    return edit_json("adapter_config.json", **values)


def write(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


def remove(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def truncate(name: str, keep: float) -> Change:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * keep)])

    return change


def edit_weights(
    change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], name: str = "model.safetensors"
) -> Change:
    def apply(folder: Path) -> None:
        weights = {n: t.contiguous() for n, t in change(load_file(folder / name)).items()}
        save_file(weights, folder / name, metadata={"format": "pt"})

    return apply


def renamed(rename: Callable[[str], str], name: str = "model.safetensors") -> Change:
    return edit_weights(lambda weights: {rename(n): t for n, t in weights.items()}, name)


def without(part: str) -> Change:
    return edit_weights(lambda weights: {n: t for n, t in weights.items() if part not in n})


def shards(index: bytes, *names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            (folder / name).write_bytes((folder / "model.safetensors").read_bytes())
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_bytes(index)

    return change


def in_two_files(**more: Any) -> Change:
    """more: what the index says beside which weight is in which file."""

    def change(folder: Path) -> None:
        _split(folder, more)

    return change


def _split(folder: Path, more: dict[str, Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    files = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(sorted(weights))}
    for file in set(files.values()):
        save_file({n: t for n, t in weights.items() if files[n] == file}, folder / file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files, **more}))


def pickle_only(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def only(name: str) -> Change:
    """The folder as it is where another framework alone wrote weights."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / name)

    return change


def instead(name: str) -> Change:
    """A folder with one file of something else."""

    def change(folder: Path) -> None:
        for path in folder.iterdir():
            path.unlink()
        (folder / name).write_bytes(b"...")

    return change


def deeper(folder: Path) -> None:
    files = list(folder.iterdir())
    (folder / "model").mkdir()
    for path in files:
        path.rename(folder / "model" / path.name)


FIRST = "model-00001-of-00002.safetensors"
LEFT_BY_TRAINING: dict[str, Any] = {
    "return_dict": False,
    "output_hidden_states": True,
    "output_attentions": True,
    "use_cache": True,
    "torchscript": True,
    "attn_implementation": "flash_attention_2",
    "_attn_implementation": "flash_attention_2",
    "dtype": "bfloat16",
    "torch_dtype": "float8_of_tomorrow",
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    "pruned_heads": {},
    "chunk_size_feed_forward": 3,
    "gradient_checkpointing": True,
    "transformers_version": "99.0",
    "device_map": {"": 7},
    "_name_or_path": "/home/of/somebody/else",
    "auto_map": {"AutoConfig": "somewhere_else.Config"},
}
WRAPPERS: dict[str, Callable[[str], str]] = {
    "the prefix of torch.compile": lambda name: f"_orig_mod.{name}",
    "the prefix of DataParallel": lambda name: f"module.{name}",
    "both of these prefixes": lambda name: f"module._orig_mod.{name}",
    "the prefix of a trainer's class": lambda name: f"model.{name}",
    "the prefix of an own class": lambda name: f"net.backbone.{name}",
    "a compiled part": lambda name: name.replace("encoder.", "encoder._orig_mod.", 1),
    "names of TensorFlow": lambda name: (
        "module." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    ),
}
BESIDE_A_MODEL = {  # what a wrapper held, heads of other tasks, what a class computes itself
    "criterion.weight": torch.ones(3),
    "cls.predictions.bias": torch.zeros(3),
    "lm_head.weight": torch.zeros(3, 3),
    "bert.embeddings.position_ids": torch.arange(80)[None],
}

READ = (
    Checkpoint("as transformers writes it", lambda folder: None),
    Checkpoint("weights in several files with an index", in_two_files(metadata={"total_size": 1})),
    Checkpoint("an index that says nothing of their size", in_two_files()),
    *(Checkpoint(f"weights under {what}", renamed(rename)) for what, rename in WRAPPERS.items()),
    Checkpoint("weights of other heads and of positions beside its own", edit_weights(lambda w: w | BESIDE_A_MODEL)),
    *(
        Checkpoint(f"`{name}` = {json.dumps(value)} in config.json", edit_config(**{name: value}))
        for name, value in LEFT_BY_TRAINING.items()
    ),
)

REFUSED = (
    Checkpoint("no tokenizer", remove("tokenizer.json"), "no tokenizer … copy the tokenizer files"),
    Checkpoint("tokenizer cut off", truncate("tokenizer.json", 0.5), "tokenizer cannot be loaded"),
    Checkpoint(
        "tokenizer of something else", write("tokenizer.json", b'{"version": "1.0"}'), "tokenizer cannot be loaded"
    ),
    Checkpoint("weights cut off", truncate("model.safetensors", 0.7), "model.safetensors is broken"),
    Checkpoint("weights cut off in the header", truncate("model.safetensors", 0.01), "model.safetensors is broken"),
    Checkpoint("empty weights", write("model.safetensors", b""), "model.safetensors is broken"),
    Checkpoint("garbage as weights", write("model.safetensors", bytes(range(256)) * 99), "model.safetensors is broken"),
    Checkpoint(
        "a header that claims too much",
        write("model.safetensors", b"\xff" * 7 + b"\x7f{}"),
        "model.safetensors is broken",
    ),
    Checkpoint(
        "a page of HTML as weights",
        write("model.safetensors", b"<!DOCTYPE html><html>"),
        "model.safetensors is broken",
    ),
    Checkpoint("no weights", remove("model.safetensors"), "has no weights (*.safetensors)."),
    Checkpoint("pickled weights alone", pickle_only, "only pickled weights … `asc convert … makes safetensors"),
    Checkpoint("weights for TensorFlow alone", only("tf_model.h5"), "holds weights for TensorFlow (tf_model.h5): load"),
    Checkpoint("weights for Flax alone", only("flax_model.msgpack"), "holds weights for Flax (flax_model.msgpack)"),
    Checkpoint("an ONNX model alone", instead("model.onnx"), "holds an ONNX model (model.onnx): give the checkpoint"),
    Checkpoint("a GGUF model alone", instead("model.gguf"), "holds a GGUF model (model.gguf): give the checkpoint"),
    Checkpoint("a pipeline of spaCy", instead("config.cfg"), "holds a pipeline of spaCy (config.cfg): take"),
    Checkpoint("an archive", instead("model.zip"), "unpack model.zip and give the folder with config.json"),
    Checkpoint("the checkpoint one folder deeper", deeper, "model in it has one: give … model."),
    Checkpoint("a layer's weights missing", without(".layer.1."), "lacks weights … layer.1 … and … more"),
    Checkpoint("the head's weights missing", without("classifier.bias"), "lacks weights … : classifier.bias."),
    Checkpoint(
        "a weight of another size",
        edit_weights(lambda weights: weights | {"classifier.weight": torch.zeros(5, 24)}),
        "classifier.weight is 5 x 24 in the file, the configuration says 3 x 24",
    ),
    Checkpoint("no configuration", remove("config.json"), "no config.json: it is not a checkpoint folder"),
    Checkpoint("configuration cut off", truncate("config.json", 0.5), "config.json cannot be read"),
    Checkpoint(
        "configuration that is a list",
        write("config.json", b"[]"),
        "config.json cannot be read: it is not a JSON object",
    ),
    Checkpoint("configuration in Latin-1", write("config.json", b'{"a": "\xe9"}'), "config.json cannot be read"),
    Checkpoint(
        "an architecture that is not an encoder",
        edit_config(model_type="gpt2"),
        "'gpt2' is not supported; supported are: albert, bert",
    ),
    Checkpoint(
        "an unheard-of architecture", edit_config(model_type="nonsense"), "Supported architectures: albert, bert"
    ),
    Checkpoint("no architecture", edit_config(model_type=None), "Supported architectures: albert, bert"),
    Checkpoint("a decoder", edit_config(is_decoder=True), "is_decoder = true, so it is a decoder … to false"),
    Checkpoint(
        "attention to another model",
        edit_config(add_cross_attention=True),
        "add_cross_attention = true, so it is a decoder … to false",
    ),
    Checkpoint("a number that is a word", edit_config(num_hidden_layers="six"), "configuration cannot be read"),
    Checkpoint(
        "heads that do not divide the width", edit_config(num_attention_heads=7), "do not fit its configuration"
    ),
    Checkpoint("no heads at all", edit_config(num_attention_heads=0), "its configuration"),
    Checkpoint("more layers than weights", edit_config(num_hidden_layers=5), "lacks weights … layer.3"),
    Checkpoint("an activation nobody knows", edit_config(hidden_act="magic"), "do not fit its configuration"),
    Checkpoint("an index cut off", shards(b'{"weight_map": {"a', FIRST), "index.json cannot be read"),
    Checkpoint("an index without a map", shards(b"{}", FIRST), "does not say which weight is in which file"),
    Checkpoint(
        "an index that names a missing file",
        shards(json.dumps({"weight_map": {"a": FIRST, "b": "model-00002-of-00002.safetensors"}}).encode(), FIRST),
        "lacks model-00002-of-00002",
    ),
    Checkpoint("a compact model without its record", edit_config(model_type="asc-bert"), "no asc that says"),
)

ADAPTERS = (
    (Checkpoint("of a wider encoder", lambda f: None, "does not fit the encoder"), {"hidden_size": 32}),
    (
        Checkpoint("of a deeper encoder", lambda f: None, "holds a weight that the encoder has no place for"),
        {"num_hidden_layers": 5},
    ),
    (Checkpoint("of a shallower encoder", lambda f: None, "lacks: … layer.2"), {"num_hidden_layers": 2}),
    (
        Checkpoint(
            "with other names",
            renamed(lambda name: name.replace("layer.1.", "block.1."), "adapter_model.safetensors"),
            "holds a weight that the encoder has no place for",
        ),
        {},
    ),
    (
        Checkpoint(
            "for modules that are not there", edit_adapter(target_modules=["q_proj"]), "does not fit the encoder"
        ),
        {},
    ),
    (Checkpoint("of an unknown kind", edit_adapter(peft_type="MAGIC"), "does not fit the encoder"), {}),
    (Checkpoint("cut off", truncate("adapter_model.safetensors", 0.5), "adapter_model.safetensors is broken"), {}),
    (Checkpoint("without weights", remove("adapter_model.safetensors"), "has no weights"), {}),
    (
        Checkpoint("with settings cut off", truncate("adapter_config.json", 0.5), "adapter_config.json cannot be read"),
        {},
    ),
    (Checkpoint("without a base", edit_adapter(base_model_name_or_path=None), "say which encoder it adapts"), {}),
    (
        Checkpoint(
            "with a base that is gone", edit_adapter(base_model_name_or_path="./gone"), "is neither a folder here"
        ),
        {},
    ),
)
