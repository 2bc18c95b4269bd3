from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_core.scores import sweep
from asc_core.values import Plan
from tests.scores.test_sensitivity import flat
from tests.scores.toy import PairTask, ToyTask, record
from tests.test_surgery import VARIANTS
from tests.tiny import tiny

METHODS = ("wanda", "flap", "kprune-representational")


@torch.no_grad()
def slow(encoder, task) -> dict[str, dict[str, np.ndarray]]:
    """method -> part -> scores, from a table of all inputs that a readout has seen."""
    seen: dict[tuple[str, int], list[np.ndarray]] = {}
    readouts = {(r.kind, r.row): r for r in encoder.readouts}
    features = task.features(task.examples("train"), encoder)
    for i in range(len(features)):
        recorder, _ = record(encoder, task.batch(features, [i], encoder).inputs)
        for readout, inputs, _ in recorder.readouts:
            seen.setdefault((readout.kind, readout.row), []).append(inputs.flatten(0, 1).double().numpy())
    found: dict[str, dict[str, list[np.ndarray]]] = {m: {"heads": [], "neurons": []} for m in METHODS}
    for kind, part in (("attention", "heads"), ("ffn", "neurons")):
        for row in range(len(encoder.shape.heads)):
            readout = readouts[kind, row]
            x, w = np.concatenate(seen[kind, row]), readout.weight.detach().double().numpy()
            columns = (
                np.abs(x).mean(0) * np.linalg.norm(w, axis=0),
                x.var(0) * np.linalg.norm(w, axis=0) ** 2,
                (x**2).mean(0) * (w**2).mean(0),
            )
            for method, values in zip(METHODS, columns, strict=True):
                found[method][part].append(values.reshape(readout.blocks, readout.width).sum(1))
    return {m: {part: np.concatenate(rows) for part, rows in parts.items()} for m, parts in found.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_activation_scores_equal_those_of_a_table_of_all_tokens(variant: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, **overrides)
    expected = slow(encoder, ToyTask(4))
    scores = sweep(encoder, ToyTask(4, padding=3), METHODS, batch_tokens=40)
    for method, parts in expected.items():
        for part, values in parts.items():
            got = flat(scores[method].values, part)
            np.testing.assert_allclose(got, values, rtol=1e-3, atol=1e-6, err_msg=f"{method} {part}")


def test_both_texts_of_a_pair_count() -> None:
    encoder, task = tiny(), PairTask(4)
    single = ToyTask(8)
    texts = [half for ids in task.features(task.examples("train"), encoder).input_ids for half in np.split(ids, 2)]
    single.rows = [{"ids": ids, "label": 0} for ids in texts]
    pairs, alone = (sweep(encoder, t, METHODS) for t in (task, single))
    for method in METHODS:
        np.testing.assert_allclose(flat(pairs[method].values, "neurons"), flat(alone[method].values, "neurons"), 1e-4)


def test_a_row_without_heads_has_no_scores() -> None:
    encoder = tiny()
    smaller = encoder.cut(Plan(encoder.shape, ((), (0, 2), (1,)), (tuple(range(5)), (), (3,)), (0, 1, 2)))
    flap = sweep(smaller, ToyTask(4), ["flap"])["flap"].values
    assert [len(h) for h in flap.heads or ()] == [0, 2, 1]
    assert [len(n) for n in flap.neurons or ()] == [5, 0, 1]


def test_the_intervals_of_fluctuation_cover_the_value_of_the_whole_split() -> None:
    encoder, task = tiny(), ToyTask(400)
    truth = sweep(encoder, task, ["flap"], samples=None)["flap"].values
    covered = {"heads": [], "neurons": []}
    for seed in range(8):
        scores = sweep(encoder, task, ["flap"], samples=60, seed=seed)["flap"]
        for part, hits in covered.items():
            low, value, high = (flat(v, part) for v in (scores.low, truth, scores.high))
            hits.append(((low <= value) & (value <= high)).mean())
    for part, hits in covered.items():
        assert 0.85 < np.mean(hits) < 0.995, part
