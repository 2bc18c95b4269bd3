"""The model card: README.md in the form of the Hugging Face hub, with what was measured and how to get it again."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
import transformers
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from asc_core import modeling
from asc_core.ancestry import Ancestor
from asc_core.encoder import Encoder, is_hub_id
from asc_core.evaluate.changes import Changes, ClassChange
from asc_core.export.comparison import SHORT_TEXTS, SHORT_TOKENS, Comparison
from asc_core.export.formats.format import Written
from asc_core.export.pictures import FRONT_FILE, MAP_FILE, Front, FrontPoint
from asc_core.export.timing import Timing
from asc_core.modeling import Packing
from asc_core.values import Cost, Estimate, Plan

_PIPELINES = {
    "sequence-classification": "text-classification",
    "token-classification": "token-classification",
    "question-answering": "question-answering",
    "embedding": "feature-extraction",
}
_WORST = 8  # classes in the table of those that lost most
_PATH = re.compile(r"(?<![\w:/.<])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\"`]+[/\\])*([^\s/\\'\"`]+)[/\\]?")


@dataclass(frozen=True)
class Card:
    """What a card can say beyond what the encoder itself knows. What is None is left out.

    estimate, original_estimate: of the exported model and of the uncut one, on the same split. cost, original_cost:
    at the task's lengths; of an original that cannot be loaded, FLOPs alone may be known (`original_flops`). steps: how
    it was made, one sentence each. commands: the lines that make it again. unmeasured: why there is no difference to
    the original, a sentence. one_split: whether the task has one split for everything. changes: which examples it
    decides otherwise than the original. front: models of
    other cuts, too; by default this one and the original.
    """

    task: str | None = None
    estimate: Estimate | None = None
    original_estimate: Estimate | None = None
    cost: Cost | None = None
    original_cost: Cost | None = None
    original_flops: float | None = None
    steps: Sequence[str] = ()
    commands: Sequence[str] = ()
    unmeasured: str = ""
    one_split: bool = False
    changes: Changes | None = None
    front: Front | None = None

    @property
    def drawn(self) -> Front | None:
        """The picture of the front shows what was given, else the original and this model, where both are known."""
        estimate, before, cost = self.estimate, self.original_estimate, self.cost
        dense = self.original_cost.flops if self.original_cost is not None else self.original_flops
        if self.front is not None or estimate is None or before is None or cost is None or not dense:
            return self.front
        return Front(
            estimate.split,
            (
                FrontPoint("original", 1.0, before.value, before.interval),
                FrontPoint("this model", cost.flops / dense, estimate.value, estimate.interval, this=True),
            ),
        )


def model_card(
    card: Card,
    encoder: Encoder,
    *,
    name: str,
    loading: str,
    written: Written,
    packing: Packing,
    tolerance: float,
    plan: Plan | None,
    original: Ancestor | None,
    base: str,
    comparison: Comparison,
    timing: Timing | None = None,
    speed: str = "",
    pictures: Sequence[str] = (),
) -> str:
    """The whole text. Paths of this machine do not get into it: of each only the last name stays.

    loading: the format's own section. tolerance: what `comparison` had to stay below. original: the model before its
    parts were changed. base: what was loaded first, of which that may have been trained. timing: of the folder beside
    the original. speed: of int8 beside float32, in a sentence.
    pictures: names of files that lie beside the card, `MAP_FILE` and `FRONT_FILE`.
    """
    sections = [
        f"# {_plain(name)}\n\n{_summary(card, encoder, original, written)}",
        _section("Quality", _quality(card, pictures)),
        _section("What it is worse at", _worse(card)),
        _section("Cost", _cost(card, encoder, original, written, packing, timing, speed)),
        _section("What is left", _parts(encoder, pictures)),
        _section("How it was made", _origin(card, plan)),
        _section("How to load it", iter([loading])),
        _section("Limitations", _limitations(card, written, packing)),
        _section("Checked", _checked(comparison, tolerance, written)),
    ]
    text = "\n\n".join(section for section in sections if section) + "\n"
    data = _data(card, encoder, name, _named(original, encoder), base, written)
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}"))


def _section(title: str, lines: Iterator[str]) -> str:
    body = "\n".join(lines)
    return f"## {title}\n\n{body}" if body else ""


def _plain(text: object) -> str:
    """Untrusted text for one line of Markdown: no paths, no line breaks, nothing that opens a tag or a table cell."""
    flat = " ".join(_PATH.sub(r"\1", str(text)).split())
    return flat.replace("|", "\\|").replace("<", "&lt;")


def _one_line(text: object) -> str:
    """Untrusted text for the front matter, which is quoted as YAML asks for: no paths, no line breaks."""
    return " ".join(_PATH.sub(r"\1", str(text)).split())


def _named(original: Ancestor | None, encoder: Encoder) -> str:
    source, name = (original.source, original.name) if original is not None else (encoder.source, encoder.name)
    return source if is_hub_id(source) else Path(name).name


def _data(card: Card, encoder: Encoder, name: str, original: str, base: str, written: Written) -> ModelCardData:
    pipeline = _PIPELINES.get(encoder.head)
    results = _results(card, pipeline) if pipeline is not None else []
    return ModelCardData(
        library_name=written.library,
        base_model=next((one for one in (original, base) if is_hub_id(one)), None),
        pipeline_tag=pipeline,
        tags=["application-specific-compression", "pruned", *written.tags],
        model_name=_one_line(name) if results else None,
        eval_results=results or None,
    )


def _results(card: Card, pipeline: str) -> list[EvalResult]:
    """For the hub's model-index: the value on the split that the card's table names first."""
    if card.estimate is None:
        return []
    estimate, task = card.estimate, _one_line(card.task or "task")
    return [
        EvalResult(
            task_type=pipeline,
            dataset_type=task,
            dataset_name=task,
            dataset_split=_one_line(estimate.split),
            metric_type=_one_line(estimate.metric),
            metric_value=round(estimate.value, 4),
        )
    ]


def _summary(card: Card, encoder: Encoder, original: Ancestor | None, written: Written) -> str:
    less, count = "", written.parameters or encoder.parameters
    if original is not None and count < original.parameters:
        less = f" with {count / original.parameters:.0%} of its parameters"
    task = f" for the application `{_plain(card.task)}`" if card.task else ""
    return f"`{_plain(_named(original, encoder))}`{less}, compressed{task} with ASC Studio. {written.needs}".rstrip()


def _quality(card: Card, pictures: Sequence[str]) -> Iterator[str]:
    estimate, before = card.estimate, card.original_estimate
    if estimate is None:
        return
    yield f"| model | {_plain(estimate.metric)} | 95 % interval | split | examples |"
    yield "|---|---|---|---|---|"
    for who, e in (("this model", estimate), ("original", before)):
        if e is not None:
            count = f"{e.examples:,}" if e.complete else f"{e.examples:,} of {e.total:,}"
            yield f"| {who} | {e.value:.4f} | {_interval(e.interval)} | {_plain(e.split)} | {count} |"
    if estimate.difference is not None:
        interval = f" {_interval(estimate.difference_interval)}" if estimate.difference_interval else ""
        yield f"\nDifference to the original on the same examples: {estimate.difference:+.4f}{interval}."
    if card.unmeasured:
        yield f"\n{_plain(card.unmeasured)}"
    if estimate.truncated:
        yield f"\n{estimate.truncated:,} texts were longer than the model's limit and cut off."
    if estimate.notes:
        yield "\nWhat these figures rest on:\n"
        for note in estimate.notes:
            yield f"- {_plain(note)}"
    if FRONT_FILE in pictures:
        yield f"\n![The metric over the share of FLOPs that is kept]({FRONT_FILE})"


def _worse(card: Card) -> Iterator[str]:
    found = card.changes
    if found is None or card.estimate is None:
        return
    yield (
        f"Of {found.examples:,} {_plain(card.estimate.split)} examples it decides {found.lost:,} wrongly that the "
        f"original decides rightly, and {found.won:,} rightly that the original decides wrongly."
    )
    worst = [each for each in found.classes if each.difference < 0][:_WORST]
    if worst:
        yield "\n| class | examples | original, right | this model, right | points |"
        yield "|---|---|---|---|---|"
        yield from map(_class_row, worst)
        yield "\nThe classes that lost most; of few examples such a figure is a hint, not a measurement."


def _class_row(each: ClassChange) -> str:
    return (
        f"| {_plain(each.name)} | {each.examples:,} | {each.before / each.examples:.1%} "
        f"| {each.after / each.examples:.1%} | {100 * each.difference:+.1f} |"
    )


def _interval(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:.4f}, {interval[1]:.4f}]"


def _cost(
    card: Card,
    encoder: Encoder,
    original: Ancestor | None,
    written: Written,
    packing: Packing,
    timing: Timing | None,
    speed: str,
) -> Iterator[str]:
    parameters = bytes_ = None
    if original is not None:
        parameters, bytes_ = original.parameters, original.bytes
    elif card.original_cost is not None:
        parameters, bytes_ = card.original_cost.parameters, card.original_cost.bytes
    yield "| | this model | original | ratio |"
    yield "|---|---|---|---|"
    rows: list[tuple[str, float, float | None, str]] = [
        ("parameters", written.parameters or encoder.parameters, parameters, ",.0f"),
        (f"weights, bytes ({packing.name})", written.tensor_bytes, bytes_, ",.0f"),
    ]
    if card.cost is not None:
        dense = card.original_cost.flops if card.original_cost else card.original_flops
        rows.append(("FLOPs of the layers, one text of average length", card.cost.flops, dense, ".3g"))
    if timing is not None:
        what = f"milliseconds, batch {timing.batch_size}, {timing.tokens:.0f} tokens on average"
        rows.append((what, timing.milliseconds, timing.original_milliseconds, ".2f"))
    for what, here, there, style in rows:
        known = f"{there:{style}} | {here / there:.3f}" if there else "- | -"
        yield f"| {what} | {here:{style}} | {known} |"
    if timing is not None:
        yield (
            f"\nTimed in turns with the original, each on the same texts ({_plain(timing.where)}): "
            f"{timing.ratio:.2f} times as fast there, which says nothing about another machine."
        )
    else:
        yield "\nIts time was not measured beside the original."
    if speed:
        yield f"\n{speed}"


def _parts(encoder: Encoder, pictures: Sequence[str]) -> Iterator[str]:
    shape = encoder.shape
    origin = modeling.origin(encoder.model.config)
    heads = origin.heads
    numbers = range(len(shape.heads)) if shape.shares_weights else origin.layers
    if shape.shares_weights:
        yield f"{shape.layers} layers run on {len(shape.heads)} set(s) of weights.\n"
    yield f"| {'weights' if shape.shares_weights else 'layer'} | heads (numbers in the original) | neurons |"
    yield "|---|---|---|"
    for number, kept, neurons in zip(numbers, heads, shape.neurons, strict=True):
        yield f"| {number + 1} | {len(kept)}: {', '.join(str(h + 1) for h in kept) or 'none'} | {neurons:,} |"
    yield "\nLayers and heads are counted from 1."
    if MAP_FILE in pictures:
        yield f"\n![Heads and neurons that are left of each layer]({MAP_FILE})"


def _origin(card: Card, plan: Plan | None) -> Iterator[str]:
    for number, step in enumerate(card.steps, start=1):
        yield f"{number}. {_plain(step)}"
    if plan is not None:
        known = {k: v for k, v in plan.provenance.__dict__.items() if v is not None}
        if known:
            yield "\nThe plan (`plan.json`): " + ", ".join(f"{k} `{_plain(v)}`" for k, v in known.items()) + "."
    if card.commands:
        lines = "\n".join(_PATH.sub(_last_name, command).replace("```", "") for command in card.commands)
        yield f"\nThe same again:\n```\n{lines}\n```"


def _last_name(path: re.Match[str]) -> str:
    return path.group(1)


def _limitations(card: Card, written: Written, packing: Packing) -> Iterator[str]:
    if card.estimate is not None:
        where = f"the {_plain(card.estimate.split)} split" + (f" of `{_plain(card.task)}`" if card.task else "")
        yield f"- Quality was measured on {where} and says nothing about other texts or other applications."
        if card.one_split:
            yield f"- {one_split_says(card.task or 'The task', card.estimate.split)}"
    else:
        yield "- No quality was measured for this export."
    yield "- What was cut away was chosen for one application; another one may need it. It cannot be put back."
    for limitation in (*written.limitations, packing.note):
        if limitation:
            yield f"- {limitation}"


def one_split_says(task: str, split: str) -> str:
    """What a figure of a task with one split is worth, in a sentence."""
    return (
        f"`{_plain(task)}` has one split, {_plain(split)}: the same texts chose what was cut, repaired it and measured "
        "it, so on new texts expect less."
    )


def _checked(comparison: Comparison, tolerance: float, written: Written) -> Iterator[str]:
    yield (
        f"Reloaded in a fresh process and compared with the model in memory on {comparison.texts} texts and on random "
        f"token sequences, one token and the longest among them: the outputs differ by "
        f"{comparison.max_difference:.1g} at most ({comparison.tolerance or tolerance:.0e} is allowed, beside what the "
        "stored type rounds)."
    )
    if comparison.equal is not None:
        yield f"\nOf these texts, {comparison.equal:.1%} got the same answer from both."
    if comparison.short is not None:
        yield (
            "\nWhere inputs are rounded, a number on the edge of two steps may fall to either side. In texts of "
            f"{SHORT_TOKENS} tokens that is seldom: {comparison.short:.0%} of {SHORT_TEXTS} differ by less than "
            f"{tolerance:.0e}."
        )
    versions = {
        "ASC Studio": _version("asc-studio"),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        **{package: _version(package) for package in written.made_with},
        "Python": platform.python_version(),
    }
    yield "\nMade with " + ", ".join(f"{name} {version}" for name, version in versions.items() if version) + "."


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
