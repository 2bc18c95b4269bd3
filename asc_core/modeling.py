"""The table of encoder architectures, and models whose layers have the widths that a cut left them.

This file needs torch and transformers alone, because it ships inside every compact export: a model directory carries
it, so that the cut model loads on a machine that has never heard of ASC Studio. Nothing else in the engine knows an
architecture's attribute names.

A cut is recorded in `config.asc_cut`, in numbers of the uncut model: {"dense": configuration values that depend on
the depth, "layers": kept layers, "heads": kept heads of each kept row, "neurons": number of neurons of each kept row}.
A cut model is built at full size (on the meta device, by `from_pretrained`) and shrunk before its weights arrive.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.utils import ModelOutput


@dataclass(frozen=True)
class Architecture:
    """Where an architecture keeps its parts. All paths but `layers` start at one layer.

    attention, ffn_in: the module that runs the heads, the first FFN linear.
    attention_readout, ffn_readout: the two linears that write into the residual stream.
    feeders: the linears whose rows feed the heads; one that a configuration lacks is skipped.
    stacked: how many matrices a feeder holds on top of each other (3 in a fused q, k, v).
    gates: how many matrices `ffn_in` holds (2 in a gated FFN: rows j and f + j feed neuron j).
    norm_first: whether a sublayer normalises what it reads (pre-LN) and not what it has written.
    inner: for shared weights, the path from one entry of `layers` to the list of layers in it.
    narrow: what slicing alone does not do, called as narrow(attention, kept heads in numbers of the uncut model,
    head width).
    """

    layers: str
    attention: str
    attention_readout: str
    feeders: tuple[str, ...]
    ffn_in: str
    ffn_readout: str
    stacked: int = 1
    gates: int = 1
    norm_first: bool = False
    inner: str | None = None
    narrow: Callable[[Any, Sequence[int], int], None] | None = None


def _narrow_mpnet(attention: Any, heads: Sequence[int], width: int) -> None:
    from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

    class NarrowMPNetSelfAttention(MPNetSelfAttention):
        """The relative position bias is shared by all layers and has a plane for each head of the uncut model."""

        def forward(  # type: ignore[no-untyped-def]
            self, hidden_states, attention_mask=None, position_bias=None, output_attentions=False, **kwargs
        ):
            if position_bias is not None:
                position_bias = position_bias[:, self.kept_heads]
            return super().forward(hidden_states, attention_mask, position_bias, output_attentions, **kwargs)

    attention.__class__ = NarrowMPNetSelfAttention
    attention.kept_heads = list(heads)
    attention.num_attention_heads = len(heads)
    attention.all_head_size = len(heads) * width


def _narrow_deberta(attention: Any, heads: Sequence[int], width: int) -> None:
    from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention

    class HeadlessSelfAttention(DisentangledSelfAttention):
        """The reshapes of disentangled attention cannot run on zero heads; the readout then writes its bias."""

        def forward(self, hidden_states, *args, **kwargs):  # type: ignore[no-untyped-def]
            return hidden_states[..., :0], None

    attention.num_attention_heads = len(heads)
    attention.all_head_size = len(heads) * width
    if not heads:
        attention.__class__ = HeadlessSelfAttention


_BERT = Architecture(
    layers="encoder.layer",
    attention="attention.self",
    attention_readout="attention.output.dense",
    feeders=("attention.self.query", "attention.self.key", "attention.self.value"),
    ffn_in="intermediate.dense",
    ffn_readout="output.dense",
)

ARCHITECTURES: dict[str, Architecture] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "distilbert": Architecture(
        layers="transformer.layer",
        attention="attention",
        attention_readout="attention.out_lin",
        feeders=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
        ffn_in="ffn.lin1",
        ffn_readout="ffn.lin2",
    ),
    "albert": Architecture(
        layers="encoder.albert_layer_groups",
        inner="albert_layers",
        attention="attention",
        attention_readout="attention.dense",
        feeders=("attention.query", "attention.key", "attention.value"),
        ffn_in="ffn",
        ffn_readout="ffn_output",
    ),
    "modernbert": Architecture(
        layers="layers",
        attention="attn",
        attention_readout="attn.Wo",
        feeders=("attn.Wqkv",),
        stacked=3,
        ffn_in="mlp.Wi",
        gates=2,
        ffn_readout="mlp.Wo",
        norm_first=True,
    ),
    "mpnet": Architecture(
        layers="encoder.layer",
        attention="attention.attn",
        attention_readout="attention.attn.o",
        feeders=("attention.attn.q", "attention.attn.k", "attention.attn.v"),
        ffn_in="intermediate.dense",
        ffn_readout="output.dense",
        narrow=_narrow_mpnet,
    ),
    "deberta-v2": Architecture(
        layers="encoder.layer",
        attention="attention.self",
        attention_readout="attention.output.dense",
        feeders=tuple(
            f"attention.self.{name}"
            for name in ("query_proj", "key_proj", "value_proj", "pos_key_proj", "pos_query_proj")
        ),
        ffn_in="intermediate.dense",
        ffn_readout="output.dense",
        narrow=_narrow_deberta,
    ),
}

COMPACT = "asc-"  # model_type of a cut BERT is "asc-bert"


class Bypass(nn.Module):
    """Stands where a removed layer has to be counted: DeBERTa's ConvLayer follows the first layer, whatever it is."""

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, None]:
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


def feeding(architecture: Architecture, layer: nn.Module, kind: str) -> list[nn.Linear]:
    """The linears that a readout's input is computed from. kind: "attention" or "ffn"."""
    paths = architecture.feeders if kind == "attention" else (architecture.ffn_in,)
    return [found for path in paths if isinstance(found := submodule(layer, path), nn.Linear)]


def rows_of(model: PreTrainedModel) -> list[nn.Module]:
    """The modules that hold a layer's weights, each once, in order of first use."""
    architecture = architecture_of(model)
    entries = submodule(model.base_model, architecture.layers)
    assert isinstance(entries, nn.ModuleList)
    if architecture.inner is None:
        return [layer for layer in entries if not isinstance(layer, Bypass)]
    return [layer for entry in entries for layer in submodule(entry, architecture.inner)]  # type: ignore[union-attr]


def executed_rows(model: PreTrainedModel) -> list[int]:
    """For each layer in order of execution, the index of its row in `rows_of`."""
    rows = len(rows_of(model))
    if architecture_of(model).inner is None:
        return list(range(rows))
    config = model.config  # ALBERT: iteration i runs the whole group int(i / (iterations / groups))
    inner = rows // config.num_hidden_groups
    groups = [int(i / (config.num_hidden_layers / config.num_hidden_groups)) for i in range(config.num_hidden_layers)]
    return [group * inner + j for group in groups for j in range(inner)]


def head_width(config: PreTrainedConfig) -> int:
    """Columns of the attention readout that belong to one head. A cut changes the number of heads, never this."""
    explicit = getattr(config, "attention_head_size", None) or getattr(config, "head_dim", None)
    return int(explicit or config.hidden_size // config.num_attention_heads)


def ffn_width_name(config: PreTrainedConfig) -> str:
    """The configuration value that holds the uncut model's FFN width."""
    return "hidden_dim" if hasattr(config, "hidden_dim") else "intermediate_size"  # hidden_dim: DistilBERT


def _ffn_width(config: PreTrainedConfig) -> int:
    return int(getattr(config, ffn_width_name(config)))


def _select(linear: nn.Linear, rows: torch.Tensor | None = None, columns: torch.Tensor | None = None) -> None:
    """Keep some output rows or input columns of a linear, in place."""

    def replaced(parameter: torch.Tensor, index: torch.Tensor, dim: int) -> nn.Parameter:
        kept = parameter.detach().index_select(dim, index.to(parameter.device)).clone()
        return nn.Parameter(kept, requires_grad=parameter.requires_grad)

    if rows is not None:
        linear.weight = replaced(linear.weight, rows, 0)
        if linear.bias is not None:
            linear.bias = replaced(linear.bias, rows, 0)
        linear.out_features = len(rows)
    if columns is not None:
        linear.weight = replaced(linear.weight, columns, 1)
        linear.in_features = len(columns)


def blocks(kept: Sequence[int], width: int) -> torch.Tensor:
    """Indices of the columns of the kept blocks."""
    start = torch.as_tensor(list(kept), dtype=torch.long) * width
    return (start[:, None] + torch.arange(width)).flatten()


def _depth_names(config: PreTrainedConfig) -> list[str]:
    """The configuration values that change with the number of layers."""
    return [name for name in ("num_hidden_layers", "layer_types") if getattr(config, name, None) is not None]


def whole(model: PreTrainedModel) -> dict[str, Any]:
    """The record of an uncut model: everything stays."""
    config = model.config
    return {
        "dense": {name: getattr(config, name) for name in _depth_names(config)},
        "layers": list(range(len(executed_rows(model)))),
        "heads": [list(range(config.num_attention_heads)) for _ in rows_of(model)],
        "neurons": [_ffn_width(config) for _ in rows_of(model)],
    }


def cut(
    model: PreTrainedModel,
    heads: Sequence[Sequence[int]],
    neurons: Sequence[Sequence[int]],
    layers: Sequence[int],
) -> None:
    """Slice parts away for real, in place.

    heads, neurons: what every row of `rows_of(model)` keeps, in numbers of this model as it is now. layers: the kept
    layers of `executed_rows(model)`. A sublayer left without blocks keeps its bias and LayerNorm. Where rows are
    shared, every row must keep the same number of layers. Composes: a cut model can be cut again.
    """
    config = model.config
    architecture = architecture_of(model)
    width = head_width(config)
    rows = rows_of(model)
    record = getattr(config, "asc_cut", None) or whole(model)
    original_heads = [[record["heads"][row][h] for h in kept] for row, kept in enumerate(heads)]
    for row, layer in enumerate(rows):
        _cut_row(architecture, layer, heads[row], original_heads[row], neurons[row], width)
    record = record | {
        "layers": [record["layers"][i] for i in layers],
        "heads": original_heads,
        "neurons": [len(kept) for kept in neurons],
    }
    if architecture.inner is not None:
        config.num_hidden_layers = len(layers) * config.num_hidden_groups // len(rows)
    else:
        _cut_depth(model, architecture, layers)
        record["heads"] = [record["heads"][i] for i in layers]
        record["neurons"] = [record["neurons"][i] for i in layers]
        config.num_hidden_layers = len(layers)
        if "layer_types" in record["dense"]:
            config.layer_types = [record["dense"]["layer_types"][i] for i in record["layers"]]
    config.asc_cut = record


def _cut_row(
    architecture: Architecture,
    layer: nn.Module,
    heads: Sequence[int],
    original_heads: Sequence[int],
    neurons: Sequence[int],
    width: int,
) -> None:
    def linear(path: str) -> nn.Linear:
        found = submodule(layer, path)
        assert isinstance(found, nn.Linear), path
        return found

    readout = linear(architecture.attention_readout)
    present = readout.in_features // width
    if len(heads) < present or architecture.narrow is not None:
        columns = blocks(heads, width)
        for path in architecture.feeders:
            if submodule(layer, path) is not None:
                stack = torch.arange(architecture.stacked)[:, None] * present * width
                _select(linear(path), rows=(stack + columns).flatten())
        _select(readout, columns=columns)
        attention = submodule(layer, architecture.attention)
        assert attention is not None
        for name, value in (
            ("num_attention_heads", len(heads)),
            ("n_heads", len(heads)),
            ("all_head_size", len(columns)),
        ):
            if hasattr(attention, name):
                setattr(attention, name, value)
        if architecture.narrow is not None:
            architecture.narrow(attention, original_heads, width)
    readout = linear(architecture.ffn_readout)
    if len(neurons) < readout.in_features:
        columns = torch.as_tensor(list(neurons), dtype=torch.long)
        stack = torch.arange(architecture.gates)[:, None] * readout.in_features
        _select(linear(architecture.ffn_in), rows=(stack + columns).flatten())
        _select(readout, columns=columns)


def _cut_depth(model: PreTrainedModel, architecture: Architecture, layers: Sequence[int]) -> None:
    parent_path, _, name = architecture.layers.rpartition(".")
    parent = submodule(model.base_model, parent_path) if parent_path else model.base_model
    entries = getattr(parent, name)
    real = [entry for entry in entries if not isinstance(entry, Bypass)]
    kept: list[nn.Module] = [real[i] for i in layers]
    first_is_gone = isinstance(entries[0], Bypass) or 0 not in layers
    if getattr(parent, "conv", None) is not None and first_is_gone:
        kept.insert(0, Bypass())
    setattr(parent, name, nn.ModuleList(kept))


def _shrink(model: PreTrainedModel, record: dict[str, Any]) -> None:
    """Give a freshly built full-size model the widths that `config.asc_cut` records."""
    rows = executed_rows(model)
    shared = architecture_of(model).inner is not None
    full_heads = [list(range(model.config.num_attention_heads)) for _ in rows_of(model)]
    full_neurons = [list(range(_ffn_width(model.config))) for _ in rows_of(model)]
    kept_rows = list(range(len(full_heads))) if shared else record["layers"]
    if len(record["heads"]) != len(kept_rows) or max(record["layers"], default=0) >= len(rows):
        raise ValueError("the configuration's asc_cut does not fit the model's depth")
    for i, row in enumerate(kept_rows):
        full_heads[row] = record["heads"][i]
        full_neurons[row] = list(range(record["neurons"][i]))
    model.config.asc_cut = None
    cut(model, full_heads, full_neurons, record["layers"])


def _check_record(config: PreTrainedConfig) -> dict[str, Any]:
    """A configuration may come from anywhere. Raises: ValueError where its record of the cut is none."""

    def numbers(value: Any) -> bool:
        return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)

    record = getattr(config, "asc_cut", None)
    if not isinstance(record, dict) or set(record) != {"dense", "layers", "heads", "neurons"}:
        raise ValueError(f"the configuration of a {config.model_type} model has no asc_cut that says what was cut")
    dense, heads = record["dense"], record["heads"]
    if (
        not isinstance(dense, dict)
        or set(dense) != set(_depth_names(config))
        or type(dense["num_hidden_layers"]) is not int
        or not isinstance(dense.get("layer_types", []), list)
        or len(dense.get("layer_types", range(dense["num_hidden_layers"]))) != dense["num_hidden_layers"]
        or not (numbers(record["layers"]) and numbers(record["neurons"]))
        or not (isinstance(heads, list) and all(numbers(kept) for kept in heads))
        or len(heads) != len(record["neurons"])
        or max(record["neurons"], default=0) > _ffn_width(config)
        or any(sorted(set(kept)) != kept or (kept and kept[-1] >= config.num_attention_heads) for kept in heads)
    ):
        raise ValueError("the configuration's asc_cut does not fit the model's widths")
    return record


def _compact_class(base: type[PreTrainedModel], config_class: type[PreTrainedConfig]) -> type[PreTrainedModel]:
    def __init__(self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        record = _check_record(config)
        now = {name: getattr(config, name) for name in record["dense"]}
        for name, value in record["dense"].items():
            setattr(config, name, value)
        try:
            base.__init__(self, config, *args, **kwargs)
            _shrink(self, record)
        finally:
            for name, value in now.items():
                setattr(config, name, value)
            config.asc_cut = record

    name = f"Asc{base.__name__}"
    return type(name, (base,), {"__init__": __init__, "config_class": config_class, "__module__": __name__})


_AUTO_CLASSES = {
    "AutoModel": modeling_auto.MODEL_MAPPING_NAMES,
    "AutoModelForSequenceClassification": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    "AutoModelForTokenClassification": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    "AutoModelForQuestionAnswering": modeling_auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING_NAMES,
}


@dataclass
class IntentSlotsOutput(ModelOutput):
    """intent_logits: (B, intents). slot_logits: (B, T, slot tags)."""

    intent_logits: torch.Tensor | None = None
    slot_logits: torch.Tensor | None = None


@cache
def intent_slots_class(model_type: str) -> type[PreTrainedModel]:
    """Joint intent classification and slot filling: two linear heads on one encoder (JointBERT, 1902.10909).

    config.id2label names the intents, config.slot_id2label the slot tags.
    """
    encoder_class = getattr(transformers, _AUTO_CLASSES["AutoModel"][model_type])
    prefix = encoder_class.base_model_prefix
    pooler = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(encoder_class).parameters else {}
    pretrained = next(c for c in encoder_class.__mro__ if PreTrainedModel in c.__bases__)

    def __init__(self: Any, config: Any) -> None:
        pretrained.__init__(self, config)
        setattr(self, prefix, encoder_class(config, **pooler))
        dropout = next((getattr(config, n) for n in ("hidden_dropout_prob", "dropout") if hasattr(config, n)), 0.1)
        self.dropout = nn.Dropout(dropout)
        self.intent_classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.slot_classifier = nn.Linear(config.hidden_size, len(config.slot_id2label))
        self.post_init()

    def forward(self: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, **kwargs: Any) -> IntentSlotsOutput:
        states = getattr(self, prefix)(input_ids=input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        states = self.dropout(states)
        return IntentSlotsOutput(
            intent_logits=self.intent_classifier(states[:, 0]), slot_logits=self.slot_classifier(states)
        )

    name = f"{encoder_class.__name__.removesuffix('Model')}ForIntentSlots"
    return type(name, (pretrained,), {"__init__": __init__, "forward": forward, "__module__": __name__})


@cache
def _config_class(model_type: str) -> type[PreTrainedConfig]:
    base = type(AutoConfig.for_model(model_type))
    return type(f"Asc{base.__name__}", (base,), {"model_type": COMPACT + model_type, "__module__": __name__})


def uncut_class(model_type: str, auto: str) -> type[PreTrainedModel]:
    """The class of an architecture's uncut model. auto: the Auto class that makes it, or "IntentSlots" (ours)."""
    if auto == "IntentSlots":
        return intent_slots_class(model_type)
    return getattr(transformers, _AUTO_CLASSES[auto][model_type])


@cache
def compact_classes(model_type: str) -> dict[str, type]:
    """Auto class name -> the class of a cut model of an architecture; "AutoConfig" too, and "IntentSlots" (ours)."""
    config_class = _config_class(model_type)
    classes: dict[str, type] = {"AutoConfig": config_class}
    for auto in (*_AUTO_CLASSES, "IntentSlots"):
        classes[auto] = _compact_class(uncut_class(model_type, auto), config_class)
    return classes


def __getattr__(name: str) -> Any:
    """`AscBertForSequenceClassification` and its like, made when first asked for (PEP 562)."""
    if name.startswith("Asc"):
        for model_type in ARCHITECTURES:
            if not name.startswith(_config_class(model_type).__name__.removesuffix("Config")):
                continue
            for made in compact_classes(model_type).values():
                if made.__name__ == name:
                    return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def register() -> None:
    """Make transformers' Auto classes load compact models without `trust_remote_code`."""
    for model_type in ARCHITECTURES:
        classes = compact_classes(model_type)
        AutoConfig.register(COMPACT + model_type, classes["AutoConfig"], exist_ok=True)
        for auto in _AUTO_CLASSES:
            # Transformers has no Auto class for intents and slots: AutoModel picks theirs by config.architectures.
            made = (classes[auto], classes["IntentSlots"]) if auto == "AutoModel" else classes[auto]
            getattr(transformers, auto).register(classes["AutoConfig"], made, exist_ok=True)
