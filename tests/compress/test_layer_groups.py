from __future__ import annotations

import pytest

from asc_core.compress.layer_groups import cheapest_groups, shareable
from asc_core.errors import UserError
from asc_core.values import Plan
from tests.tiny import tiny


def test_layers_of_one_shape_that_share_nothing_yet_can() -> None:
    encoder = tiny(num_hidden_layers=4)
    assert shareable(encoder)[0] == {1, 2, 3}
    uneven = encoder.cut(Plan.full(encoder.shape).drop(1, head=0).drop(3, head=2))
    assert shareable(uneven) == {0: {2}, 1: {3}, 2: {0}, 3: {1}}
    shared = encoder.with_structure({"kind": "share", "layers": [0, 1, 1, 3]})
    assert shareable(shared) == {0: {3}, 3: {0}}
    assert shareable(tiny("albert")) == {}


def test_what_costs_least_is_merged_first_with_what_grew_before_counted() -> None:
    encoder = tiny(num_hidden_layers=5)
    able = shareable(encoder)
    values = [0.0, 1.0, 1.1, 5.0, 5.3]

    def spread(group: tuple[int, ...]) -> float:
        mean = sum(values[layer] for layer in group) / len(group)
        return sum((values[layer] - mean) ** 2 for layer in group)

    assert cheapest_groups(encoder, able, 4, spread) == [(1, 2)]
    assert cheapest_groups(encoder, able, 3, spread) == [(1, 2), (3, 4)]
    assert cheapest_groups(encoder, able, 2, spread) == [(0, 1, 2), (3, 4)]
    assert cheapest_groups(encoder, able, 1, spread) == [(0, 1, 2, 3, 4)]


def test_as_many_as_there_are_or_fewer_than_can_be_is_refused() -> None:
    encoder = tiny(num_hidden_layers=4)
    with pytest.raises(UserError, match="has 4 sets of weights"):
        cheapest_groups(encoder, shareable(encoder), 4, len)
    shared = encoder.with_structure({"kind": "share", "layers": [0, 1, 1, 3]})
    with pytest.raises(UserError, match="has 3 sets of weights"):
        cheapest_groups(shared, shareable(shared), 3, len)
    with pytest.raises(UserError, match="3 sets of weights at least"):
        cheapest_groups(shared, shareable(shared), 2, len)
