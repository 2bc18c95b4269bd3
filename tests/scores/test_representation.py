from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asc_core.scores import alignment, collector, sweep, sweep_pass
from asc_core.scores.representation import change
from tests.scores.test_sensitivity import flat
from tests.scores.toy import PairTask, ToyTask, double, record, turned
from tests.test_surgery import VARIANTS
from tests.tiny import tiny

PARTS = ("heads", "neurons", "attention", "ffn", "layers")


def slow_updates(encoder, task) -> dict[str, dict[str, np.ndarray]]:
    """method -> part -> scores: every token of every part by itself, in double precision."""
    shape = encoder.shape
    calls = len(shape.rows)
    lists: dict[str, dict[tuple[int, int], list[tuple[float, float]]]] = {part: {} for part in PARTS}
    features = task.features(task.examples("train"), encoder)
    for i in range(len(features)):
        recorder, before_ffn = record(encoder, task.batch(features, [i], encoder).inputs)
        assert len(recorder.layers) == calls
        for layer, (before, after) in enumerate(recorder.layers):
            for t in range(before.shape[1]):
                lists["layers"].setdefault((layer, 0), []).append(turned(before[0, t], after[0, t] - before[0, t]))
        for call, (readout, inputs, output) in enumerate(recorder.readouts):
            residual = recorder.layers[call // 2][0] if readout.kind == "attention" else before_ffn[call // 2]
            part = "heads" if readout.kind == "attention" else "neurons"
            for t in range(inputs.shape[1]):
                x = residual[0, t]
                lists[readout.kind].setdefault((readout.row, 0), []).append(turned(x, output[0, t]))
                for block in range(readout.blocks):
                    columns = slice(block * readout.width, (block + 1) * readout.width)
                    written = readout.weight[:, columns] @ inputs[0, t, columns]
                    lists[part].setdefault((readout.row, block), []).append(turned(x, written))
    return {
        method: {part: np.asarray([np.mean([v[column] for v in places[p]]) for p in sorted(places)])
                 for part, places in lists.items()}
        for column, method in enumerate(("update", "update-norm"))
    }  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_updates_equal_those_of_every_token_by_itself(variant: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, **overrides)
    expected = slow_updates(double(encoder), ToyTask(3))
    scores = sweep(encoder, ToyTask(3, padding=3), ["update", "update-norm"], token_share=1.0)
    for method, parts in expected.items():
        for part, values in parts.items():
            assert values.max() > 1e-3
            np.testing.assert_allclose(
                flat(scores[method].values, part), values, rtol=1e-3, atol=1e-10, err_msg=f"{method} {part}"
            )


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_asc_similarity_equals_a_double_loop_over_states(variant: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder, task = tiny(name, **overrides), ToyTask(5)
    scores = sweep(encoder, ToyTask(5, padding=2), ["asc-a", "asc-b"], batch_tokens=30)
    exact = double(encoder)
    features = task.features(task.examples("train"), exact)
    recorders = [record(exact, task.batch(features, [i], exact).inputs)[0] for i in range(len(features))]
    states = len(recorders[0].states)
    assert states == encoder.shape.layers + 1
    for s in range(states):
        for t in range(states):
            sums = [sum(r.states[k][0].sum(0) for r in recorders) for k in (s, t)]
            a = float(torch.cosine_similarity(sums[0], sums[1], dim=0))
            b = np.mean([float(torch.cosine_similarity(r.states[s][0], r.states[t][0]).mean()) for r in recorders])
            assert scores["asc-a"].similarity[s, t] == pytest.approx(a, abs=2e-5)
            assert scores["asc-b"].similarity[s, t] == pytest.approx(b, abs=2e-5)
    for method in ("asc-a", "asc-b"):
        matrix = scores[method].similarity
        assert matrix.min() < 0.99
        np.testing.assert_allclose(scores[method].values.layers, [1 - matrix[k, k + 1] for k in range(states - 1)])


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Of (n, d) features, as in the paper."""
    x, y = x - x.mean(0), y - y.mean(0)
    return float(np.square(x.T @ y).sum() / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_cka_and_angles_equal_a_double_loop_over_states(variant: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder, task = tiny(name, **overrides), ToyTask(6)
    scores = sweep(encoder, ToyTask(6, padding=2), ["cka", "angular"], batch_tokens=30)
    exact = double(encoder)
    features = task.features(task.examples("train"), exact)
    recorders = [record(exact, task.batch(features, [i], exact).inputs)[0] for i in range(len(features))]
    states = len(recorders[0].states)
    for s in range(states):
        for t in range(states):
            pooled = [np.stack([r.states[k][0].mean(0).numpy() for r in recorders]) for k in (s, t)]
            assert scores["cka"].similarity[s, t] == pytest.approx(linear_cka(*pooled), abs=1e-5)
            cosines = [float(torch.cosine_similarity(r.states[s][0, -1], r.states[t][0, -1], dim=0)) for r in recorders]
            angle = np.mean(np.arccos(np.clip(cosines, -1, 1)) / np.pi)
            assert scores["angular"].similarity[s, t] == pytest.approx(1 - angle, abs=1e-5)
    for method in ("cka", "angular"):
        matrix = scores[method].similarity
        assert matrix.min() < 0.99
        np.testing.assert_allclose(scores[method].values.layers, [1 - matrix[k, k + 1] for k in range(states - 1)])


def test_cka_keeps_a_sample_of_fixed_size_that_estimates_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, task = tiny(), ToyTask(300)
    whole = sweep(encoder, task, ["cka"], samples=200)["cka"]
    for module in (collector, alignment, sweep_pass):
        monkeypatch.setattr(module, "SAMPLED_FEATURES", 60)
    some = sweep(encoder, task, ["cka"], samples=200)["cka"]
    assert 1e-6 < np.abs(some.similarity - whole.similarity).max() < 0.1
    assert (some.high.layers - some.low.layers > whole.high.layers - whole.low.layers).mean() > 0.5


def test_a_text_of_a_pair_is_an_example_of_its_own_for_similarity() -> None:
    encoder, task = tiny(), PairTask(4)
    features = task.features(task.examples("train"), encoder)
    texts = [half for ids in features.input_ids for half in np.split(ids, 2)]
    single = ToyTask(8)
    single.rows = [{"ids": ids, "label": 0} for ids in texts]
    for method in ("asc-b", "update"):
        pairs, alone = (sweep(encoder, t, [method], token_share=1.0)[method].values for t in (task, single))
        np.testing.assert_allclose(pairs.layers, alone.layers, rtol=1e-5)


def test_sampled_tokens_estimate_what_all_tokens_say() -> None:
    encoder, task = tiny(), ToyTask(300)
    every = sweep(encoder, task, ["update", "update-norm"], token_share=1.0)
    some = sweep(encoder, task, ["update", "update-norm"], token_share=0.3)
    for method in every:
        for part in ("heads", "neurons"):
            a, b = flat(every[method].values, part), flat(some[method].values, part)
            assert 1e-6 < np.abs(b / a - 1).max() < 0.25
        np.testing.assert_array_equal(every[method].values.layers, some[method].values.layers)


@given(
    seed=st.integers(0, 10_000), size=st.sampled_from([1e-7, 1e-4, 1e-2, 1.0, 100.0]), along=st.sampled_from([-2, 0, 1])
)
def test_change_is_exact_where_the_cosine_itself_would_be_rounding_error(seed: int, size: float, along: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, 16, generator=generator, dtype=torch.float64)
    c = size * (noise + along * x)
    got = change(*(value.float() for value in (x @ x, x @ c, c @ c)))
    cross = (x @ x) * (c @ c) - (x @ c) ** 2
    cosine = (x @ (x + c)) / (x.norm() * (x + c).norm())
    sine2 = cross / ((x @ x) * (x + c).square().sum())
    expected = sine2 / (1 + cosine) if cosine > 0 else 1 - cosine
    assert float(got[0]) == pytest.approx(float(expected), rel=1e-3, abs=1e-14)
    assert float(got[1]) == pytest.approx(float(c.norm() / x.norm()), rel=1e-4)
