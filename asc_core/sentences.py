"""How an embedding model makes one vector of a text: what a sentence-transformers folder says beside the encoder.

`modules.json` names the steps behind the encoder (pooling, projections, norms), each with a folder of its own;
`sentence_bert_config.json` says how many tokens a text has at most, `config_sentence_transformers.json` what is put
before each text. All of it is read as data, and goes into an export as it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from asc_core.errors import UserError, first_line

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
LENGTHS = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
)
# In the order in which older folders, which name each by a flag, put several of them next to each other.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ASSUMED = "has no modules.json that says how its embeddings are made: the mean over a text's tokens was taken."

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Sentences:
    """pooling: of a text's token vectors, one or several ways whose results are put next to each other.

    steps: what is done to the pooled vector, in order. prompt: what is put before each text. pools_prompt: whether its
    tokens are pooled, too. max_tokens: of a text at most, None for what the encoder takes. lowers: whether texts are
    brought to lower case. files: path -> content, as they go into an export. notes: what is assumed or left out.
    """

    pooling: tuple[str, ...] = ("mean",)
    steps: tuple[Step, ...] = ()
    prompt: str = ""
    pools_prompt: bool = True
    max_tokens: int | None = None
    lowers: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    def text(self, text: str) -> str:
        """A text as it is tokenised."""
        whole = self.prompt + text
        return whole.lower() if self.lowers else whole

    def prompt_tokens(self, tokenizer: Any) -> int:
        """Tokens at a text's beginning that are not pooled."""
        if self.pools_prompt or not self.prompt:
            return 0
        ids = tokenizer(self.text(""), verbose=False)["input_ids"]
        return len(ids) - (bool(ids) and ids[-1] in tokenizer.all_special_ids)

    def embed(self, hidden: Tensor, mask: Tensor, skip: int = 0) -> Tensor:
        """(texts, width) of hidden states (texts, tokens, d) and their mask. skip: tokens at the beginning left out."""
        hidden = hidden.float()
        pooled = torch.cat([POOLINGS[mode](hidden, _without(mask, skip)) for mode in self.pooling], dim=-1)
        for step in self.steps:
            pooled = step(pooled)
        return pooled

    def fingerprint(self) -> bytes:
        """Of what the vectors depend on; nothing for the mean alone, which is what a model without such files has."""
        if self == Sentences(files=self.files, notes=self.notes, max_tokens=self.max_tokens):
            return b""
        said = repr((self.pooling, self.prompt, self.pools_prompt, self.lowers)).encode()
        return said + b"".join(content for name, content in sorted(self.files.items()) if "/" in name)

    def write(self, folder: Path) -> None:
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _without(mask: Tensor, skip: int) -> Tensor:
    if not skip:
        return mask
    return mask * (torch.arange(mask.shape[1], device=mask.device) >= skip)


def _first(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), mask.int().argmax(1)]


def _last(hidden: Tensor, mask: Tensor) -> Tensor:
    places = torch.arange(mask.shape[1], device=mask.device) * mask
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), places.argmax(1)]


def _max(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).max(1).values


def _sum(hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(sum of the tokens' vectors, how many they are)"""
    weights = mask.to(hidden).unsqueeze(-1)
    return (hidden * weights).sum(1), weights.sum(1).clamp(min=1e-9)


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    total, number = _sum(hidden, mask)
    return total / number


def _mean_of_root(hidden: Tensor, mask: Tensor) -> Tensor:
    total, number = _sum(hidden, mask)
    return total / number.sqrt()


def _weighted(hidden: Tensor, mask: Tensor) -> Tensor:
    return _mean(hidden, mask * torch.arange(1, mask.shape[1] + 1, device=mask.device))


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": _first,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_of_root,
    "weightedmean": _weighted,
    "lasttoken": _last,
}


def encoder_folder(folder: Path) -> Path:
    """Where the encoder itself lies: in older folders of sentence-transformers in one of its own."""
    for module in _modules(folder):
        if _kind(module) == "Transformer":
            return folder / _inside(folder, module)
    return folder


def sentences_of(folder: Path) -> Sentences | None:
    """None where a folder has no modules.json. Raises: UserError where it says what is not supported."""
    modules = _modules(folder)
    if not modules:
        return None
    files, read = {}, _Read()
    written = [{**m, "path": ""} if _kind(m) == "Transformer" else m for m in modules]
    files[MODULES] = (json.dumps(written, indent=2) + "\n").encode()
    base = encoder_folder(folder)
    for name in LENGTHS:
        if (base / name).exists():
            files[name] = (base / name).read_bytes()
            lengths = _json(base / name)
            read.max_tokens = lengths.get("max_seq_length") or read.max_tokens
            read.lowers = bool(lengths.get("do_lower_case", read.lowers))
            break
    if (folder / SETTINGS).exists():
        files[SETTINGS] = (folder / SETTINGS).read_bytes()
        _read_settings(folder / SETTINGS, read)
    if not modules or _kind(modules[0]) != "Transformer":
        raise UserError(
            f"{folder / MODULES} begins with {_kind(modules[0])}; only encoders (Transformer) are supported."
        )
    for module in modules[1:]:
        kind = _kind(module)
        if kind not in _READERS:
            raise UserError(
                f"{folder / MODULES} names a module {kind}, which is not supported; supported are "
                f"Transformer, {', '.join(_READERS)}."
            )
        path = _inside(folder, module)
        _READERS[kind](folder / path, read)
        if path:
            files |= {f"{path}/{file.name}": file.read_bytes() for file in _kept(folder / path)}
    if not read.pooling:
        read.notes.append(f"{folder / MODULES} names no Pooling: the mean over a text's tokens was taken.")
    return Sentences(
        tuple(read.pooling) or ("mean",),
        tuple(read.steps),
        read.prompt,
        read.pools_prompt,
        read.max_tokens,
        read.lowers,
        files,
        tuple(read.notes),
    )


@dataclass
class _Read:
    pooling: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    prompt: str = ""
    pools_prompt: bool = True
    max_tokens: int | None = None
    lowers: bool = False
    notes: list[str] = field(default_factory=list)


def _modules(folder: Path) -> list[dict[str, Any]]:
    path = folder / MODULES
    if not path.exists():
        return []
    modules = _content(path)
    if not isinstance(modules, list) or not modules or not all(isinstance(m, dict) for m in modules):
        raise UserError(f"{path} cannot be read: it is not a list of modules.")
    return modules


def _kind(module: Mapping[str, Any]) -> str:
    return str(module.get("type")).rpartition(".")[2]


def _inside(folder: Path, module: Mapping[str, Any]) -> str:
    """The folder of a module. Raises: UserError where it lies outside of the model's."""
    path = str(module.get("path") or "").strip("/")
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise UserError(f"{folder / MODULES} names the path {path!r}, which is not in this folder.")
    return path


def _kept(folder: Path) -> list[Path]:
    names = ("config.json", "model.safetensors")
    return [folder / name for name in names if (folder / name).exists()]


def _read_settings(path: Path, read: _Read) -> None:
    settings = _json(path)
    prompts = settings.get("prompts") or {}
    default = settings.get("default_prompt_name")
    if not isinstance(prompts, dict):
        raise UserError(f"{path}: its prompts are no table of names and texts.")
    if default is not None:
        if default not in prompts:
            raise UserError(f"{path}: default_prompt_name is {default!r}, which is none of its prompts.")
        read.prompt = str(prompts[default] or "")
    elif any(prompts.values()):
        names = ", ".join(name for name, text in prompts.items() if text)
        read.notes.append(f"{path} has prompts ({names}) and none by default: texts were embedded without any.")
    similarity = settings.get("similarity_fn_name")
    if similarity not in (None, "cosine"):
        read.notes.append(f"{path} compares embeddings by {similarity}; here they are compared by their cosine.")


def _read_pooling(folder: Path, read: _Read) -> None:
    path = folder / "config.json"
    config = _json(path)
    modes = config.get("pooling_mode")
    if modes is None:
        modes = [mode for flag, mode in _FLAGS.items() if config.get(flag)] or ["mean"]
    modes = [modes] if isinstance(modes, str) else list(modes)
    unknown = [mode for mode in modes if mode not in POOLINGS]
    if unknown:
        raise UserError(f"{path} asks for the pooling {unknown[0]!r}; supported are {', '.join(POOLINGS)}.")
    read.pooling, read.pools_prompt = modes, bool(config.get("include_prompt", True))


def _read_dense(folder: Path, read: _Read) -> None:
    path = folder / "config.json"
    config = _json(path)
    activation = _activation(path, config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    if config.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise UserError(f"{path}: it works on {config['module_input_name']!r}, not on embeddings: not supported.")
    weights = _tensors(folder)
    weight, bias = _of(weights, "linear.weight", path), weights.get("linear.bias")
    residual = weights.get("residual.weight") if config.get("use_residual") else None
    adds = bool(config.get("use_residual"))

    def dense(x: Tensor) -> Tensor:
        out = activation(functional.linear(x, weight.to(x), None if bias is None else bias.to(x)))
        return out + (x if residual is None else functional.linear(x, residual.to(x))) if adds else out

    read.steps.append(dense)


def _activation(path: Path, name: Any) -> nn.Module:
    kind = str(name).rpartition(".")[2]
    known = {"Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "ELU", "LeakyReLU", "SELU", "Softplus"}
    if kind not in known:
        raise UserError(f"{path} asks for the activation {name!r}; supported are {', '.join(sorted(known))}.")
    return getattr(nn, kind)()


def _read_norm(folder: Path, read: _Read) -> None:
    weights = _tensors(folder)
    weight, bias = (_of(weights, f"norm.{name}", folder) for name in ("weight", "bias"))
    read.steps.append(lambda x: functional.layer_norm(x, x.shape[-1:], weight.to(x), bias.to(x)))


def _tensors(folder: Path) -> dict[str, Tensor]:
    path = folder / "model.safetensors"
    if not path.exists():
        raise UserError(
            f"{folder} has no model.safetensors (pickled weights, .bin, are not read: `asc convert {folder}` makes "
            "safetensors of them)."
        )
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is broken ({first_line(error)}): copy or download it again.") from None
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{path}: the weight {name} holds NaN or infinity: use one from before that.")
    return weights


def _of(weights: Mapping[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in weights:
        raise UserError(f"{path.parent if path.suffix else path} lacks the weight {name}: copy or download it again.")
    return weights[name]


def _read_normalize(folder: Path, read: _Read) -> None:
    read.steps.append(normalized)


def normalized(x: Tensor) -> Tensor:
    """Vectors of length 1; a function with a name, so that a format can tell it from other steps."""
    return functional.normalize(x, dim=-1)


def _read_dropout(folder: Path, read: _Read) -> None:
    """Nothing is dropped in evaluation."""


_READERS: dict[str, Callable[[Path, _Read], None]] = {
    "Pooling": _read_pooling,
    "Dense": _read_dense,
    "LayerNorm": _read_norm,
    "Normalize": _read_normalize,
    "Dropout": _read_dropout,
}


def _json(path: Path) -> dict[str, Any]:
    content = _content(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} cannot be read: it is not a JSON object.")
    return content


def _content(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}.") from None
