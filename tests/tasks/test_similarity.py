"""Embeddings of two texts compared."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from asc_core.errors import UserError
from asc_core.tasks import Task, task_from_rows
from tests.tasks.running import output_of, run
from tests.tiny import tiny

ROWS = [
    {"a": "the cat sat", "b": "a dog ran on the mat", "y": 1},
    {"a": "paris is big", "b": "rome is big", "y": 5},
    {"a": "who", "b": "the small red cat is under the tree", "y": 3},
    {"a": "play good music", "b": "play music", "y": 4},
]
ENCODER = tiny(head="embedding")


def _task(rows: list[dict] = ROWS) -> Task:
    fields = {"texts": ["a", "b"], "label": "y"}
    return task_from_rows("t", "sentence-similarity", fields, {"train": lambda: rows, "test": lambda: rows})


def _cosine(row: dict) -> float:
    with torch.inference_mode():
        one, other = (
            ENCODER.model(**ENCODER.tokenizer(row[c], return_tensors="pt")).last_hidden_state[0].mean(0) for c in "ab"
        )
    return float(torch.cosine_similarity(one, other, dim=0))


def test_the_metric_is_the_rank_correlation_of_cosines_of_mean_embeddings() -> None:
    _, value = run(_task(), ENCODER)
    assert value == pytest.approx(spearmanr([_cosine(r) for r in ROWS], [r["y"] for r in ROWS]).statistic)


def test_the_two_texts_of_a_feature_stand_in_neighbouring_rows() -> None:
    task = _task()
    features = task.features(task.examples("test"), ENCODER)
    batch = task.batch(features, [2, 0], ENCODER)
    assert batch.rows_per_feature == 2
    texts = ENCODER.tokenizer.batch_decode(batch.inputs["input_ids"], skip_special_tokens=True)
    assert texts == [ROWS[2]["a"], ROWS[2]["b"], ROWS[0]["a"], ROWS[0]["b"]]


def test_the_loss_compares_cosines_with_scores_from_0_to_1() -> None:
    task = _task()
    features = task.features(task.examples("test"), ENCODER)
    batch = task.batch(features, range(4), ENCODER)
    expected = [(_cosine(row) - (row["y"] - 1) / 4) ** 2 for row in ROWS]
    np.testing.assert_allclose(task.loss(output_of(ENCODER, batch), batch).numpy(), expected, atol=1e-5)


def test_scores_that_are_all_the_same_are_told() -> None:
    task = _task([{**row, "y": 2} for row in ROWS])
    with pytest.raises(UserError, match="all scores in 'y' are 2"):
        task.features(task.examples("test"), ENCODER)
