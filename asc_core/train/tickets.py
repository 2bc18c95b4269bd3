"""Lottery tickets: does a small part of a pre-trained encoder, trained alone, do as well for this application?

Iterative magnitude pruning with rewinding, Chen et al. 2020, "The Lottery Ticket Hypothesis for Pre-trained BERT
Networks", arXiv 2007.12223, section 3: train, prune a share of what is left, put the rest back to the values that it
started from, and again. Each round's ticket is trained in the next, beside its controls: whoever finds that those do as
well has found no winning ticket. Rewinding to the state after a few steps (`early`) is Frankle et al. 2020, arXiv
1912.05671.

All that a round leaves lies in a folder, so a run that was killed goes on to the same result, and one with more rounds,
seeds or controls adds to what is there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.predictions import predict
from asc_core.json_files import read_json, write_json
from asc_core.loading import load_encoder
from asc_core.progress import Progress
from asc_core.tasks.base import Task
from asc_core.train.finetune import finetune
from asc_core.train.heads import with_head_for
from asc_core.train.masks import Masks, read_masks, write_masks
from asc_core.train.options import TrainingOptions
from asc_core.train.run import LOG, STATE_FORMAT
from asc_core.train.ticket_kinds import TICKET, Candidate, TicketKind, WeightTickets

FORMAT = "asc-tickets/1"
ABOUT, MASKS, EARLY = "tickets.json", "masks.safetensors", "early"


@dataclass(frozen=True)
class TicketSettings:
    """rate: share of what is left that a round prunes. rounds: so often. early: steps of a short training before, whose
    end is what tickets start from (0 = the encoder's own values). seeds: each searches and trains for itself.
    dense_seeds: with which the whole model is trained, beside `seeds`: its spread says when a ticket matches it.
    controls: names, None = all that the kind of ticket has. epochs, max_steps, training: of every training, see
    `finetune` (its seed is the run's). split, samples: what is measured on (samples None = all of it).
    """

    rate: float = 0.1
    rounds: int = 6
    early: int = 0
    seeds: tuple[int, ...] = (0,)
    dense_seeds: tuple[int, ...] = (0, 1, 2)
    controls: tuple[str, ...] | None = None
    epochs: int = 3
    max_steps: int | None = None
    training: TrainingOptions = field(default_factory=TrainingOptions)
    split: str = "validation"
    samples: int | None = None

    def check(self, kind: TicketKind) -> None:
        """Raises: UserError where a number or a name makes no sense."""
        if not 0 < self.rate < 1:
            raise UserError(f"rate = {self.rate:g}: a round prunes a share between 0 and 1, such as 0.1.")
        if self.rounds < 1 or self.early < 0 or not self.seeds:
            raise UserError("Give 1 round or more, 0 early steps or more, and at least one seed.")
        if self.training.lora_rank is not None:
            raise UserError("A ticket is a part of the weights, so all of them are trained: leave the LoRA out.")
        unknown = [name for name in self.controls or () if name not in kind.controls]
        if unknown:
            raise UserError(f"Tickets of {kind.name} have the controls {', '.join(kind.controls)}, not {unknown[0]!r}.")


@dataclass(frozen=True)
class Outcome:
    """Of one training. round: 0 is the whole model. which: TICKET or a control. metric: on `split`."""

    seed: int
    round: int
    which: str
    sparsity: float
    metric: float
    steps: int


@dataclass(frozen=True)
class Found:
    """What a run found. outcomes: by seed, round and kind of candidate."""

    kind: str
    encoder: str
    task: str
    metric: str
    split: str
    examples: int
    outcomes: tuple[Outcome, ...]


def find_tickets(
    encoder: Encoder,
    task: Task,
    folder: str | Path,
    settings: TicketSettings = TicketSettings(),
    kind: TicketKind | None = None,
    progress: Progress | None = None,
    show: Callable[[Found], None] | None = None,
) -> Found:
    """Search for tickets of a pre-trained encoder, train them and their controls, and measure all.

    encoder: stays as it is; it gets a new head, drawn by each seed, where its own does not fit. folder: keeps what is
    found, see the module. show: is told what there is after each training.
    Raises: UserError where the folder is of another run, the task has no labels, a number makes no sense or nothing
    can be pruned; Cancelled, after which the same call goes on.
    """
    kind = WeightTickets() if kind is None else kind
    settings.check(kind)
    search = _Search(encoder, task, Path(folder), settings, kind, progress or Progress())
    search.claim()
    found = Found(
        kind.name, encoder.name, task.name, task.metric.name, settings.split, len(search.examples), outcomes=()
    )
    for outcome in search.outcomes():
        found = replace(found, outcomes=(*found.outcomes, outcome))
        if show is not None:
            show(found)
    return found


def masks_in(folder: str | Path) -> dict[tuple[int, int], Masks]:
    """(seed, round) -> the ticket that a run of `find_tickets` found, rounds from 1.

    Raises: UserError where the folder has none.
    """
    found = {}
    for path in sorted(Path(folder).glob(f"seed-*/round-*/{MASKS}")):
        seed, number = (int(part.name.rpartition("-")[2]) for part in (path.parent.parent, path.parent))
        if number:
            found[seed, number] = read_masks(path)
    if not found:
        raise UserError(f"{folder} holds no tickets: name a folder that `asc ticket` has written.")
    return found


class _Search:
    """One run: what it starts from, and what it keeps where."""

    def __init__(
        self, encoder: Encoder, task: Task, folder: Path, settings: TicketSettings, kind: TicketKind, progress: Progress
    ):
        self.encoder, self.task, self.folder, self.settings = encoder, task, folder, settings
        self.kind, self.progress = kind, progress
        self._starts: dict[int, Encoder] = {}

    def claim(self) -> None:
        """Write down whose folder it is. Raises: UserError where it is another run's."""
        path, about = self.folder / ABOUT, self._about()
        if path.exists():
            if read_json(path) != about:
                raise UserError(
                    f"{self.folder} holds the tickets of another encoder, task or setting: name another folder."
                )
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise UserError(f"{self.folder} is not empty and holds no tickets: name a new folder.")
        else:
            write_json(path, about)

    def _about(self) -> Any:
        """All that decides an outcome; more rounds, seeds or controls change none that is there."""
        settings = self.settings
        training = settings.training.model_dump(mode="json") | {"lr": settings.training.learning_rate, "seed": None}
        described = {
            "format": FORMAT,
            "weights": self.encoder.weights,
            "task": self.task.name,
            "texts": [self.task.data("validation"), settings.split, settings.samples],
            "kind": self.kind.identity(),
            "rate": settings.rate,
            "early": settings.early,
            "training": [STATE_FORMAT, settings.epochs, settings.max_steps, training],
        }
        return json.loads(json.dumps(described))

    def outcomes(self) -> Iterator[Outcome]:
        """Of each seed the whole model, then the ticket of each round and its controls; then other whole models."""
        settings = self.settings
        controls = self.kind.controls if settings.controls is None else settings.controls
        for seed in settings.seeds:
            yield self.outcome(seed, 0, TICKET)
            for number in range(1, settings.rounds + 1):
                for which in (TICKET, *controls):
                    yield self.outcome(seed, number, which)
        for seed in settings.dense_seeds:
            if seed not in settings.seeds:
                yield self.outcome(seed, 0, TICKET)

    def outcome(self, seed: int, number: int, which: str) -> Outcome:
        """Read where it is known, else trained. A ticket's training leaves the next one before its own outcome."""
        place = self._place(seed, number)
        path, training = place / f"{which}.json", place / which
        if path.exists():
            shutil.rmtree(training, ignore_errors=True)  # of a run that was killed just there
            return _read_outcome(path)
        start = self._start(seed)
        ticket = read_masks(place / MASKS) if number else self.kind.whole(start)
        candidate = self.kind.candidate(start, ticket, which, seed) if number else Candidate(start)
        trained, steps = self._trained(training, candidate, seed)
        if which == TICKET:
            after = self.kind.smaller(ticket, trained, self.task, self.settings.rate, seed, self.progress)
            write_masks(self._place(seed, number + 1) / MASKS, after)
        sparsity = self.kind.sparsity(start, ticket)
        found = Outcome(seed, number, which, sparsity, self._metric(trained), steps)
        write_json(path, asdict(found))
        shutil.rmtree(training, ignore_errors=True)
        return found

    def _place(self, seed: int, number: int) -> Path:
        return self.folder / f"seed-{seed}" / f"round-{number}"

    def _start(self, seed: int) -> Encoder:
        """What tickets of a seed are rewound to."""
        if seed not in self._starts:
            start = with_head_for(self.encoder, self.task, seed)
            if self.settings.early:
                place = self.folder / f"seed-{seed}" / EARLY
                start, _ = self._trained(place, Candidate(start), seed, self.settings.early)
            self._starts = {seed: start}  # of one seed at a time: they are as large as models are
        return self._starts[seed]

    def _trained(self, place: Path, candidate: Candidate, seed: int, early: int | None = None) -> tuple[Encoder, int]:
        """(the encoder as training leaves it, steps that were run); read where it was trained before a kill."""
        if (place / LOG).exists():
            last = json.loads((place / LOG).read_text(encoding="utf-8").splitlines()[-1])
            return load_encoder(place, device=str(candidate.encoder.device)), int(last["steps"])
        options = self.settings.training.model_copy(update={"seed": seed} | ({"patience": None} if early else {}))
        result = finetune(
            candidate.encoder,
            self.task,
            place,
            epochs=early or self.settings.epochs,
            max_steps=early or self.settings.max_steps,
            keep=candidate.keep,
            progress=self.progress,
            **options.training,
        )
        return result.encoder, result.steps

    @cached_property
    def examples(self) -> Any:
        return self.task.examples(self.settings.split, self.settings.samples, 0)

    def _metric(self, encoder: Encoder) -> float:
        features = self.task.features(self.examples, encoder)
        predictions = predict(encoder, self.task, features, Progress(cancel=self.progress.cancel))
        return self.task.metric.value(self.task.statistics(predictions, features, self.examples))


def _read_outcome(path: Path) -> Outcome:
    try:
        return Outcome(**read_json(path))
    except TypeError:
        raise UserError(f"{path} is no outcome of a ticket: name another folder.") from None


def seeds_from(first: int, count: int) -> tuple[int, ...]:
    return tuple(range(first, first + count))
