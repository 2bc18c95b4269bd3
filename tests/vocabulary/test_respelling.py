"""The effect of a respelled token is what the model without its row says of the text."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_core.compress.vocabulary import _special
from asc_core.encoder import Encoder
from asc_core.modeling import rows_of_tokens
from asc_core.vocabulary import shorter_tokenizer, token_model, token_scores
from asc_core.vocabulary.respelling import respelling_effects, row_distance
from tests.vocabulary.tokenizers_of_each_kind import TRAINED
from tests.vocabulary.toy_application import NEW, SEEN, encoder_of, tagging_of, task_of


def without(encoder: Encoder, token: int) -> Encoder | None:
    """The same without one row; None where others need it."""
    tokenizer, kept = shorter_tokenizer(encoder.tokenizer, set(range(encoder.tokens)) - {token})
    if token in kept:
        return None
    entry = {"kind": "vocabulary", "rows": len(kept), "special": _special(encoder.model.config, kept)}
    return encoder.with_structure(entry, rows_of_tokens(encoder.model, torch.tensor(kept)), tokenizer)


def answer(encoder: Encoder, text: str) -> np.ndarray:
    with torch.inference_mode():
        return encoder.forward(encoder.tokenizer(text, return_tensors="pt")).logits[0].numpy()


@pytest.mark.parametrize("kind", TRAINED)
def test_an_effect_is_the_squared_change_of_the_logits_of_the_model_without_the_row(kind: str) -> None:
    encoder, task = encoder_of(kind), task_of(SEEN, NEW)
    scores = token_scores(encoder, task, effects=True)
    assert scores.effects is not None
    texts = [row["text"] for row in task.examples("train").rows]
    ids = [encoder.tokenizer(text)["input_ids"] for text in texts]
    order = np.argsort([len(one) for one in ids], kind="stable")
    compared = 0
    for token, effect in list(scores.effects.items())[:12]:
        smaller = without(encoder, token)
        text = next(texts[i] for i in order if token in ids[i])
        pieces = scores.model.pieces(token)
        if smaller is None or pieces is None:
            continue
        respelled = [p for i in encoder.tokenizer(text)["input_ids"] for p in (pieces if i == token else [i])]
        new = smaller.tokenizer.get_vocab()
        if [new[scores.model.names[i]] for i in respelled] != smaller.tokenizer(text)["input_ids"]:
            continue  # neighbours that merge with the pieces, which the docstring leaves out
        change = answer(smaller, text) - answer(encoder, text)
        assert effect == pytest.approx(float((change**2).sum()), rel=1e-3, abs=1e-6)
        compared += 1
    assert compared >= 3


def test_outputs_for_each_token_are_compared_where_they_stand_in_both() -> None:
    encoder, task = encoder_of("wordpiece", "token-classification"), tagging_of(SEEN)
    model = token_model(encoder.tokenizer)
    token = model.ids["the"]
    table = encoder.model.get_input_embeddings().weight
    effect = respelling_effects(encoder, task, model, [token], texts=3)[token]
    assert effect > 0
    with torch.no_grad():
        table[token] *= -1
    assert respelling_effects(encoder, task, model, [token], texts=3)[token] != pytest.approx(effect)


def test_a_distance_is_none_where_the_row_is_the_mean_of_its_pieces() -> None:
    encoder = encoder_of("wordpiece")
    model = token_model(encoder.tokenizer)
    token = model.ids["the"]
    pieces = model.pieces(token)
    assert pieces is not None
    table = encoder.model.get_input_embeddings().weight
    assert row_distance(encoder, model, [token])[token] > 0.1
    with torch.no_grad():
        table[token] = table[pieces].mean(0)
    assert row_distance(encoder, model, [token])[token] == pytest.approx(0, abs=1e-9)


def test_a_table_of_tokens_says_what_goes_and_what_stands_in_for_it() -> None:
    encoder, task = encoder_of("wordpiece"), task_of(SEEN, NEW)
    scores = token_scores(encoder, task, splits=("validation",))
    kept = sorted({t for t in range(encoder.tokens) if scores.used[t]} | scores.model.needed)
    frame = scores.to_frame(kept)
    assert list(frame.columns) == ["token", "stays", "needed", "train", "validation", "general_rank", "pieces"]
    assert set(frame.index[frame["stays"]]) == set(kept)
    gone = frame[~frame["stays"]]
    assert (gone["train"] == 0).all()
    for name, pieces in zip(gone["token"], gone["pieces"], strict=True):
        assert "".join(p.removeprefix("##") for p in pieces.split()) == name.removeprefix("##")
    assert scores.coverage(kept) == 1 > scores.coverage(kept, "validation") > 0
