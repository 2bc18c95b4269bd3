"""The checkpoints of `benchmarks.asc`, each with its task, and how each of the methods there is made from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import asc_core
from asc_core import demo
from asc_core.demo.encoder import encoder_folder
from asc_core.encoder import Encoder
from asc_core.evaluate import PerExampleResult
from asc_core.recipes import Recipe
from asc_core.recipes.presets import PresetOptions, preset_recipe
from asc_core.tasks import Task
from benchmarks.outcomes import outcomes
from benchmarks.trust import SHARED, sources

WORK = Path("build/asc")
STEPS = 200
TRAINED_WITH: dict[str, dict[str, Any]] = {  # as ../shared/models says
    "sick": {"lr": 1e-4, "epochs": 2},
    "mrpc": {"lr": 1e-4, "epochs": 2},
    "squad": {"lr": 2e-4, "epochs": 3},
}
DEMO = tuple(f"demo:{one.name}" for one in demo.applications())
METHODS = {  # as the ready-made recipes are called
    "ASC+": "asc-plus",
    "ASC+ untrained": "asc-plus",
    "ASC": "asc-to-size",
    "Sajjad": "sajjad",
    "greedy": "greedy",
    "random": "random",
}


@dataclass
class Application:
    """One checkpoint and its task. name: of `TRAINED_WITH`, or an application of the demo."""

    name: str

    @property
    def sources(self) -> tuple[str, str]:
        return sources(self.name if self.name in DEMO else f"minilm-{self.name}", WORK)

    @cached_property
    def encoder(self) -> Encoder:
        return asc_core.load_encoder(self.sources[0])

    @cached_property
    def task(self) -> Task:
        source = self.sources[1]
        if self.name == "sick":  # what the checkpoint has seen, and no more
            path = Path(source)
            lines = (SHARED / "data/sick/train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
            seen = WORK / "sick-train.tsv"
            seen.write_text("".join(lines[:3001]), encoding="utf-8")
            text = path.read_text(encoding="utf-8").replace(
                (SHARED / "data/sick/train.tsv").as_posix(), seen.resolve().as_posix()
            )
            path.write_text(text, encoding="utf-8")
        return asc_core.load_task(source)

    @cached_property
    def base(self) -> Encoder:
        """The pre-trained encoder."""
        return asc_core.load_encoder(encoder_folder())

    def recipe(self, method: str, size: float, seed: int) -> tuple[Encoder, Recipe]:
        """What it starts from, and the steps."""
        options = PresetOptions(
            keep=size, steps=0 if method == "ASC+ untrained" else STEPS, seed=seed, **TRAINED_WITH[self.name]
        )
        return self.base if method == "Sajjad" else self.encoder, preset_recipe(METHODS[method], options)

    def build(self, method: str, size: float, seed: int) -> Encoder:
        start, recipe = self.recipe(method, size, seed)
        return recipe.apply(start, self.task, folder=WORK / "recipes" / f"{self.name}-{method}-{size}-{seed}")

    def measured(self, method: str, size: float, seeds: int, only_read: bool) -> list[PerExampleResult]:
        """On the test split, one for each seed."""
        found = []
        for seed in range(seeds):
            file = self.file(method, size, seed)
            if only_read and not file.exists():
                continue
            try:
                found += outcomes(file, lambda: [self.build(method, size, seed)], self.task)  # noqa: B023
            except asc_core.UserError as error:
                print(f"{file.stem}: {error}", flush=True)  # no layer fits
        return found

    def file(self, method: str, size: float, seed: int) -> Path:
        return WORK / f"{self.name}-{method.replace(' ', '-')}-{size}-{seed}.npz"
