"""Committed tables grow over several machines and days: what was measured before must come back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asc_core.evaluate import PerExampleResult
from asc_core.tasks import Task
from asc_core.tasks.base import Metric
from benchmarks import sample_sizes
from benchmarks.asc import of_most_seeds, with_committed
from benchmarks.machine import arithmetic
from benchmarks.outcomes import made_with, outcomes, pack, store, unpack
from benchmarks.quality import OURS, SAMPLES, Checkpoint, compared
from benchmarks.sample_sizes import Point
from tests.scores.toy import ToyTask


def measured(statistics: np.ndarray) -> PerExampleResult:
    return PerExampleResult("accuracy", "test", np.arange(len(statistics)), statistics, len(statistics), 3, 17.25)


def test_packed_outcomes_come_back_as_they_were(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    right, shares = draw.integers(0, 2, (50, 1)).astype(float), draw.random((50, 2))
    store(_in(tmp_path / "a") / "one.npz", [measured(right), measured(shares)])
    pack(tmp_path / "a", tmp_path / "packed.npz")
    unpack(tmp_path / "packed.npz", tmp_path / "b")
    found = outcomes(tmp_path / "b/one.npz", list, None)  # type: ignore[arg-type]
    for before, after in zip([right, shares], found, strict=True):
        assert np.array_equal(after.statistics, before)
        assert after.statistics.dtype == before.dtype
        assert (after.total, after.truncated, after.mean_length, after.complete) == (50, 3, 17.25, True)


def test_outcomes_keep_with_which_arithmetic_they_were_made(tmp_path: Path) -> None:
    """Packed on one machine and unpacked on another, and of a time when it was not written down."""
    other = {"instructions": "AVX2", "torch_threads": 7}
    folder = _in(tmp_path / "a")
    for name, made in (("here", None), ("there", other), ("before", {})):
        store(folder / f"{name}.npz", [measured(right(0.5))], made)
    pack(folder, tmp_path / "packed.npz")
    unpack(tmp_path / "packed.npz", tmp_path / "b")
    found = [made_with(tmp_path / f"b/{name}.npz") for name in ("here", "there", "before")]
    assert found == [arithmetic(), other, {}]


def test_what_lies_there_already_is_not_replaced(tmp_path: Path) -> None:
    old, new = np.zeros((4, 1)), np.ones((4, 1))
    store(_in(tmp_path / "a") / "one.npz", [measured(old)])
    pack(tmp_path / "a", tmp_path / "packed.npz")
    store(_in(tmp_path / "b") / "one.npz", [measured(new)])
    unpack(tmp_path / "packed.npz", tmp_path / "b")
    assert outcomes(tmp_path / "b/one.npz", list, None)[0].statistics.sum() == 4  # type: ignore[arg-type]


def test_a_part_of_a_split_is_not_packed(tmp_path: Path) -> None:
    part = PerExampleResult("accuracy", "test", np.arange(4), np.ones((4, 1)), total=9)
    store(_in(tmp_path / "a") / "part.npz", [part])
    with pytest.raises(ValueError, match="whole split"):
        pack(tmp_path / "a", tmp_path / "packed.npz")


def right(share: float) -> np.ndarray:
    """(100, 2) outcomes of which this share is right."""
    return np.stack([np.arange(100) < 100 * share, np.ones(100)], axis=1).astype(float)


def cell(gathered: dict[str, float], before: dict[str, Any] | None) -> dict[str, Any]:
    arrays = {method: right(share) for method, share in gathered.items()}
    made = compared("toy", 0.5, _accuracy(), right(0.9), arrays, dict.fromkeys(arrays, 1), before)
    return made or {}


def test_a_cell_keeps_what_is_committed_and_takes_what_is_new() -> None:
    assert not cell({OURS: 0.85, "kprune": 0.8}, None), "without Kwon it would flatter"
    first = cell({OURS: 0.85, "kprune": 0.8, "kwon": 0.7}, None)
    assert (first["lost"], first["best_baseline"], first["best_baseline_lost"]) == (5.0, "kprune", 10.0)
    assert first["difference_interval"][1] < 0, "ours loses less"
    assert cell({}, first) == first
    wider = cell({"random": 0.2}, first)
    assert wider["all_lost"] == first["all_lost"] | {"random": 70.0}
    assert wider["difference_interval"] == first["difference_interval"]
    again = cell({OURS: 0.88, "kprune": 0.8, "kwon": 0.7}, first)
    assert again["lost"] == 2.0, "measured anew over as many seeds"


def test_more_seeds_are_not_replaced_by_fewer() -> None:
    first = cell({OURS: 0.85, "kprune": 0.8, "kwon": 0.7}, None)
    committed = first | {"seeds": {OURS: 3, "kprune": 1, "kwon": 1}}
    assert cell({OURS: 0.5, "kprune": 0.8}, committed)["lost"] == 5.0


def test_a_new_best_baseline_is_not_compared_with_outcomes_that_are_gone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    committed = cell({OURS: 0.85, "kprune": 0.8, "kwon": 0.7}, None) | {"seeds": {OURS: 3, "kprune": 1}}
    assert not cell({"kwon": 0.88}, committed)
    assert "measured again" in capsys.readouterr().out


def test_rows_of_recipes_keep_each_method_over_the_most_seeds() -> None:
    def row(**seeds: int) -> dict[str, Any]:
        return {"task": "sick", "size": 0.5, "methods": {name: {"seeds": n, "from": n} for name, n in seeds.items()}}

    (merged,) = with_committed([row(ASC=1, greedy=3)], [row(ASC=3, random=1)])
    assert {name: one["seeds"] for name, one in merged["methods"].items()} == {"ASC": 3, "greedy": 3, "random": 1}
    assert with_committed([], [row(ASC=3)]) == [row(ASC=3)]


def _in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _accuracy() -> Task:
    task = ToyTask()
    task.metric = Metric("accuracy", ("right", "n"), from_sums=lambda sums: sums[..., 0] / sums[..., 1])
    return task


def test_a_matrix_stays_as_it_was_measured_over_the_most_seeds() -> None:
    one, three, small = ({"size": size, "seeds": n} for size, n in ((0.5, 1), (0.5, 3), (0.3, 1)))
    assert of_most_seeds([one], [three, small]) == [three, small]
    assert of_most_seeds([three], [one]) == [three]
    again = {**one, "cells": {}}
    assert of_most_seeds([small, again], [one]) == [again, small], "of as many seeds, the newer one"


def test_each_number_of_texts_and_tokens_has_outcomes_of_its_own_but_for_the_tables() -> None:
    files = [
        Checkpoint("toy", seed, *size).file("kprune", 0.5)
        for seed in (0, 1)
        for size in ((), (64,), (2048,), (2048, 100_000))
    ]
    assert len(set(files)) == len(files)
    assert Checkpoint("toy", 0, SAMPLES).file("kprune", 0.5) == files[0]


def test_a_point_of_the_curve_is_the_mean_of_the_seeds_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours over two seeds, K-prune over one, Kwon not yet."""
    shares = {(OURS, 0): 0.88, (OURS, 1): 0.86, ("kprune", 0): 0.8}

    def read(one: Checkpoint, method: str, kept: float, anew: bool) -> list[PerExampleResult]:
        assert not anew
        assert (one.samples, one.tokens, kept) == (64, 100, 0.5)
        share = shares.get((method, one.seed))
        return [] if share is None else [measured(right(share))]

    monkeypatch.setattr(Checkpoint, "measured", read)
    monkeypatch.setattr(Checkpoint, "encoder", None)
    monkeypatch.setattr(Checkpoint, "task", _accuracy())
    monkeypatch.setattr(sample_sizes, "outcomes", lambda *_: [measured(right(0.9))])
    point = Point("curve", "toy", 0.5, 64, 100, (OURS, "kwon", "kprune"))
    made = sample_sizes.cell(point) or {}
    assert made["lost"] == {OURS: 3.0, "kprune": 10.0}
    assert made["by_seed"] == {OURS: [2.0, 4.0], "kprune": [10.0]}
    assert made["seeds"] == {OURS: 2, "kprune": 1}
    assert made["ahead"]["kprune"][1] < 0, "ours loses less"
    del shares["kprune", 0]
    assert sample_sizes.cell(point) is None, "nothing to compare with"
