"""Matrices as whole numbers: {"kind": "quantize", "bits": 8, "matrices": [names], "activations": "none" or "dynamic"}.

Beside these "group" (a scale for so many numbers of a line, see `packed.py`; needed below 8 bits), and "embedding_bits"
where the table of tokens has other bits than 8. Matrices in groups take no rounded inputs: their activations are
"none".

A matrix is named by its row of layer weights and its path there ("0.attention.self.query"), one outside of the layers
(pooler, heads, table of positions) by `OUTSIDE` and its path in the model; the table of tokens is `EMBEDDING`, and what
it is composed of goes with it. Each of a matrix's rows is codes times one scale, symmetric about 0. activations
"dynamic": what a matrix multiplies is rounded to 8 bits, too, by the range that it has in this very call, as ONNX's
DynamicQuantizeLinear says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .architectures import (
    ARCHITECTURES,
    architecture_name,
    architecture_of,
    matrices,
    matrix_paths,
    put_submodule,
    rows_of,
)
from .embeddings import ComposedTable, own_copy, select_tokens, tokens_of, whole_table, width_of
from .linears import (
    FactoredLinear,
    Marginal,
    bias,
    chosen,
    columns_of,
    marginal,
    matrix,
    own_macs,
    plain,
    put,
    rows_of_matrix,
    select,
)
from .packed import PackedEmbedding, PackedLinear
from .structure import Entry, State, Structure, tensors_of

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig

EMBEDDING = "word_embedding"
OUTSIDE = "outside."
POSITIONS = "embeddings.position_embeddings"
BITS = (8, 4, 3, 2, 1)
EMBEDDING_BITS = (8, 4, 2)
GROUP = 64  # numbers that share a scale where nobody says otherwise
MOST_IN_GROUP = 1 << 16
LARGEST = 127  # of a code: -128 has no counterpart
ACTIVATIONS = ("none", "dynamic")


def _codes(rows: int, columns: int) -> nn.Parameter:
    """Parameters that nobody trains: they count as the model's numbers, and layers can share them."""
    return nn.Parameter(torch.zeros(rows, columns, dtype=torch.int8), requires_grad=False)


class QuantizedLinear(nn.Module):
    """codes (rows, columns) times scale (rows,), in place of a linear."""

    def __init__(self, columns: int, rows: int, bias: bool = True, dynamic: bool = False):
        super().__init__()
        self.dynamic = dynamic
        self.codes = _codes(rows, columns)
        self.scale = nn.Parameter(torch.ones(rows), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(rows), requires_grad=False) if bias else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if not self.dynamic or not inputs.numel():
            return nn.functional.linear(inputs, matrix(self), self.bias)
        steps, step = rounded_to_bytes(inputs)
        summed = nn.functional.linear(steps, self.codes.to(inputs.dtype)) * (step * self.scale)
        return summed if self.bias is None else summed + self.bias


class QuantizedEmbedding(nn.Module):
    """codes (tokens, width) times scale (tokens,), in place of a table of tokens."""

    def __init__(self, tokens: int, width: int, padding_idx: int | None = None):
        super().__init__()
        self.padding_idx = padding_idx
        self.codes = _codes(tokens, width)
        self.scale = nn.Parameter(torch.ones(tokens), requires_grad=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        scale = self.scale[ids]
        return self.codes[ids].to(scale.dtype) * scale[..., None]


def rounded_to_bytes(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(whole numbers less their zero point, the step between two), as ONNX's DynamicQuantizeLinear makes them.

    One range for all of the tensor, padding included; it always holds 0.
    """
    low, high = inputs.amin().clamp(max=0), inputs.amax().clamp(min=0)
    step = (high - low) / 255
    step = torch.where(step == 0, torch.ones_like(step), step)
    zero = (-low / step).round().clamp(0, 255)
    return ((inputs / step).round() + zero).clamp(0, 255) - zero, step


def quantized(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows, columns) as (int8 codes, float32 scale of each row), the row's largest number as the end of the range.

    At 8 bits a narrower range gains next to nothing: tried on 7 matrices of MiniLM, the best of 13 ranges took a
    thousandth off the error of one.
    """
    values = values.detach().float()
    largest = values.abs().amax(1) if values.numel() else values.new_zeros(len(values))
    scale = largest / LARGEST
    scale = torch.where(scale > torch.finfo(scale.dtype).tiny, scale, torch.ones_like(scale))
    return (values / scale[:, None]).round().clamp(-LARGEST, LARGEST).to(torch.int8), scale


@dataclass(frozen=True)
class Form:
    """How a matrix lies. group: None = int8 with a scale for each row. by_columns: see `packed.py`."""

    bits: int = 8
    group: int | None = None
    by_columns: bool = False
    dynamic: bool = False

    def lines(self, values: torch.Tensor) -> torch.Tensor:
        """A matrix as its lines, or lines as their matrix."""
        return values.T if self.by_columns else values

    @staticmethod
    def of(model: PreTrainedModel, name: str, entry: Entry) -> Form:
        """Of the matrix of that name in a model that gets a `Quantize` of that entry."""
        if name == EMBEDDING:
            bits = entry.get("embedding_bits", 8)
            return Form(bits, None if bits == 8 else entry.get("group") or GROUP)
        table = architecture_of(model)
        readout = name.partition(".")[2] in (table.attention_readout, table.ffn_readout)
        rounds = entry["activations"] == "dynamic" and not table.recurrent  # torch.lstm multiplies floats
        return Form(entry["bits"], entry.get("group"), readout, rounds)


class Quantize(Structure):
    kind = "quantize"
    after = frozenset({"cut", "factor", "quantize", "share", "sparse", "vocabulary"})
    before = frozenset({"cut"})
    fields = frozenset({"bits", "matrices", "activations"})
    optional = frozenset({"group", "embedding_bits"})

    def check(self, entry: Entry, config: PreTrainedConfig) -> None:
        bits, group, of_tokens = entry["bits"], entry.get("group"), entry.get("embedding_bits", 8)
        if type(bits) is not int or bits not in BITS:
            raise ValueError(f"its codes of {bits!r} bits are none of {', '.join(map(str, BITS))}")
        if type(of_tokens) is not int or of_tokens not in EMBEDDING_BITS:
            raise ValueError(
                f"its word embedding of {of_tokens!r} bits is none of {', '.join(map(str, EMBEDDING_BITS))}"
            )
        if entry["activations"] not in ACTIVATIONS:
            raise ValueError(f"its activations {entry['activations']!r} are none of {', '.join(ACTIVATIONS)}")
        if group is not None and (type(group) is not int or not 1 <= group <= MOST_IN_GROUP):
            raise ValueError(f"its groups of {group!r} numbers are none of 1 to {MOST_IN_GROUP}")
        if group is None and bits != 8:
            raise ValueError(f"its codes of {bits} bits have no group of numbers that share a scale")
        if group is not None and entry["activations"] != "none":
            raise ValueError("its matrices have scales for groups, with which no rounded inputs are multiplied")
        names = entry["matrices"]
        outside = [n for n in names if isinstance(n, str) and n.startswith(OUTSIDE)] if isinstance(names, list) else []
        check_names(names, config, (EMBEDDING, *outside))  # the model says which of those it has

    def build(self, model: PreTrainedModel, entry: Entry) -> None:
        able = quantizable(model, outside=True)
        for name in entry["matrices"]:
            if name not in able:
                raise ValueError(f"it has no matrix {name} that could be quantized")
            parent, path = place_of(model, name)
            put_submodule(parent, path, empty_module(able[name], Form.of(model, name, entry)))

    def needs(self, model: PreTrainedModel, entry: Entry) -> tuple[str, ...]:
        places = (place_of(model, name) for name in entry["matrices"])
        return tensors_of(model, (parent.get_submodule(path) for parent, path in places))

    def dense(self, model: PreTrainedModel, entry: Entry, state: State, values: dict[str, Any]) -> None:
        """Codes times scales; factors are multiplied by their own structure."""
        if entry["activations"] == "dynamic":
            raise ValueError("the original's class does not round what its matrices multiply")
        for path, module in model.named_modules(remove_duplicate=False):
            if isinstance(module, QuantizedLinear | QuantizedEmbedding | PackedLinear | PackedEmbedding):
                for name in ("codes", "scale", "scales", "levels"):
                    state.pop(f"{path}.{name}", None)
                table = isinstance(module, QuantizedEmbedding | PackedEmbedding)
                state[f"{path}.weight"] = whole_table(module) if table else matrix(module).detach()


def check_names(names: Any, config: PreTrainedConfig, others: tuple[str, ...] = ()) -> None:
    """Whether JSON lists matrices of an architecture's layers, or `others`. Raises: ValueError where it does not."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its matrices are no list of names")
    if len(set(names)) < len(names):
        raise ValueError("its matrices name one twice")
    known = matrix_paths(ARCHITECTURES[architecture_name(config)])
    for name in names:
        row, _, path = name.partition(".")
        if name not in others and not (row.isdecimal() and row.isascii() and path in known):
            raise ValueError(f"{name!r} is no matrix of a {config.model_type} model")


def rounds_inputs(module: nn.Module) -> bool:
    """Whether what a matrix says of a token depends on the others that are given with it."""
    return any(isinstance(part, QuantizedLinear) and part.dynamic for part in module.modules())


def quantizable(model: PreTrainedModel, outside: bool = False) -> dict[str, nn.Module]:
    """Name -> module of the matrices that can be quantized: those of the layers, and the table of tokens,
    both whole or in parts.

    outside: also the linears outside of the layers, and the table of positions.
    """
    table = architecture_of(model)
    found: dict[str, nn.Module] = {
        f"{number}.{path}": module
        for number, row in enumerate(rows_of(model))
        for path, module in matrices(table, row).items()
        if type(module) is nn.Linear or (isinstance(module, FactoredLinear) and type(module.first) is nn.Linear)
    }
    tokens = model.base_model.get_submodule(table.word_embedding)
    if _is_plain(tokens):
        found = {EMBEDDING: tokens, **found}
    return {**found, **_outside(model, tokens)} if outside else found


def _is_plain(table: nn.Module) -> bool:
    """Whether a table of tokens lies in floating-point numbers, or all that it is composed of does."""
    if isinstance(table, ComposedTable):
        return all(map(_is_plain, table.children()))
    return type(table) in (nn.Embedding, nn.Linear)


def _outside(model: PreTrainedModel, tokens: nn.Module) -> dict[str, nn.Module]:
    within = {id(module) for row in (*rows_of(model), tokens) for module in row.modules()}
    positions = POSITIONS if model.base_model is model else f"{model.base_model_prefix}.{POSITIONS}"
    return {
        f"{OUTSIDE}{path}": module
        for path, module in model.named_modules()
        if type(module) is (nn.Embedding if path == positions else nn.Linear) and id(module) not in within
    }


def quantized_tensors(model: PreTrainedModel, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Values of what `build` makes of some matrices, by their names in the new model."""
    able = quantizable(model, outside=True)
    paths = {id(module): path for path, module in model.named_modules()}
    return {
        f"{paths[id(able[name])]}.{tensor}": values
        for name in names
        for tensor, values in quantized_module(able[name]).state_dict().items()
    }


def quantized_module(module: nn.Module, dynamic: bool = False) -> nn.Module:
    """What stands in place of one of `quantizable` as int8, with its values."""
    made = empty_module(module, Form(dynamic=dynamic))
    for old, new in parts_of(module, made):
        codes, scale = quantized(old.weight)
        new.codes, new.scale = (nn.Parameter(values, requires_grad=False) for values in (codes, scale))
        if getattr(old, "bias", None) is not None:
            new.bias = nn.Parameter(old.bias.detach(), requires_grad=False)
    return made


def parts_of(module: nn.Module, made: nn.Module) -> list[tuple[Any, Any]]:
    """(plain, quantized) of one of `quantizable` and its `empty_module`: of what has several, such as factors, each."""
    if isinstance(module, FactoredLinear | ComposedTable):
        children = ((child, made.get_submodule(name)) for name, child in module.named_children())
        return [pair for child, new in children for pair in parts_of(child, new)]
    return [(module, made)]


def place_of(model: PreTrainedModel, name: str) -> tuple[nn.Module, str]:
    """(the module that a matrix stands in, its path there)"""
    if name == EMBEDDING:
        return model.base_model, architecture_of(model).word_embedding
    if name.startswith(OUTSIDE):
        return model, name.removeprefix(OUTSIDE)
    row, _, path = name.partition(".")
    return rows_of(model)[int(row)], path


def empty_module(module: Any, form: Form) -> nn.Module:
    """What stands in place of one of `quantizable`, without its values."""
    made: nn.Module
    if isinstance(module, FactoredLinear | ComposedTable):
        made = own_copy(module)
        made._modules = {name: empty_module(part, form) for name, part in module.named_children()}
        return made
    if isinstance(module, nn.Embedding):
        size = module.num_embeddings, module.embedding_dim
        if form.group is None:
            made = QuantizedEmbedding(*size, module.padding_idx)
        else:
            made = PackedEmbedding(*size, form.bits, form.group, module.padding_idx)
    else:
        size, biased = (module.in_features, module.out_features), module.bias is not None
        if form.group is None:
            made = QuantizedLinear(*size, biased, form.dynamic)
        else:
            made = PackedLinear(*size, form.bits, form.group, form.by_columns, biased)
    return made.to(module.weight.device)


@matrix.register
def _(module: QuantizedLinear) -> torch.Tensor:
    return module.codes.to(module.scale.dtype) * module.scale[:, None]


@bias.register
def _(module: QuantizedLinear) -> torch.Tensor | None:
    return module.bias


@rows_of_matrix.register
def _(module: QuantizedLinear) -> int:
    return module.codes.shape[0]


@columns_of.register
def _(module: QuantizedLinear) -> int:
    return module.codes.shape[1]


@select.register
def _(module: QuantizedLinear, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> None:
    if rows is not None:
        module.codes, module.scale = chosen(module.codes, rows), chosen(module.scale, rows)
        if module.bias is not None:
            module.bias = chosen(module.bias, rows)
    if columns is not None:
        module.codes = chosen(module.codes, columns, 1)


@put.register
def _(module: QuantizedLinear, values: torch.Tensor, offset: torch.Tensor | None) -> None:
    raise ValueError("a quantized matrix cannot hold every matrix of its size: repair first, quantize afterwards")


@marginal.register
def _(module: QuantizedLinear) -> Marginal:
    rows, columns = module.codes.shape
    beside = 1 + int(module.bias is not None)  # its scale
    return Marginal(columns + beside, rows, columns, rows, row_codes=columns, column_codes=rows)


@plain.register
def _(module: QuantizedLinear) -> list[nn.Linear]:
    return []


@own_macs.register
def _(module: QuantizedLinear) -> int:
    return module.codes.numel()


@tokens_of.register
def _(module: QuantizedEmbedding) -> int:
    return module.codes.shape[0]


@width_of.register
def _(module: QuantizedEmbedding) -> int:
    return module.codes.shape[1]


@select_tokens.register
def _(module: QuantizedEmbedding, rows: torch.Tensor, padding: int | None) -> None:
    module.codes, module.scale = chosen(module.codes, rows), chosen(module.scale, rows)
    if module.padding_idx is not None:
        module.padding_idx = padding
