"""Reloading in this process instead of a fresh one, for tests that export many models."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from asc_core.errors import UserError
from asc_core.export import check, reload


@contextmanager
def checked_in_process() -> Iterator[None]:
    """Exports made inside are checked by the same code, without the seconds of a new interpreter."""

    def answers(request: dict[str, Any], cancel: threading.Event) -> dict[str, torch.Tensor]:
        try:
            return reload.load_and_answer(request)
        except (ValueError, RuntimeError, OSError) as error:
            raise UserError(f"The exported model cannot be loaded again, so nothing was exported: {error}.") from None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(check, "answers_of_fresh_process", answers)
        yield


@pytest.fixture
def in_process() -> Iterator[None]:
    with checked_in_process():
        yield
