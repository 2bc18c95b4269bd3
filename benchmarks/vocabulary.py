"""What fewer rows of the word embedding cost, with and without a margin of general language, on held-out texts.

    python -m benchmarks.vocabulary                       all applications, about 10 minutes on one core
    python -m benchmarks.vocabulary demo:nli minilm-sick  some of them; the results of the others stay

Measured on at most 500 examples of the validation split (cut from train where the data have none), paired with the
original: of all of them, and apart of those with a token that is gone. Rows are chosen on the train split. The last
line is one JSON object, kept in benchmarks/results/vocabulary.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import asc_core
from asc_core import modeling
from asc_core.compress.step import StepContext
from asc_core.compress.vocabulary import Vocabulary
from asc_core.evaluate import estimate, measure
from asc_core.values import Estimate
from asc_core.vocabulary import token_scores
from asc_core.vocabulary.dropped_pieces import apart, changed_examples
from benchmarks.machine import RESULTS, keep
from benchmarks.trust import sources

NAMES = ("demo:nli", "minilm-sick", "minilm-mrpc", "minilm-clinc150", "minilm-squad")
STEPS = (Vocabulary(), Vocabulary(least=3), *(Vocabulary(margin=margin) for margin in (2000, 4000, 8000)))
SPLIT, MOST = "validation", 500
WORK = Path("build/vocabulary")


def measured(name: str) -> dict[str, Any]:
    encoder_source, task_source = sources(name, WORK)
    encoder, task = asc_core.load_encoder(encoder_source), asc_core.load_task(task_source)
    scores = token_scores(encoder, task, splits=(SPLIT,))
    before = measure(encoder, task, SPLIT, limit=MOST)
    cells = []
    for step in STEPS:
        smaller = step.apply(encoder, StepContext(task))
        after = measure(smaller, task, SPLIT, limit=MOST)
        changed = changed_examples(encoder, step.kept(scores), task, SPLIT, MOST)
        parts = apart(smaller.tokens, encoder.tokens, changed, task.metric, before, after)
        cell = {
            "least": step.least,
            "margin": step.margin,
            "rows": smaller.tokens,
            "mb": modeling.count(smaller.model, "float32").bytes / 1e6,
            "coverage": changed.coverage,
            "changed": changed.share,
            "all": _lost(estimate(after, task.metric, before)),
            "on_changed": _lost(parts.on_changed),
            "on_rest": _lost(parts.on_rest),
        }
        print(name, json.dumps(cell), file=sys.stderr, flush=True)
        cells.append(cell)
    return {
        "rows": encoder.tokens,
        "mb": modeling.count(encoder.model, "float32").bytes / 1e6,
        "examples": len(before),
        "metric": task.metric.name,
        "value": task.metric.value(before.statistics),
        "used": int((scores.used > 0).sum()),
        "needed": len(scores.model.needed),
        "rank_correlation": scores.general.agreement,
        "cells": cells,
    }


def _lost(found: Estimate | None) -> dict[str, Any] | None:
    """Points lost against the original, with their interval."""
    if found is None or found.difference is None or found.difference_interval is None:
        return None
    low, high = found.difference_interval
    return {"points": 100 * found.difference, "interval": [100 * low, 100 * high], "examples": found.examples}


def main(names: list[str]) -> None:
    file = RESULTS / "vocabulary.json"
    known = json.loads(file.read_text(encoding="utf-8"))["applications"] if file.exists() else {}
    for name in names or NAMES:
        known[name] = measured(name)
        keep("vocabulary", {"split": SPLIT, "applications": known})
    print(json.dumps(known))


if __name__ == "__main__":
    main(sys.argv[1:])
