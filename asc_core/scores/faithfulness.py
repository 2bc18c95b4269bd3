"""How faithful scores are on an application: each one against exact ablation, and in use.

Two questions. Does it rank parts as switching them off one by one does (rank correlation with ablation, top-k
overlap)? And does removing many parts in its order keep the loss low on held-out examples (area under the curve, see
`removal`)? The second is what a score is for, so it decides; the first says why.

No correlation can be expected to exceed the square root of the ablation's own reliability, because that ground truth is
itself measured on a few hundred examples (correction for attenuation, Spearman 1904, American Journal of Psychology
15, 72-101). Scores that saw the same examples may come out above it: they share its noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.parts import ABLATED, NEURON_GROUPS, SINGLE
from asc_core.plan.parts import flat_scores, kinds_of, slices
from asc_core.progress import Progress
from asc_core.scores.ablation import ABLATION, ABLATION_METRIC, ablate
from asc_core.scores.compare import TOP_SHARE, Interval, agreement_of
from asc_core.scores.data_fingerprint import is_current
from asc_core.scores.faithfulness_report import FaithfulnessReport, MethodFaithfulness, Recommendation, Sample
from asc_core.scores.methods import is_reference
from asc_core.scores.removal import POINTS, Removal, ascending, remove_in_order
from asc_core.study import Study
from asc_core.tasks.base import Task
from asc_core.values import Scores

CURVES = ("heads", "layers")
FEWEST_PARTS = 3


def faithfulness(
    encoder: Encoder,
    task: Task,
    scores: Mapping[str, Scores],
    ground_truth: Scores,
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
) -> FaithfulnessReport:
    """Judge scores by exact ablation and by the loss curves of their orders.

    scores: method -> its scores of this encoder on this task. ground_truth: `ablate`'s "ablation"; it is judged too, as
    the reference that other methods approach, or beat: it knows of single parts only. curves: heads, neurons, layers;
    layers are left out where they share weights or are fewer than 3. split, samples: the held-out examples of the
    curves. The rest: as in `remove_in_order`.

    Raises: UserError (scores of other weights or another task, no scores), Cancelled.
    """
    judged = {name: s for name, s in scores.items() if name != ground_truth.method} | {
        ground_truth.method: ground_truth
    }
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
        (kind, name): removal.drawn_relative_aucs(name, seed)
        for kind, removal in removals.items()
        for name in removal.losses
    }
    methods = [_method(name, s, ground_truth, removals, drawn, top_share, seed) for name, s in judged.items()]
    methods.sort(key=_usefulness)
    reliability = {
        name.removeprefix("reliability."): float(value[0])
        for name, value in ground_truth.details.items()
        if name.startswith("reliability.")
    }
    held_out = next(iter(removals.values()), None)
    return FaithfulnessReport(
        task.name,
        encoder.weights,
        Sample(ground_truth.split, ground_truth.examples),
        Sample(held_out.split if held_out else split, len(held_out.numbers) if held_out else 0),
        reliability,
        {kind: tuple(removal.removed.tolist()) for kind, removal in removals.items()},
        {kind: tuple(removal.chance_curve.tolist()) for kind, removal in removals.items()},
        {kind: _range(removal.chance_curves) for kind, removal in removals.items()},
        tuple(methods),
        {kind: _recommendation(kind, methods, drawn) for kind in removals},
    )


def report_key(weights: str, task: str) -> str:
    """Under which a study keeps the report of an encoder and a task (`Study.get`), as JSON."""
    return f"trust/{weights}/{task}"


def faithfulness_in_study(
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
) -> FaithfulnessReport:
    """`faithfulness` of the newest scores that a study has of this encoder and task; the report is kept there.

    samples, split: of the ablation; one that the study has already is taken. held_out, curve_split: of the curves.
    Raises: as `ablate` and `faithfulness`.
    """
    kept = [s for s in study.scores(task=task.name, weights=encoder.weights) if is_current(s, task)]
    found = {s.method: s for s in reversed(kept)}  # the newest last
    scores = {name: s for name, s in found.items() if name not in (ABLATION, ABLATION_METRIC)}
    parts = SINGLE + ((NEURON_GROUPS,) if neuron_groups else ())
    examples = len(task.examples(split, samples, seed))
    asked = (ABLATION, split, examples, seed)
    ground_truth = next((s for s in kept if (s.method, s.split, s.examples, s.seed) == asked and _has(s, parts)), None)
    if ground_truth is None:
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
        ground_truth = done[ABLATION]
    report = faithfulness(
        encoder,
        task,
        scores,
        ground_truth,
        curves=curves,
        split=curve_split,
        samples=held_out,
        seed=seed,
        batch_tokens=batch_tokens,
        progress=progress,
        study=study,
    )
    study.set(report_key(encoder.weights, task.name), report.to_json())
    return report


def _has(ground_truth: Scores, parts: Sequence[str]) -> bool:
    return set(parts) <= {*kinds_of(ground_truth), *([NEURON_GROUPS] if "groups.0" in ground_truth.details else [])}


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
    ground_truth: Scores,
    removals: Mapping[str, Removal],
    drawn: Mapping[tuple[str, str], np.ndarray],
    top_share: float,
    seed: int,
) -> MethodFaithfulness:
    found = {}
    for kind in ABLATED:
        own, true = _comparable(scores, ground_truth, kind), _comparable(ground_truth, ground_truth, kind)
        if own is not None and true is not None and len(true) >= FEWEST_PARTS:
            found[kind] = agreement_of(own, true, top_share, seed)
    own_curves = {kind: removal for kind, removal in removals.items() if name in removal.losses}
    return MethodFaithfulness(
        name,
        scores.labels,
        scores.split,
        scores.examples,
        found,
        {kind: tuple(removal.curve(name).tolist()) for kind, removal in own_curves.items()},
        {kind: _or_none(removal.relative_auc(name)) for kind, removal in own_curves.items()},
        {kind: _interval(drawn[kind, name]) for kind in own_curves},
    )


def _comparable(scores: Scores, ground_truth: Scores, kind: str) -> np.ndarray | None:
    """(parts,) of one kind, None where the method has none. A group of neurons has the sum of its neurons' scores."""
    if kind != NEURON_GROUPS:
        return flat_scores(scores, kind) if kind in kinds_of(scores) else None
    if "groups.0" not in ground_truth.details or "neurons" not in kinds_of(scores):
        return None
    flat = flat_scores(scores, "neurons")
    rows = slices(ground_truth.shape, "neurons")
    return np.concatenate([np.bincount(ground_truth.details[f"groups.{i}"], flat[row]) for i, row in enumerate(rows)])


def _range(curves: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(curves.min(0).tolist()), tuple(curves.max(0).tolist())


def _interval(drawn: np.ndarray) -> Interval | None:
    """None where more than a tenth of the draws have no value (a random order costs nothing on those examples)."""
    finite = drawn[np.isfinite(drawn)]
    if not len(finite) or len(finite) < 0.9 * len(drawn):
        return None
    low, high = np.percentile(finite, (2.5, 97.5))
    return float(low), float(high)


def _or_none(number: float) -> float | None:
    return number if np.isfinite(number) else None


def _usefulness(method: MethodFaithfulness) -> tuple[float, float, float]:
    """Sorts by the area for heads, then for layers, then by correlation."""

    def area(kind: str) -> float:
        found = method.relative_aucs.get(kind)
        return np.inf if found is None else found

    best = max((a.spearman for a in method.agreement.values() if np.isfinite(a.spearman)), default=-np.inf)
    return area("heads"), area("layers"), -best


def _recommendation(
    kind: str, methods: Sequence[MethodFaithfulness], drawn: Mapping[tuple[str, str], np.ndarray]
) -> Recommendation:
    areas = {m.method: area for m in methods if (area := m.relative_aucs.get(kind)) is not None}
    areas = {name: area for name, area in areas.items() if not is_reference(name)}
    if not areas:
        return Recommendation(None)
    best = min(areas, key=lambda name: areas[name])
    if areas[best] >= 1:
        return Recommendation(None)
    as_good = []
    for name in sorted(areas, key=lambda name: areas[name]):
        difference = _interval(drawn[kind, name] - drawn[kind, best])
        if name != best and (difference is None or difference[0] <= 0):
            as_good.append(name)
    return Recommendation(best, tuple(as_good))
