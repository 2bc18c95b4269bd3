"""What is said of int8's speed is what its turns beside float32 say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch

from asc_core.export.formats.speed_beside_float32 import said_of_speed
from asc_core.runtimes import Session


class Paced(Session):
    """Takes so many seconds a token."""

    runtime: ClassVar[str] = "torch"

    def __init__(self, pace: float, max_tokens: int | None = 512):
        super().__init__(1, 64, max_tokens)
        self.pace = pace

    def prepared(self, texts: Mapping[str, torch.Tensor]) -> Any: ...

    def run(self, prepared: Any) -> Any: ...

    def outputs(self, said: Any) -> dict[str, torch.Tensor]:
        return {}

    def seconds(self, texts: Mapping[str, torch.Tensor]) -> float:
        return self.pace * texts["input_ids"].numel()


@pytest.mark.parametrize(("integers", "verdict"), [(0.0005, "faster"), (0.004, "slower")])
def test_the_verdict_is_by_its_turns_beside_float32(integers: float, verdict: str) -> None:
    said = said_of_speed(Paced(integers), Paced(0.001))
    assert said.startswith(f"int8 is {verdict} than float32 on this machine: 1 x 24 tokens {24000 * integers:.1f} ms")
    assert f"{128000 * integers:.1f} ms against 128.0 ({0.001 / integers:.2f}x)" in said


def test_texts_are_no_longer_than_the_model_takes() -> None:
    said = said_of_speed(Paced(0.001, max_tokens=32), Paced(0.001, max_tokens=32))
    assert "1 x 32 tokens" in said
    assert "128" not in said
