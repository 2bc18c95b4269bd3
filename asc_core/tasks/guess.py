"""Which task a table is for, where nobody says it: each guess is said, and each can be overruled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asc_core.errors import UserError
from asc_core.tasks.column_profile import Column, are_pair, columns_of, named, same_lengths
from asc_core.tasks.kinds import KINDS, TEXT_COLUMNS
from asc_core.tasks.sources import Table

TEXTS = "text sentence review utterance content document body comment message tweet post".split()
PAIRS = (
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "passage"),
    ("query", "document"),
    ("text", "textpair"),
    ("claim", "evidence"),
    ("source", "target"),
)
LABELS = (
    "label labels goldlabel class classlabel category categories target intent sentiment emotion emotions topic topics "
    "polarity stance rating stars score similarity similarityscore relatednessscore entailmentjudgment isduplicate "
    "duplicate quality spam y gold tag tags"
).split()
WORDS = ("tokens", "words", "token")
TAGS = ("tags", "nertags", "slots", "slot", "labels", "label", "ner", "postags", "pos", "iob")
ANSWERS = ("answers", "answer", "answertext")
SEPARATORS = ("|", ";", ",")


@dataclass(frozen=True)
class Guess:
    """The fields of a task file that follow from its data. notes: what was guessed, in sentences."""

    kind: str
    texts: tuple[str, ...]
    label: str | tuple[str, ...] | None
    slots: str | None = None
    separator: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Given:
    """What is known and not to be guessed; unlabelled: that no column is the label."""

    kind: str | None = None
    texts: tuple[str, ...] = ()
    label: str | tuple[str, ...] | None = None
    slots: str | None = None
    unlabelled: bool = False


def guess(table: Table, given: Given = Given()) -> Guess:
    """Raises: UserError where a column that is given is not there, or nothing in the table can be the text."""
    if given.kind is not None and given.kind not in KINDS:
        raise UserError(f"There is no kind of task {given.kind!r}; there are {', '.join(KINDS)}.")
    label = (given.label,) if isinstance(given.label, str) else given.label or ()
    for name in (*given.texts, *label, *([given.slots] if given.slots else [])):
        if name not in table.columns and name.split(".")[0] not in table.columns:
            there = ", ".join(map(repr, table.columns))
            raise UserError(f"{table.origin} has no column {name!r}; its columns are {there}.")
    if not len(table):
        raise UserError(f"{table.origin} has no rows.")
    columns = columns_of(table.reaching([*given.texts, *label]))
    tags = next((column.name for column in columns if column.holds_single_tags), None)
    if tags is not None and not given.texts:
        raise UserError(
            f"{table.origin} has one word a row ({tags!r} holds its tag): save it as .conll, words and tags in columns "
            "and an empty line between texts, or say which column holds whole texts."
        )
    for one in (_answers, _words, _texts):
        found = one(columns, given)
        if found is not None:
            return found
    shown = ", ".join(f"{column.name!r}" for column in columns)
    raise UserError(
        f"{table.origin} has no column that looks like text: its columns are {shown}. Say which one holds the text."
    )


def _answers(columns: Sequence[Column], given: Given) -> Guess | None:
    """Question, context and answers."""
    question, context = named(columns, ("question", "query")), named(columns, ("context", "passage", "paragraph"))
    answers = named(columns, ANSWERS)
    wanted = given.kind == "question-answering"
    if given.kind not in (None, "question-answering") or (given.texts and not wanted):
        return None
    if not given.texts and (question is None or context is None or (answers is None and not wanted)):
        return None
    texts = given.texts or tuple(column.name for column in (question, context) if column is not None)
    label = None if given.unlabelled else given.label or (answers.name if answers is not None else None)
    said = [] if wanted else ["It is question answering: there are a question, a context and answers."]
    return Guess("question-answering", texts, label, notes=(*said, *_said(texts, label, given)))


def _words(columns: Sequence[Column], given: Given) -> Guess | None:
    """Lists of words, and one tag for each of them."""
    if given.kind not in (None, "tagging", "intent-slots"):
        return None
    lists = [column for column in columns if column.form == "list"]
    words = _chosen(columns, given.texts[0]) if given.texts else named(lists, WORDS)
    others = [column for column in lists if words is not None and column is not words and same_lengths(words, column)]
    tags = named(others, TAGS) or (others[0] if others else None)
    if words is None or (tags is None and given.kind is None):
        return None
    plain = [column for column in columns if column.is_class]
    intent = named(plain, ("intent", "label", "class"))
    slots = given.slots or (tags.name if tags is not None else None)
    if given.kind == "intent-slots" or (given.kind is None and intent is not None and intent.name == "intent"):
        label = None if given.unlabelled else given.label or (intent.name if intent is not None else None)
        said = "It is intents with slots: lists of words with a tag for each, and an intent."
        found = Guess("intent-slots", (words.name,), label, slots)
    else:
        label = None if given.unlabelled else given.label or slots
        said = "It is tagging: lists of words with a tag for each."
        found = Guess("tagging", (words.name,), label)
    notes = ([] if given.kind else [said]) + _said(found.texts, label, given)
    return Guess(found.kind, found.texts, label, found.slots, notes=tuple(notes))


def _texts(columns: Sequence[Column], given: Given) -> Guess | None:
    """One text or two, and a class, labels or a number."""
    label = _label(columns, given)
    taken = {label} if isinstance(label, str) else {*(label or ())}
    texts = given.texts or _text_columns([c for c in columns if c.name not in taken], given.kind)
    if not texts:
        return None
    if isinstance(label, str) and label in texts:
        label = None
    kind, why, separator = _kind(columns, texts, label, given.kind)
    if given.kind is None and len(texts) > TEXT_COLUMNS[kind][1]:
        texts = texts[: TEXT_COLUMNS[kind][1]]
    notes = ([] if given.kind else [why]) + _said(texts, label, given)
    others = _other_labels(columns, texts, label) if given.label is None else []
    if others:
        notes.append(f"The label could also be {' or '.join(map(repr, others[:5]))}.")
    left = [c.name for c in columns if c.is_text and c.words > 3 and c.name not in (*texts, *taken)]
    if left and not given.texts:
        notes.append(f"Left out, though there is text in it: {', '.join(map(repr, left))}.")
    return Guess(kind, tuple(texts), label, separator=separator, notes=tuple(notes))


def _text_columns(columns: Sequence[Column], kind: str | None) -> tuple[str, ...]:
    there = [column for column in columns if column.is_text]
    fewest, most = TEXT_COLUMNS[kind] if kind is not None else (1, 2)
    pair = _pair(there) if most > 1 else None
    if pair is not None:
        return pair
    if fewest > 1:
        return tuple(column.name for column in there[:fewest])
    one = named(there, TEXTS) or max(there, key=lambda column: column.words, default=None)
    if one is None:  # words alone, such as names to be classified
        one = named([column for column in columns if column.form == "text"], TEXTS)
    return () if one is None else (one.name,)


def _pair(columns: Sequence[Column]) -> tuple[str, str] | None:
    for first, second in PAIRS:
        a, b = named(columns, (first,)), named(columns, (second,))
        if a is not None and b is not None:
            return a.name, b.name
    for index, a in enumerate(columns):
        for b in columns[index + 1 :]:
            if are_pair(a.name, b.name):
                return a.name, b.name
    return None


def _label(columns: Sequence[Column], given: Given) -> str | tuple[str, ...] | None:
    if given.unlabelled:
        return None
    if given.label is not None:
        return given.label
    others = [c for c in columns if c.name not in given.texts and c.form != "empty"]
    possible = [c for c in others if c.is_class or c.form == "list" or (c.form == "number" and not c.is_identifier)]
    if given.kind in ("regression", "sentence-similarity"):
        possible = [c for c in possible if c.form == "number"] or possible
    parted = [c for c in others if c.form == "text" and _separator(c) is not None]
    by_name = named([*possible, *parted], LABELS)
    if by_name is not None:
        return by_name.name
    flags = [c for c in possible if c.is_flag]
    if len(flags) > 2 or (given.kind == "multi-label" and len(flags) > 1):
        return tuple(column.name for column in flags)
    classes = [c for c in possible if c.is_class and len(c.counts) > 1] or [c for c in possible if c.form == "number"]
    return min(classes, key=lambda c: len(c.counts)).name if classes else None


def _other_labels(columns: Sequence[Column], texts: Sequence[str], label: str | tuple[str, ...] | None) -> list[str]:
    """Columns that might have been meant instead."""
    if not isinstance(label, str):
        return []
    chosen = _chosen(columns, label)
    others = [c for c in columns if c.name not in (*texts, label) and len(c.counts) > 1 and not c.is_identifier]
    others = [c for c in others if chosen is None or c.values != chosen.values]
    return [c.name for c in others if c.is_class or c.form == "number"]


def _kind(
    columns: Sequence[Column], texts: Sequence[str], label: str | tuple[str, ...] | None, given: str | None
) -> tuple[str, str, str | None]:
    """(kind, why, separator of labels)"""
    classes = "pair-classification" if len(texts) > 1 else "text-classification"
    if label is None:
        return given or classes, f"It is {classes} without labels: no column looks like one.", None
    if isinstance(label, tuple):
        return given or "multi-label", f"It is multi-label: {', '.join(map(repr, label))} hold 0 or 1.", None
    column = _chosen(columns, label)
    if column is None:
        return given or classes, f"It is {classes}.", None
    separator = _separator(column) if column.form == "text" else None
    if given is not None:
        return given, "", separator if given == "multi-label" else None
    if column.form == "list":
        return "multi-label", f"It is multi-label: {label!r} holds lists.", None
    if separator is not None:
        return "multi-label", f"It is multi-label: {label!r} holds names with {separator!r} between them.", separator
    if column.form == "number" and not column.is_class:
        other = "; for an embedding model say sentence-similarity" if len(texts) > 1 else ""
        return "regression", f"It is a regression: {label!r} holds numbers that are no classes{other}.", None
    order = "; where their order counts, say regression" if column.form == "number" and len(column.counts) > 2 else ""
    return classes, f"It is {classes}: {label!r} has few different values{order}.", None


def _separator(column: Column) -> str | None:
    """Between names of one cell: with it there are far fewer names than cells, and most of them stand alone, too."""
    for separator in SEPARATORS:
        cells = [str(value).split(separator) for value in column.counts]
        several = sum(len(cell) > 1 for cell in cells)
        names = {name.strip() for cell in cells for name in cell if name.strip()}
        short = all(len(name.split()) <= 3 for name in names)
        if several > 1 and short and 2 * len(names) <= len(column.filled) and len(names) < len(cells) + several:
            alone = {cell[0].strip() for cell in cells if len(cell) == 1}
            if len(names & alone) * 2 >= len(names) or len(names) * 2 <= len(cells):
                return separator
    return None


def _said(texts: Sequence[str], label: str | tuple[str, ...] | None, given: Given) -> list[str]:
    said = []
    if not given.texts:
        said.append(f"The text is {' and '.join(map(repr, texts))}.")
    if given.label is None and isinstance(label, str):
        said.append(f"The label is {label!r}.")
    return said


def _chosen(columns: Sequence[Column], name: str) -> Column | None:
    return next((column for column in columns if column.name == name), None)
