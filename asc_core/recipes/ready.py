"""Recipes that are ready to use: ASC as published, what it is compared with, and ours.

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
class Knobs:
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

    def cut(self, method: str, repair: str | None = None) -> CutToBudget:
        return CutToBudget(method=method, keep=self.keep, budget=self.budget, repair=repair, seed=self.seed)  # type: ignore[arg-type]

    def recover(self) -> tuple[Step, ...]:
        if not self.steps:
            return ()
        return (Finetune(epochs=self.steps, steps=self.steps, lr=self.lr, seed=self.seed, patience=None),)

    def learn(self) -> tuple[Step, ...]:
        return (Distil(steps=self.steps, lr=self.lr, seed=self.seed, patience=None),) if self.steps else ()

    def whole(self) -> Finetune:
        return Finetune(epochs=self.epochs, lr=self.lr, seed=self.seed)

    def similar(self) -> CutBySimilarity:
        return CutBySimilarity(threshold=self.threshold, variant=self.variant, seed=self.seed)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Ready:
    """starts: "pre-trained" or "fine-tuned", the encoder that it is for. source: the paper."""

    name: str
    description: str
    starts: str
    source: str
    steps: Callable[[Knobs], tuple[Step, ...]]


_ASC = "Application Specific Compression, arXiv 2409.05368"

READY: dict[str, Ready] = {
    ready.name: ready
    for ready in (
        Ready(
            "asc",
            "Fine-tune, remove layers that are as similar as the threshold says, fine-tune again.",
            "pre-trained",
            _ASC,
            lambda k: (k.whole(), k.similar(), k.whole()),
        ),
        Ready(
            "asc-to-size",
            "Layers by ASC's rule, at the threshold that meets the size, then fine-tuned again.",
            "fine-tuned",
            _ASC,
            lambda k: (k.cut("asc-b"), *k.recover()),
        ),
        Ready(
            "asc-plus",
            "Heads and neurons by scores that foresee the refit, refit, a short distillation.",
            "fine-tuned",
            "this project: `obs` scores, sequential refit, distillation",
            lambda k: (k.cut("obs", "sequential"), *k.learn()),
        ),
        Ready(
            "sajjad",
            "Drop the top layers of the pre-trained encoder, then fine-tune once.",
            "pre-trained",
            "Sajjad et al. 2023, arXiv 2004.03844",
            lambda k: (k.cut("top-layers"), k.whole()),
        ),
        Ready(
            "top-layers",
            "Drop the top layers of the fine-tuned model, then fine-tune again.",
            "fine-tuned",
            "Sajjad et al. 2023, arXiv 2004.03844, in the other order",
            lambda k: (k.cut("top-layers"), *k.recover()),
        ),
        Ready(
            "greedy",
            "The layer that is missed least, again and again, then fine-tuned.",
            "fine-tuned",
            "Greedy-layer pruning, Peer et al. 2022, arXiv 2105.14839, trained at the end instead of at each step",
            lambda k: (k.cut("greedy-layers"), *k.recover()),
        ),
        Ready(
            "random",
            "Layers drawn by the seed, then fine-tuned.",
            "fine-tuned",
            f"{_ASC}, its baseline",
            lambda k: (k.cut("random-layers"), *k.recover()),
        ),
    )
}


def ready_recipe(name: str, knobs: Knobs = Knobs(), original: str | None = None, task: str | None = None) -> Recipe:
    """Raises: UserError for an unknown name, or a number that makes no sense."""
    if name not in READY:
        raise UserError(f"There is no recipe {name!r}; there are: {', '.join(READY)}.")
    try:
        return Recipe(READY[name].steps(knobs), original, task)
    except ValueError as error:  # pydantic's: it names the field
        first: list[Any] = getattr(error, "errors", list)()
        if not first:
            raise
        field = ".".join(map(str, first[0]["loc"]))
        raise UserError(f"{field} = {first[0].get('input')}: {first[0]['msg']}.") from None
