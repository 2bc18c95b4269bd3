"""All kinds of steps, by the name that a recipe file gives them."""

from asc_core.compress.bias import FoldMeans
from asc_core.compress.choose import CutBySimilarity, CutToBudget
from asc_core.compress.mask_tuning import TuneMasks
from asc_core.compress.prune import Prune
from asc_core.compress.reconstruct import Reconstruct
from asc_core.compress.refit import Refit
from asc_core.compress.step import Step
from asc_core.train.steps import Distil, Finetune

STEPS: dict[str, type[Step]] = {
    step.kind: step
    for step in (
        Prune,
        Refit,
        TuneMasks,
        Reconstruct,
        FoldMeans,
        CutBySimilarity,
        CutToBudget,
        Finetune,
        Distil,
    )
}
