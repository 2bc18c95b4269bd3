"""Intents and slots in less than a megabyte: what each size, table and BiLSTM loses, in relative terms."""

from __future__ import annotations

from typing import Any

from benchmarks.machine import RESULTS, committed
from benchmarks.report.markdown import points, table

NAME = "nlu"
TITLES = {"snips": "SNIPS", "atis": "ATIS", "clinc150": "CLINC150"}
SHORT = {
    "intent-accuracy": "intents",
    "slot-f1": "slots",
    "sentence-accuracy": "frames",
    "accuracy": "intents",
    "out-of-scope AUROC": "AUROC",
}


def section() -> str:
    """Empty where nothing was measured yet."""
    return said(committed(NAME)) if (RESULTS / f"{NAME}.json").exists() else ""


def said(result: dict[str, Any]) -> str:
    rows = [_row(cell) for cell in result["cells"]]
    header = ["", "set", "kB", "rate", "seeds", "lost, relative to the original"]
    ahead = [_ahead(one) for one in result["ahead"]]
    beside = (
        "\n\nThe task's signal, at equal bytes: points of each metric that the aware one keeps more than the agnostic "
        f"one, with 95 % intervals.\n\n{table(['', 'set', 'ahead'], ahead)}"
        if ahead
        else ""
    )
    return f"""## Understanding on a small device

The preset `on-device-nlu` at the largest size within a share of the original's bytes, as `asc fit` chooses it: the
application's vocabulary and positions, the word embedding in two factors, a student, few bits. kB: of the one file that
numpy answers from, tokenizer included; rate: 1 - kB by the original's weights in float32 with its tokenizer's files (of
a BiLSTM, as its paper counts, weights alone on both sides). Lost: relative degradation in % on the test split, mean
over seeds, with 95 % intervals by a bootstrap over texts, paired; below 0 it does better. Frames: all of a text's
intent and slots right. AUROC: of how sure the model is, texts with an intent against those without. All was chosen on
training and validation texts. CLINC150's original is a checkpoint that has seen 4,500 of the 15,000 training texts; its
students learn from its answers to all of them, and from no label.

{table(header, rows)}{beside}{_device(result["device"])}

`python -m benchmarks.nlu` makes the table; [nlu.json](../benchmarks/results/nlu.json) holds it."""


def _row(cell: dict[str, Any]) -> list[str]:
    lost = ", ".join(f"{SHORT[metric]} {_lost(one)}" for metric, one in cell["metrics"].items())
    size = f"{cell['bytes'] / 1e3:,.0f}"
    return [cell["name"], TITLES[cell["set"]], size, f"{cell['rate']:.2f} %", str(cell["seeds"]), lost]


def _lost(one: dict[str, Any]) -> str:
    low, high = one["interval"]
    return f"{points(one['lost'])} [{points(low)}, {points(high)}]"


def _ahead(one: dict[str, Any]) -> list[str]:
    gained = (
        f"{SHORT[metric]} {points(of['points'])} [{points(of['interval'][0])}, {points(of['interval'][1])}]"
        for metric, of in one["metrics"].items()
    )
    return [one["aware"], TITLES[one["set"]], ", ".join(gained)]


def _device(device: dict[str, Any] | None) -> str:
    if device is None:
        return ""
    here, original = device["here"], device["original"]
    return (
        f"\n\nA request to SNIPS's model at 99 %, {device['tokens']:.0f} tokens, one thread, numpy alone: "
        f"{here['median']:.2f} ms (median; 90 %: {here['p90']:.2f}), {device['ratio']:.1f} times as fast as its "
        f"original in torch, asked in turns ({original['median']:.1f} ms); first answer {here['cold_start']:.2f} s "
        f"after the start of the process; {here['growth'] / 1e6:.0f} MB more memory than Python alone; "
        f"{device['multiply_adds'] / 1e6:.1f} M multiply-adds."
    )
