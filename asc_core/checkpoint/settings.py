"""config.json without what it says of the machine and the run in which the model was trained.

How a class hands its results over, what it caches, which kernels it runs on and in which precision: none of it says
what the model is, some of it needs packages or devices that are not here, and all of it is decided here anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from asc_core import modeling
from asc_core.checkpoint.bounds import check_sizes
from asc_core.checkpoint.reasons import reason
from asc_core.errors import UserError

_OF_THE_MACHINE = frozenset(
    {
        "return_dict",
        "use_return_dict",
        "output_hidden_states",
        "output_attentions",
        "output_scores",
        "use_cache",
        "torchscript",
        "attn_implementation",
        "_attn_implementation",
        "_attn_implementation_internal",
        "_attn_implementation_autoset",
        "_experts_implementation",
        "_experts_implementation_internal",
        "attention_implementation",
        "use_flash_attn",
        "use_flash_attention",
        "use_memory_efficient_attention",
        "unpad_inputs",
        "reference_compile",
        "repad_logits_with_grad",
        "deterministic_flash_attn",
        "gradient_checkpointing",
        "_gradient_checkpointing",
        "use_bfloat16",
        "use_kernels",
        "torch_dtype",
        "dtype",
        "compression_config",
        "quantization_config",
        "pruned_heads",
        "chunk_size_feed_forward",
        "base_model_tp_plan",
        "base_model_pp_plan",
        "tp_plan",
        "pp_plan",
        "tp_size",
        "device_map",
        "distributed_config",
        "transformers_version",
        "transformers_weights",
        "_name_or_path",
        "name_or_path",
        "auto_map",  # code of somebody: the class is one that is known here
        "custom_pipelines",
        "_commit_hash",
    }
)
_HALF = ("float16", "half", "fp16")


@dataclass(frozen=True)
class Settings:
    """config: what the model is. packing: how its weights lie in the file. quantised: how somebody quantised them,
    None where nobody says so. pruned_heads: layer (of ALBERT: set of layer weights) -> the heads that transformers 4
    took out of it.
    """

    config: PreTrainedConfig
    packing: str
    quantised: str | None = None
    pruned_heads: dict[int, list[int]] = field(default_factory=dict)


def settings_of(source: str, data: dict[str, Any]) -> Settings:
    """data: the content of config.json. Raises: UserError where no supported encoder can be made of it."""
    supported = ", ".join(sorted(modeling.ARCHITECTURES))
    stored = str(data.get("torch_dtype") or data.get("dtype") or "").removeprefix("torch.")
    for name in ("is_decoder", "add_cross_attention"):
        if data.get(name) is True:
            raise UserError(
                f"{source}: its configuration says {name} = true, so it is a decoder; ASC Studio works on encoders. "
                f"Where that was left there by mistake, set {name} to false in its config.json."
            )
    for path, value in _numbers(data):
        if not math.isfinite(value):
            raise UserError(f"{source}: {path} in its config.json is {value}, not a finite number: correct it.")
    for name, value in data.items():
        if name.endswith(("_eps", "_epsilon")) and isinstance(value, int | float) and value < 0:
            raise UserError(f"{source}: {name} in its config.json is {value}, less than 0: correct it.")
    check_sizes(source, data)
    plain = {name: value for name, value in data.items() if name not in _OF_THE_MACHINE}
    model_type = plain.get("model_type")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise UserError(
            f"{source}: its config.json says model_type = {model_type!r}, which is unknown here. Supported "
            f"architectures: {supported}."
        )
    try:
        config = CONFIG_MAPPING[model_type].from_dict(plain)
    except Exception as error:  # whatever a configuration of somebody else makes its class raise
        raise UserError(
            f"{source}: its configuration cannot be read ({reason(error)}). Supported architectures: {supported}."
        ) from None
    try:
        modeling.architecture_name(config)
    except KeyError as error:
        raise UserError(f"{source}: {error.args[0]}.") from None
    if not model_type.startswith(modeling.COMPACT):
        vars(config).pop("asc", None)  # no class of ours has checked it, and this one builds nothing by it
    packing = "float16" if stored in _HALF else "float32"
    return Settings(config, packing, _quantised(data), _pruned_heads(source, data.get("pruned_heads")))


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _numbers(inner, f"{path}[{number}]")
    elif isinstance(value, float):
        yield path, value


def _quantised(data: dict[str, Any]) -> str | None:
    for name in ("quantization_config", "compression_config"):
        said = data.get(name)
        if said:
            method = said.get("quant_method") if isinstance(said, dict) else None
            return str(method or "a method that it does not name")
    return None


def _pruned_heads(source: str, said: Any) -> dict[int, list[int]]:
    if not said:
        return {}
    try:
        heads = {int(layer): sorted({int(head) for head in gone}) for layer, gone in said.items()}
    except (AttributeError, TypeError, ValueError):
        raise UserError(f"{source}: pruned_heads in its config.json is no table of layers and their heads.") from None
    return {layer: gone for layer, gone in heads.items() if gone}


def without_pruned_heads(settings: Settings, source: str) -> PreTrainedConfig:
    """A configuration that builds the model as transformers 4 pruned it: with a cut of those heads.

    Raises: UserError where it names layers or heads that there are not.
    """
    config = settings.config
    if not settings.pruned_heads:
        return config
    name, total = modeling.architecture_name(config), modeling.head_count(config)
    if config.model_type.startswith(modeling.COMPACT):
        raise UserError(
            f"{source}: it is a compact export, and its config.json has pruned_heads of transformers 4, too, which "
            "did not prune it: remove that entry."
        )
    layers = rows = int(config.num_hidden_layers)
    if modeling.ARCHITECTURES[name].inner is not None:  # ALBERT: a "layer" is one set of weights, by group and place
        inner = int(config.inner_group_num)
        layers, rows = layers * inner, int(config.num_hidden_groups) * inner
    if not all(0 <= row < rows and min(gone) >= 0 and max(gone) < total for row, gone in settings.pruned_heads.items()):
        raise UserError(f"{source}: pruned_heads names layers or heads that its configuration does not have.")
    kept = [[h for h in range(total) if h not in settings.pruned_heads.get(row, ())] for row in range(rows)]
    entry = {
        "kind": "cut",
        "layers": list(range(layers)),
        "heads": kept,
        "neurons": [modeling.ffn_width(config)] * rows,
    }
    compact: Any = modeling.compact_class(name, "AutoConfig")
    made = compact.from_dict(config.to_dict() | {"model_type": modeling.COMPACT + name})
    made.architectures = config.architectures
    made.asc = modeling.added(config, entry)
    return made
