"""Methods and the labels that they use, in the words of the pages."""

from __future__ import annotations

from collections.abc import Iterable

from asc_core.scores import METHODS

LABELS = {
    "none": "label-free",
    "gold": "uses gold labels",
    "sampled": "labels drawn from the model",
    "argmax": "the model's own labels",
}


def title_of(method: str) -> str:
    return METHODS[method].title if method in METHODS else method


def description_of(method: str) -> tuple[str, str] | None:
    """(what it measures, its source); None for methods that this version does not know."""
    if method in METHODS:
        return METHODS[method].description.partition(" Details:")[0], METHODS[method].source
    return None


def in_order(methods: Iterable[str]) -> list[str]:
    """In the order of the registry, what is unknown last."""
    order = list(METHODS)
    return sorted(methods, key=lambda m: (order.index(m) if m in order else len(order), m))
