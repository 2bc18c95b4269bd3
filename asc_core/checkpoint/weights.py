"""From stored weights to a model, or a sentence: nothing missing, left over, of other shape or not a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import PreTrainedModel

from asc_core import modeling
from asc_core.checkpoint.bounds import check_memory
from asc_core.checkpoint.names import unwrapped
from asc_core.checkpoint.reasons import json_object, reason
from asc_core.errors import UserError

_FLOATS = ("F64", "F32", "F16", "BF16")


def files_of(folder: Path) -> list[Path]:
    """The files with the weights of a checkpoint folder, as transformers chooses them."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists() or not index.exists():
        return [single] if single.exists() else []
    names = json_object(index).get("weight_map")
    return [folder / name for name in sorted({*names.values()})] if isinstance(names, dict) else []


def load_model(
    model_class: type[PreTrainedModel],
    folder: Path,
    config: Any,
    own_head: bool,
    source: str,
    quantised: str | None = None,
) -> PreTrainedModel:
    """own_head: whether the checkpoint has to bring the weights of the task head, too. source: its name in messages.

    Raises: UserError as said above.
    """
    types, sizes = _stored(folder)
    _refuse_quantised(source, quantised, types)
    check_memory(model_class, config, sizes, source)
    if _readable_by_transformers(folder):
        model, loading = _from_pretrained(model_class, source, config, folder)
    else:
        model, loading = _from_pretrained(
            model_class, source, config, None, _state(folder, {name: name for name in types})
        )
    missing = _missing(model, loading, own_head)
    if missing:
        base = model.base_model_prefix if model.base_model is not model else type(model).base_model_prefix
        names = unwrapped(types, model.state_dict(), base, source)
        if any(name != new for name, new in names.items()):
            state = _state(folder, names)
            again, told = _from_pretrained(model_class, source, config, None, state)
            if len(_missing(again, told, own_head)) < len(missing):
                model, loading, missing = again, told, _missing(again, told, own_head)
    _refuse_other_shapes(source, loading["mismatched_keys"], config)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        hint = "" if all(_is_of_layers(model, name) for name in missing) else _no_head(model, missing)
        raise UserError(f"{source} lacks weights that its configuration asks for: {missing[0]}{more}.{hint}")
    left = _unplaced(model, loading["unexpected_keys"], own_head)
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise UserError(
            f"{source} has weights that its architecture ({config.model_type}) has no place for in this version of "
            f"transformers: {left[0]}{more}. Without them it would answer otherwise, so it is not loaded."
        )
    if str(getattr(config, "position_embedding_type", None)).startswith("relative"):
        raise UserError(
            f"{source}: its configuration says position_embedding_type = {config.position_embedding_type}, which this "
            "version of transformers does not have any more: use a checkpoint with absolute positions."
        )
    require_finite(model, source)
    return model


def _stored(folder: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Name -> the stored type of each weight, and of how many numbers it is."""
    types, sizes = {}, {}
    for path in files_of(folder):
        with safe_open(str(path), framework="np") as file:
            for name in file.keys():  # noqa: SIM118 (not a dict)
                part = file.get_slice(name)
                types[name], sizes[name] = part.get_dtype(), math.prod(part.get_shape())
    return types, sizes


def _readable_by_transformers(folder: Path) -> bool:
    """It wants what an index of several files says of their size, though nothing comes of it."""
    index = folder / "model.safetensors.index.json"
    return (folder / "model.safetensors").exists() or isinstance(json_object(index).get("metadata"), dict)


def _state(folder: Path, names: dict[str, str]) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    for path in files_of(folder):
        state |= {names[name]: tensor for name, tensor in load_file(path).items() if name in names}
    return state


def _refuse_quantised(source: str, quantised: str | None, types: dict[str, str]) -> None:
    """A configuration may say that a model was quantised though its weights are plain: then there is nothing to do."""
    packed = sorted(name for name, type_ in types.items() if type_ not in _FLOATS and name.endswith("weight"))
    if packed:
        how = quantised or types[packed[0]]
        raise UserError(
            f"{source}: its weights are stored quantised ({how}; {packed[0]} is {types[packed[0]]}): give the "
            "checkpoint from before it was quantised, in float32, float16 or bfloat16."
        )


def _from_pretrained(
    model_class: type[PreTrainedModel],
    source: str,
    config: Any,
    folder: Path | None,
    state: dict[str, torch.Tensor] | None = None,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # a missing task head is what fine-tuning expects
    transformers.logging.disable_progress_bar()
    given: dict[str, Any] = {} if state is None else {"state_dict": state}
    try:
        return model_class.from_pretrained(
            None if folder is None else str(folder),
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are named, by us
            output_loading_info=True,
            **given,
        )
    except OSError as error:
        raise UserError(f"{source}: its weights cannot be read as safetensors ({reason(error)}).") from None
    except Exception as error:  # whatever a configuration of somebody else makes a model's class raise
        raise UserError(f"{source}: its weights do not fit its configuration ({reason(error)}).") from None
    finally:
        transformers.logging.set_verbosity(level)


def _missing(model: PreTrainedModel, loading: dict[str, Any], own_head: bool) -> list[str]:
    return sorted(name for name in loading["missing_keys"] if own_head or _is_of_layers(model, name))


def _is_of_layers(model: PreTrainedModel, name: str) -> bool:
    """Whether a weight belongs to the encoder itself, not to a pooler or task head that fine-tuning makes anew."""
    prefix = f"{model.base_model_prefix}." if model.base_model is not model else ""
    return name.startswith(prefix) and "pooler" not in name


def _no_head(model: PreTrainedModel, missing: Sequence[str]) -> str:
    if any(_is_of_layers(model, name) for name in missing):
        return ""
    return f" They are of its task head ({type(model).__name__}): fine-tune it (asc finetune), or give one that has it."


def _refuse_other_shapes(source: str, mismatched: Iterable[tuple[str, Any, Any]], config: Any) -> None:
    found = sorted(mismatched, key=lambda one: (not one[0].endswith("weight"), one[0]))
    if not found:
        return
    name, stored, wanted = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    hint = ""
    if len(stored) > 0 and len(wanted) > 0 and wanted[0] == getattr(config, "vocab_size", None) and "embed" in name:
        hint = f": set vocab_size to {stored[0]} in its config.json where the weights are right"
    elif len(wanted) > 0 and wanted[0] == config.num_labels and not any(part.isdigit() for part in name.split(".")):
        hint = f": its id2label should name {stored[0]} classes, and names {wanted[0]}"
    raise UserError(
        f"{source}: its weights do not fit its configuration. {name} is {_shape(stored)} in the file, the "
        f"configuration says {_shape(wanted)}{more}{hint}."
    )


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _unplaced(model: PreTrainedModel, unexpected: Iterable[str], own_head: bool) -> list[str]:
    """Weights inside the encoder, or inside a head that should be its own, that the class has no place for.

    Heads of other tasks (a language model's) and poolers that the class leaves out are no part of it, nor is what the
    class computes for itself (buffers).
    """
    base = model.base_model
    prefix = f"{model.base_model_prefix}."
    inside = {name for name, _ in base.named_children()}
    heads = {name for name, child in model.named_children() if child is not base} if own_head else set()
    buffers = {name.rpartition(".")[2] for name, _ in model.named_buffers()}
    found = []
    for name in unexpected:
        first = name.removeprefix(prefix).partition(".")[0]
        if ("pooler" in name and not hasattr(base, "pooler")) or name.rpartition(".")[2] in buffers:
            continue
        if "pooler" in name and getattr(base, "pooler", None) is None:
            continue
        of_base = name.startswith(prefix) or first in inside
        if of_base or (first in heads and model is not base):
            found.append(name)
    return sorted(found)


def require_finite(model: PreTrainedModel, source: str) -> None:
    """Weights that are all numbers, and first answers that are. Raises: UserError with the weight, or the layer."""
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            if name.rpartition(".")[2] in ("inv_freq", "original_inv_freq"):
                continue
            bad = int((~torch.isfinite(tensor)).sum())
            raise UserError(
                f"{source}: the weight {name} holds NaN or infinity ({bad} of {tensor.numel()} numbers), as a training "
                "run in half precision leaves them: use a checkpoint from before that."
            )
    _require_finite_answers(model, source)


def _require_finite_answers(model: PreTrainedModel, source: str) -> None:
    ids = torch.arange(1, 9)[None] % modeling.tokens_of(model.get_input_embeddings())
    try:
        with torch.inference_mode():
            output = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
    except Exception as error:  # whatever a configuration of somebody else makes a model's class raise
        raise UserError(f"{source}: the model cannot answer as it is configured ({reason(error)}).") from None
    for name, value in output.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(
                f"{source}: its first answer already is not a finite number ({name}){_where(model, ids)}: its weights "
                "or its configuration were damaged."
            )


def _where(model: PreTrainedModel, ids: torch.Tensor) -> str:
    with torch.inference_mode():
        states = model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True).hidden_states
    for layer, state in enumerate(states or ()):
        if not torch.isfinite(state).all():
            return ", from " + (f"layer {layer} on" if layer else "the embeddings on")
    return ""
