"""LoRA on an encoder: which modules it trains, and how it is stored.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". Every linear of the layers gets two low-rank
factors; the task head (and the pooler under it) is small and new, so it is trained whole and stored whole.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors.torch import save_file
from torch import nn

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.train.heads import loadable_config

_TASK_TYPES = {
    "sequence-classification": "SEQ_CLS",
    "token-classification": "TOKEN_CLS",
    "question-answering": "QUESTION_ANS",
    "embedding": "FEATURE_EXTRACTION",
}


BASE = "base"  # in an adapter's folder, the encoder that it was trained on where peft finds that nowhere else
_PEFT_CLASSES = {
    "sequence-classification": "AutoPeftModelForSequenceClassification",
    "token-classification": "AutoPeftModelForTokenClassification",
    "question-answering": "AutoPeftModelForQuestionAnswering",
    "embedding": "AutoPeftModelForFeatureExtraction",
}


def add_adapter(encoder: Encoder, rank: int) -> peft.PeftModel:
    """Put LoRA of a rank (alpha = 2 rank) into an encoder's model, in place.

    The encoder goes on working with the adapter in it; `merge_and_unload` of what is returned takes it out again.
    Raises: UserError for a rank that no matrix can have.
    """
    check_rank(encoder, rank)
    # A task type of peft's would change which modules are saved, behind our back; it is only written into the file.
    config = peft.LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules=_layer_linears(encoder),
        modules_to_save=_head_modules(encoder) or None,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers, nothing that a user can do
        return peft.get_peft_model(encoder.model, config)


def check_rank(encoder: Encoder, rank: int) -> None:
    """Better before long work. Raises: UserError for a rank that is beyond the width of the encoder's matrices, or for
    matrices that are multiplied elsewhere than in their modules."""
    if not encoder.has_parts:
        raise UserError(
            f"LoRA stands around matrices, and those of {encoder.name} ({encoder.architecture}) are multiplied all in "
            "one call: train all weights."
        )
    most = max(encoder.shape.hidden, encoder.shape.head_width * max(encoder.shape.heads, default=0))
    if rank > most:
        raise UserError(
            f"LoRA of rank {rank:,} is more than the matrices of {encoder.name} can have, which are {most:,} wide: "
            "choose a smaller rank, such as 8 or 16."
        )


def _layer_linears(encoder: Encoder) -> list[str]:
    """Full names of the linears that a LoRA adapts; those that a cut left without rows or columns have nothing to."""
    table = modeling.ARCHITECTURES[encoder.architecture]
    matrices = (m for row in modeling.rows_of(encoder.model) for m in modeling.matrices(table, row).values())
    wanted = {id(linear) for matrix in matrices for linear in modeling.plain(matrix) if linear.weight.numel()}
    return [name for name, module in encoder.model.named_modules() if id(module) in wanted]


def _head_modules(encoder: Encoder) -> list[str]:
    """Names of everything above the layers that has weights and that the head reads."""
    model, base = encoder.model, encoder.model.base_model
    if model is base:
        return []  # an embedding model: the mean of the last layer's output, no head
    names = [name for name, child in model.named_children() if child is not base and _has_weights(child)]
    return [*names, *(["pooler"] if _has_weights(getattr(base, "pooler", None)) else [])]


def _has_weights(module: nn.Module | None) -> bool:
    return module is not None and next(module.parameters(), None) is not None


def round_adapter(model: peft.PeftModel) -> None:
    """Round what is trained to half precision, as it is stored, so that what is measured is what is stored."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(parameter.to(torch.float16))


def loading_with_peft(encoder: Encoder, name: str) -> str:
    """A page on how to load the adapter. What its base was made for is not in an adapter, so the labels are said."""
    ours = f"```python\nimport asc_core\nencoder = asc_core.load_encoder({json.dumps(name)})\n```\n"
    made = _PEFT_CLASSES.get(encoder.head)
    if made is None:
        return f"# {name}\n\nA LoRA adapter, made with ASC Studio, for a head that only ASC Studio has:\n{ours}"
    more = f", num_labels={len(encoder.labels)}" if encoder.head.endswith("-classification") else ""
    more += ", trust_remote_code=True" if modeling.needs_compact_class(encoder.model.config) else ""
    return (
        f"# {name}\n\nA LoRA adapter, made with ASC Studio. With peft:\n```python\n"
        f"from peft import {made}\nfrom transformers import AutoTokenizer\n"
        f"model = {made}.from_pretrained({json.dumps(name)}{more})\n"
        f"tokenizer = AutoTokenizer.from_pretrained({json.dumps(name)})\n```\n"
        f"With ASC Studio, merged into its base:\n{ours}"
        "`asc finetune ... --merge` writes a whole checkpoint instead.\n"
    )


def save_adapter(encoder: Encoder, model: peft.PeftModel, folder: Path, base_name: str) -> None:
    """Write adapter_model.safetensors (half precision), adapter_config.json and config.json.

    config.json is the whole model's, with its labels, so that `load_adapter` rebuilds the head. base_name: what
    stands as `base_model_name_or_path`.
    """
    weights = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    save_file(
        {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in sorted(weights.items())},
        folder / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    settings: dict[str, Any] = model.peft_config["default"].to_dict()
    settings |= {
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "task_type": _TASK_TYPES.get(encoder.head),
    }
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}
    (folder / "adapter_config.json").write_text(json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n")
    loadable_config(encoder).save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    written.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
