from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from asc_core.errors import Cancelled, UserError
from asc_core.progress import Progress
from asc_core.scores import METHODS, sweep, sweep_pass
from asc_core.scores.method import Collected, FromWeights
from asc_core.scores.methods import chosen_methods
from asc_core.study import Study
from asc_core.values import Scores
from tests.scores.toy import ToyTask
from tests.tiny import tiny

EVERY = ["all", *(name for name, method in METHODS.items() if method.asked == "by name")]


def arrays(scores: Mapping[str, Scores]) -> dict[str, np.ndarray]:
    return {f"{m}.{name}": a for m, s in scores.items() for name, a in s.to_arrays()[0].items()}


def assert_same(a: Mapping[str, Scores], b: Mapping[str, Scores], rtol: float = 0.0, values_only: bool = False) -> None:
    left, right = arrays(a), arrays(b)
    assert left.keys() == right.keys()
    for name, array in left.items():
        if not values_only or ".value." in name or name.endswith("similarity"):
            # The spread of a variance is a small difference of large sums, which float32 rounds.
            atol = rtol if name.startswith(("flap.low", "flap.high")) else 1e-3 * rtol
            np.testing.assert_allclose(array, right[name], rtol=rtol, atol=atol, err_msg=name)


def cancel_after(steps: int) -> Progress:
    progress = Progress()
    progress.report = lambda done, total, what: progress.cancel.set() if done >= steps else None
    return progress


def test_every_method_scores_the_parts_that_it_says() -> None:
    encoder = tiny()
    scores = sweep(encoder, ToyTask(12), EVERY)
    assert set(scores) == set(METHODS)
    shape = encoder.shape
    for name, method in METHODS.items():
        result = scores[name]
        kinds = {key.split(".")[0] for key in result.values.arrays()}
        assert kinds == set(method.parts), name
        assert (method.labels == "none") == (result.labels == "none")
        assert result.examples == (0 if isinstance(method, FromWeights) else 12)
        if result.values.heads is not None:
            assert tuple(map(len, result.values.heads)) == shape.heads
        if result.values.neurons is not None:
            assert tuple(map(len, result.values.neurons)) == shape.neurons
        for key, values in result.values.arrays().items():
            assert np.isfinite(values).all()
            if isinstance(method, Collected):
                low, high = (ends.arrays()[key] for ends in (result.low, result.high))
                assert (low <= values + 1e-12).mean() > 0.9
                assert (values <= high + 1e-12).mean() > 0.9
                assert (high - low).max() > 0


def test_scores_survive_the_way_to_disk_and_back() -> None:
    for result in sweep(tiny(), ToyTask(4), EVERY).values():
        again = Scores.from_arrays(*result.to_arrays())
        assert_same({"x": result}, {"x": again})
        assert again.notes == result.notes


def test_padding_does_not_change_scores() -> None:
    encoder = tiny("modernbert")
    assert_same(sweep(encoder, ToyTask(8)), sweep(encoder, ToyTask(8, padding=7)), rtol=1e-3)


@pytest.mark.parametrize("architecture", ["bert", "deberta-v2", "albert"])
def test_the_size_of_a_batch_does_not_change_scores(architecture: str) -> None:
    encoder = tiny(architecture)
    assert_same(sweep(encoder, ToyTask(8), batch_tokens=1), sweep(encoder, ToyTask(8), batch_tokens=10_000), rtol=1e-3)


def test_the_choice_of_methods_does_not_change_scores() -> None:
    encoder = tiny()
    together = sweep(encoder, ToyTask(8), EVERY)
    for name in METHODS:
        assert_same(sweep(encoder, ToyTask(8), [name]), {name: together[name]}, rtol=1e-4)  # eager attention rounds


def test_same_seed_same_scores_and_another_seed_others() -> None:
    encoder = tiny()
    first, again, other = (sweep(encoder, ToyTask(20), samples=12, targets="sampled", seed=s) for s in (1, 1, 2))
    assert_same(first, again)
    for name in ("fisher", "update", "random"):
        assert np.abs(first[name].values.heads[0] - other[name].values.heads[0]).max() > 0


def test_an_interval_covers_the_value_of_the_whole_split() -> None:
    encoder, task = tiny(), ToyTask(400)
    truth = sweep(encoder, task, ["michel", "update"], samples=None, token_share=1.0)
    covered = {"heads": [], "neurons": []}
    for seed in range(12):
        scores = sweep(encoder, task, ["michel", "update"], samples=60, seed=seed, token_share=1.0)
        for name, result in scores.items():
            for part, hits in covered.items():
                low, value, high = (
                    np.concatenate(getattr(v, part)) for v in (result.low, truth[name].values, result.high)
                )
                hits.append(((low <= value) & (value <= high)).mean())
    for part, hits in covered.items():
        assert 0.88 < np.mean(hits) < 0.995, part


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("how", ["cancelled", "killed inside a batch"])
def test_a_resumed_sweep_equals_an_uninterrupted_one(how: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, task, study = tiny(), ToyTask(20), Study.open(tmp_path)
    options = {"targets": "sampled", "batch_tokens": 24, "study": study}
    expected = sweep(encoder, task, targets="sampled", batch_tokens=24)
    if how == "cancelled":
        with pytest.raises(Cancelled):
            sweep(encoder, task, **options, progress=cancel_after(7))
    else:
        calls = []

        def fail(*args: Any) -> np.ndarray:
            calls.append(1)
            if len(calls) == 4:
                raise Interrupted
            return real(*args)

        real = sweep_pass.replicate_weights
        monkeypatch.setattr(sweep_pass, "replicate_weights", fail)
        with pytest.raises(Interrupted):
            sweep(encoder, task, **options)
        monkeypatch.undo()
    assert not study.scores()
    first: list[int] = []
    resumed = sweep(encoder, task, **options, progress=Progress(lambda done, total, what: first.append(done)))
    assert first[0] > 0, "it began anew"
    assert_same(resumed, expected)
    assert {s.method for s in study.scores()} == set(expected)
    assert list((tmp_path / "partial").glob("*")) == []


def test_another_sweep_does_not_go_on_from_this_ones_state(tmp_path: Any) -> None:
    encoder, task, study = tiny(), ToyTask(20), Study.open(tmp_path)
    with pytest.raises(Cancelled):
        sweep(encoder, task, ["fisher"], batch_tokens=24, study=study, progress=cancel_after(7))
    for change in ({"seed": 1}, {"targets": "argmax"}, {"samples": 10}):
        options = {"batch_tokens": 24} | change
        assert_same(
            sweep(encoder, task, ["fisher"], **options, study=study), sweep(encoder, task, ["fisher"], **options)
        )


def test_cancel_stops_between_batches() -> None:
    seen: list[int] = []
    progress = Progress()

    def report(done: int, total: int, what: str) -> None:
        seen.append(done)
        progress.cancel.set()

    progress.report = report
    with pytest.raises(Cancelled):
        sweep(tiny(), ToyTask(20), batch_tokens=24, progress=progress)
    assert seen == [0]


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    sweep(tiny(), ToyTask(20), ["asc-b"], batch_tokens=24, progress=Progress(lambda d, t, what: seen.append((d, t))))
    assert seen[0] == (0, 20)
    assert seen[-1] == (20, 20)
    assert seen == sorted(seen)


def test_out_of_memory_is_tried_in_halves_and_counts_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, task = tiny(), ToyTask(10)
    expected = sweep(encoder, task)
    real, sizes = sweep_pass.SweepPass.add, []

    def small_machine(self: Any, rows: np.ndarray, sums: Any) -> None:
        sizes.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("out of memory")
        real(self, rows, sums)

    monkeypatch.setattr(sweep_pass.SweepPass, "add", small_machine)
    assert_same(sweep(encoder, task), expected, rtol=1e-3)
    assert sizes[0] == 10
    assert max(s for s in sizes if s <= 3) > 1


def test_a_text_that_does_not_fit_into_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*args: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(sweep_pass.SweepPass, "add", no_memory)
    with pytest.raises(UserError, match=r"one text of 1\d tokens on cpu"):
        sweep(tiny(), ToyTask(10), ["fisher"])


def test_other_errors_are_not_mistaken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(sweep_pass.SweepPass, "add", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        sweep(tiny(), ToyTask(10), ["fisher"])


def test_the_model_stays_as_it_was() -> None:
    encoder = tiny()
    before = {name: (p.clone(), p.requires_grad) for name, p in encoder.model.named_parameters()}
    next(encoder.model.parameters()).requires_grad_(False)
    sweep(encoder, ToyTask(4))
    for i, (name, parameter) in enumerate(encoder.model.named_parameters()):
        assert torch.equal(parameter, before[name][0])
        assert parameter.grad is None
        assert parameter.requires_grad == (i > 0)


def test_two_threads_sweep_one_encoder() -> None:
    encoder, tasks = tiny(), (ToyTask(30), ToyTask(30, seed=1))
    expected = [sweep(encoder, task, batch_tokens=30) for task in tasks]
    results: dict[int, dict[str, Scores]] = {}
    threads = [
        threading.Thread(target=lambda i=i: results.update({i: sweep(encoder, tasks[i], batch_tokens=30)}))
        for i in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(2):
        assert_same(results[i], expected[i])


def test_texts_without_labels_are_scored_by_the_models_own() -> None:
    encoder, task = tiny(), ToyTask(6, labelled=False)
    assert sweep(encoder, task, ["fisher"])["fisher"].labels == "sampled"
    assert sweep(encoder, task, ["asc-b"])["asc-b"].labels == "none"
    with pytest.raises(UserError, match="has no labels for fisher"):
        sweep(encoder, task, ["asc-b", "fisher"], targets="gold")


def test_weights_and_chance_need_no_data() -> None:
    class NoData(ToyTask):
        def examples(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("data was asked for")

    assert set(sweep(tiny(), NoData(1), ["magnitude", "random"])) == {"magnitude", "random"}


def test_what_costs_more_is_left_out_unless_it_is_asked_for() -> None:
    def chosen(ids: list[str] | None) -> list[str]:
        return [method.id for method in chosen_methods(ids)]

    assert set(chosen(None)) < set(chosen(["all"])) < set(METHODS)
    assert chosen(["fisher", "update", "fisher"]) == ["fisher", "update"]
    assert sorted(chosen(EVERY)) == sorted(METHODS)


def test_an_unknown_method_is_named_with_those_there_are() -> None:
    with pytest.raises(UserError, match="no scoring method 'fischer'; there are: asc-a, "):
        sweep(tiny(), ToyTask(1), ["fischer"])


def test_what_is_kept_does_not_grow_with_the_data(tmp_path: Any) -> None:
    class Memory:
        sizes: list[int]

        def partial(self, key: str) -> None:
            return None

        def save_partial(self, key: str, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
            self.sizes.append(sum(a.nbytes for a in arrays.values()))

        def drop_partial(self, key: str) -> None: ...

        def save_scores(self, scores: Scores) -> None: ...

    memory = Memory()
    memory.sizes = []
    for count in (10, 60):
        with pytest.raises(Cancelled):
            sweep(tiny(), ToyTask(count), batch_tokens=24, study=memory, progress=cancel_after(1))
    assert len(memory.sizes) == 2
    assert memory.sizes[0] == memory.sizes[1]


def test_nothing_of_a_batch_is_kept_when_the_next_one_comes() -> None:
    """A graph's hooks refer to collectors; through the graph, a cycle would be invisible to garbage collection."""
    encoder, task = tiny("bert"), ToyTask()
    collectors = list(dict.fromkeys(m.collector for m in METHODS.values() if isinstance(m, Collected)))
    work = sweep_pass.SweepPass(encoder, task, task.examples("train", 8, 0), collectors, "gold", 0)
    view, made = work.observe(np.arange(4))
    with torch.inference_mode():
        for collector in made:
            collector.statistics()
    kept = [weakref.ref(view), *(weakref.ref(collector) for collector in made)]
    del view, made, collector
    work.observe(np.arange(4, 8))
    gc.collect()
    assert [reference() for reference in kept] == [None] * len(kept)


def test_a_sweep_does_not_go_on_from_other_texts_of_the_same_name(tmp_path: Any) -> None:
    encoder, study, progress = tiny(), Study.open(tmp_path), Progress()

    def stop(done: int, total: int, what: str) -> None:
        if done > 10:
            progress.cancel.set()

    progress.report = stop
    with pytest.raises(Cancelled):
        sweep(encoder, ToyTask(30), ["fisher"], batch_tokens=30, study=study, progress=progress)
    other = ToyTask(30, seed=1)
    found = sweep(encoder, other, ["fisher"], batch_tokens=30, study=study)
    assert_same(found, sweep(encoder, other, ["fisher"], batch_tokens=30))
