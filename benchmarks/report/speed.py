"""What half the FLOPs take in time, how long an answer takes, and what scoring costs."""

from __future__ import annotations

from typing import Any

from benchmarks.machine import RESULTS, committed
from benchmarks.report.markdown import table


def section() -> str:
    return "\n\n".join((_models(), _repairs(), _answers(), _scores(), _machines()))


def _models() -> str:
    result = committed("latency")
    header = ["half of the FLOPs of `demo:nli`", "batch 1", "predicted", "batch 32", "predicted", "FLOPs kept"]
    rows = [
        [name, *_timed(result["batch1"][name]), *_timed(result["batch32"][name]), _kept(result, name)]
        for name in result["batch1"]
        if name in result["batch32"]
    ]
    parts = [f"{name} {ms:.1f} ms" for name, ms in result["parts_ms_batch1"].items()]
    return f"""## What half the FLOPs take in time

Time of a cut model over the original's, timed in turns in one process: median of {result["rounds"]} rounds, lowest and
highest in brackets, and what the table of layer times predicted. "xN" are FFN widths in multiples of N; "flops and
latency" keeps a latency budget as well; the first two rows are no plans by score.

{table(header, rows)}

Where the original's time goes at batch 1: {", ".join(parts)}. Norms, residuals and calls cost the same however narrow a
layer is. Measuring the table of layer times takes {result["seconds_table_batch1"]:.0f} s at batch 1 and
{result["seconds_table_batch32"]:.0f} s at batch 32 (`asc latency`, `python -m benchmarks.latency`)."""


def _timed(model: dict[str, Any]) -> list[str]:
    low, middle, high = model["measured"]
    return [f"{middle:.2f} [{low:.2f}, {high:.2f}]", f"{model['foretold']:.2f}"]


def _kept(result: dict[str, Any], name: str) -> str:
    kept = [result[batch][name]["kept_flops"] for batch in ("batch1", "batch32")]
    return f"{kept[0]:.2f}" if f"{kept[0]:.2f}" == f"{kept[1]:.2f}" else f"{kept[0]:.2f}, {kept[1]:.2f}"


def _repairs() -> str:
    result = committed("quality")
    return f"""From a changed budget to the repaired model it takes {result["seconds_one_shot"]:.1f} s with the
one-shot refit and
{result["seconds_sequential"]:.1f} s with the sequential one, for the demo's `nli` on 2 cores; longer texts take
longer. The
repaired model needs {result["latency_ratio_batch32"]:.2f} of the original's time at batch 32 and
{result["latency_ratio_batch1"]:.2f} at
batch 1 ([quality.json](../benchmarks/results/quality.json))."""


def _answers() -> str:
    result = committed("evaluate")
    spread = result["spread"] | result["browser_spread"]
    titles = {
        "first_estimate_s": ("from the cut model to the first estimate", "s"),
        "first_interval_points": ("half-width of its interval", "points"),
        "seconds_to_3_points": ("until the half-width is at most 3 points", "s"),
        "speedup_to_3_points": ("the same, speed-up over `Trainer.evaluate` with masks, padded to 128", "x"),
        "speedup_complete_padded": ("all examples, speed-up over the same", "x"),
        "speedup_complete_dynamic": ("all examples, speed-up over it with dynamic padding", "x"),
        "complete_over_limit": ("all examples, over the time of the FLOPs alone at a matrix product's peak", "x"),
        "cancel_ms": ("from a newer cut to the end of the older one's evaluation", "ms"),
        "slider_to_first_s": ("in the browser: from the slider to the first estimate", "s"),
        "return_ms": ("in the browser: back to a cut that was measured", "ms"),
        "burst_last_answer_s": ("in the browser: from the last of 20 moves to its first estimate", "s"),
    }
    rows = [[title, _number(result[key], unit), _range(spread.get(key), unit)] for key, (title, unit) in titles.items()]
    return f"""## How long an answer takes

The demo's `nli` with half the FLOPs by `fisher`, 1,000 validation examples, 2 cores;
{100 * result["changed_answers"]:.1f} % of the
answers change. Medians of turns within one run.

{table(["", "median", "range"], rows)}

`python -m benchmarks.evaluate` makes the table; [evaluate.json](../benchmarks/results/evaluate.json) holds it."""


def _number(value: float, unit: str) -> str:
    return f"{value:.0f} {unit}" if value >= 50 else f"{value:.1f} {unit}"


def _range(ends: list[float] | None, unit: str) -> str:
    return "" if ends is None else f"{_number(ends[0], unit).split()[0]} to {_number(ends[1], unit)}"


def _scores() -> str:
    result = committed("sweep")
    rows = [
        ["all scores without labels, one pass", f"{result['representation_ratio']:.2f} forward passes"],
        ["all scores of one loss, one pass", f"{result['all_ratio']:.2f} forward passes"],
        ["a further loss", f"{result['further_loss_ratio']:.2f} forward passes"],
        ["scores that read attention weights", f"{result['attention_ratio']:.2f} forward passes with eager attention"],
        ["exact ablation of 72 heads", f"{72 / result['ablation_speedup']:.0f} forward passes"],
        ["memory for 4,096 examples over that for 64", f"{result['memory_ratio_4096_to_64']:.2f}"],
        ["TextPruner's time over ours, same batches", f"{result['textpruner_speedup_same_batches']:.2f}"],
        ["TextPruner's time over ours, end to end", f"{result['textpruner_speedup_end_to_end']:.2f}"],
    ]
    return f"""## What scoring costs

In bare forward passes over the same batches, medians of turns within one run (`python -m benchmarks.sweep`).

{table(["", "cost"], rows)}"""


def _machines() -> str:
    rows = []
    for name in (
        "quality",
        "asc",
        "latency",
        "evaluate",
        "at_once",
        "quick_repair",
        "deploy",
        "sweep",
        "unseen",
        "trust",
    ):
        if not (RESULTS / f"{name}.json").exists():
            continue  # not measured yet
        on = committed(name)["machine"]
        versions = f"torch {on['torch']}, transformers {on['transformers']}"
        rows.append([f"`{name}.json`", f"{on['cpu']}, {on['cores']} cores", versions, on["date"]])
    return f"""## Where these were measured

{table(["result", "machine", "versions", "date"], rows)}"""
