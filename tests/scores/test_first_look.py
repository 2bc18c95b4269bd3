from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.batches import batches_by_length
from asc_core.errors import Cancelled
from asc_core.progress import Progress
from asc_core.scores import METHODS, first_look, sweep
from asc_core.scores.first_look import FIRST_LOOK, Kept, Unsettled, examples_of, looks
from asc_core.scores.obs import lost_in_all, removal_order
from asc_core.scores.sweep_pass import SweepPass
from asc_core.study import Study
from tests.scores.test_obs import moments, problem
from tests.scores.test_sweep import arrays, assert_same, cancel_after
from tests.scores.toy import ToyTask
from tests.tiny import tiny

SHARED = ["fisher", "update", "asc-a", "cka"]
ALL = [*(name for name in SHARED if name in METHODS), "obs", "magnitude"]
OPTIONS: dict[str, Any] = {"samples": None, "batch_tokens": 200, "targets": "sampled"}


@given(st.lists(st.integers(1, 40), min_size=1, max_size=600), st.integers(40, 400))
def test_a_look_is_at_about_64_examples_of_all_lengths_or_at_none(lengths: list[int], tokens: int) -> None:
    batches, example = batches_by_length(np.array(lengths), tokens), np.arange(len(lengths))
    done: list[int] = []
    for number, look in enumerate(looks(batches, example)):
        done += look
        rows = [batches[index] for index in done]
        most = max(map(len, rows))
        assert examples_of(rows, example) + most / 2 >= FIRST_LOOK * first_look.GROWTH**number
        assert 2 * sum(map(len, rows)) <= len(lengths)
        places = np.sort(done) / len(batches)
        assert np.diff(np.append(places, 1)).max() <= 3 / len(done)  # no stretch of lengths is left out
    assert len(set(done)) == len(done)


@pytest.mark.parametrize("early", [None, 2.0])
def test_scores_that_were_looked_at_are_those_that_nobody_looked_at(early: float | None) -> None:
    encoder, task = tiny(), ToyTask(300, windows=True)
    seen: list[Unsettled] = []
    found = sweep(encoder, task, ALL, **OPTIONS, stop_when_settled=early, show=seen.append)
    assert_same(found, sweep(encoder, task, ALL, **OPTIONS, stop_when_settled=early))
    assert {method for look in seen for method in look.scores} == set(ALL)
    assert all(look.of == 300 for look in seen)
    counts = [look.scores["fisher"].examples for look in seen if "fisher" in look.scores]
    assert counts == sorted(counts)
    assert 0.7 * FIRST_LOOK < counts[0] < 150


def test_a_look_is_what_its_examples_say() -> None:
    encoder, task = tiny(), ToyTask(300)
    seen: list[Unsettled] = []
    options = {**OPTIONS, "targets": "gold"}
    sweep(encoder, task, ALL, **options, show=seen.append)
    work = SweepPass(encoder, task, task.examples("train"), [], "gold", 0)
    batches = batches_by_length(work.features.lengths, 200)
    rows = np.concatenate([batches[i] for i in looks(batches, work.features.example)[0]])
    few = ToyTask(300)
    few.rows = [few.rows[i] for i in np.sort(rows)]
    expected = sweep(encoder, few, ["fisher"], samples=None, batch_tokens=200)["fisher"]
    for name, values in expected.values.arrays().items():
        looked = seen[0].scores["fisher"].values.arrays()[name]
        if name.split(".")[0] != "neurons":  # of which another sample of tokens is read where numbers are others
            np.testing.assert_allclose(looked, values, rtol=1e-4, err_msg=name)
    assert seen[0].scores["fisher"].examples == len(rows)


def test_nothing_is_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = SweepPass.observe

    def observe(self: Any, rows: np.ndarray) -> Any:
        read.extend(rows.tolist())
        return real(self, rows)

    monkeypatch.setattr(SweepPass, "observe", observe)
    sweep(tiny(), ToyTask(300), ALL, **OPTIONS, show=lambda look: None)
    assert sorted(read) == sorted([*range(300), *range(300)])  # by the shared pass and by that of obs


def test_where_memory_is_short_batches_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, task = tiny(), ToyTask(300)
    expected = sweep(encoder, task, ALL, **OPTIONS)
    monkeypatch.setattr(Kept.__init__, "__defaults__", (0,))
    seen: list[Unsettled] = []
    assert_same(sweep(encoder, task, ALL, **OPTIONS, show=seen.append), expected)
    assert len(seen) > 2


@pytest.mark.parametrize("after", [5, 200])
@pytest.mark.parametrize("early", [None, 2.0])
def test_a_cancelled_sweep_that_was_looked_at_goes_on_to_the_same_scores(
    after: int, early: float | None, tmp_path: Any
) -> None:
    encoder, task, study = tiny(), ToyTask(300), Study.open(tmp_path)
    options = {**OPTIONS, "stop_when_settled": early}
    expected = sweep(encoder, task, ALL, **options)
    with pytest.raises(Cancelled):
        sweep(encoder, task, ALL, **options, study=study, show=lambda look: None, progress=cancel_after(after))
    seen: list[Unsettled] = []
    assert_same(sweep(encoder, task, ALL, **options, study=study, show=seen.append), expected)
    assert seen
    assert {s.examples for s in study.scores()} == {0, 300}, "a look was kept as if it were the whole"


def test_who_does_not_want_to_look_any_more_ends_it(tmp_path: Any) -> None:
    study = Study.open(tmp_path)

    def enough(look: Unsettled) -> None:
        raise Cancelled("")

    with pytest.raises(Cancelled):
        sweep(tiny(), ToyTask(300), ALL, **OPTIONS, study=study, show=enough)
    assert not study.scores()


def test_progress_rises_within_a_pass_to_its_end() -> None:
    reported: list[int] = []
    progress = Progress(lambda done, total, what: reported.append(done))
    sweep(tiny(), ToyTask(300), ["fisher"], **OPTIONS, progress=progress, show=lambda look: None)
    assert reported == sorted(reported)
    assert (reported[0], reported[-1]) == (0, 300)


def test_few_examples_are_not_looked_at_in_between() -> None:
    seen: list[Unsettled] = []
    sweep(tiny(), ToyTask(100), ["fisher", "obs"], **OPTIONS, show=seen.append)
    assert {s.examples for look in seen for s in look.scores.values()} <= {100}


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_lost_in_all_does_not_depend_on_the_order(seed: int, width: int) -> None:
    weight, x, output_moments = problem(seed)
    ordered = removal_order(weight, moments(x), output_moments, width, at_once=1).lost[-1]
    assert lost_in_all(weight, moments(x), output_moments) == pytest.approx(ordered, rel=1e-3)


def test_before_the_neurons_obs_says_of_heads_and_sublayers_what_it_says_in_the_end() -> None:
    seen: list[Unsettled] = []
    whole = sweep(tiny(), ToyTask(300), ["obs"], **OPTIONS, show=seen.append)["obs"]
    last = seen[-1].scores["obs"]
    assert last.examples == whole.examples == 300
    assert last.values.neurons is None
    for name, values in last.values.arrays().items():
        np.testing.assert_allclose(values, whole.values.arrays()[name], rtol=1e-3, atol=1e-9, err_msg=name)
    assert set(arrays({"": last})) < set(arrays({"": whole}))


def test_what_is_kept_takes_no_more_than_its_room_and_is_handed_out_once() -> None:
    kept: Kept[str] = Kept(10)
    for batch, size in enumerate((6, 5, 4)):
        kept.keep(batch, f"of {batch}", size)
    assert list(kept) == [0, 2]
    assert (kept.take(0), kept.take(0), kept.take(1)) == ("of 0", None, None)
    kept.keep(3, "of 3", 6)
    assert list(kept) == [2, 3]
