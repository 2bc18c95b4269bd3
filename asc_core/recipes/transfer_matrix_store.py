"""An application matrix in a study: cells as they are measured, and the reports that people read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from asc_core.evaluate import PerExampleResult, estimate, own_notes
from asc_core.recipes.agnosticism_gap import agnosticism_gaps
from asc_core.recipes.transfer_matrix import ORIGINAL, Application, Cell, TransferMatrix
from asc_core.study import Study
from asc_core.values import Estimate

REPORTS = "application-matrices"


def cells_in_study(matrix: TransferMatrix, study: Study) -> Iterator[Cell]:
    """The matrix's cells; those that the study has are read, the others are kept as they are measured."""
    split = matrix.settings.split
    known: dict[str, PerExampleResult] = dict(matrix.known)
    for column in matrix.applications:
        study.set_aside_other_data(column.task.name, split, column.task.data(split))
        wanted = [matrix.key(row, column) for row in matrix.rows]
        if column.task.labelled:  # without labels the original is needed whole, with its predictions
            wanted.append(matrix.key(ORIGINAL, column))
        for key in wanted:
            found = study.statistics(column.encoder.weights, key, column.task.name, split)
            if found is not None:
                numbers, statistics = found
                stored = study.evaluation(column.encoder.weights, key, column.task.name, split)
                notes = () if stored is None else own_notes(stored)
                known[key] = PerExampleResult(
                    column.task.metric.name, split, numbers, statistics, len(numbers), notes=notes
                )
    matrix.known = known
    names = {application.name: application for application in matrix.applications}

    def keep(column: Application, key: str, measured: PerExampleResult, estimated: Estimate, name: str) -> None:
        study.save_evaluation(
            column.encoder.weights,
            key,
            column.task.name,
            split,
            estimated,
            statistics=measured.statistics,
            numbers=measured.numbers,
            name=name,
            data=column.task.data(split),
        )

    for cell in matrix.cells():
        column = names[cell.column]
        if cell.key not in known:
            keep(column, cell.key, cell.measured, cell.estimate, f"cut for {cell.row}")
        original = matrix.key(ORIGINAL, column)
        if original not in known:
            whole = matrix.original(column)
            keep(column, original, whole, estimate(whole, column.task.metric), "original")
            matrix.known = known = known | {original: whole}
        yield cell


def report(matrix: TransferMatrix, cells: Sequence[Cell]) -> dict[str, Any]:
    """As JSON: the settings, the names, every cell's estimate, and the prices."""
    return {
        "settings": asdict(matrix.settings),
        "columns": [application.name for application in matrix.applications],
        "rows": matrix.rows,
        "agnostic": matrix.agnostic,
        "trained": [step.describe() for step in matrix.then],
        "cells": [{"row": c.row, "column": c.column, "estimate": c.estimate.to_json()} for c in cells],
        "prices": [asdict(gap) for gap in agnosticism_gaps(matrix, cells)],
    }


def keep_report(study: Study, made: dict[str, Any]) -> None:
    """Beside earlier ones; one of the same models and settings is replaced."""
    study.change(REPORTS, lambda before: [*(one for one in before or [] if _asked(one) != _asked(made)), made])


def reports(study: Study) -> list[dict[str, Any]]:
    """All that `keep_report` has kept, the latest last."""
    return list(study.get(REPORTS, []))


def _asked(made: dict[str, Any]) -> list[Any]:
    return [made["settings"], made["columns"], made["rows"], made["trained"]]
