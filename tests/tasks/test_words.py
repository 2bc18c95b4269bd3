"""Words reach a tagger as it was trained on them, and long texts are cut before they are tokenised."""

from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from asc_core.encoder import Encoder
from asc_core.evaluate import evaluate
from asc_core.tasks import Task, task_from_rows, tokens
from tests.tiny import tiny

TAGS = ["O", "B-x", "I-x"]
WORDS = "a the cat dog sat ran on under tree big red blue".split()


def _byte_level() -> PreTrainedTokenizerFast:
    """Knows every word with a space before it and without."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {t: i for i, t in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *alphabet])}
    merges: list[tuple[str, str]] = []
    for token in ["Ġ" + word for word in WORDS] + WORDS:  # spaces are merged first, so that each is one token
        for end in range(2, len(token) + 1):
            vocabulary.setdefault(token[:end], len(vocabulary))
            if (pair := (token[: end - 1], token[end - 1])) not in merges:
                merges.append(pair)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = [("[CLS]", 2), ("[SEP]", 3)]
    core.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64,
    )  # fmt: skip


def _tagger() -> Encoder:
    """One that gives every tag to some word: the classifier's biases are chosen so."""
    tokenizer = _byte_level()
    encoder = Encoder(tiny(head="token-classification", labels=TAGS, vocab_size=len(tokenizer)).model, tokenizer, "b")
    with torch.inference_mode():
        inputs = tokenizer([" ".join(WORDS)], return_tensors="pt", return_token_type_ids=False)
        encoder.model.classifier.bias -= encoder.model(**inputs).logits[0].mean(0)
    return encoder


def _own_tags(encoder: Encoder, words: list[str], apart: bool) -> list[str]:
    """By transformers alone, as its scripts for training taggers feed words."""
    given: Any = words if apart else " ".join(words)
    encoded = encoder.tokenizer(given, is_split_into_words=apart, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        said = encoder.model(**encoded).logits[0].argmax(-1).tolist()
    if apart:
        word_ids = encoded.word_ids(0)
        return [TAGS[said[word_ids.index(w)]] for w in range(len(words))]
    return [TAGS[tag] for tag in said[1:-1]]  # every word is one token


@pytest.mark.parametrize("trained_apart", [True, False])
def test_words_are_read_as_the_model_was_trained(trained_apart: bool) -> None:
    encoder = _tagger()
    texts = [list(np.random.default_rng(i).choice(WORDS, 7)) for i in range(40)]
    rows = [{"tokens": words, "tags": _own_tags(encoder, words, trained_apart)} for words in texts]

    def task(**options: Any) -> Task:
        splits = {"train": lambda: rows[:20], "test": lambda: rows[20:]}
        return task_from_rows("t", "tagging", {}, splits, metric="accuracy", labels=TAGS, **options)

    estimate = evaluate(encoder, task(), "test")
    assert estimate.value == 1
    (said,) = [note for note in estimate.notes if "Words were" in note]
    assert ("tokenised apart" in said) == trained_apart
    assert "100.0 %" in said
    chosen = evaluate(encoder, task(words="joined" if trained_apart else "apart"), "test")
    assert chosen.value < 1
    assert not any("Words were" in note for note in chosen.notes)


def test_nothing_is_said_where_both_ways_are_the_same() -> None:
    rows = [{"tokens": ["cat", "sat"], "tags": ["B-x", "O"]}]
    task = task_from_rows("t", "tagging", {}, {"train": lambda: rows, "test": lambda: rows}, labels=TAGS)
    assert task.features(task.examples("test"), tiny(head="token-classification", labels=TAGS)).notes == ()


@pytest.mark.parametrize("pair", [False, True])
def test_a_text_that_was_cut_before_has_the_tokens_of_the_whole(pair: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny()
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, size)) for size in (3, 40, 400, 4000)]
    seconds = texts[::-1] if pair else None
    found = tokens.tokenise(encoder, texts, seconds, 16)
    monkeypatch.setattr(tokens, "CHARACTERS_A_TOKEN", 10**9)
    expected = tokens.tokenise(encoder, texts, seconds, 16)
    assert [ids.tolist() for ids in found[0]] == [ids.tolist() for ids in expected[0]]
    assert found[2] == expected[2] == ([1, 2, 3] if not pair else [0, 1, 2, 3])


def test_a_text_of_a_million_characters_is_not_tokenised_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = tiny()
    seen: list[int] = []
    real = type(encoder.tokenizer).__call__

    def counting(self: Any, text: Any, *rest: Any, **options: Any) -> Any:
        seen.append(len(text) if isinstance(text, str) else sum(map(len, text)))
        return real(self, text, *rest, **options)

    monkeypatch.setattr(type(encoder.tokenizer), "__call__", counting)
    tokens.tokenise(encoder, ["cat sat " * 125_000, "cat"], None, 16)
    tokens.tokenise_words(encoder, [["cat"] * 250_000], 16)
    assert max(seen) < 10_000
