"""Several encoders on one task, side by side: what each is worth and what it costs, uncut and cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from asc_core.evaluate import PerExampleResult, estimate
from asc_core.recipes.recipe import Recipe
from asc_core.study import Study
from asc_core.tasks import Task
from asc_core.values import Estimate, Plan
from dashboard.measuring.measurements import Measurements
from dashboard.state import kept
from dashboard.state.application import Application
from dashboard.text import numbers
from dashboard.text.markup import bare, escape

SHOWN = 4  # cuts of each encoder


@dataclass(frozen=True)
class Line:
    """A measured model of one of the encoders. difference: to the original in view, paired, where both are known on
    the same examples; an `Estimate` for its interval.
    """

    application: Application
    name: str
    estimate: Estimate
    cost: Mapping[str, Any]
    difference: Estimate | None


def panel(study: Study, measurements: Measurements, applications: Sequence[Application]) -> None:
    """Nothing where the task has one encoder."""
    in_view = measurements.application
    alike = [one for one in applications if one.task_name == in_view.task_name]
    if len(alike) < 2:
        return
    lines = lines_of(study, measurements, alike)
    missing = [one.title for one in alike if not any(line.application == one for line in lines)]
    with st.container(border=True, key="compare-encoders"):
        st.html(f"<p class='asc-kicker'>Encoders on {escape(in_view.task_name)}, side by side</p>")
        if lines:
            st.html(table(lines, in_view))
        if missing:
            st.caption(
                bare(f"Not measured yet: {', '.join(missing)}. Open {'them' if len(missing) > 1 else 'it'} on Tune.")
            )


def lines_of(study: Study, measurements: Measurements, alike: Sequence[Application]) -> list[Line]:
    """Each encoder's original, then its best cuts; of results on the split that is measured on."""
    task, split, rows = measurements.models.task(measurements.application), measurements.split, study.evaluations()
    against = outcome(study, task, split, measurements.weights, Recipe.of(measurements.full_plan).key)
    found = []
    for application in alike:
        weights = kept.weights(study, application).get()
        mine = [
            row
            for row in rows
            if (row["weights"], row["task"], row["split"]) == (weights, application.task_name, split)
            and row["cost"] is not None
        ]
        whole = [row for row in mine if is_original(study, row["recipe_key"])]
        cuts = sorted((row for row in mine if row not in whole), key=lambda row: -row["estimate"].value)
        for row in [*whole, *cuts[:SHOWN]]:
            measured = outcome(study, task, split, row["weights"], row["recipe_key"])
            paired = compared(measured, against, task)
            name = "original" if row in whole else row["name"] or "a cut"
            found.append(Line(application, name, row["estimate"], row["cost"], paired))
    return found


def is_original(study: Study, recipe_key: str) -> bool:
    """Whether the recipe is the plan that removes nothing."""
    plan = study.plan(recipe_key)
    return plan is not None and plan == Plan.full(plan.shape)


def outcome(study: Study, task: Task, split: str, weights: str, recipe_key: str) -> PerExampleResult | None:
    measured = study.statistics(weights, recipe_key, task.name, split)
    if measured is None:
        return None
    return PerExampleResult(task.metric.name, split, *measured, len(measured[0]))


def compared(measured: PerExampleResult | None, against: PerExampleResult | None, task: Task) -> Estimate | None:
    """Paired on the examples of `measured`; None where `against` lacks one, or is the very same."""
    if measured is None or against is None or not task.labelled:
        return None
    if not set(measured.numbers.tolist()) <= set(against.numbers.tolist()):
        return None
    return estimate(measured, task.metric, against)


def table(lines: Sequence[Line], in_view: Application) -> str:
    rows = []
    for line in lines:
        e, cost = line.estimate, line.cost
        change = ""
        paired, itself = line.difference, line.application == in_view and line.name == "original"
        if paired is not None and paired.difference_interval is not None and not itself:
            change = (
                f"{numbers.points(paired.difference or 0.0)}<br><span class='asc-quiet asc-small'>"
                f"{numbers.interval_of_points(paired.difference_interval)}, n = {paired.examples:,}</span>"
            )
        weight = "b" if line.name == "original" else "span"
        rows.append(
            f"<tr><td><{weight}>{escape(line.application.title)}</{weight}></td><td>{escape(line.name)}</td>"
            f"<td>{numbers.percent(e.value)}<br><span class='asc-quiet asc-small'>"
            f"{numbers.interval_of_percent(e.interval)}, n = {e.examples:,}</span></td><td>{change}</td>"
            f"<td>{numbers.amount(cost['flops'])}</td><td>{numbers.amount(cost['parameters'])}</td>"
            f"<td>{numbers.size(cost['bytes'])}</td></tr>"
        )
    e = lines[0].estimate
    head = (
        f"<tr><th>encoder</th><th>model</th><th>{escape(e.metric)}</th><th>against {escape(in_view.title)}'s original "
        "(pp)</th><th>FLOPs per text</th><th>parameters</th><th>file</th></tr>"
    )
    note = f"{escape(e.split)} split; differences paired on the same examples, 95 % intervals"
    return (
        f"<table class='asc-costs asc-number'>{head}{''.join(rows)}</table>"
        f"<div class='asc-small asc-quiet'>{note}</div>"
    )
