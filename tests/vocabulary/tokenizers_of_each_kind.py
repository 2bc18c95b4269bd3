"""Tiny tokenizers of each kind that can be shortened, with special tokens whose ids the post-processor names."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "the cat sat on the mat and the dog ran under a tree",
    "flights from paris to rome leave at seven in the morning",
    "play some quiet music in the kitchen, please!",
    "Çok teşekkürler, naïve café: 3,677 inhabitants live on the river",
    "unbelievable reunions rerun unhappily in the happening hall",
]
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]


def trained(kind: str) -> PreTrainedTokenizerFast:
    """kind: wordpiece, byte-level bpe or unigram."""
    if kind == "wordpiece":
        core = Tokenizer(models.WordPiece(unk_token="<unk>"))
        core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer: Any = trainers.WordPieceTrainer(vocab_size=220, special_tokens=SPECIAL)
    elif kind == "byte-level bpe":
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
    else:
        core = Tokenizer(models.Unigram())
        core.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=SPECIAL, unk_token="<unk>")
    core.train_from_iterator(CORPUS, trainer)
    return wrapped(core)


def wrapped(core: Tokenizer) -> PreTrainedTokenizerFast:
    """As transformers has it: texts between <s> and </s>."""
    ids = {token: core.token_to_id(token) for token in SPECIAL}
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[(t, ids[t]) for t in ("<s>", "</s>")]
    )
    named = {
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "mask_token": "<mask>",
    }
    return PreTrainedTokenizerFast(tokenizer_object=core, **named)


TRAINED = {kind: trained(kind) for kind in ("wordpiece", "byte-level bpe", "unigram")}
