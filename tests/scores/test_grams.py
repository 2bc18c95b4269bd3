from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_core.scores import grams
from asc_core.scores.grams import GramSums


@pytest.mark.parametrize("width", [1, 3, 4, 17])
@pytest.mark.parametrize("waiting", [1, 5, 1000])
def test_sums_are_those_of_all_rows_at_once_however_they_come(
    width: int, waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grams, "ROWS_A_PRODUCT", waiting)
    generator = torch.Generator().manual_seed(width)
    keys = [("attention", 0), ("ffn", 1)]
    seen = {key: [torch.randn(n, width, generator=generator) for n in (2, 7, 1, 30)] for key in keys}
    sums = GramSums()
    for batch in range(4):
        sums.add({key: [rows[batch]] for key, rows in seen.items()})
    for key, found in sums.totals().items():
        a = torch.cat(seen[key]).double().numpy()
        np.testing.assert_allclose(found, a.T @ a, rtol=1e-4, atol=1e-4)
        assert (found == found.T).all()
    assert sums.totals().keys() == seen.keys()
