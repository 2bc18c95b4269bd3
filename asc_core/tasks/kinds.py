"""The kinds of task there are, and how rows in memory or in a source become a task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from asc_core.errors import UserError
from asc_core.tasks.base import Row, Task
from asc_core.tasks.classification import Classification, MultiLabel, Regression
from asc_core.tasks.question_answering import QuestionAnswering
from asc_core.tasks.similarity import SentenceSimilarity
from asc_core.tasks.sources import Table
from asc_core.tasks.splits import Splits
from asc_core.tasks.table_task import Labels, Setup, TableTask
from asc_core.tasks.tagging import IntentSlots, Tagging

KINDS: dict[str, type[TableTask]] = {
    "text-classification": Classification,
    "pair-classification": Classification,
    "multi-label": MultiLabel,
    "regression": Regression,
    "question-answering": QuestionAnswering,
    "tagging": Tagging,
    "intent-slots": IntentSlots,
    "sentence-similarity": SentenceSimilarity,
}

TEXT_COLUMNS = {
    "text-classification": (1, 1),
    "pair-classification": (2, 2),
    "multi-label": (1, 2),
    "regression": (1, 2),
    "question-answering": (2, 2),
    "tagging": (1, 1),
    "intent-slots": (1, 1),
    "sentence-similarity": (2, 2),
}

# Columns of the formats that are made for a kind: SQuAD JSON and BIO folders, and their counterparts on the hub.
USUAL_TEXTS = {"question-answering": ("question", "context"), "tagging": ("tokens",), "intent-slots": ("tokens",)}
USUAL_LABEL = {"question-answering": "answers", "tagging": "tags", "intent-slots": "intent"}
USUAL_SLOTS = "tags"
OTHER_LABELS = {"question-answering": ("answer",), "tagging": ("ner_tags",)}


def make_task(setup: Setup, loaders: Mapping[str, Callable[[], Table]], seed: int = 0, only: str | None = None) -> Task:
    """A task from what its file says and from functions that load its splits.

    Raises: UserError where the columns do not suit the kind, or there is a single split and `only` does not say so.
    """
    fewest, most = TEXT_COLUMNS[setup.kind]
    if not fewest <= len(setup.texts) <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} or {most}"
        raise UserError(f"{setup.origin}: texts must name {wanted} column(s) for {setup.kind}, not {len(setup.texts)}.")
    if isinstance(setup.label, tuple) and setup.kind != "multi-label":
        raise UserError(f"{setup.origin}: label must be one column for {setup.kind}; only multi-label takes several.")
    names = {*setup.texts, *([setup.label] if isinstance(setup.label, str) else setup.label or ()), setup.slots or ""}
    loaders = {split: _reaching(load, names) for split, load in loaders.items()}
    together = setup.texts[1:] if setup.kind == "question-answering" else setup.texts
    return KINDS[setup.kind](setup, Splits(setup.name, loaders, together, seed, only))


def _reaching(load: Callable[[], Table], names: Iterable[str]) -> Callable[[], Table]:
    return lambda: load().reaching(names)


def task_from_rows(
    name: str,
    kind: str,
    fields: Mapping[str, Any],
    rows_by_split: Mapping[str, Callable[[], list[dict[str, Any]]]],
    labels: Labels | None = None,
    metric: str | None = None,
    max_length: int | None = None,
    stride: int | None = None,
    *,
    slot_labels: Labels | None = None,
    positive: str | None = None,
    words: str | None = None,
    no_answer: bool | None = None,
    split_seed: int = 0,
    split: str | None = None,
) -> Task:
    """A task from rows in memory, made when they are first asked for.

    fields: which columns hold what, {"texts": [...], "label": ..., "slots": ...}, as in a task file; no label = the
    metric is agreement with the original model. rows_by_split: "train", "validation", "test", and any others such as
    "shifted". labels: the classes in order, or a mapping from the rows' values to names.

        task_from_rows("mood", "text-classification", {"texts": ["text"], "label": "mood"},
                       {"train": lambda: [{"text": "fine", "mood": "good"}, ...], "test": lambda: [...]},
                       labels=["bad", "good"])
    """
    if kind not in KINDS:
        raise UserError(f"There is no kind of task {kind!r}; there are {', '.join(KINDS)}.")
    label = fields.get("label", USUAL_LABEL.get(kind))
    setup = Setup(
        name=name,
        kind=kind,
        origin=name,
        texts=tuple(fields.get("texts", USUAL_TEXTS.get(kind, ()))),
        label=tuple(label) if isinstance(label, list) else label,
        slots=fields.get("slots", USUAL_SLOTS) if kind == "intent-slots" else None,
        labels=labels,
        slot_labels=slot_labels,
        metric=metric,
        positive=positive,
        words=words,
        max_length=max_length,
        stride=stride,
        no_answer=no_answer,
    )

    def loader(split_name: str, make: Callable[[], list[dict[str, Any]]]) -> Callable[[], Table]:
        return lambda: rows_table(make(), f"{name} ({split_name})")

    return make_task(setup, {s: loader(s, make) for s, make in rows_by_split.items()}, split_seed, split)


def rows_table(rows: Sequence[Row], origin: str) -> Table:
    return Table(rows, origin, tuple(rows[0]) if rows else ())
