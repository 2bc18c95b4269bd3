"""The table of encoder architectures: all that differs by architecture. Nothing outside this folder knows a name of it.

An architecture is supported by one entry. All paths but `layers` and `word_embedding` start at one layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .turns import row_behind

if TYPE_CHECKING:  # transformers 4 has it under another name
    from transformers import PreTrainedConfig

QUERY, KEY_VALUE, NEURON = "query", "key or value", "neuron"
COMPACT = "asc-"  # model_type of a compact BERT is "asc-bert"


@dataclass(frozen=True)
class Feeder:
    """A matrix whose rows feed the blocks of a readout.

    path: its module; one that a configuration lacks is skipped. sections: what stands in it on top of each other, in
    order: the rows of `QUERY`s, `KEY_VALUE`s or `NEURON`s. each_text: whether it is applied to a text's tokens (and not
    to positions, once for all texts).
    """

    path: str
    sections: tuple[str, ...]
    each_text: bool = True


@dataclass(frozen=True)
class Architecture:
    """Where an architecture keeps its parts, and what is peculiar to it.

    layers: the list of layers in the base model. inner: for shared weights, the path from one entry of it to the list
        of layers in it. word_embedding: the table of tokens.
    attention: the module that runs the heads. attention_feeders, ffn_feeders: what the readouts' inputs come from.
    attention_readout, ffn_readout: the two matrices that write into the residual stream.
    attention_norm, ffn_norm: the norms that read the stream behind attention and behind the FFN; a pre-LN layer's FFN
        has none of its own.
    norm_first: whether a sublayer normalises what it reads (pre-LN) and not what it has written.
    ffn_width: the configuration's name for the FFN's width. padding_shifts_positions: whether positions are counted
        from behind the padding token's id. unlimited_positions: whether a configuration limits no length.
    span: of an attention module, the tokens that one token attends to, None = all. relative_span: of a configuration,
        the relative positions that each head scores, 0 = none.
    first_layer: of a configuration, what the original's class does to whichever layer is first, so that no other can
        take its place in it; None = nothing. convolution: a module beside the layers that follows the first one.
    positions_at_input: whether a token's place is added to its embedding once, and no layer asks for it again.
    narrow: what slicing alone does not do, called as narrow(attention, kept heads, columns of a head).
    recurrent: the matrices of a layer that is no Transformer's: it has none of the above, and nothing to cut.
    """

    layers: str
    word_embedding: str
    attention: str
    attention_feeders: tuple[Feeder, ...]
    attention_readout: str
    ffn_feeders: tuple[Feeder, ...]
    ffn_readout: str
    attention_norm: str
    ffn_norm: str | None
    inner: str | None = None
    norm_first: bool = False
    ffn_width: str = "intermediate_size"
    padding_shifts_positions: bool = False
    unlimited_positions: Callable[[Any], bool] = lambda config: False
    span: Callable[[Any], int | None] = lambda attention: None
    relative_span: Callable[[Any], int] = lambda config: 0
    first_layer: Callable[[Any], str | None] = lambda config: None
    convolution: str | None = None
    positions_at_input: bool = False
    narrow: Callable[[Any, Sequence[int], int], None] | None = None
    recurrent: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of its readouts: none where its layers are no Transformer's."""
        return () if self.recurrent else ("attention", "ffn")

    def feeders(self, kind: str) -> tuple[Feeder, ...]:
        """kind: "attention" or "ffn"."""
        return self.attention_feeders if kind == "attention" else self.ffn_feeders

    def readout(self, kind: str) -> str:
        return self.attention_readout if kind == "attention" else self.ffn_readout


def _separate(*paths: str) -> tuple[Feeder, ...]:
    """Query, key and value in matrices of their own."""
    return tuple(Feeder(path, (section,)) for path, section in zip(paths, (QUERY, KEY_VALUE, KEY_VALUE), strict=True))


def _neurons(*paths: str) -> tuple[Feeder, ...]:
    return tuple(Feeder(path, (NEURON,)) for path in paths)


def _narrow_mpnet(attention: Any, heads: Sequence[int], width: int) -> None:
    from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

    class NarrowMPNetSelfAttention(MPNetSelfAttention):
        """The relative position bias is shared by all layers and has a plane for each head of the uncut model."""

        @wraps(MPNetSelfAttention.forward)
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            given = signature(super().forward).bind(*args, **kwargs)  # versions of transformers order them otherwise
            bias = given.arguments.get("position_bias")
            if bias is not None:
                given.arguments["position_bias"] = bias[:, self.kept_heads]
            return super().forward(*given.args, **given.kwargs)

    before = getattr(attention, "kept_heads", None) or range(attention.num_attention_heads)
    attention.kept_heads = [before[head] for head in heads]
    attention.__class__ = NarrowMPNetSelfAttention


def _deberta_span(config: Any) -> int:
    """Relative positions that disentangled attention projects for each layer."""
    if not getattr(config, "relative_attention", False):
        return 0
    buckets = getattr(config, "position_buckets", -1)
    if buckets > 0:
        return int(buckets)
    most = getattr(config, "max_relative_positions", -1)
    return int(most if most > 0 else config.max_position_embeddings)


def _modernbert_span(attention: Any) -> int | None:
    window = getattr(attention, "sliding_window", None)
    return None if window is None else 2 * (int(window) - 1) + 1


def _bert(padding_shifts_positions: bool = False) -> Architecture:
    return Architecture(
        layers="encoder.layer",
        word_embedding="embeddings.word_embeddings",
        attention="attention.self",
        attention_feeders=_separate("attention.self.query", "attention.self.key", "attention.self.value"),
        attention_readout="attention.output.dense",
        ffn_feeders=_neurons("intermediate.dense"),
        ffn_readout="output.dense",
        attention_norm="attention.output.LayerNorm",
        ffn_norm="output.LayerNorm",
        padding_shifts_positions=padding_shifts_positions,
        positions_at_input=True,
    )


ARCHITECTURES: dict[str, Architecture] = {
    "bert": _bert(),
    "electra": _bert(),
    "roberta": _bert(padding_shifts_positions=True),
    "xlm-roberta": _bert(padding_shifts_positions=True),
    "camembert": _bert(padding_shifts_positions=True),
    "distilbert": Architecture(
        layers="transformer.layer",
        word_embedding="embeddings.word_embeddings",
        attention="attention",
        attention_feeders=_separate("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        attention_readout="attention.out_lin",
        ffn_feeders=_neurons("ffn.lin1"),
        ffn_readout="ffn.lin2",
        attention_norm="sa_layer_norm",
        ffn_norm="output_layer_norm",
        ffn_width="hidden_dim",
        positions_at_input=True,
    ),
    "albert": Architecture(
        layers="encoder.albert_layer_groups",
        inner="albert_layers",
        word_embedding="embeddings.word_embeddings",
        attention="attention",
        attention_feeders=_separate("attention.query", "attention.key", "attention.value"),
        attention_readout="attention.dense",
        ffn_feeders=_neurons("ffn"),
        ffn_readout="ffn_output",
        attention_norm="attention.LayerNorm",
        ffn_norm="full_layer_layer_norm",
        positions_at_input=True,
    ),
    "modernbert": Architecture(
        layers="layers",
        word_embedding="embeddings.tok_embeddings",
        attention="attn",
        attention_feeders=(Feeder("attn.Wqkv", (QUERY, KEY_VALUE, KEY_VALUE)),),
        attention_readout="attn.Wo",
        ffn_feeders=(Feeder("mlp.Wi", (NEURON, NEURON)),),
        ffn_readout="mlp.Wo",
        attention_norm="mlp_norm",
        ffn_norm=None,
        norm_first=True,
        span=_modernbert_span,
        first_layer=lambda config: "leaves out the attention norm of whichever layer is first",
    ),
    "mpnet": Architecture(
        layers="encoder.layer",
        word_embedding="embeddings.word_embeddings",
        attention="attention.attn",
        attention_feeders=_separate("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        attention_readout="attention.attn.o",
        ffn_feeders=_neurons("intermediate.dense"),
        ffn_readout="output.dense",
        attention_norm="attention.LayerNorm",
        ffn_norm="output.LayerNorm",
        padding_shifts_positions=True,
        narrow=_narrow_mpnet,
    ),
    "deberta-v2": Architecture(
        layers="encoder.layer",
        word_embedding="embeddings.word_embeddings",
        attention="attention.self",
        attention_feeders=(
            *_separate("attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"),
            Feeder("attention.self.pos_key_proj", (KEY_VALUE,), each_text=False),
            Feeder("attention.self.pos_query_proj", (QUERY,), each_text=False),
        ),
        attention_readout="attention.output.dense",
        ffn_feeders=_neurons("intermediate.dense"),
        ffn_readout="output.dense",
        attention_norm="attention.output.LayerNorm",
        ffn_norm="output.LayerNorm",
        unlimited_positions=lambda config: not getattr(config, "position_biased_input", True),
        relative_span=_deberta_span,
        first_layer=lambda config: (
            "runs its convolution after whichever layer is first" if getattr(config, "conv_kernel_size", 0) else None
        ),
        convolution="conv",
    ),
    "nomic_bert": Architecture(
        layers="layers",
        word_embedding="embeddings.word_embeddings",
        attention="self_attn",
        attention_feeders=_separate("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        attention_readout="self_attn.o_proj",
        ffn_feeders=_neurons("mlp.gate_proj", "mlp.up_proj"),
        ffn_readout="mlp.down_proj",
        attention_norm="post_attention_layernorm",
        ffn_norm="post_mlp_layernorm",
    ),
    "eurobert": Architecture(
        layers="layers",
        word_embedding="embed_tokens",
        attention="self_attn",
        attention_feeders=_separate("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        attention_readout="self_attn.o_proj",
        ffn_feeders=_neurons("mlp.gate_proj", "mlp.up_proj"),
        ffn_readout="mlp.down_proj",
        attention_norm="post_attention_layernorm",
        ffn_norm=None,
        norm_first=True,
    ),
    "bilstm": Architecture(
        layers="layers",
        word_embedding="words",
        attention="",
        attention_feeders=(),
        attention_readout="",
        ffn_feeders=(),
        ffn_readout="",
        attention_norm="",
        ffn_norm=None,
        unlimited_positions=lambda config: True,
        recurrent=("rightward.inputs", "rightward.states", "leftward.inputs", "leftward.states"),
    ),
}
TRANSFORMERS = frozenset(name for name, table in ARCHITECTURES.items() if table.kinds)


class Bypass(nn.Module):
    """Stands where a removed layer has to be counted: DeBERTa's ConvLayer follows the first layer, whatever it is."""

    def forward(self, hidden_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, None]:
        return hidden_states, None


def architecture_name(config: PreTrainedConfig) -> str:
    """The name in `ARCHITECTURES`, also for a compact model. Raises: KeyError with the supported names."""
    name = str(config.model_type).removeprefix(COMPACT)
    if name not in ARCHITECTURES:
        raise KeyError(f"the architecture {name!r} is not supported; supported are: {', '.join(sorted(ARCHITECTURES))}")
    return name


def architecture_of(model: PreTrainedModel) -> Architecture:
    return ARCHITECTURES[architecture_name(model.config)]


def submodule(module: nn.Module, path: str) -> nn.Module | None:
    """The module at a dotted path, None where a part of the path is missing."""
    for name in path.split("."):
        found = getattr(module, name, None)
        if not isinstance(found, nn.Module):
            return None
        module = found
    return module


def put_submodule(module: nn.Module, path: str, new: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent) if parent else module, name, new)


def feeding(architecture: Architecture, layer: nn.Module, kind: str) -> list[nn.Module]:
    """The matrices that a readout's input is computed from. kind: "attention" or "ffn"."""
    return [found for feeder in architecture.feeders(kind) if (found := submodule(layer, feeder.path)) is not None]


def matrices(architecture: Architecture, layer: nn.Module) -> dict[str, nn.Module]:
    """Path -> module of every matrix of a layer."""
    paths = matrix_paths(architecture)
    return {path: found for path in paths if (found := submodule(layer, path)) is not None}


def matrix_paths(architecture: Architecture) -> list[str]:
    """Of the matrices that a layer of it can have."""
    if architecture.recurrent:
        return list(architecture.recurrent)
    paths = [feeder.path for kind in ("attention", "ffn") for feeder in architecture.feeders(kind)]
    return [*paths, architecture.attention_readout, architecture.ffn_readout]


def norm_behind(architecture: Architecture, layer: nn.Module, kind: str) -> nn.LayerNorm | None:
    """The LayerNorm in a layer that reads what the stream is after a readout. kind: "attention" or "ffn"."""
    path = architecture.attention_norm if kind == "attention" else architecture.ffn_norm
    found = None if path is None else submodule(layer, path)
    return found if isinstance(found, nn.LayerNorm) and found.weight is not None else None


def layers_of(model: PreTrainedModel) -> list[nn.Module]:
    """The layers in order of execution; one that runs several times stands there several times."""
    architecture = architecture_of(model)
    entries = submodule(model.base_model, architecture.layers)
    assert isinstance(entries, nn.ModuleList)
    if architecture.inner is None:
        return [row_behind(layer) for layer in entries if not isinstance(layer, Bypass)]
    config = model.config  # ALBERT: iteration i runs the whole group int(i / (iterations / groups))
    groups = [int(i / (config.num_hidden_layers / config.num_hidden_groups)) for i in range(config.num_hidden_layers)]
    return [layer for group in groups for layer in submodule(entries[group], architecture.inner)]  # type: ignore[union-attr]


def rows_of(model: PreTrainedModel) -> list[nn.Module]:
    """The modules that hold a layer's weights, each once, in order of first use."""
    return list(dict.fromkeys(layers_of(model)))


def executed_rows(model: PreTrainedModel) -> list[int]:
    """For each layer in order of execution, the index of its row in `rows_of`."""
    number = {row: index for index, row in enumerate(rows_of(model))}
    return [number[layer] for layer in layers_of(model)]


def depth_is_grouped(model: PreTrainedModel) -> bool:
    """Whether the class repeats layers by itself, so that its depth is a number of repetitions (ALBERT)."""
    return architecture_of(model).inner is not None


def head_count(config: PreTrainedConfig) -> int:
    """Heads of the uncut model. Where several queries share a key and a value, such a group is one head: it is what
    can go without changing what the others compute. 0 where layers are no Transformer's."""
    if not ARCHITECTURES[architecture_name(config)].kinds:
        return 0
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def key_width(config: PreTrainedConfig) -> int:
    """Rows of a head's key, and of its value."""
    explicit = getattr(config, "attention_head_size", None) or getattr(config, "head_dim", None)
    return int(explicit or config.hidden_size // config.num_attention_heads)


def head_width(config: PreTrainedConfig) -> int:
    """Columns of the attention readout that belong to one head. A cut changes the number of heads, never this."""
    return key_width(config) * (int(config.num_attention_heads) // max(1, head_count(config)))


def section_width(config: PreTrainedConfig, section: str) -> int:
    """Rows that one block has in a section of a feeder."""
    return {QUERY: head_width(config), KEY_VALUE: key_width(config), NEURON: 1}[section]


def ffn_width(config: PreTrainedConfig) -> int:
    """Neurons of each layer of the uncut model."""
    architecture = ARCHITECTURES[architecture_name(config)]
    return int(getattr(config, architecture.ffn_width)) if architecture.kinds else 0


def most_tokens(config: PreTrainedConfig) -> int | None:
    """Tokens that a model's positions allow, special tokens included; None = any number."""
    architecture = ARCHITECTURES[architecture_name(config)]
    if architecture.unlimited_positions(config):
        return None
    behind = int(config.pad_token_id or 0) + 1 if architecture.padding_shifts_positions else 0
    return int(config.max_position_embeddings) - behind


def block_sums(config: PreTrainedConfig, feeder: Feeder, of_rows: torch.Tensor, number: int) -> torch.Tensor:
    """(blocks,), what a feeder's rows come to for each of `number` blocks. of_rows: (rows,), one value a row."""
    each = [section_width(config, section) for section in feeder.sections]
    parts = of_rows.split([number * width for width in each])
    return torch.stack([part.view(number, width).sum(1) for part, width in zip(parts, each, strict=True)]).sum(0)


def value_rows(model: PreTrainedModel, row: nn.Module, heads: int) -> tuple[nn.Module, slice]:
    """(what makes a layer's values, which of its outputs they are). heads: that the layer has.

    It may be a matrix of any kind, also one with an adapter around it.
    """
    feeder = [f for f in architecture_of(model).attention_feeders if f.each_text][-1]
    widths = [heads * section_width(model.config, section) for section in feeder.sections]
    return row.get_submodule(feeder.path), slice(sum(widths[:-1]), sum(widths))


def plain_query(architecture: Architecture) -> str | None:
    """The path of the query's matrix where it serves nothing else; None where it also projects positions, or is one
    matrix with key and value."""
    first = architecture.attention_feeders[0]
    alone = first.sections == (QUERY,) and all(feeder.each_text for feeder in architecture.attention_feeders)
    return first.path if alone else None
