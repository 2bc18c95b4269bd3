"""Any choice of rows leaves a tokenizer that reads all of Unicode, and kept tokens as before."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from asc_core.errors import UserError
from asc_core.vocabulary import kept_rows, shorter_tokenizer, token_model
from tests.vocabulary.tokenizers_of_each_kind import CORPUS, TRAINED

MODELS = {kind: token_model(tokenizer) for kind, tokenizer in TRAINED.items()}
TEXTS = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(" ".join(CORPUS).split()), max_size=8).map(" ".join))


@st.composite
def choices(draw: st.DrawFn, kind: str) -> list[int]:
    """Rows that some use, margin and budget leave."""
    rows, model = len(TRAINED[kind]), MODELS[kind]
    counts = np.asarray(draw(st.lists(st.integers(0, 5), min_size=rows, max_size=rows)))
    free = [token for token in range(rows) if token not in model.needed]
    least = len(model.with_parts(model.needed))
    return kept_rows(
        model,
        counts,
        draw(st.permutations(free)),
        least=draw(st.integers(1, 4)),
        margin=draw(st.integers(0, 30)),
        most=draw(st.one_of(st.none(), st.integers(least, rows))),
    )


@pytest.mark.parametrize("kind", TRAINED)
@settings(deadline=None, max_examples=40)
@given(data=st.data(), text=TEXTS)
def test_whatever_rows_stay_kept_tokens_are_read_as_before_and_the_rest_in_pieces(
    kind: str, data: st.DataObject, text: str
) -> None:
    whole = TRAINED[kind]
    rows = data.draw(choices(kind))
    shorter, kept = shorter_tokenizer(whole, rows)
    assert kept == rows, "a choice of rows is complete"
    before, after = whole(text)["input_ids"], shorter(text)["input_ids"]
    if set(before) <= set(kept):
        assert [kept[i] for i in after] == before
    if whole.unk_token_id not in before:
        assert shorter.unk_token_id not in after, "what could be spelled still can"
        spelled, was = (t.decode(i, skip_special_tokens=True) for t, i in ((shorter, after), (whole, before)))
        assert "".join(spelled.split()).replace("##", "") == "".join(was.split()).replace("##", "")
    again = Tokenizer.from_str(shorter.backend_tokenizer.to_str())
    assert again.encode(text).ids == after


@pytest.mark.parametrize("kind", TRAINED)
def test_the_pieces_of_a_token_are_what_the_tokenizer_reads_without_it(kind: str) -> None:
    whole, model = TRAINED[kind], MODELS[kind]
    tried = 0
    for token, name in model.names.items():
        if token in model.needed or name.startswith("##"):
            continue
        shorter, kept = shorter_tokenizer(whole, set(model.names) - {token})
        if token in kept:
            continue  # of byte-pair encoding: others are merged of it
        read = [kept[one.id] for one in shorter.backend_tokenizer.model.tokenize(name)]
        assert model.pieces(token) == read, name
        assert "".join(model.names[i].removeprefix("##") for i in read) == name
        tried += 1
    assert tried >= 20


def test_whole_words_have_no_pieces_so_their_tokenizer_is_refused() -> None:
    core = Tokenizer(models.WordLevel({"<unk>": 0, "cat": 1}, unk_token="<unk>"))
    with pytest.raises(UserError, match=r"WordLevel.*no smaller pieces.*Leave out the step"):
        shorter_tokenizer(PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>"), {0})


def test_merges_written_as_one_string_are_read_too() -> None:
    whole = TRAINED["byte-level bpe"]
    data: dict[str, Any] = json.loads(whole.backend_tokenizer.to_str())
    new = token_model(whole)
    data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    old = type(new)(data, whole.all_special_ids)
    assert old.halves == new.halves
    assert len(new.halves) > 20
