"""A shorter vocabulary: what was kept is read and answered as before, whatever kind of tokenizer it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from asc_core import modeling
from asc_core.compress.step import StepContext
from asc_core.compress.vocabulary import Vocabulary
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.recipes.registry import parse_step
from asc_core.train.distil import ids_in
from asc_core.vocabulary import evaluate_apart, shorter_tokenizer, token_model
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import logits
from tests.vocabulary.tokenizers_of_each_kind import CORPUS, TRAINED
from tests.vocabulary.toy_application import NEW, SEEN, encoder_of, task_of

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


def test_a_recipe_of_before_the_margin_loads_and_keeps_its_key() -> None:
    step = parse_step({"step": "vocabulary", "least": 2}, "a recipe")
    assert step == Vocabulary(least=2)
    assert step.cache_key() == ["vocabulary", {"least": 2}]
    assert Vocabulary().cache_key() == ["vocabulary", {"least": 1}]
    assert Vocabulary(margin=5).cache_key() != Vocabulary().cache_key()


def test_another_text_under_the_same_name_is_another_step(tmp_path: Path) -> None:
    text = tmp_path / "general.txt"
    step = Vocabulary(margin=5, margin_texts=str(text))
    text.write_text("cat")
    first = step.cache_key()
    text.write_text("dog")
    assert step.cache_key() != first


def test_two_budgets_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="one budget: say one of them"):
        parse_step({"step": "vocabulary", "rows": 5, "share": 0.5}, "a recipe")


@pytest.mark.parametrize("kind", TRAINED)
@pytest.mark.parametrize("by", ["count", "effect"])
def test_a_budget_is_kept_and_what_stays_is_said(kind: str, by: Any) -> None:
    encoder, task = encoder_of(kind), task_of(SEEN, NEW)
    needed = len(token_model(encoder.tokenizer).needed)
    rows = needed + 6
    context = StepContext(task)
    smaller = Vocabulary(rows=rows, by=by).apply(encoder, context)
    assert needed < smaller.tokens <= rows
    assert context.done is not None
    assert "Assumed: the tokenizer's own order" in context.done
    table = encoder.model.get_input_embeddings().weight
    assert Vocabulary(megabytes=4e-6 * rows * table.shape[1]).apply(encoder, StepContext(task)).tokens <= rows
    with pytest.raises(UserError, match="cannot do without"):
        Vocabulary(share=1e-3).apply(encoder, StepContext(task))


def test_a_margin_keeps_words_that_only_new_texts_hold() -> None:
    encoder, task = encoder_of("byte-level bpe"), task_of(SEEN, NEW)
    shares = []
    for margin in (0, 20, 60):
        smaller = Vocabulary(margin=margin).apply(encoder, StepContext(task))
        shares.append(evaluate_apart(encoder, smaller, task).changed.share)
    assert shares[0] > shares[1] > shares[2]
