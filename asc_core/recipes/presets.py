"""Recipes that are preset to use: ASC as published, what it is compared with, and ours.

Those with a threshold or a share suit any encoder; each is made of ordinary steps, to be saved, changed and applied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asc_core.compress.choose import CutBySimilarity, CutToBudget, Share
from asc_core.compress.step import Step
from asc_core.errors import UserError
from asc_core.recipes.recipe import Recipe
from asc_core.train.steps import Distil, Finetune


@dataclass(frozen=True)
class PresetOptions:
    """keep, budget: what stays, where a recipe goes by size. threshold: where it goes by similarity.

    steps: of each training after a cut, 0 = none. epochs: of a whole fine-tuning. lr: of all training, None = default.
    """

    keep: float = 0.5
    budget: Share = "layer-parameters"
    threshold: float = 0.85
    variant: str = "b"
    steps: int = 200
    epochs: int = 3
    lr: float | None = None
    seed: int = 0

    def to_budget(self, method: str, repair: str | None = None) -> CutToBudget:
        return CutToBudget(method=method, keep=self.keep, budget=self.budget, repair=repair, seed=self.seed)

    def finetuning_after(self) -> tuple[Step, ...]:
        if not self.steps:
            return ()
        return (Finetune(epochs=self.steps, steps=self.steps, lr=self.lr, seed=self.seed, patience=None),)

    def distillation(self) -> tuple[Step, ...]:
        return (Distil(steps=self.steps, lr=self.lr, seed=self.seed, patience=None),) if self.steps else ()

    def finetuning(self) -> Finetune:
        return Finetune(epochs=self.epochs, lr=self.lr, seed=self.seed)

    def by_similarity(self) -> CutBySimilarity:
        return CutBySimilarity(threshold=self.threshold, variant=self.variant, seed=self.seed)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Preset:
    """base_checkpoint: "pre-trained" or "fine-tuned", the encoder that it is for. source: the paper."""

    name: str
    description: str
    base_checkpoint: str
    source: str
    steps: Callable[[PresetOptions], tuple[Step, ...]]


_ASC = "Application Specific Compression, arXiv 2409.05368"

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "asc",
            "Fine-tune, remove layers that are as similar as the threshold says, fine-tune again.",
            "pre-trained",
            _ASC,
            lambda options: (options.finetuning(), options.by_similarity(), options.finetuning()),
        ),
        Preset(
            "asc-to-size",
            "Layers by ASC's rule, at the threshold that meets the size, then fine-tuned again.",
            "fine-tuned",
            _ASC,
            lambda options: (options.to_budget("asc-b"), *options.finetuning_after()),
        ),
        Preset(
            "asc-plus",
            "Heads and neurons by scores that foresee the refit, refit, a short distillation.",
            "fine-tuned",
            "this project: `obs` scores, sequential refit, distillation",
            lambda options: (options.to_budget("obs", "sequential"), *options.distillation()),
        ),
        Preset(
            "sajjad",
            "Drop the top layers of the pre-trained encoder, then fine-tune once.",
            "pre-trained",
            "Sajjad et al. 2023, arXiv 2004.03844",
            lambda options: (options.to_budget("top-layers"), options.finetuning()),
        ),
        Preset(
            "top-layers",
            "Drop the top layers of the fine-tuned model, then fine-tune again.",
            "fine-tuned",
            "Sajjad et al. 2023, arXiv 2004.03844, in the other order",
            lambda options: (options.to_budget("top-layers"), *options.finetuning_after()),
        ),
        Preset(
            "greedy",
            "The layer that is missed least, again and again, then fine-tuned.",
            "fine-tuned",
            "Greedy-layer pruning, Peer et al. 2022, arXiv 2105.14839, trained at the end instead of at each step",
            lambda options: (options.to_budget("greedy-layers"), *options.finetuning_after()),
        ),
        Preset(
            "random",
            "Layers drawn by the seed, then fine-tuned.",
            "fine-tuned",
            f"{_ASC}, its baseline",
            lambda options: (options.to_budget("random-layers"), *options.finetuning_after()),
        ),
    )
}


def preset_recipe(
    name: str, options: PresetOptions = PresetOptions(), original: str | None = None, task: str | None = None
) -> Recipe:
    """Raises: UserError for an unknown name, or a number that makes no sense."""
    if name not in PRESETS:
        raise UserError(f"There is no recipe {name!r}; there are: {', '.join(PRESETS)}.")
    try:
        return Recipe(PRESETS[name].steps(options), original, task)
    except ValueError as error:  # pydantic's: it names the field
        first: list[Any] = getattr(error, "errors", list)()
        if not first:
            raise
        field = ".".join(map(str, first[0]["loc"]))
        raise UserError(f"{field} = {first[0].get('input')}: {first[0]['msg']}.") from None
