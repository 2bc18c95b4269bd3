"""Which rows stay: laws that hold for any counts, order and budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.vocabulary import Budget, kept_rows, token_model
from tests.vocabulary.tokenizers_of_each_kind import TRAINED

MODELS = {kind: token_model(tokenizer) for kind, tokenizer in TRAINED.items()}


@pytest.mark.parametrize("kind", TRAINED)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_a_smaller_budget_keeps_a_part_of_what_a_larger_one_keeps(kind: str, data: st.DataObject) -> None:
    model, rows = MODELS[kind], len(TRAINED[kind])
    counts = np.asarray(data.draw(st.lists(st.integers(0, 4), min_size=rows, max_size=rows)))
    general = data.draw(st.permutations([t for t in range(rows) if t not in model.needed]))
    margin = data.draw(st.integers(0, 20))
    fewest = len(model.with_parts(model.needed))
    small, large = sorted(data.draw(st.tuples(*[st.integers(fewest, rows)] * 2)))
    few, many = (kept_rows(model, counts, general, margin=margin, most=most) for most in (small, large))
    assert set(few) <= set(many)
    assert len(few) <= small
    assert model.needed <= set(few)
    assert model.with_parts(few) == set(few)
    assert few == kept_rows(model, counts, general, margin=margin, most=small), "the same again"


@pytest.mark.parametrize("kind", TRAINED)
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_without_a_budget_all_used_tokens_stay_and_the_margin(kind: str, data: st.DataObject) -> None:
    model, rows = MODELS[kind], len(TRAINED[kind])
    counts = np.asarray(data.draw(st.lists(st.integers(0, 4), min_size=rows, max_size=rows)))
    least, margin = data.draw(st.integers(1, 3)), data.draw(st.integers(0, rows))
    general = [t for t in range(rows) if t not in model.needed]
    kept = set(kept_rows(model, counts, general, least=least, margin=margin))
    assert set(np.flatnonzero(counts >= least).tolist()) <= kept
    unused = [t for t in general if counts[t] < least]
    assert set(unused[:margin]) <= kept
    extra = kept - model.with_parts(model.needed | {t for t in general if counts[t] >= least} | set(unused[:margin]))
    assert not extra


def test_of_used_tokens_those_that_are_worth_least_go_first() -> None:
    model = MODELS["wordpiece"]
    free = [t for t in model.names if t not in model.needed][:3]
    counts = np.zeros(len(model.names), int)
    counts[free] = 5, 3, 1
    most = len(model.needed) + 1
    assert set(kept_rows(model, counts, free, most=most)) == model.needed | {free[0]}
    worth = {free[0]: 0.1, free[1]: 0.2, free[2]: 9.0}
    assert set(kept_rows(model, counts, free, most=most, worth=worth)) == model.needed | {free[2]}


def test_fewer_rows_than_the_tokenizer_needs_are_refused_with_the_least() -> None:
    model = MODELS["byte-level bpe"]
    with pytest.raises(UserError, match=rf"cannot do without {len(model.needed)} tokens.*allow {len(model.needed)} or"):
        kept_rows(model, np.ones(len(model.names), int), [], most=10)


def test_a_budget_is_rows_a_share_or_megabytes_of_the_table() -> None:
    assert Budget(rows=7).in_rows(100, 10) == 7
    assert Budget(share=0.5).in_rows(101, 10) == 50
    assert Budget(megabytes=0.004).in_rows(1000, 10) == 100
    assert Budget().in_rows(100, 10) is None
