"""All kinds of steps, by the name that a recipe file gives them."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from asc_core.compress.choose import CutBySimilarity, CutToBudget
from asc_core.compress.cut import Cut
from asc_core.compress.early_exit import EarlyExit
from asc_core.compress.eliminate import EliminateTokens
from asc_core.compress.embedding import Embedding
from asc_core.compress.factor import Factor
from asc_core.compress.pack import Pack
from asc_core.compress.positions import Positions
from asc_core.compress.quantize import Quantize
from asc_core.compress.share import Share
from asc_core.compress.sparsify import Sparsify
from asc_core.compress.step import Step
from asc_core.compress.vocabulary import Vocabulary
from asc_core.errors import UserError
from asc_core.train.quantized import TrainQuantized
from asc_core.train.steps import Distil, Finetune
from asc_core.train.student import Student

STEPS: dict[str, type[Step]] = {
    step.kind: step
    for step in (
        Cut,
        CutBySimilarity,
        CutToBudget,
        Factor,
        Share,
        Vocabulary,
        Positions,
        Embedding,
        Quantize,
        Sparsify,
        EliminateTokens,
        EarlyExit,
        Pack,
        Finetune,
        Distil,
        Student,
        TrainQuantized,
    )
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


def parse_step(data: Any, where: str) -> Step:
    """A step from JSON, which may come from anyone. Raises: UserError naming `where` and the field that is wrong."""
    data = current(data) if isinstance(data, dict) else {}
    kind = data.get("step")
    if not isinstance(kind, str) or kind not in STEPS:
        raise UserError(f'{where}: "step" must be one of {", ".join(STEPS)}, not {kind!r}.')
    try:
        return STEPS[kind].model_validate({k: v for k, v in data.items() if k != "step"})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise UserError(f"{where} ({kind}): {field}: {first['msg']}.") from None


def step_json(step: Step, short: bool = False) -> dict[str, Any]:
    """What `parse_step` reads. short: without the fields that are as they are where nothing is said."""
    return {"step": step.kind, **step.model_dump(mode="json", exclude_defaults=short)}
