from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_core.scores.grams import grams
from tests.scores.toy import ToyTask, record
from tests.tiny import tiny


@pytest.mark.parametrize("architecture", ["bert", "albert", "modernbert", "deberta-v2"])
@torch.no_grad()
def test_grams_equal_those_of_a_table_of_all_tokens(architecture: str) -> None:
    encoder, task = tiny(architecture), ToyTask(5)
    found = grams(encoder, ToyTask(5, padding=3), batch_tokens=40)
    seen: dict[tuple[str, int], list[np.ndarray]] = {}
    features = task.features(task.examples("train"), encoder)
    for i in range(len(features)):
        recorder, _ = record(encoder, task.batch(features, [i], encoder).inputs)
        for readout, inputs, _ in recorder.readouts:
            seen.setdefault((readout.kind, readout.row), []).append(inputs.flatten(0, 1).double().numpy())
    assert found.matrices.keys() == seen.keys()
    assert found.tokens == features.lengths.sum()
    for place, rows in seen.items():
        x = np.concatenate(rows)
        a = np.hstack([x, np.ones((len(x), 1))])
        np.testing.assert_allclose(found.matrices[place], a.T @ a / len(a), rtol=1e-4, atol=1e-5)


def test_a_sample_of_the_tokens_estimates_all_of_them() -> None:
    encoder, task = tiny(), ToyTask(200)
    every, some = grams(encoder, task), grams(encoder, task, tokens=700)
    assert some.tokens < 0.7 * every.tokens
    for place, matrix in every.matrices.items():
        error = np.linalg.norm(some.matrices[place] - matrix) / np.linalg.norm(matrix)
        assert 1e-4 < error < 0.2
    assert some.to_arrays().keys() == {f"{kind}.{row}" for kind in ("attention", "ffn") for row in range(3)}
