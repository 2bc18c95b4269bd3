from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from dashboard.charts.agreement import agreement_matrix, rank_agreement, readable_on
from dashboard.charts.palette import LIGHT
from tests.dashboard.synthetic import UNEVEN, scores, with_heads


def test_rank_agreement_is_spearmans() -> None:
    first, second, other = scores(seed=1), scores(seed=2), scores(UNEVEN)
    agreement = rank_agreement([first, second, other], "heads")
    assert first.values.heads is not None
    assert second.values.heads is not None
    expected = spearmanr(np.concatenate(first.values.heads), np.concatenate(second.values.heads)).statistic
    np.testing.assert_allclose(agreement[:2, :2], [[1, expected], [expected, 1]])
    assert np.isnan(agreement[2, :2]).all()


def test_a_ranking_without_order_agrees_with_nothing() -> None:
    flat = with_heads(scores(), np.ones((3, 4)))
    assert np.isnan(rank_agreement([flat, scores()], "heads")[0]).all()
    assert len(agreement_matrix(["a", "b"], rank_agreement([flat, scores()], "heads"), LIGHT).layout.annotations) == 1


@pytest.mark.parametrize(("colour", "text"), [("#ffffff", "#10181f"), ("#000000", "#ffffff"), ("#0c4a6a", "#ffffff")])
def test_text_on_a_colour_is_readable(colour: str, text: str) -> None:
    assert readable_on(colour) == text
