"""Methods and the labels that they use, in the words of the pages."""

from __future__ import annotations

from collections.abc import Iterable

from asc_core.scores import METHODS
from asc_core.scores.ablation import ABLATION, ABLATION_METRIC

ABLATIONS = {ABLATION: "Exact ablation", ABLATION_METRIC: "Exact ablation, by metric"}
LABELS = {
    "none": "label-free",
    "gold": "uses gold labels",
    "sampled": "labels drawn from the model",
    "argmax": "the model's own labels",
}
_ABOUT_ABLATIONS = {
    ABLATION: ("How much the loss rises with the part switched off; measured, not predicted.", "Leave-one-out"),
    ABLATION_METRIC: ("How much the metric falls with the part switched off; it has many ties.", "Leave-one-out"),
}


def title_of(method: str) -> str:
    return METHODS[method].title if method in METHODS else ABLATIONS.get(method, method)


def description_of(method: str) -> tuple[str, str] | None:
    """(what it measures, its source); None for methods that this version does not know."""
    if method in METHODS:
        return METHODS[method].description.partition(" Details:")[0], METHODS[method].source
    return _ABOUT_ABLATIONS.get(method)


def in_order(methods: Iterable[str]) -> list[str]:
    """In the order of the registry, the truth and what is unknown last."""
    order = [*METHODS, *ABLATIONS]
    return sorted(methods, key=lambda m: (order.index(m) if m in order else len(order), m))
