from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asc_core.bounded_cache import BoundedCache
from asc_core.errors import UserError
from asc_core.evaluate.features import tokenised
from asc_core.size_in_memory import size_of
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels
from tests.scores.toy import ToyTask
from tests.tiny import tiny


def test_threads_that_want_the_same_encoder_wait_for_one_loading_of_it() -> None:
    loaded: list[str] = []
    gate = threading.Event()

    def load(source: str) -> Any:
        loaded.append(source)
        gate.wait(5)
        return object()

    models = LoadedModels(encoder=load)
    application = Application("a", "folder", "task")
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(models.encoder, application) for _ in range(4)]
        gate.set()
        assert len({id(future.result()) for future in futures}) == 1
    assert loaded == ["folder"]
    assert models.cached_encoder(application) is models.encoder(application)


def test_a_failure_is_not_remembered() -> None:
    task = ToyTask(4)
    answers: list[Any] = [UserError("broken"), task]

    def load(source: str) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    models = LoadedModels(task=load)
    application = Application("a", "folder", "task")
    with pytest.raises(UserError, match="broken"):
        models.task(application)
    assert models.task(application) is task


def test_as_many_encoders_stay_as_the_bound_allows() -> None:
    encoders = {name: tiny(seed=number) for number, name in enumerate("abc")}
    models = LoadedModels(encoder=encoders.__getitem__, kept=BoundedCache(int(2.5 * size_of(encoders["a"]))))
    applications = [Application(n, n, n) for n in "abc"]
    for application in applications:
        models.encoder(application)
    assert [models.cached_encoder(a) for a in applications] == [None, encoders["b"], encoders["c"]]


def test_an_encoder_that_is_larger_than_the_bound_is_there_while_it_is_in_use() -> None:
    encoders = {name: tiny(seed=number) for number, name in enumerate("ab")}
    models = LoadedModels(encoder=encoders.__getitem__, kept=BoundedCache(1000))
    first, second = (Application(n, n, n) for n in "ab")
    assert models.encoder(first) is models.cached_encoder(first)
    assert models.encoder(second) is models.cached_encoder(second)
    assert models.cached_encoder(first) is None
    assert models.kept.bytes == 0
    models.free()
    assert models.cached_encoder(second) is None


def test_texts_are_counted_as_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.state.loaded.SECONDS_BETWEEN_SIZES", 0.0)
    encoder, task = tiny(), ToyTask(200)
    models = LoadedModels(encoder=lambda source: encoder, task=lambda source: task)
    application = Application("a", "a", "a")
    models.task(application)
    before = models.kept.by_kind()["texts"]
    tokenised(encoder, task, "train")
    models.task(application)
    assert models.kept.by_kind()["texts"] > before


def test_all_kinds_are_counted_and_freed() -> None:
    encoder, task = tiny(), ToyTask(20)
    models = LoadedModels(encoder=lambda source: encoder, task=lambda source: task)
    application = Application("a", "a", "a")
    models.cost_model(application)
    assert models.memo(("measured", "a"), lambda: [encoder, task]) == [encoder, task]
    assert {"encoders", "texts", "other"} <= models.kept.by_kind().keys()
    assert models.kept.by_kind()["encoders"] >= 4 * encoder.parameters
    assert models.kept.by_kind()["other"] < 10_000, "what only refers to an encoder does not count it again"
    assert models.free() > 4 * encoder.parameters
    assert models.kept.bytes == 0
    assert models.cached_encoder(application) is models.cached_cost_model(application) is None


def test_what_is_forgotten_is_loaded_again() -> None:
    loads: list[str] = []
    models = LoadedModels(task=lambda source: loads.append(source) or ToyTask(4))  # type: ignore[arg-type, func-returns-value, return-value]
    application, other = Application("a", "e", "t"), Application("b", "e2", "t2")
    models.task(application)
    models.task(other)
    models.forget(application)
    models.task(application)
    models.task(other)
    assert loads == ["t", "t2", "t"]
