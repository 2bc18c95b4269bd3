"""Which method to believe, in words."""

from __future__ import annotations

from dashboard.tables.trust_report import Interval, Report
from dashboard.text import numbers
from dashboard.text.method_names import title_of
from dashboard.text.names import KIND_NAMES

NAMED = 3


def recommendation(report: Report, kind: str) -> str:
    """Which method to believe for a kind of part and how sure that is, as HTML with the names in bold."""
    parts, seen = KIND_NAMES[kind], f"{report.held_out.examples:,} {report.held_out.split} examples"
    belief = report.believe.get(kind)
    if belief is None:
        return _by_agreement(report, kind)
    if belief.method is None:
        if any(m.areas.get(kind) is not None for m in report.methods):
            return (
                f"<b>No method yet.</b> None removes {parts} better than a random order does on these {seen}. "
                "Do not cut them by score before more examples say otherwise."
            )
        return f"<b>Any.</b> Removing {parts} costs nothing on these {seen}, even at random."
    best = next(m for m in report.methods if m.method == belief.method)
    area, ends = best.areas.get(kind), best.area_intervals.get(kind)
    cost = numbers.percent(area or 0.0, 0) + (f" {_in_percent(ends)}" if ends else "")
    if ends is None:
        return (
            f"Lean towards <b>{title_of(best.method)}</b>: removing {parts} in its order costs {cost} of the loss that "
            f"a random order costs. How sure that is cannot be said from these {seen}, in some draws of which even a "
            "random order costs nothing: measure on more."
        )
    said = (
        f"Believe <b>{title_of(best.method)}</b>: removing {parts} in its order costs {cost} of the loss that a "
        "random order costs."
    )
    if ends[1] >= 1:
        return f"{said} The interval reaches chance, so this is a hint and no finding: measure on more examples."
    if not belief.as_good:
        return f"{said} No other method is as good, beyond what {seen} could do by chance."
    names = [f"<b>{title_of(m)}</b>" for m in belief.as_good[:NAMED]]
    more = len(belief.as_good) - len(names)
    if more:
        names.append(f"{more} more")
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return (
        f"{said} {seen.capitalize()} cannot tell it from {listed}, so {'either' if len(names) == 1 else 'any'} will do."
    )


def _by_agreement(report: Report, kind: str) -> str:
    ranked = [m for m in report.ranked(kind) if not m.baseline]
    found = ranked[0].agreement.get(kind) if ranked else None
    if found is None or found.spearman is None:
        return f"<b>Nothing to go by</b> for {KIND_NAMES[kind]}."
    sure = (
        f"between {found.spearman_interval[0]:.2f} and {found.spearman_interval[1]:.2f}"
        if found.spearman_interval
        else f"of {found.parts} parts only, so take it as a hint"
    )
    return (
        f"<b>{title_of(ranked[0].method)}</b> ranks {KIND_NAMES[kind]} most like exact ablation does: "
        f"{found.spearman:.2f}, {sure}. How the loss behaves while they go was not measured."
    )


def _in_percent(ends: Interval) -> str:
    return f"[{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]".replace("-", numbers.MINUS)
