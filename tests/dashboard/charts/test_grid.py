from __future__ import annotations

import numpy as np

from asc_core.values import PartValues
from dashboard.charts.grid import Grid, grid, ranks, shades
from tests.dashboard.synthetic import SHAPE, SHARED, UNEVEN, scores


def test_the_ffn_column_is_the_sublayers_score_or_else_the_mean_of_its_neurons() -> None:
    made = scores()
    assert made.values.ffn is not None
    assert made.values.neurons is not None
    np.testing.assert_allclose(grid(made.values, SHAPE).ffn[:, 0], made.values.ffn)
    without = PartValues(**(made.values.by_kind | {"ffn": None}))
    np.testing.assert_allclose(grid(without, SHAPE).ffn[:, 0], [row.mean() for row in made.values.neurons])


def test_rows_with_fewer_heads_are_padded_with_nothing() -> None:
    assert np.isnan(grid(scores(UNEVEN).values, UNEVEN).heads).sum(1).tolist() == [0, 2, 4]


def test_layers_that_share_a_row_are_shown_by_their_mean() -> None:
    made = scores(SHARED)
    assert made.values.layers is not None
    np.testing.assert_allclose(grid(made.values, SHARED).layers, [[made.values.layers.mean()]])


def test_ranks_go_from_lowest_0_to_highest_1_and_ties_share_their_place() -> None:
    values = Grid(np.array([[3.0, 1.0], [1.0, 9.0]]), np.array([[np.nan]]), np.array([[5.0]]))
    placed = ranks(values)
    np.testing.assert_allclose(placed.heads, [[2 / 3, 1 / 6], [1 / 6, 1.0]])
    assert np.isnan(placed.ffn).all()


def test_equal_scores_have_equal_colours_in_all_applications() -> None:
    a = Grid(np.array([[0.0, 2.0]]), np.array([[1.0]]), np.array([[1.0]]))
    b = Grid(np.array([[2.0, 4.0]]), np.array([[3.0]]), np.array([[1.0]]))
    (first, second), logarithmic = shades([a, b])
    assert not logarithmic
    np.testing.assert_allclose(first.heads, [[0.0, 0.5]])
    np.testing.assert_allclose(second.heads, [[0.5, 1.0]])


def test_scores_with_a_heavy_tail_are_coloured_by_their_logarithm() -> None:
    values = Grid(np.array([[1e-4, 1e-3, 1e-3, 1e-3, 1e-2, 1.0]]), np.array([[1.0]]), np.array([[1.0]]))
    (shaded,), logarithmic = shades([values])
    assert logarithmic
    np.testing.assert_allclose(shaded.heads[0, [0, 1, 4, 5]], [0, 0.25, 0.5, 1])
