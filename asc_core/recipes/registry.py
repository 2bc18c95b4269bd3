"""All kinds of steps, by the name that a recipe file gives them."""

from collections.abc import Mapping
from typing import Any

from asc_core.compress.choose import CutBySimilarity, CutToBudget
from asc_core.compress.cut import Cut
from asc_core.compress.factor import Factor
from asc_core.compress.pack import Pack
from asc_core.compress.share import Share
from asc_core.compress.step import Step
from asc_core.compress.vocabulary import Vocabulary
from asc_core.train.steps import Distil, Finetune

STEPS: dict[str, type[Step]] = {
    step.kind: step for step in (Cut, CutBySimilarity, CutToBudget, Factor, Share, Vocabulary, Pack, Finetune, Distil)
}

# Files of earlier versions: the kind of a step then -> its kind now, and the fields that the old name stood for.
FORMER: dict[str, tuple[str, dict[str, Any]]] = {
    "plan": ("cut", {}),
    "plan and refit": ("cut", {"repair": "sequential"}),
    "plan and mask tuning": ("cut", {"repair": "mask-tuning"}),
    "plan and reconstruction": ("cut", {"repair": "reconstruction"}),
    "plan and bias": ("cut", {"repair": "bias"}),
    "asc": ("asc-layers", {}),
    "cut to budget": ("cut-to-budget", {}),
}


def current(step: Mapping[str, Any]) -> dict[str, Any]:
    """A step of a recipe file as this version writes it: one of an earlier version under its new name and fields."""
    kind = step.get("step")
    if not isinstance(kind, str) or kind not in FORMER:
        return dict(step)
    name, fields = FORMER[kind]
    rest = {key: value for key, value in step.items() if key != "step"}
    if kind == "plan and refit" and "mode" in rest:
        fields = {"repair": rest.pop("mode")}
    return {"step": name, **fields, **rest}
