from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from asc_core.errors import UserError
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels


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
    answers: list[Any] = [UserError("broken"), "loaded"]

    def load(source: str) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    models = LoadedModels(task=load)
    application = Application("a", "folder", "task")
    with pytest.raises(UserError, match="broken"):
        models.task(application)
    assert models.task(application) == "loaded"


def test_few_encoders_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.state.loaded.ENCODERS_IN_MEMORY", 2)
    models = LoadedModels(encoder=lambda source: source)  # type: ignore[arg-type, return-value]
    applications = [Application(n, n, n) for n in "abc"]
    for application in applications:
        models.encoder(application)
    assert [models.cached_encoder(a) for a in applications] == [None, "b", "c"]


def test_what_is_forgotten_is_loaded_again() -> None:
    loads: list[str] = []
    models = LoadedModels(task=lambda source: loads.append(source) or len(loads))  # type: ignore[arg-type, func-returns-value, return-value]
    application, other = Application("a", "e", "t"), Application("b", "e2", "t2")
    models.task(application)
    models.task(other)
    models.forget(application)
    models.task(application)
    models.task(other)
    assert loads == ["t", "t2", "t"]
