"""Encoders that came of one base share what is equal, and answer as before."""

from __future__ import annotations

import pytest
import torch

from asc_core import same_weights
from asc_core.same_weights import share_equal
from tests.tiny import tiny


def test_what_is_equal_lies_in_memory_once_and_nothing_else_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same_weights, "LEAST_BYTES", 256)
    base, adapted = tiny(), tiny()
    (changed, _) = [p for p in adapted.model.parameters() if p.nbytes >= 256][-2:]
    with torch.no_grad():
        changed += 1
    before, weights = {n: t.clone() for n, t in adapted.model.state_dict().items()}, adapted.weights
    large = sum(p.nbytes for p in adapted.model.parameters() if p.nbytes >= 256)
    assert share_equal(adapted, [tiny(seed=7), base]) == large - changed.nbytes
    for name, own in adapted.model.named_parameters():
        twin = base.model.get_parameter(name)
        shared = own.data_ptr() == twin.data_ptr()
        assert shared == (own.nbytes >= 256 and own is not changed), name
        assert torch.equal(own, before[name])
        assert own is not twin, "whether a gradient is wanted is said of each for itself"
    del adapted.__dict__["weights"]
    assert adapted.weights == weights
    assert share_equal(adapted, [base]) == 0, "it is shared already"


def test_small_weights_are_not_compared() -> None:
    assert share_equal(tiny(), [tiny()]) == 0
    assert share_equal(tiny(), []) == 0
