"""What fewer rows of the word embedding cost, and which tokens go."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asc_core.cli.verb import (
    BaseOption,
    DeviceOption,
    EncoderArgument,
    JsonOption,
    OnlySplitOption,
    SeedOption,
    TaskOption,
    load,
    percent,
    progress_line,
    say,
    verb,
)
from asc_core.errors import UserError

if TYPE_CHECKING:
    from asc_core.values import Estimate
    from asc_core.vocabulary import Apart

MARGINS = (0, 1000, 2000, 4000, 8000)


@verb
def vocabulary(
    encoder: EncoderArgument,
    task: TaskOption,
    margin: Annotated[
        list[int] | None,
        typer.Option("--margin", min=0, help="Tokens of general language beside the used ones; may be repeated."),
    ] = None,
    rows: Annotated[
        list[int] | None, typer.Option("--rows", min=1, help="Rows that stay, in all; may be repeated.")
    ] = None,
    least: Annotated[int, typer.Option("--least", min=1, help="Times that a used token stands in the texts.")] = 1,
    margin_texts: Annotated[
        Path | None, typer.Option("--margin-texts", help="A text file of general language; else the tokenizer's order.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Validation examples that are measured at most.")] = 500,
    tokens: Annotated[
        Path | None, typer.Option("--tokens", help="Write each token's scores and fate here (CSV), of the first line.")
    ] = None,
    split: OnlySplitOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    base: BaseOption = None,
    as_json: JsonOption = False,
) -> Any:
    """What fewer rows of the word embedding cost: megabytes, coverage, and texts with dropped pieces measured apart.

    Example: asc vocabulary demo:nli --task demo:nli --margin 0 --margin 4000 --tokens tokens.csv
    """
    from asc_core.compress.step import StepContext
    from asc_core.compress.vocabulary import Vocabulary
    from asc_core.evaluate import measure
    from asc_core.modeling import count
    from asc_core.vocabulary import evaluate_apart, token_scores

    if margin and rows:
        raise UserError("Say either --margin or --rows: rows that a budget has left are a margin.")
    texts = "" if margin_texts is None else str(margin_texts)
    common: dict[str, Any] = {"least": least, "margin_texts": texts}
    steps = [Vocabulary(rows=one, **common) for one in rows or ()]
    steps = steps or [Vocabulary(margin=one, **common) for one in margin or MARGINS]
    original, application = load(encoder, task, seed, device, split, base)
    held_out = "validation" if "validation" in application.splits else application.splits[0]
    scores = token_scores(original, application, margin_texts=texts, splits=(held_out,))
    say(as_json, scores.general.note)
    kept = [step.kept(scores) for step in steps]  # all of them before any work: a budget may be too short
    every = len(original.tokenizer.get_vocab())
    if all(len(rows_kept) >= every for rows_kept in kept):
        raise UserError(f"All {every:,} tokens of {original.name} would stay: ask for fewer with --rows or --margin.")
    if tokens is not None:
        _write_tokens(tokens, original, scores, kept[0])
        say(as_json, f"{tokens}: {scores.rows:,} tokens")
    before = measure(original, application, held_out, limit=limit, seed=seed, progress=progress_line())
    found = []
    if not as_json:
        typer.echo(
            f"{'rows':>8} {'MB':>7} {'coverage':>9} {'changed':>8}  {application.metric.name}, points to the original"
        )
    for step, rows_kept in zip(steps, kept, strict=True):
        if len(rows_kept) >= every:
            say(as_json, f"{len(rows_kept):>8,} all tokens stay ({_asked(step)}): nothing to measure")
            continue
        smaller = step.apply(original, StepContext(application))
        apart = evaluate_apart(original, smaller, application, held_out, limit=limit, seed=seed, before=before)
        megabytes = count(smaller.model, smaller.packing).bytes / 1e6
        found.append(_as_json(step, apart, megabytes))
        if not as_json:
            typer.echo(
                f"{apart.rows:>8,} {megabytes:>7.1f} {percent(apart.changed.coverage):>9} "
                f"{percent(apart.changed.share):>8}  changed: {_said(apart.on_changed)}; rest: {_said(apart.on_rest)}"
            )
    return {"split": held_out, "original_rows": scores.rows, "order": scores.general.note, "choices": found}


def _asked(step: Any) -> str:
    return f"--rows {step.rows}" if step.rows else f"--margin {step.margin}"


def _write_tokens(path: Path, encoder: Any, scores: Any, kept: list[int]) -> None:
    from asc_core.vocabulary.token_scores import distances

    try:
        scores.to_frame(kept, distances(encoder, scores)).to_csv(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): name another file.") from None


def _said(found: Estimate | None) -> str:
    if found is None or found.difference is None or found.difference_interval is None:
        return "none, or too few"
    low, high = found.difference_interval
    return (
        f"{percent(found.value)}, {100 * found.difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] on "
        f"{found.examples:,}"
    )


def _as_json(step: Any, apart: Apart, megabytes: float) -> dict[str, Any]:
    return {
        "margin": step.margin,
        "rows": apart.rows,
        "megabytes": megabytes,
        "coverage": apart.changed.coverage,
        "changed": apart.changed.share,
        "on_changed": None if apart.on_changed is None else asdict(apart.on_changed),
        "on_rest": None if apart.on_rest is None else asdict(apart.on_rest),
    }
