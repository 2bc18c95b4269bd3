"""What every runtime keeps to: it answers like the model in memory, on so many threads, and leaves torch as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate import evaluate, measure_in_turns
from asc_core.export import FORMATS
from asc_core.modeling import PACKINGS
from asc_core.runtimes import RUNTIMES, Session, SessionReader, runtime_of, session
from asc_core.values import Plan
from tests.evaluate.toy_tasks import KINDS, encoder_for, toy_task
from tests.tiny import padded_batch, tiny


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    missing = RUNTIMES[request.param].missing()
    if missing is not None:
        pytest.skip(missing)
    return str(request.param)


def smaller() -> Encoder:
    encoder = tiny()
    return encoder.cut(Plan.full(encoder.shape).drop(layer=0).drop(layer=1, head=2))


@pytest.mark.parametrize("threads", [1, 2])
def test_it_answers_like_the_model_in_memory(runtime: str, threads: int) -> None:
    encoder, before = smaller(), torch.get_num_threads()
    found = session(encoder, runtime, threads)
    for seed in range(2):
        texts = padded_batch(seed, size=2 + seed, length=8 + 3 * seed)
        with torch.inference_mode():
            expected = encoder.model(**texts).logits
        assert torch.allclose(found.answer(texts)["logits"], expected, atol=1e-4)
        assert found.seconds(texts) > 0
    assert found.threads == threads
    assert torch.get_num_threads() == before


def test_torch_runs_on_its_sessions_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, seen = smaller(), []
    plain = encoder.model.forward
    monkeypatch.setattr(
        encoder.model, "forward", lambda **inputs: (seen.append(torch.get_num_threads()), plain(**inputs))[1]
    )
    before = torch.get_num_threads()
    for threads in (before + 1, before, before + 2):
        session(encoder, "torch", threads).seconds(padded_batch())
    assert seen == [before + 1, before, before + 2]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind != "text-classification")) for kind in KINDS]
)
def test_an_evaluation_in_it_is_that_of_the_model_in_memory(runtime: str, kind: str) -> None:
    task = toy_task(kind, train=8, validation=24)
    encoder = encoder_for(task)
    found = evaluate(SessionReader(session(encoder, runtime, 1), encoder), task)
    expected = evaluate(encoder, task)
    assert found.value == pytest.approx(expected.value, abs=1e-4)


def test_an_exported_folder_is_loaded_by_its_own_runtime_and_by_no_other(runtime: str, tmp_path: Path) -> None:
    encoder = smaller()
    form = FORMATS[RUNTIMES[runtime].form or "compact"]
    form.write(encoder, tmp_path, PACKINGS["float32"])
    encoder.tokenizer.save_pretrained(tmp_path)
    assert runtime_of(tmp_path) == runtime
    found = session(tmp_path, runtime, 1)
    assert (found.vocabulary, found.max_tokens is not None) == (64, True)
    texts = padded_batch()
    expected = session(encoder, "torch", 1).answer(texts)["logits"]
    assert torch.allclose(found.answer(texts)["logits"], expected, atol=1e-4)
    for other in set(RUNTIMES) - {runtime}:
        if RUNTIMES[other].missing() is None:
            with pytest.raises(UserError, match=f"is for {runtime}, and {other} cannot load it"):
                session(tmp_path, other)


def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no runtime 'tflite'; choose one of torch, onnxruntime, openvino"):
        session(tiny(), "tflite")
    with pytest.raises(UserError, match="1 or more threads, not 0"):
        session(tiny(), "torch", 0)
    with pytest.raises(UserError, match="is no folder that one of"):
        session(tmp_path, "onnxruntime")
    monkeypatch.setattr("asc_core.runtimes.with_openvino.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"openvino is not installed: install requirements-openvino\.txt"):
        session(tiny(), "openvino")


class Clock(Session):
    """Takes as long as it is told."""

    runtime = "clock"

    def __init__(self, took: float, log: list[tuple[float, int]]):
        super().__init__(1, 64, 80)
        self.took, self.log = took, log

    def prepared(self, texts: object) -> object:
        return texts

    def run(self, prepared: object) -> object:
        return prepared

    def outputs(self, said: object) -> dict[str, torch.Tensor]:
        return {}

    def seconds(self, texts: dict[str, torch.Tensor]) -> float:  # type: ignore[override]
        tokens = int(texts["attention_mask"].sum())
        self.log.append((self.took, tokens))
        return self.took * tokens


def test_all_are_timed_in_turns_on_the_same_texts() -> None:
    log: list[tuple[float, int]] = []
    found = measure_in_turns({"a": Clock(2.0, log), "b": Clock(0.5, log)}, np.arange(4, 40), 3, repeats=7)
    assert [took for took, _ in log] == [2.0, 0.5] * 10
    assert all(first[1] == second[1] for first, second in zip(log[::2], log[1::2], strict=True))
    assert len({tokens for _, tokens in log}) > 1
    assert found["a"].ratio == pytest.approx(1)
    assert found["b"].ratio == pytest.approx(4)
    assert found["a"].low <= found["a"].median <= found["a"].high


def test_texts_that_are_too_long_are_refused_before_anything_is_timed() -> None:
    log: list[tuple[float, int]] = []
    with pytest.raises(UserError, match="a takes 80 tokens at most, not 81"):
        measure_in_turns({"a": Clock(1.0, log)}, np.array([81]))
    assert log == []
