"""What a demo application's encoder reaches, and how hard the application is: the log beside each adapter.

    python -m asc_core.demo.report nli

writes `adapters/nli/report.json`: the metric on the test and the shifted split, what a bag-of-words classifier and one
that sees the second text only reach on the same test split, and what a random cut to half of the heads and neurons
costs without any repair.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from asc_core.checkpoint.digests import DIGESTS_FILE
from asc_core.demo.baselines import shallow_baselines
from asc_core.demo.encoder import ADAPTERS, demo_encoder
from asc_core.demo.generator import APPLICATIONS
from asc_core.demo.tasks import demo_task
from asc_core.evaluate import evaluate
from asc_core.values import Plan, Shape

RANDOM_CUTS = 3


def random_half(shape: Shape, seed: int) -> Plan:
    """A plan that keeps a random half of the heads and of the neurons of every row."""
    random = np.random.default_rng(seed)

    def half(counts: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(sorted(random.choice(n, n // 2, replace=False).tolist())) for n in counts)

    layers = tuple(range(shape.layers))
    return Plan(shape, half(shape.heads), half(shape.neurons), layers)


def measure_application(name: str) -> dict[str, Any]:
    encoder, task = demo_encoder(name), demo_task(name)
    test = evaluate(encoder, task, "test")
    shifted = evaluate(encoder, task, "shifted")
    cuts = [evaluate(encoder.cut(random_half(encoder.shape, seed)), task, "test").value for seed in range(RANDOM_CUTS)]
    return {
        **{k: v for k, v in test.to_json().items() if not k.startswith("difference")},
        "shifted": {"value": shifted.value, "interval": list(shifted.interval), "examples": shifted.examples},
        "baselines": shallow_baselines(name) if APPLICATIONS[name].labels else {},
        "random_half_cuts": cuts,
        "random_half_cut_costs": test.value - float(np.mean(cuts)),
    }


if __name__ == "__main__":
    for application in sys.argv[1:] or [name for name in APPLICATIONS if (ADAPTERS / name).is_dir()]:
        measured = measure_application(application)
        (ADAPTERS / application / "report.json").write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
        (ADAPTERS / application / DIGESTS_FILE).unlink(missing_ok=True)  # training's; here the repository has its own
        print(application, json.dumps(measured))
