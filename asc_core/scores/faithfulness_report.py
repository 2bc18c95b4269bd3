"""What is known of how faithful each score is to what parts really do: the report, its form on disk, its table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from asc_core.errors import UserError
from asc_core.parts import ABLATED
from asc_core.scores.compare import Agreement, Interval


@dataclass(frozen=True)
class Sample:
    """So many examples of a split."""

    split: str
    examples: int


@dataclass(frozen=True)
class MethodFaithfulness:
    """One method. labels, split, examples: of its scores.

    agreement: kind -> agreement with ablation. curves: kind -> mean held-out loss at each share removed. relative_aucs:
    kind -> area under that curve relative to a random order's (below 1 is better than chance), None where that has
    none; relative_auc_intervals: 95 % over examples.
    """

    method: str
    labels: str
    split: str
    examples: int
    agreement: Mapping[str, Agreement]
    curves: Mapping[str, tuple[float, ...]]
    relative_aucs: Mapping[str, float | None]
    relative_auc_intervals: Mapping[str, Interval | None]

    def to_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "labels": self.labels,
            "split": self.split,
            "examples": self.examples,
            "agreement": {kind: found.to_json() for kind, found in self.agreement.items()},
            "curves": {kind: list(curve) for kind, curve in self.curves.items()},
            "areas": dict(self.relative_aucs),
            "area_intervals": {k: list(ends) if ends else None for k, ends in self.relative_auc_intervals.items()},
        }


@dataclass(frozen=True)
class Recommendation:
    """The method with the smallest area for a kind of part, None where none is better than a random order.

    indistinguishable: methods whose area the same examples cannot tell from it (the paired 95 % interval includes 0).
    """

    method: str | None
    indistinguishable: tuple[str, ...] = ()


@dataclass(frozen=True)
class FaithfulnessReport:
    """How faithful each method is on one application.

    weights: the encoder's fingerprint. ground_truth: what exact ablation was measured on; held_out: what the curves
    were. reliability: kind -> split-half reliability of ablation. removed: kind -> shares removed at the points of the
    curves; chance: kind -> mean loss of random orders there; chance_range: kind -> the lowest and the highest of them
    at each point. methods: the most useful first. recommendations: kind -> which method to go by.
    """

    task: str
    weights: str
    ground_truth: Sample
    held_out: Sample
    reliability: Mapping[str, float]
    removed: Mapping[str, tuple[float, ...]]
    chance: Mapping[str, tuple[float, ...]]
    chance_range: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
    methods: tuple[MethodFaithfulness, ...]
    recommendations: Mapping[str, Recommendation]

    def ceiling(self, kind: str) -> float | None:
        """The highest rank correlation with ablation to be expected of any score; None where that is not known."""
        return float(np.sqrt(self.reliability[kind])) if kind in self.reliability else None

    def to_json(self) -> dict[str, Any]:
        """Under the names that studies and committed results have had from the beginning."""
        return {
            "task": self.task,
            "weights": self.weights,
            "truth": vars(self.ground_truth),
            "held_out": vars(self.held_out),
            "reliability": dict(self.reliability),
            "ceiling": {kind: self.ceiling(kind) for kind in self.reliability},
            "removed": {kind: list(shares) for kind, shares in self.removed.items()},
            "chance": {kind: list(losses) for kind, losses in self.chance.items()},
            "chance_range": {kind: [list(end) for end in ends] for kind, ends in self.chance_range.items()},
            "methods": [method.to_json() for method in self.methods],
            "believe": {
                kind: {"method": found.method, "as_good": list(found.indistinguishable)}
                for kind, found in self.recommendations.items()
            },
        }

    @staticmethod
    def from_json(data: Any) -> FaithfulnessReport:
        """Raises: UserError where it is no such report, or does not fit together."""
        try:
            report = _REPORT.validate_python(_as_fields(data))
        except ValidationError as error:
            first = error.errors()[0]
            raise _refused(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except (KeyError, TypeError, AttributeError) as error:
            raise _refused(f"{type(error).__name__} at {error}") from None
        _check_fit(report)
        return report

    def table(self) -> str:
        """Markdown, which also reads well in a terminal."""
        return faithfulness_table(self.to_json())

    def in_words(self) -> list[str]:
        """Sentences: which method to go by for each kind of part."""
        said = []
        for kind, found in self.recommendations.items():
            if found.method is None:
                judged = any(m.relative_aucs.get(kind) is not None for m in self.methods)
                none = "no method removes them better than a random order does"
                said.append(f"{kind}: {none if judged else 'removing them at random costs nothing on these examples'}")
                continue
            others = ", ".join(found.indistinguishable)
            said.append(
                f"{kind}: go by {found.method}{f' (not told apart on these examples: {others})' * bool(others)}"
            )
        return said


_REPORT = TypeAdapter(FaithfulnessReport)
_NAN = float("nan")


def _as_fields(data: Any) -> dict[str, Any]:
    """The names on disk to those of the fields. Raises: KeyError, TypeError, AttributeError for anything else."""

    def method(of: Any) -> dict[str, Any]:
        agreement = {
            kind: found | {k: _NAN for k in ("spearman", "kendall") if found[k] is None}
            for kind, found in of["agreement"].items()
        }
        return of | {
            "agreement": agreement,
            "relative_aucs": of["areas"],
            "relative_auc_intervals": of["area_intervals"],
        }

    return data | {
        "ground_truth": data["truth"],
        "chance_range": data.get("chance_range", {}),  # reports from before it was kept have none
        "methods": [method(each) for each in data["methods"]],
        "recommendations": {
            kind: found | {"indistinguishable": found["as_good"]} for kind, found in data["believe"].items()
        },
    }


def _check_fit(report: FaithfulnessReport) -> None:
    known = {m.method for m in report.methods}
    if any(found.method not in (None, *known) for found in report.recommendations.values()):
        raise _refused("the method to go by is not among the methods")
    curves = [(kind, curve) for m in report.methods for kind, curve in m.curves.items()]
    ends = [(kind, end) for kind, both in report.chance_range.items() for end in both]
    for kind, curve in [*curves, *report.chance.items(), *ends]:
        if len(curve) < 2 or len(curve) != len(report.removed.get(kind, ())):
            raise _refused("every curve needs a loss for each share removed")
    if report.removed.keys() - report.chance.keys():
        raise _refused("every kind that was removed needs a random order")


def _refused(why: str) -> UserError:
    return UserError(f"This is no report of faithfulness ({why}): measure it again with `asc faithfulness`.")


def faithfulness_table(report: Mapping[str, Any]) -> str:
    """Markdown of `FaithfulnessReport.to_json()`: what a study or a results file holds."""
    curves = list(report["removed"])
    present = {kind for method in report["methods"] for kind in method["agreement"]}
    kinds = [kind for kind in ABLATED if kind in present]
    header = ["method", "labels", *(f"area {k}" for k in curves)]
    for kind in kinds:
        header += [f"rho {kind}", f"tau {kind}", f"top {kind}"] if kind == "heads" else [f"rho {kind}"]
    rows = [[m["method"], m["labels"], *_cells(m, curves, kinds)] for m in report["methods"]]
    ceiling = report["ceiling"]
    limits = ["(ceiling)", "", *([""] * len(curves))]
    for kind in kinds:
        limits += [_number(ceiling.get(kind)), "", ""] if kind == "heads" else [_number(ceiling.get(kind))]
    return _markdown([header, *rows, limits])


def _cells(method: Mapping[str, Any], curves: Sequence[str], kinds: Sequence[str]) -> list[str]:
    cells = [_with_ends(method["areas"].get(k), method["area_intervals"].get(k)) for k in curves]
    for kind in kinds:
        found = method["agreement"].get(kind, {})
        rho = _with_ends(found.get("spearman"), found.get("spearman_interval"))
        more = [_number(found.get("kendall")), _number(found.get("top_overlap"))] if kind == "heads" else []
        cells += [rho, *more]
    return cells


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _with_ends(value: float | None, ends: Sequence[float] | None) -> str:
    return _number(value) + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if value is not None and ends else "")


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])
