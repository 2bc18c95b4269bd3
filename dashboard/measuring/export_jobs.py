"""Exports of a study: made by jobs, kept in its folder `exports`, downloaded as one file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from asc_core.errors import UserError
from asc_core.export import FORMATS, ExportReport, check_possible
from asc_core.export.package import RECIPE_FILE
from asc_core.export.pictures import FRONT_FILE, MAP_FILE, Front, FrontPoint
from asc_core.recipes import Recipe
from asc_core.recipes.export_with_card import command_for, export_with_card
from asc_core.study import Study
from dashboard.background.jobs import Job
from dashboard.measuring.build import build
from dashboard.measuring.measurements import SPLIT, TRAINING
from dashboard.state.application import Application
from dashboard.state.loaded import LoadedModels

FOLDER = "exports"
_PICTURE = re.compile(r"^!\[[^\]]*\]\([\w.]+\)\n?", re.MULTILINE)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Exported:
    """recipe: the text of the recipe file. loading: how to load it, as Markdown."""

    report: ExportReport
    card: str
    command: str
    recipe: str
    loading: str


def folder_for(study: Study, name: str) -> Path:
    """Raises: UserError for a name that is not a plain folder name."""
    if not NAME.fullmatch(name):
        raise UserError("A name has letters, digits, dots, dashes and underscores, and at most 64 of them.")
    return study.path / FOLDER / name


def export_job(
    models: LoadedModels,
    study: Study,
    application: Application,
    recipe: Recipe,
    out: Path,
    *,
    format: str,
    packing: str,
    overwrite: bool,
) -> Callable[[Job], Exported]:
    """Apply the recipe, measure on test, write, reload in a fresh process, compare."""
    recipe = named(application, recipe)

    def work(job: Job) -> Exported:
        job.progress.step(0, 1, "loading")
        task = models.task(application)
        check_possible(models.encoder(application), format, packing)
        whole = build(models, application, recipe, job.progress, study.path / TRAINING)
        report = export_with_card(
            whole.encoder,
            whole.before_cut,
            out,
            recipe=recipe,
            task=task,
            format=format,
            packing=packing,
            overwrite=overwrite,
            steps=whole.done,
            front=front_of(models, study, application, recipe),
            progress=job.progress,
        )
        again = command_for(
            recipe, application.encoder, application.task, out.name, format=format, packing=packing, folder=str(out)
        )
        text = (out / RECIPE_FILE).read_text(encoding="utf-8")
        loading = FORMATS[report.format].loading(out, str(out.absolute()))
        return Exported(report, card_of(out), again, text, loading)

    return work


def front_of(models: LoadedModels, study: Study, application: Application, recipe: Recipe) -> Front | None:
    """All cuts of this encoder that the study has measured on all of the sliders' split; None without this one."""
    encoder, task = models.encoder(application), models.task(application)
    split = SPLIT if SPLIT in task.splits else task.splits[0]
    dense = models.cost_model(application).dense
    found: dict[str, FrontPoint] = {}
    for row in study.evaluations():
        mine = (row["task"], row["split"], row["weights"]) == (application.task_name, split, encoder.weights)
        estimate, key, flops = row["estimate"], row["recipe_key"], (row["cost"] or {}).get("flops")
        if mine and flops and estimate.complete and key not in found:
            name, this = row["name"] or key[:6], key == recipe.key
            found[key] = FrontPoint(name, flops / dense.flops, estimate.value, estimate.interval, this)
    return Front(split, tuple(found.values())) if recipe.key in found and len(found) > 1 else None


def named(application: Application, recipe: Recipe) -> Recipe:
    """The recipe with the application's original and task as `load_encoder` and `load_task` take them."""
    return replace(recipe, original=application.encoder, task=application.task)


def card_of(folder: Path) -> str:
    """The model card without its front matter and its pictures. Raises: UserError if it cannot be read."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"The model card of {folder} cannot be read: {error}.") from None
    return _PICTURE.sub("", text.split("\n---\n", 1)[-1].lstrip())


def pictures_of(folder: Path) -> list[Path]:
    """Those that lie beside the card, which the page shows itself."""
    return [folder / name for name in (FRONT_FILE, MAP_FILE) if (folder / name).is_file()]


def exports_of(study: Study) -> list[Path]:
    """The finished exports of a study, newest first."""
    there = [path.parent for path in (study.path / FOLDER).glob("*/config.json")]
    found = [folder for folder in there if NAME.fullmatch(folder.name) and not leads_elsewhere(folder, study.path)]
    return sorted(found, key=lambda folder: folder.stat().st_mtime, reverse=True)


def leads_elsewhere(folder: Path, study: Path) -> bool:
    """Whether a link stands for a folder of a study: what it leads to is not the study's to show or to hand out."""
    return folder.resolve() != (study.resolve() / FOLDER / folder.name)


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
