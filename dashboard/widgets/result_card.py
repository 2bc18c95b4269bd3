"""The measured effect of a recipe beside the original's figures, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asc_core.plan import Cost
from asc_core.values import Estimate
from dashboard.state.speed import Speed
from dashboard.text import numbers
from dashboard.text.markup import escape


def headline(estimate: Estimate | None, original: Estimate | None, running: bool, doing: str = "") -> str:
    """The metric, the paired difference, and how many examples are behind them. doing: while there is none yet."""
    if estimate is None:
        what = "the cut" if original is not None else "the cut, and once the original"
        waiting = escape(doing) or (f"measuring {what}" if running else "not measured")
        return (
            "<p class='asc-kicker'>measured</p><div class='asc-value asc-quiet'>…</div>"
            f"<div class='asc-difference asc-quiet'>{waiting}</div>{_bar(0.0)}"
        )
    kicker = f"{escape(estimate.metric)} · {escape(estimate.split)} split"
    value = (
        f"<div class='asc-value asc-number' data-testid='asc-metric'>{numbers.percent(estimate.value)}"
        f"<small>{numbers.interval_of_percent(estimate.interval)}</small></div>"
    )
    seen = f"n = {estimate.examples:,} of {estimate.total:,}"
    state = "complete" if estimate.complete else ("tightening" if running else "stopped: CI target reached")
    if estimate.provisional:
        further = (f"refining: {doing}" if doing else "refining") if running else "not refined yet"
        state = escape(f"{estimate.provisional}, {further}")
    cut_texts = f", {estimate.truncated:,} truncated" if estimate.truncated else ""
    sure = "95 % at every interim analysis: stop any time" if estimate.valid == "anytime" else "95 %, one analysis"
    return (
        f"<p class='asc-kicker'>{kicker}</p>{value}{_difference(estimate, original)}"
        f"{_bar(estimate.examples / max(estimate.total, 1))}"
        f"<div class='asc-small asc-quiet asc-number' title='{sure}'>{seen} · {state}{cut_texts}"
        f"{_notes(estimate.notes)}</div>"
    )


def _notes(notes: Sequence[str]) -> str:
    """What the number rests on: one line, which a click opens."""
    if not notes:
        return ""
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    title = "1 note" if len(notes) == 1 else f"{len(notes)} notes"
    return f"<details class='asc-notes'><summary title='on this number'>{title}</summary><ul>{listed}</ul></details>"


def _difference(estimate: Estimate, original: Estimate | None) -> str:
    if estimate.difference is None or estimate.difference_interval is None:
        return ""
    of = (
        f" to the original's {numbers.percent(original.value)}"
        if original is not None and estimate.complete
        else (" to the original on the same examples")
    )
    return (
        f"<div class='asc-difference asc-number'><b>{numbers.points(estimate.difference)}</b> pp "
        f"{numbers.interval_of_points(estimate.difference_interval)}<span class='asc-quiet'>{of}</span></div>"
    )


def costs(cost: Mapping[str, Any] | None, dense: Cost, speed: Speed | None, measuring_speed: bool) -> str:
    """A table: this model, the original, the ratio. cost: by budget; None until the model has been made."""
    rows = (
        ("FLOPs per text", "flops", numbers.amount),
        ("parameters", "parameters", numbers.amount),
        ("file", "bytes", numbers.size),
    )
    lines = []
    for name, budget, shown in rows:
        whole = getattr(dense, budget)
        own = None if cost is None else cost[budget]
        ratio = "" if own is None else numbers.percent(own / whole, 0)
        lines.append(_row(name, "…" if own is None else shown(own), shown(whole), ratio))
    if speed is not None:
        lines.append(
            _row(
                "latency", numbers.milliseconds(speed.cut), numbers.milliseconds(speed.original), f"{speed.ratio:.2f}×"
            )
        )
    else:
        lines.append(_row("latency", "measuring" if measuring_speed else "-", "", ""))
    note = (
        f"latency: median at batch size {speed.batch}, both in turns on this machine"
        if speed
        else "FLOPs: encoder layers, mean unpadded text"
    )
    head = "<tr><th></th><th>this model</th><th>original</th><th>ratio</th></tr>"
    below = f"<div class='asc-small asc-quiet asc-two-lines'>{note}</div>"
    return f"<table class='asc-costs'>{head}{''.join(lines)}</table>{below}"


def _row(name: str, own: str, whole: str, ratio: str) -> str:
    return f"<tr><td>{name}</td><td>{own}</td><td class='asc-quiet'>{whole}</td><td class='asc-ratio'>{ratio}</td></tr>"


def _bar(share: float) -> str:
    return f"<div class='asc-bar'><i style='width:{100 * share:.1f}%'></i></div>"
