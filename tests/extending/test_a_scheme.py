"""Sources of one's own: "shelf:NAME" for encoders and tasks, registered by whoever is imported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asc_core.encoder import Encoder
from asc_core.loading import SCHEMES, Scheme, load_encoder
from asc_core.tasks import SCHEMES as TASK_SCHEMES
from asc_core.tasks import Task, load_task
from tests.tiny import save_checkpoint, tiny


def shelf() -> Path:
    return Path(os.environ.get("ASC_SHELF", "shelf"))


def encoder_on_shelf(name: str, device: str | None = None) -> Encoder:
    encoder = load_encoder(shelf() / name, device=device)
    encoder.name = encoder.source = f"shelf:{name}"
    return encoder


def task_on_shelf(name: str) -> Task:
    return load_task(shelf() / f"{name}.toml")


def register() -> None:
    SCHEMES["shelf"] = Scheme(encoder_on_shelf, lambda name: shelf() / name)
    TASK_SCHEMES["shelf"] = task_on_shelf


TASK = """
kind = "text-classification"
texts = ["text"]
label = "label"
[data]
train = "mine.csv"
"""


@pytest.fixture(autouse=True)
def filled_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASC_SHELF", str(tmp_path))
    for schemes in (SCHEMES, TASK_SCHEMES):
        monkeypatch.setitem(schemes, "shelf", None)
    register()
    save_checkpoint(tiny(), tmp_path / "model")
    (tmp_path / "mine.toml").write_text(TASK)
    rows = "".join(f"text {i},{'yes' if i % 2 else 'no'}\n" for i in range(40))
    (tmp_path / "mine.csv").write_text(f"text,label\n{rows}")


def test_an_encoder_comes_from_the_shelf_under_its_name() -> None:
    encoder = load_encoder("shelf:model", device="cpu")
    assert (encoder.source, encoder.weights) == ("shelf:model", tiny().weights)


def test_a_task_comes_from_the_shelf() -> None:
    task = load_task("shelf:mine")
    assert task.labels == ("no", "yes")
    assert len(task.examples("train", 4, 0).rows) == 4
