"""A shorter vocabulary: what was kept is read and answered as before, whatever kind of tokenizer it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from asc_core import modeling
from asc_core.vocabulary import shorter_tokenizer
from asc_core.compress.step import StepContext
from asc_core.compress.vocabulary import Vocabulary
from asc_core.encoder import Encoder
from asc_core.train.distil import ids_in
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import logits

CORPUS = [
    "the cat sat on the mat and the dog ran under a tree",
    "flights from paris to rome leave at seven in the morning",
    "play some quiet music in the kitchen, please!",
    "Çok teşekkürler, naïve café: 3,677 inhabitants live on the river",
    "unbelievable reunions rerun unhappily in the happening hall",
]
SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"]


def trained(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of each kind, with special tokens whose ids the post-processor names."""
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
USED = {kind: {i for text in CORPUS[:2] for i in found(text)["input_ids"]} for kind, found in TRAINED.items()}
SHORTER = {kind: shorter_tokenizer(found, USED[kind]) for kind, found in TRAINED.items()}


@pytest.mark.parametrize("kind", TRAINED)
def test_a_shorter_tokenizer_is_shorter_and_reads_used_texts_as_before(kind: str) -> None:
    whole, (shorter, kept) = TRAINED[kind], SHORTER[kind]
    assert len(shorter) == len(kept) < len(whole)
    for first, second in [(CORPUS[0], None), (CORPUS[1], CORPUS[0])]:
        before, after = (t(first, second)["input_ids"] for t in (whole, shorter))
        assert [kept[i] for i in after] == before
        assert shorter.decode(after, skip_special_tokens=True) == whole.decode(before, skip_special_tokens=True)
    assert [kept[i] for i in shorter.all_special_ids] == whole.all_special_ids


@pytest.mark.parametrize("kind", TRAINED)
@given(text=st.text(max_size=40))
def test_any_text_is_read_and_what_uses_only_kept_tokens_as_before(kind: str, text: str) -> None:
    whole, (shorter, kept) = TRAINED[kind], SHORTER[kind]
    before, after = whole(text)["input_ids"], shorter(text)["input_ids"]
    if set(before) <= set(kept):
        assert [kept[i] for i in after] == before
    names = shorter.convert_ids_to_tokens(after)
    assert whole.convert_tokens_to_ids(names) == [kept[i] for i in after], "every piece is one that it had"
    if whole.unk_token_id not in before:
        assert shorter.unk_token_id not in after, "what could be spelled still can"


@pytest.mark.parametrize("kind", TRAINED)
def test_it_is_read_back_from_a_folder(kind: str, tmp_path: Path) -> None:
    shorter, _ = SHORTER[kind]
    shorter.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in (*CORPUS, "zebra 🎸"):
        assert again(text)["input_ids"] == shorter(text)["input_ids"]


def test_kept_texts_get_the_same_answers_and_the_tokens_are_the_tasks() -> None:
    task = toy_task()
    encoder = encoder_for(task)
    shorter = Vocabulary().apply(encoder, StepContext(task))
    assert shorter.parameters < encoder.parameters
    assert modeling.tokens_of(shorter.model.get_input_embeddings()) == len(shorter.tokenizer)
    assert shorter.model.config.vocab_size == len(shorter.tokenizer)
    before, after = (task.features(task.examples("train", limit=8), e) for e in (encoder, shorter))
    batches = [task.batch(f, range(8), e) for f, e in ((before, encoder), (after, shorter))]
    said = [logits(e, batch.inputs) for e, batch in zip((encoder, shorter), batches, strict=True)]
    torch.testing.assert_close(*said, atol=1e-5, rtol=0)


def test_rare_tokens_can_go_too() -> None:
    task = toy_task()
    encoder = encoder_for(task)
    sizes = [len(Vocabulary(least=least).apply(encoder, StepContext(task)).tokenizer) for least in (1, 5, 10**6)]
    assert sizes[0] >= sizes[1] >= sizes[2] >= 5


def test_a_teacher_is_asked_in_its_own_numbers() -> None:
    task = toy_task()
    encoder = encoder_for(task)
    shorter = Vocabulary(least=10).apply(encoder, StepContext(task))
    ids = ids_in(encoder, shorter)
    assert ids is not None
    names = shorter.tokenizer.convert_ids_to_tokens(list(range(len(ids))))
    assert encoder.tokenizer.convert_tokens_to_ids(names) == ids.tolist()
    assert ids_in(encoder, Encoder(encoder.model, encoder.tokenizer, "x")) is None
