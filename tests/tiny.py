"""Tiny random encoders of every architecture, strong enough that a wrong cut shows in the logits.

Default initialisation would make equality tests powerless: keeping the wrong head moves logits by 1e-4 only. So
weights are scaled to 1/sqrt(fan-in), and biases and norms are random.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import AutoConfig, PreTrainedTokenizerFast

from asc_core import modeling
from asc_core.encoder import HEADS, Encoder
from asc_core.loading import _model_class

WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] a the cat dog sat ran on under mat tree is not big small red blue who where what "
    "city river flies from to in paris rome . ? , play music weather good bad film great dull"
).split()
ARCHITECTURES = tuple(sorted(modeling.TRANSFORMERS))
_COMMON = {
    "vocab_size": 64,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "max_position_embeddings": 80,
    "pad_token_id": 0,
    "num_labels": 3,
}
_OWN = {
    "distilbert": {"hidden_dim": 20},
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16, "num_hidden_groups": 1, "inner_group_num": 1},
    "modernbert": {
        "local_attention": 6,
        "global_attn_every_n_layers": 2,
        "cls_token_id": 2,
        "sep_token_id": 3,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
    "deberta-v2": {
        "relative_attention": True,
        "position_buckets": 8,
        "pos_att_type": ["c2p", "p2c"],
        "share_att_key": False,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "conv_kernel_size": 3,
        "conv_act": "gelu",
        "pooler_hidden_size": 24,
    },
    "eurobert": {
        "num_key_value_heads": 4,
        "classifier_pooling": "bos",
        "num_attention_heads": 8,
        "head_dim": 4,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "mask_token_id": 4,
    },
}


@functools.cache
def tokenizer(words: tuple[str, ...] = tuple(WORDS)) -> PreTrainedTokenizerFast:
    """words: in the order of their ids, the special ones first."""
    core = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )


def tiny(
    architecture: str = "bert",
    head: str = "sequence-classification",
    seed: int = 0,
    labels: list[str] | None = None,
    slot_labels: list[str] | None = None,
    **overrides: object,
) -> Encoder:
    """A random encoder. overrides: configuration values. A head that transformers lacks for it skips the test."""
    if HEADS[head] not in modeling.heads_of(architecture):
        pytest.skip(f"transformers has no {head} for {architecture}")
    torch.manual_seed(seed)
    values = _COMMON | _OWN.get(architecture, {}) | overrides
    if "hidden_dim" in values:
        del values["intermediate_size"]  # real DistilBERT configurations have none
    config = AutoConfig.for_model(architecture, **values)
    if labels is not None:
        config.id2label, config.label2id = dict(enumerate(labels)), {label: i for i, label in enumerate(labels)}
    if head == "intent-slots":
        config.slot_id2label = {str(i): s for i, s in enumerate(slot_labels or ["O", "B-x", "I-x"])}
    if head == "question-answering":
        config.num_labels = 2
    assert head in HEADS
    model = _model_class(config, head)(config)
    randomise(model)
    return Encoder(model, tokenizer(), source=f"tiny-{architecture}")


def randomise(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            nn.init.normal_(module.weight, std=1.5 * module.weight[0].numel() ** -0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
        elif isinstance(module, nn.LayerNorm) or type(module).__name__.endswith("RMSNorm"):
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if getattr(module, "bias", None) is not None and isinstance(module.bias, nn.Parameter):
            nn.init.normal_(module.bias, std=0.3)


def padded_batch(seed: int = 0, size: int = 4, length: int = 12) -> dict[str, torch.Tensor]:
    """Random token ids with padding, so that a lost padding mask shows."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, len(WORDS), (size, length), generator=generator)
    mask = torch.ones_like(ids)
    for i in range(size):
        real = length - 2 * i
        ids[i, real:], mask[i, real:] = 0, 0
    ids[:, 0] = 2
    return {"input_ids": ids, "attention_mask": mask}


def logits(encoder: Encoder, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """All that the model's head says, flattened; padded positions left out."""
    with torch.inference_mode():
        output = encoder.model(**inputs)
    mask = inputs["attention_mask"].bool()
    parts = []
    for value in output.values():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            per_token = value.dim() >= 2 and value.shape[:2] == mask.shape
            parts.append((value[mask] if per_token else value).flatten())
    return torch.cat(parts)


def save_checkpoint(encoder: Encoder, folder: Path) -> Path:
    """A checkpoint folder as transformers would write it."""
    encoder.model.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    return folder
