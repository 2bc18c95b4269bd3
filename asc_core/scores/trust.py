"""Which score to believe on an application: each one against exact ablation, and in use.

Two questions. Does it rank parts as switching them off one by one does (rank correlation with ablation, top-k
overlap)? And does removing many parts in its order keep the loss low on held-out examples (area under the curve, see
`removal`)? The second is what a score is for, so it decides; the first says why.

No correlation can be expected to exceed the square root of the ablation's own reliability, because the truth here is
itself measured on a few hundred examples (correction for attenuation, Spearman 1904, American Journal of Psychology
15, 72-101). Scores that saw the same examples may come out above it: they share the truth's noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.parts import ABLATED, NEURON_GROUPS, SINGLE
from asc_core.plan.parts import flat_scores, kinds_of, slices
from asc_core.progress import Progress
from asc_core.scores.ablation import ABLATION, ABLATION_METRIC, ablate
from asc_core.scores.compare import TOP_SHARE, Agreement, Interval, agreement_of
from asc_core.scores.origin import of_these_texts
from asc_core.scores.removal import POINTS, Removal, ascending, remove_in_order
from asc_core.study import Study
from asc_core.tasks.base import Task
from asc_core.values import Scores

CURVES = ("heads", "layers")
FEWEST_PARTS = 3
BASELINES = (ABLATION, ABLATION_METRIC, "random")  # in the table, but nothing to choose


@dataclass(frozen=True)
class MethodTrust:
    """One method. labels, split, examples: of its scores.

    agreement: kind -> agreement with ablation. curves: kind -> mean held-out loss at each share removed. areas: kind ->
    area under that curve relative to a random order's (below 1 is better than chance), NaN where that has none;
    area_intervals: 95 % over examples.
    """

    method: str
    labels: str
    split: str
    examples: int
    agreement: Mapping[str, Agreement]
    curves: Mapping[str, tuple[float, ...]]
    areas: Mapping[str, float]
    area_intervals: Mapping[str, Interval | None]

    def to_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "labels": self.labels,
            "split": self.split,
            "examples": self.examples,
            "agreement": {kind: found.to_json() for kind, found in self.agreement.items()},
            "curves": {kind: list(curve) for kind, curve in self.curves.items()},
            "areas": {kind: area if np.isfinite(area) else None for kind, area in self.areas.items()},
            "area_intervals": {kind: list(ends) if ends else None for kind, ends in self.area_intervals.items()},
        }


@dataclass(frozen=True)
class Belief:
    """The method with the smallest area for a kind of part, None where none is better than a random order.

    as_good: methods whose area the same examples cannot tell from it (the paired 95 % interval includes 0).
    """

    method: str | None
    as_good: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrustReport:
    """How far each method can be trusted on one application.

    weights: the encoder's fingerprint. reliability: kind -> split-half reliability of ablation. removed: kind ->
    shares removed at the points of the curves; chance: kind -> mean loss of random orders there; chance_range: kind ->
    the lowest and the highest of them at each point. beliefs: kind -> which method to believe. methods: the most useful
    first.
    """

    task: str
    weights: str
    truth_split: str
    truth_examples: int
    curve_split: str
    curve_examples: int
    reliability: Mapping[str, float]
    removed: Mapping[str, tuple[float, ...]]
    chance: Mapping[str, tuple[float, ...]]
    chance_range: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
    methods: tuple[MethodTrust, ...]
    beliefs: Mapping[str, Belief]

    def ceiling(self, kind: str) -> float | None:
        """The highest rank correlation with ablation to be expected of any score; None where that is not known."""
        return float(np.sqrt(self.reliability[kind])) if kind in self.reliability else None

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "weights": self.weights,
            "truth": {"split": self.truth_split, "examples": self.truth_examples},
            "held_out": {"split": self.curve_split, "examples": self.curve_examples},
            "reliability": dict(self.reliability),
            "ceiling": {kind: self.ceiling(kind) for kind in self.reliability},
            "removed": {kind: list(shares) for kind, shares in self.removed.items()},
            "chance": {kind: list(losses) for kind, losses in self.chance.items()},
            "chance_range": {kind: [list(end) for end in ends] for kind, ends in self.chance_range.items()},
            "methods": [method.to_json() for method in self.methods],
            "believe": {
                kind: {"method": belief.method, "as_good": list(belief.as_good)}
                for kind, belief in self.beliefs.items()
            },
        }

    def table(self) -> str:
        """Markdown, which also reads well in a terminal."""
        return trust_table(self.to_json())

    def verdict(self) -> list[str]:
        """Sentences: which method to believe for each kind of part."""
        said = []
        for kind, belief in self.beliefs.items():
            if belief.method is None:
                judged = any(np.isfinite(m.areas.get(kind, np.nan)) for m in self.methods)
                none = "no method removes them better than a random order does"
                said.append(f"{kind}: {none if judged else 'removing them at random costs nothing on these examples'}")
                continue
            equals = f" (not told apart on these examples: {', '.join(belief.as_good)})" if belief.as_good else ""
            said.append(f"{kind}: believe {belief.method}{equals}")
        return said


def trust(
    encoder: Encoder,
    task: Task,
    scores: Mapping[str, Scores],
    truth: Scores,
    *,
    curves: Sequence[str] = CURVES,
    top_share: float = TOP_SHARE,
    points: int = POINTS,
    split: str = "validation",
    samples: int | None = 256,
    seed: int = 0,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
    study: Study | None = None,
) -> TrustReport:
    """Judge scores by exact ablation and by the loss curves of their orders.

    scores: method -> its scores of this encoder on this task. truth: `ablate`'s "ablation"; it is judged too, as the
    reference that other methods approach, or beat: it knows of single parts only. curves: heads, neurons, layers;
    layers are left out where they share weights or are fewer than 3. split, samples: the held-out examples of the
    curves. The rest: as in `remove_in_order`.

    Raises: UserError (scores of other weights or another task, no scores), Cancelled.
    """
    judged = {name: s for name, s in scores.items() if name != truth.method} | {truth.method: truth}
    _check(encoder, task, scores, judged)
    shape = encoder.shape
    wanted = [k for k in curves if k != "layers" or (shape.layers >= FEWEST_PARTS and not shape.shares_weights)]
    removals: dict[str, Removal] = {}
    for kind in wanted:
        orders = {name: ascending(s, kind) for name, s in judged.items() if kind in kinds_of(s)}
        if orders:
            removals[kind] = remove_in_order(
                encoder,
                task,
                orders,
                kind,
                points=points,
                split=split,
                samples=samples,
                seed=seed,
                batch_tokens=batch_tokens,
                progress=progress,
                study=study,
            )
    drawn = {
        (kind, name): removal.drawn_areas(name, seed) for kind, removal in removals.items() for name in removal.losses
    }
    methods = [_method(name, s, truth, removals, drawn, top_share, seed) for name, s in judged.items()]
    methods.sort(key=_usefulness)
    reliability = {
        name.removeprefix("reliability."): float(value[0])
        for name, value in truth.details.items()
        if name.startswith("reliability.")
    }
    held_out = next(iter(removals.values()), None)
    return TrustReport(
        task.name,
        encoder.weights,
        truth.split,
        truth.examples,
        held_out.split if held_out else split,
        len(held_out.numbers) if held_out else 0,
        reliability,
        {kind: tuple(removal.removed.tolist()) for kind, removal in removals.items()},
        {kind: tuple(removal.chance_curve.tolist()) for kind, removal in removals.items()},
        {kind: _range(removal.chance_curves) for kind, removal in removals.items()},
        tuple(methods),
        {kind: _belief(kind, methods, drawn) for kind in removals},
    )


def trust_key(weights: str, task: str) -> str:
    """Under which a study keeps the report of an encoder and a task (`Study.get`), as JSON."""
    return f"trust/{weights}/{task}"


def trust_in_study(
    encoder: Encoder,
    task: Task,
    study: Study,
    *,
    samples: int | None = 256,
    held_out: int | None = 256,
    split: str = "train",
    curve_split: str = "validation",
    curves: Sequence[str] = CURVES,
    neuron_groups: bool = False,
    seed: int = 0,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
) -> TrustReport:
    """`trust` in the newest scores that a study has of this encoder and task, and keep the report there (`trust_key`).

    samples, split: of the ablation; one that the study has already is taken. held_out, curve_split: of the curves.
    Raises: as `ablate` and `trust`.
    """
    kept = [s for s in study.scores(task=task.name, weights=encoder.weights) if of_these_texts(s, task)]
    found = {s.method: s for s in reversed(kept)}  # the newest last
    scores = {name: s for name, s in found.items() if name not in (ABLATION, ABLATION_METRIC)}
    parts = SINGLE + ((NEURON_GROUPS,) if neuron_groups else ())
    examples = len(task.examples(split, samples, seed))
    asked = (ABLATION, split, examples, seed)
    truth = next((s for s in kept if (s.method, s.split, s.examples, s.seed) == asked and _has(s, parts)), None)
    if truth is None:
        done = ablate(
            encoder,
            task,
            parts=parts,
            split=split,
            samples=samples,
            seed=seed,
            batch_tokens=batch_tokens,
            progress=progress,
            study=study,
        )
        truth = done[ABLATION]
    report = trust(
        encoder,
        task,
        scores,
        truth,
        curves=curves,
        split=curve_split,
        samples=held_out,
        seed=seed,
        batch_tokens=batch_tokens,
        progress=progress,
        study=study,
    )
    study.set(trust_key(encoder.weights, task.name), report.to_json())
    return report


def _has(truth: Scores, parts: Sequence[str]) -> bool:
    return set(parts) <= {*kinds_of(truth), *([NEURON_GROUPS] if "groups.0" in truth.details else [])}


def _check(encoder: Encoder, task: Task, scores: Mapping[str, Scores], judged: Mapping[str, Scores]) -> None:
    if not scores:
        raise UserError(f"There are no scores of {task.name} to judge; score it first.")
    for each in judged.values():
        if each.weights != encoder.weights or each.shape != encoder.shape:
            raise UserError(f"The {each.method} scores are of other weights than this encoder's; score it again.")
        if each.task != task.name:
            raise UserError(f"The {each.method} scores are of the task {each.task}, not of {task.name}.")


def _method(
    name: str,
    scores: Scores,
    truth: Scores,
    removals: Mapping[str, Removal],
    drawn: Mapping[tuple[str, str], np.ndarray],
    top_share: float,
    seed: int,
) -> MethodTrust:
    found = {}
    for kind in ABLATED:
        own, true = _comparable(scores, truth, kind), _comparable(truth, truth, kind)
        if own is not None and true is not None and len(true) >= FEWEST_PARTS:
            found[kind] = agreement_of(own, true, top_share, seed)
    own_curves = {kind: removal for kind, removal in removals.items() if name in removal.losses}
    return MethodTrust(
        name,
        scores.labels,
        scores.split,
        scores.examples,
        found,
        {kind: tuple(removal.curve(name).tolist()) for kind, removal in own_curves.items()},
        {kind: removal.area(name) for kind, removal in own_curves.items()},
        {kind: _interval(drawn[kind, name]) for kind in own_curves},
    )


def _comparable(scores: Scores, truth: Scores, kind: str) -> np.ndarray | None:
    """(parts,) of one kind, None where the method has none. A group of neurons has the sum of its neurons' scores."""
    if kind != NEURON_GROUPS:
        return flat_scores(scores, kind) if kind in kinds_of(scores) else None
    if "groups.0" not in truth.details or "neurons" not in kinds_of(scores):
        return None
    flat = flat_scores(scores, "neurons")
    rows = slices(truth.shape, "neurons")
    return np.concatenate([np.bincount(truth.details[f"groups.{i}"], flat[row]) for i, row in enumerate(rows)])


def _range(curves: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(curves.min(0).tolist()), tuple(curves.max(0).tolist())


def _interval(drawn: np.ndarray) -> Interval | None:
    """None where more than a tenth of the draws have no value (a random order costs nothing on those examples)."""
    finite = drawn[np.isfinite(drawn)]
    if not len(finite) or len(finite) < 0.9 * len(drawn):
        return None
    low, high = np.percentile(finite, (2.5, 97.5))
    return float(low), float(high)


def _usefulness(method: MethodTrust) -> tuple[float, float, float]:
    """Sorts by the area for heads, then for layers, then by correlation."""

    def area(kind: str) -> float:
        return method.areas[kind] if kind in method.areas and np.isfinite(method.areas[kind]) else np.inf

    best = max((a.spearman for a in method.agreement.values() if np.isfinite(a.spearman)), default=-np.inf)
    return area("heads"), area("layers"), -best


def _belief(kind: str, methods: Sequence[MethodTrust], drawn: Mapping[tuple[str, str], np.ndarray]) -> Belief:
    areas = {m.method: m.areas[kind] for m in methods if kind in m.areas and m.method not in BASELINES}
    areas = {name: area for name, area in areas.items() if np.isfinite(area)}
    if not areas:
        return Belief(None)
    best = min(areas, key=lambda name: areas[name])
    if areas[best] >= 1:
        return Belief(None)
    as_good = []
    for name in sorted(areas, key=lambda name: areas[name]):
        difference = _interval(drawn[kind, name] - drawn[kind, best])
        if name != best and (difference is None or difference[0] <= 0):
            as_good.append(name)
    return Belief(best, tuple(as_good))


def trust_table(report: Mapping[str, Any]) -> str:
    """Markdown of `TrustReport.to_json()`: what a study or a results file holds."""
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
