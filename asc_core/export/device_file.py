"""One file that a model and its tokenizer leave in, for `answer/numpy_model.py`, which says how it lies.

Tensors lie as they lie in the model: codes as they are packed, other numbers as the packing stores them. What the
header says of a matrix or a table is its kind and what decoding it takes; `described` is where another kind is added.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from asc_core import modeling
from asc_core.errors import UserError
from asc_core.export import device_tokenizer
from asc_core.export.answer.numpy_model import ACTIVATIONS, MAGIC, START, TYPES
from asc_core.export.graph import pooling_of
from asc_core.modeling import Packing
from asc_core.sentences import normalized

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

FILE = "model.asc"
STRUCTURES = (
    "codes",
    "cut",
    "embedding-factors",
    "factor",
    "hashed",
    "positions",
    "quantize",
    "share",
    "vocabulary",
)
OTHERWISE = "Export it in the compact format."
_EMBEDDINGS = {
    "types": "embeddings.token_type_embeddings",
    "places": "embeddings.position_embeddings",
    "norm": "embeddings.LayerNorm",
    "pooler": "pooler.dense",
}
_HEAD = {
    "classifier": "classifier",
    "spans": "qa_outputs",
    "intents": "intent_classifier",
    "slots": "slot_classifier",
}


def refusal(encoder: Encoder) -> str | None:
    """Why a model cannot leave so; None where it can."""
    config = encoder.model.config
    if encoder.architecture != "bert":
        return f"The device format computes models of BERT's architecture, and this one is {encoder.architecture}'s."
    other = next((entry["kind"] for entry in encoder.structures if entry["kind"] not in STRUCTURES), None)
    if other is not None:
        return f"The device format does not compute the structure {other!r}."
    if modeling.rounds_inputs(encoder.model):
        return "The device format multiplies floating-point numbers, and this model rounds what its matrices multiply."
    if config.hidden_act not in ACTIVATIONS:
        return f"The device format does not compute the activation {config.hidden_act!r}."
    if getattr(config, "position_embedding_type", "absolute") != "absolute" or getattr(config, "is_decoder", False):
        return "The device format computes encoders with absolute positions alone."
    pooling, _ = pooling_of(encoder)
    if pooling is not None and pooling.steps not in ((), (normalized,)):
        return "The device format ends a text's vector at its pooling, normalised or not; here more follows."
    return None


@dataclass(frozen=True)
class DeviceFile:
    """header: packed. tensors: in the order in which they lie."""

    header: bytes
    tensors: tuple[np.ndarray, ...]

    @property
    def tensor_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def bytes(self) -> int:
        """Of the whole file."""
        return START + len(self.header) + -(START + len(self.header)) % 8 + self.tensor_bytes

    def write(self, path: Path) -> None:
        content = len(self.header).to_bytes(4, "little") + self.header
        parts = [content, bytes(-(START + len(self.header)) % 8), *(tensor.tobytes() for tensor in self.tensors)]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        with path.open("wb") as file:
            file.writelines([MAGIC, digest.digest(), *parts])


def device_file(encoder: Encoder, packing: Packing) -> DeviceFile:
    """Raises: UserError where a weight is not a finite number as it is stored, or a part is none that is known."""
    modules = _modules(encoder)
    tensors = {
        f"{name}.{last}": _stored(f"{name}.{last}", tensor, packing)
        for name, module in modules.items()
        for last, tensor in module.state_dict().items()
    }
    stored = {id(tensor) for module in modules.values() for tensor in module.state_dict(keep_vars=True).values()}
    for name, tensor in encoder.model.state_dict(keep_vars=True).items():
        if id(tensor) not in stored:
            raise UserError(f"The device format has no place for {name}. {OTHERWISE}")
    # The widest numbers first, so that each tensor begins where its numbers may lie.
    ordered = sorted(tensors.items(), key=lambda item: -item[1].itemsize)
    header = {
        **_described_model(encoder, modules),
        "tokenizer": device_tokenizer.described(encoder.tokenizer),
        "tensors": [[name, tensor.dtype.name, list(tensor.shape)] for name, tensor in ordered],
    }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    packed = lzma.compress(text, format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE, preset=9 | lzma.PRESET_EXTREME)
    return DeviceFile(packed, tuple(tensor for _, tensor in ordered))


def _modules(encoder: Encoder) -> dict[str, nn.Module]:
    """All that has weights, by the names that the file has for it."""
    base, model = encoder.model.base_model, encoder.model
    table = modeling.architecture_of(model)
    paths = {"words": table.word_embedding, **_EMBEDDINGS}
    found = {name: modeling.submodule(base, path) for name, path in paths.items()}
    for number, row in enumerate(modeling.rows_of(encoder.model)):
        found |= {f"layer.{number}.{name}": row.get_submodule(path) for name, path in _in_layer(table).items()}
    if base is not model:
        found |= {name: modeling.submodule(model, path) for name, path in _HEAD.items()}
    return {name: module for name, module in found.items() if module is not None}


def _in_layer(table: modeling.Architecture) -> dict[str, str]:
    """A layer's matrices and norms, by the names that they have in the file."""
    query, key, value = (feeder.path for feeder in table.attention_feeders)
    (up,) = (feeder.path for feeder in table.ffn_feeders)
    assert table.ffn_norm is not None  # BERT's layers are post-LN
    return {
        "query": query,
        "key": key,
        "value": value,
        "attention": table.attention_readout,
        "up": up,
        "down": table.ffn_readout,
        "attention_norm": table.attention_norm,
        "ffn_norm": table.ffn_norm,
    }


def _stored(name: str, tensor: torch.Tensor, packing: Packing) -> np.ndarray:
    array = packing.pack(tensor.detach().cpu()).contiguous().numpy()
    if array.dtype.name not in TYPES:
        raise UserError(f"The device format has no numbers like those of {name} ({array.dtype.name}). {OTHERWISE}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(f"The weight {name} holds numbers that are not finite in {packing.name}.")
    return array


def _described_model(encoder: Encoder, modules: dict[str, nn.Module]) -> dict[str, Any]:
    config, (pooling, skip) = encoder.model.config, pooling_of(encoder)
    tables: dict[str, Any] = {}
    matrices: dict[str, Any] = {}
    norms = []
    for name, module in modules.items():
        if isinstance(module, nn.LayerNorm):
            norms.append(name)
        else:
            (matrices if modeling.is_matrix(module) else tables)[name] = described(module)
    return {
        "head": encoder.head,
        "answers": _answers(config),
        "labels": encoder.labels,
        "slot_labels": encoder.slot_labels,
        "most_tokens": encoder.max_length,
        "typed": encoder.type_vocab_size > 1,
        "activation": config.hidden_act,
        "eps": config.layer_norm_eps,
        "width": modeling.head_width(config),
        "heads": encoder.shape.heads,
        "order": encoder.shape.rows,
        "tables": tables,
        "matrices": matrices,
        "norms": norms,
        "sentences": {
            "pooling": pooling.pooling if pooling is not None else (),
            "unit": pooling is not None and bool(pooling.steps),
            "skip": skip,
            "prompt": pooling.prompt if pooling is not None else "",
            "lowers": pooling is not None and pooling.lowers,
        },
    }


def _answers(config: Any) -> str:
    """What logits of a text mean: "one" of the labels, "several", or a "number"."""
    if config.num_labels == 1 or config.problem_type == "regression":
        return "number"
    return "several" if config.problem_type == "multi_label_classification" else "one"


@singledispatch
def described(module: nn.Module) -> dict[str, Any]:
    """The kind of a matrix or a table, one of `numpy_model`'s, and what decoding it takes. Raises: UserError."""
    raise UserError(f"The device format does not know a {type(module).__name__}. {OTHERWISE}")


@described.register
def _(module: nn.Linear | nn.Embedding) -> dict[str, Any]:
    return {"kind": "plain"}


@described.register
def _(module: modeling.FactoredLinear) -> dict[str, Any]:
    return {"parts": {"first": described(module.first), "second": described(module.second)}}


@described.register
def _(module: modeling.QuantizedLinear | modeling.QuantizedEmbedding) -> dict[str, Any]:
    return {"kind": "int8"}


@described.register
def _(module: modeling.PackedLinear | modeling.PackedEmbedding) -> dict[str, Any]:
    of_matrix = {"by_columns": module.by_columns} if isinstance(module, modeling.PackedLinear) else {}
    return {"kind": "packed", "bits": module.bits, "group": module.group, "width": module.width, **of_matrix}


@described.register
def _(module: modeling.FactoredTable) -> dict[str, Any]:
    return {"kind": "factors", "parts": {"first": described(module.first), "second": described(module.second)}}


@described.register
def _(module: modeling.CodedTable) -> dict[str, Any]:
    parts = {"codebooks": described(module.codebooks)}
    return {"kind": "codes", "bits": module.bits, "books": module.books, "blocks": module.blocks, "parts": parts}


@described.register
def _(module: modeling.HashedTable) -> dict[str, Any]:
    functions, pool = modeling.hash_functions(module.functions, module.seed), modeling.tokens_of(module.pool)
    parts = {"weights": described(module.weights), "pool": described(module.pool)}
    return {"kind": "hashed", "functions": functions, "prime": modeling.PRIME, "pool": pool, "parts": parts}
