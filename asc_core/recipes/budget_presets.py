"""What people mean by a budget, ready-made: the words that stand for the options of `asc fit`."""

from __future__ import annotations

from dataclasses import dataclass

from asc_core.errors import UserError
from asc_core.runtimes import RUNTIMES, installed

ON_DEVICE = "on-device-nlu"


@dataclass(frozen=True)
class BudgetPreset:
    """budget: as `Bound.parse` reads it; "" = the user says it. points: that may be lost; None = as few as there are.
    steps: of distillation at the end. fastest_runtime: whether time counts on the fastest runtime that is installed."""

    name: str
    title: str
    about: str
    budget: str = ""
    points: float | None = None
    steps: int = 0
    fastest_runtime: bool = False


BUDGET_PRESETS: dict[str, BudgetPreset] = {
    preset.name: preset
    for preset in (
        BudgetPreset("no-retraining", "No retraining", "The least lost within a budget; nothing is trained."),
        BudgetPreset(
            "fast",
            "Fast on this CPU",
            "The fastest that loses at most 1 point, one text at a time on one thread.",
            budget="ms",
            points=1.0,
            fastest_runtime=True,
        ),
        BudgetPreset("smallest", "Smallest file", "The smallest that loses at most 1 point.", "bytes", 1.0),
        BudgetPreset(
            "half",
            "Best at half size",
            "Half of the FLOPs, distilled for 200 steps at the end.",
            "flops=50%",
            steps=200,
        ),
        BudgetPreset(
            ON_DEVICE,
            "On-device NLU",
            "A file that numpy alone answers from: vocabulary, factors, a small student, few bits.",
            budget="bytes=900k",
        ),
    )
}


def budget_preset(name: str) -> BudgetPreset:
    """Raises: UserError for an unknown name."""
    if name not in BUDGET_PRESETS:
        raise UserError(f"There is no preset {name!r}; there are: {', '.join(BUDGET_PRESETS)}.")
    return BUDGET_PRESETS[name]


def fastest_runtime() -> str:
    """Of those that are installed, the one that `benchmarks/deploy.py` mostly found the fastest."""
    return next((name for name in ("openvino", "onnxruntime") if name in installed()), next(iter(RUNTIMES)))
