"""On what a benchmark ran, and how its results are kept."""

from __future__ import annotations

import json
import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """CPU model, cores, what `arithmetic` says, load when asked, and versions."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        **arithmetic(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }


def arithmetic() -> dict[str, Any]:
    """What the last bits of a sum depend on, the version of torch apart: instructions that it uses, and threads."""
    return {"instructions": torch.backends.cpu.get_cpu_capability(), "torch_threads": torch.get_num_threads()}


def busy_share(seconds: float = 2.0) -> float:
    """Of all cores, how much somebody uses right now: 0 on a quiet machine, and where the system does not say."""

    def passed() -> tuple[int, int]:
        with Path("/proc/stat").open(encoding="utf-8") as file:
            ticks = [int(number) for number in file.readline().split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]  # idle, and waiting for a disk

    try:
        all_before, idle_before = passed()
        time.sleep(seconds)
        all_after, idle_after = passed()
    except OSError:
        return 0.0
    return 1 - (idle_after - idle_before) / max(all_after - all_before, 1)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def committed(name: str) -> dict[str, Any]:
    """What `results/NAME.json` holds."""
    return dict(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


def keep(name: str, result: dict[str, Any]) -> Path:
    """Write `results/NAME.json`, with the machine's description beside the result."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **result}, indent=2) + "\n", encoding="utf-8")
    return path
