"""Reloading in this process instead of a fresh one, for tests that export many models."""

from __future__ import annotations

import runpy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from asc_core.errors import UserError
from asc_core.export import comparison


@contextmanager
def checked_in_process() -> Iterator[None]:
    """Exports made inside are checked by the same code, without the seconds of a new interpreter."""

    def answers(
        script: Path, request: dict[str, Any], cancel: threading.Event, so: str = comparison.NOT_EXPORTED
    ) -> dict[str, torch.Tensor]:
        try:
            found = runpy.run_path(str(script))["load_and_answer"](request)
            return {name: torch.as_tensor(value) for name, value in found.items()}
        except (ValueError, RuntimeError, OSError) as error:
            raise UserError(f"The exported model cannot be loaded again, {so}: {error}.") from None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "answers_of_fresh_process", answers)
        yield


@pytest.fixture
def in_process() -> Iterator[None]:
    with checked_in_process():
        yield
