"""From a model in memory to a directory on disk that was reloaded and compared, whatever its format."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asc_core import modeling
from asc_core.ancestry import RECIPE_PLACE, Ancestor, Ancestry, Stage
from asc_core.atomic_folder import new_folder
from asc_core.checkpoint.digests import write_digests
from asc_core.encoder import Encoder, packing_named
from asc_core.errors import UserError
from asc_core.export import proof
from asc_core.export.card import Card, model_card
from asc_core.export.comparison import answers_in_memory, compare_folder, questions_for
from asc_core.export.formats import FORMATS, Format
from asc_core.export.pictures import FRONT_FILE, MAP_FILE, front_svg, map_svg
from asc_core.export.timing import Timing
from asc_core.export.tokenizer_files import write_tokenizer
from asc_core.json_files import write_json
from asc_core.modeling import Packing
from asc_core.progress import Progress
from asc_core.values import Plan

if TYPE_CHECKING:
    from asc_core.recipes import Recipe

RECIPE_FILE, PLAN_FILE = "recipe.json", "plan.json"
_COMMAND = re.compile(r"asc [^;|&`$<>\n\r]+")


@dataclass(frozen=True)
class ExportReport:
    """An export that was reloaded and compared.

    format, packing: their names. bytes: of all files. files: their names. max_difference: the largest between outputs
    of the model in memory and the reloaded one, on `checked_texts` texts and some random token sequences. timing: of
    the folder beside the original, None where it was not measured.
    notes: what its measured quality rests on, in sentences, as on the card. equal: share
    of these texts with equal answers, where inputs are rounded. tolerance: that the difference was below. speed: of
    int8 beside float32 in the same runtime, in a sentence, "" where the runtime multiplies no integers.
    """

    path: Path
    format: str
    packing: str
    bytes: int
    files: tuple[str, ...]
    max_difference: float
    checked_texts: int
    checked_in: str = "fresh process"
    equal: float | None = None
    tolerance: float = 0.0
    speed: str = ""
    timing: Timing | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        timing = asdict(self.timing) if self.timing is not None else None
        lists = {"files": list(self.files), "notes": list(self.notes)}
        return self.__dict__ | lists | {"path": str(self.path), "timing": timing}


def export(
    encoder: Encoder,
    out: str | Path,
    format: str = "compact",
    *,
    plan: Plan | None = None,
    recipe: Recipe | None = None,
    card: Card | None = None,
    original: Encoder | Ancestor | None = None,
    ancestry: Ancestry | None = None,
    texts: Sequence[str | Sequence[str]] | None = None,
    packing: str | None = None,
    dtype: str | None = None,
    overwrite: bool = False,
    timed: Callable[[Path, str], Timing | None] | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Write an encoder, compressed or not, as a directory that others load.

    format: a name in `FORMATS`. plan, recipe: what made this encoder, written beside it. original: the uncompressed
    encoder, or what is known of it, for the comparisons on the card; by default what the encoder's own folder says.
    ancestry: what was done to it, written beside it; by default `ancestry_of` these.
    texts: single texts or pairs of the application, on which the reloaded model is compared (the first 64, at most 256
    tokens each); own sentences by default. packing: how weights are stored, a name in `PACKINGS`; by default the
    format's own, or what the encoder asks for. dtype: the old name of packing. timed: measures the written folder,
    given it and the name of the format, for the card (`timing_of`). overwrite: whether a model directory at `out` may
    be replaced.

    The directory appears at `out` only after it was reloaded in a fresh process by the format's own route, and its
    outputs were found within the format's tolerance of those in memory (of those with weights as packed).
    Raises: UserError where `out` is taken or its disk full, where the format cannot hold the encoder, or where the
    reloaded model differs; Cancelled. In each case `out` is as it was before.
    """
    form, packed = check_possible(encoder, format, packing or dtype)
    if plan is not None:
        _check_plan_is_the_cut(plan, encoder)
    progress = progress or Progress()
    ancestry = ancestry if ancestry is not None else ancestry_of(encoder, original, recipe, plan)
    before = original.as_ancestor() if isinstance(original, Encoder) else original or ancestry.original
    with new_folder(out, overwrite=overwrite) as folder:
        progress.step(0, 4, "exporting: writing the weights")
        written = form.write(encoder, folder, packed)
        if not getattr(form, "tokenizer_inside", False):
            write_tokenizer(encoder.tokenizer, folder, encoder.type_vocab_size > 1)
        if encoder.head == "embedding" and encoder.sentences is not None:
            encoder.sentences.write(folder)
        for name, made_by in ((PLAN_FILE, plan), (RECIPE_FILE, recipe)):
            if made_by is not None:
                write_json(folder / name, without_paths(made_by.to_json()))
        for name, stage in recipe_files(ancestry).items():
            if not (folder / name).exists():
                write_json(folder / name, stage.recipe)
        ancestry.write(folder, Path(out))
        progress.step(1, 4, "exporting: checking in a fresh process")
        comparison = compare_folder(
            folder,
            encoder,
            script=form.answer,
            request=written.request,
            tolerance=form.tolerance,
            packing=packed,
            pooled=written.pooled,
            rounds=written.rounds,
            texts=texts,
            progress=progress,
        )
        progress.step(2, 4, "exporting: timing it")
        timing = timed(folder, form.name) if timed is not None else None
        speed = written.speed() if written.speed is not None else ""
        progress.step(3, 4, "exporting: writing the model card")
        card = card or Card()
        text = model_card(
            card,
            encoder,
            name=Path(out).name,
            loading=form.loading(folder, Path(out).name),
            written=written,
            packing=packed,
            tolerance=form.tolerance,
            plan=plan,
            original=before,
            base=ancestry.base,
            comparison=comparison,
            timing=timing,
            speed=speed,
            pictures=_write_pictures(folder, card, encoder),
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
        questions = questions_for(encoder, longest=proof.LONGEST)
        answers = answers_in_memory(encoder, questions, packed, written.pooled)
        alike = modeling.rounds_inputs(encoder.model)
        proof.write_proof(folder, form.name, written.request, questions, answers, comparison.rounds, alike)
        write_digests(folder)
        sizes = {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    progress.step(4, 4, "exporting")
    return ExportReport(
        path=Path(out),
        format=form.name,
        packing=packed.name,
        bytes=sum(sizes.values()),
        files=tuple(sizes),
        max_difference=comparison.max_difference,
        checked_texts=comparison.texts,
        equal=comparison.equal,
        tolerance=comparison.tolerance,
        speed=speed,
        timing=timing,
    )


def _write_pictures(folder: Path, card: Card, encoder: Encoder) -> list[str]:
    """Names of the files, for the card."""
    front, metric = card.drawn, card.estimate.metric if card.estimate is not None else "metric"
    drawn = {MAP_FILE: map_svg(encoder), FRONT_FILE: front_svg(front, metric) if front is not None else None}
    for name, picture in drawn.items():
        if picture is not None:
            (folder / name).write_text(picture, encoding="utf-8")
    return [name for name, picture in drawn.items() if picture is not None]


def ancestry_of(
    encoder: Encoder,
    original: Encoder | Ancestor | None = None,
    recipe: Recipe | None = None,
    plan: Plan | None = None,
    *,
    steps: Sequence[str] = (),
    command: str = "",
    base: str = "",
) -> Ancestry:
    """The past of what is exported: of what was loaded, and what was done since, if anything was.

    original: the model before its parts were changed. steps, command: see `Stage`; by default the recipe's own words.
    base: what was loaded, by default the original's name.
    """
    if recipe is None and plan is None and (original is None or original is encoder):
        return encoder.ancestry
    said = steps or ([step.describe() for step in recipe.steps] if recipe is not None else ["cut by a plan"])
    stage = Stage(tuple(said), command, without_paths(recipe.to_json()) if recipe is not None else None)
    if isinstance(original, Encoder):
        ancestor = original.as_ancestor() if original is not encoder else None
    else:
        ancestor = original
    return encoder.ancestry.then(stage, base or (original or encoder).public_name, ancestor)


def recipe_files(ancestry: Ancestry) -> dict[str, Stage]:
    """File name -> stage: the last recipe has the plain name, those before it have numbers."""
    stages = [stage for stage in ancestry.stages if stage.recipe is not None]
    stem, ending = Path(RECIPE_FILE).stem, Path(RECIPE_FILE).suffix
    numbered = {f"{stem}-{number}{ending}": stage for number, stage in enumerate(stages[:-1], start=1)}
    return numbered | ({RECIPE_FILE: stages[-1]} if stages else {})


def commands_of(ancestry: Ancestry) -> list[str]:
    """The lines that make it again, each with its recipe's file; a folder may come from anyone, so nothing else."""
    files = {id(stage): name for name, stage in recipe_files(ancestry).items()}
    return [
        stage.command.replace(RECIPE_PLACE, files.get(id(stage), RECIPE_FILE))
        for stage in ancestry.stages
        if _COMMAND.fullmatch(stage.command)
    ]


def check_possible(encoder: Encoder, format: str, packing: str | None = None) -> tuple[Format, Packing]:
    """Raises: UserError where there is no such format or packing, or the two or the encoder do not go together.

    Better before long work. packing: None for the format's own, or what the encoder asks for.
    """
    if format not in FORMATS:
        raise UserError(f"There is no format {format!r}; choose {' or '.join(FORMATS)}.")
    form = FORMATS[format]
    packed = packing_named(packing or str(getattr(form, "packing", encoder.packing)))
    if packed.name not in form.packings:
        others = [other.name for other in FORMATS.values() if packed.name in other.packings]
        raise UserError(
            f"The format {form.name} stores weights as {' or '.join(form.packings)}, not as {packed.name}; "
            f"{' or '.join(others) or 'no format'} does."
        )
    reason = form.refuses(encoder)
    if reason is not None:
        raise UserError(reason)
    return form, packed


def without_paths(data: Any) -> Any:
    """JSON that leaves this machine: what is a path here (of a model, of a task) becomes its last name."""
    if isinstance(data, dict):
        return {key: without_paths(value) for key, value in data.items()}
    if isinstance(data, list):
        return [without_paths(value) for value in data]
    if isinstance(data, str) and os.path.isabs(os.path.expanduser(data)):
        return Path(data).name
    return data


def _check_plan_is_the_cut(plan: Plan, encoder: Encoder) -> None:
    """Raises: UserError where cutting by `plan` does not give an encoder of this shape."""
    shape = encoder.shape
    rows = range(len(plan.heads)) if shape.shares_weights else [plan.shape.rows[i] for i in plan.layers]
    expected = (
        plan.shape.architecture,
        tuple(len(plan.heads[r]) for r in rows),
        tuple(len(plan.neurons[r]) for r in rows),
    )
    if expected != (shape.architecture, shape.heads, shape.neurons) or len(plan.layers) != shape.layers:
        raise UserError(f"The plan is not the one that this encoder ({shape}) was cut by.")
