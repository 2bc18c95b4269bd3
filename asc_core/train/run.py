"""A training run: batches, validation, checkpoints, and the best epoch's weights at the end.

A run is a function of its inputs and its seed: the batches of an epoch and the dropout of a step are drawn from the
seed and that epoch's or step's number. So a run that was killed and resumed ends in the same weights.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from torch import nn

from asc_core import modeling
from asc_core.ancestry import Stage
from asc_core.batches import shuffled_by_length
from asc_core.encoder import Encoder
from asc_core.errors import Cancelled, UserError
from asc_core.evaluate.predictions import predict
from asc_core.progress import Progress
from asc_core.tasks.base import Batch, Examples, Features, Task
from asc_core.train.adapters import BASE, add_adapter, check_rank, loading_with_peft, round_adapter, save_adapter
from asc_core.train.checkpoints import Checkpoints, Tensors, optimizer_tensors, restore_optimizer
from asc_core.train.folder import FINISHED, RESUME, check_unused, made_at_once, save_checkpoint
from asc_core.train.options import TrainingOptions

LOG = FINISHED
StageOf = Callable[[str], Stage]
WEIGHT = "weight:"  # beside the optimiser's "exp_avg:" and the like in a stored state
STATE_FORMAT = 2  # states of the first format may hold the weights of an earlier kill
SECONDS_BETWEEN_CHECKPOINTS = 60.0


@dataclass(frozen=True)
class Epoch:
    """loss: the mean over the epoch's training features. metric: on the validation split. step: steps done so far.

    Epoch 0 is the model before any step, where a run counts it as a candidate; it has no loss.
    """

    epoch: int
    step: int
    loss: float | None
    metric: float
    seconds: float


@dataclass(frozen=True)
class Trained:
    """encoder: the best epoch's, as it is stored. best_metric: its metric on the validation split, measured as such.

    steps: that were run; planned: that there would have been without an early end.
    """

    encoder: Encoder
    history: tuple[Epoch, ...]
    best_metric: float
    steps: int
    planned: int = 0

    @property
    def best_step(self) -> int:
        """After how many steps the weights were as they are kept."""
        return max(self.history, key=lambda e: (e.metric, -e.epoch)).step

    @property
    def account(self) -> str:
        return account(self.steps, self.planned, self.best_step)


def account(run: int, planned: int, best: int) -> str:
    """The steps of a training in words: those that were run, and what was kept, where that is not the last."""
    count = f"{run} step{'s' if run != 1 else ''}" + (f" of {planned} planned" if run < planned else "")
    if best == 0:
        return f"{count}, none of them better on validation, so the weights stayed as they were"
    return count if best == run else f"{count}, best on validation after {best}, whose weights these are"


@dataclass(frozen=True)
class Settings:
    """All that decides the result besides the encoder, the data and the objective.

    max_steps: batches in all, None = those of the epochs. from_start: whether the model before the first step may turn
    out to be the best.
    """

    options: TrainingOptions
    epochs: int
    max_steps: int | None = None
    from_start: bool = False
    weight_decay: float = 0.01
    clip: float = 1.0

    def check(self) -> None:
        """Raises: UserError where a number makes no sense."""
        for name, value in (("epochs", self.epochs), ("max_steps", self.max_steps)):
            if value is not None and value < 1:
                raise UserError(f"{name} = {value}: give 1 or more.")

    def to_json(self) -> dict[str, Any]:
        """Flat, in this order: the state of a run that was killed is found by it."""
        options = self.options
        return {
            "epochs": self.epochs,
            "lr": options.learning_rate,
            "batch_size": options.batch_size,
            "lora_rank": options.lora_rank,
            "seed": options.seed,
            "patience": options.patience,
            "warmup": options.warmup,
            "max_steps": self.max_steps,
            "limit": options.limit,
            "from_start": self.from_start,
            "weight_decay": self.weight_decay,
            "clip": self.clip,
        }


class Objective(ABC):
    """What training makes smaller."""

    @abstractmethod
    def loss(self, encoder: Encoder, task: Task, batch: Batch, rows: np.ndarray | None = None) -> torch.Tensor:
        """() for a batch, from the encoder in training. rows: which of the features of `begin` it is made of, None =
        others."""

    @abstractmethod
    def identity(self) -> Any:
        """What decides it, as JSON."""

    def begin(self, features: Features, encoder: Encoder, examples: int) -> None:  # noqa: B027
        """Called once before the first step. features: of the training texts, for the encoder in training, of which so
        many are gone through, each as often as it comes."""

    @property
    def further_texts(self) -> bool:
        """Whether it shows the encoder others than the task's."""
        return False

    def reference(self, features: Features) -> Sequence[Any] | None:
        """Predictions that a task without labels is measured against."""
        return None


class Gold(Objective):
    """The task's own loss against its labels."""

    def loss(self, encoder: Encoder, task: Task, batch: Batch, rows: np.ndarray | None = None) -> torch.Tensor:
        return task.loss(encoder.model(**batch.inputs), batch).mean()

    def identity(self) -> Any:
        return "gold"


class Run:
    """One training run: the copy in training, where it stands, and the best weights so far.

    Raises: UserError where `out` is in use, the disk is full, or the loss is no longer a number; Cancelled.
    """

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        objective: Objective,
        settings: Settings,
        out: Path | None,
        progress: Progress,
        keep: Callable[[Encoder], None] | None = None,
    ):
        """keep: called after every step of the optimiser, with the encoder in training, to put back what must hold of
        its weights (masks, ties, codebooks)."""
        settings.check()
        options = settings.options
        if out is not None:
            check_unused(out)
        self.task, self.settings, self.out, self.progress = task, settings, out, progress
        self.objective, self.keep = objective, keep
        if options.lora_rank is not None:
            check_rank(encoder, options.lora_rank)
        self.start = encoder
        self.encoder = encoder.copy()
        self.train_features = task.features(task.examples("train", options.limit, options.seed), self.encoder)
        self.validation: Examples = task.examples("validation")
        self.validation_features = task.features(self.validation, self.encoder)
        self.reference = None if task.labelled else objective.reference(self.validation_features)
        self.narrowed = self._leave_rows_in_use()
        self.adapter: peft.PeftModel | None = None
        with _seeded(options.seed):
            if options.lora_rank is None:
                _let_train(self.encoder.model)
            else:
                self.encoder.model.requires_grad_(False)
                self.adapter = add_adapter(self.encoder, options.lora_rank)
        self.trained = {name: p for name, p in self.encoder.model.named_parameters() if p.requires_grad}
        table = [self.encoder.model.get_input_embeddings().weight] if self.narrowed else []
        self.optimizer = _adamw(self.trained, settings, table)
        steps_per_epoch = math.ceil(len(self.train_features) / options.batch_size)
        self.total = min(settings.epochs * steps_per_epoch, settings.max_steps or settings.epochs * steps_per_epoch)
        objective.begin(self.train_features, self.encoder, self.total * options.batch_size)
        self.step = 0
        self.epoch = 0
        self.batches_done = 0  # in this epoch
        self.loss_sum = 0.0
        self.seconds = 0.0  # in this epoch, before a resumption
        self.history: list[Epoch] = []
        self.best: Tensors | None = None
        self.checkpoints: Checkpoints | None = None
        if out is not None:
            key = _fingerprint(encoder, task, objective, settings, self.train_features, self.validation_features)
            self.checkpoints = Checkpoints(out / RESUME, key)

    def _leave_rows_in_use(self) -> bool:
        """Let a large table of words hold the rows alone that the texts look up; whether it is one. See `RowsInUse`."""
        if self.encoder.has_parts or self.objective.further_texts:
            return False
        model, special = self.encoder.model.base_model, self.encoder.tokenizer.all_special_ids
        ids = [*self.train_features.input_ids, *self.validation_features.input_ids, np.asarray(special)]
        rows = torch.from_numpy(np.unique(np.concatenate(ids)).astype(np.int64))
        return modeling.leave_rows_in_use(model, modeling.architecture_of(model).word_embedding, rows)

    def _put_rows_back(self) -> None:
        model = self.encoder.model.base_model
        modeling.put_rows_back(model, modeling.architecture_of(model).word_embedding)

    @property
    def best_epoch(self) -> Epoch | None:
        return max(self.history, key=lambda e: (e.metric, -e.epoch), default=None)

    @property
    def finished(self) -> bool:
        if not self.history:
            return False
        best, patience = self.best_epoch, self.settings.options.patience
        assert best is not None
        stopped = patience is not None and self.history[-1].epoch - best.epoch >= patience
        return stopped or self.history[-1].step >= self.total

    def train(self, resume: bool) -> None:
        if self.checkpoints is not None:
            self.checkpoints.claim()
        try:
            self._go_on(resume)
        finally:
            if self.checkpoints is not None:
                self.checkpoints.release()

    def _go_on(self, resume: bool) -> None:
        if resume:
            self._restore()
        self._saved = time.monotonic()
        try:
            if self.settings.from_start and not self.history and not self.step:
                self._end_epoch(0, None, time.monotonic())
            while not self.finished:
                self._train_epoch()
        except Cancelled:  # raised between two steps, so the state is whole
            self._save()
            raise

    def _train_epoch(self) -> None:
        began = time.monotonic() - self.seconds
        lengths, options = self.train_features.lengths, self.settings.options
        batches = shuffled_by_length(lengths, options.batch_size, (options.seed, self.epoch))
        batches = batches[: self.total - self.step + self.batches_done]
        self.encoder.model.train()
        try:
            for rows in batches[self.batches_done :]:
                self.progress.step(self.step, self.total, "training steps")
                self.loss_sum += self._train_batch(rows) * len(rows)
                self.step += 1
                self.batches_done += 1
                if time.monotonic() - self._saved > SECONDS_BETWEEN_CHECKPOINTS:
                    self.seconds = time.monotonic() - began
                    self._save()
        finally:
            self.encoder.model.eval()
            self.seconds = time.monotonic() - began
        self._end_epoch(self.epoch + 1, self.loss_sum / sum(map(len, batches)), began)

    def _end_epoch(self, number: int, loss: float | None, began: float) -> None:
        before, metric = self.best_epoch, self._validate()
        self.history.append(Epoch(number, self.step, loss, metric, round(time.monotonic() - began, 1)))
        self.epoch, self.batches_done, self.loss_sum, self.seconds = number, 0, 0.0, 0.0
        if before is None or metric > before.metric:
            self.best = {name: p.detach().cpu().clone() for name, p in self.trained.items()}
        self._save(best_is_new=self.best_epoch is not before)

    def _train_batch(self, rows: np.ndarray) -> float:
        options = self.settings.options
        for group in self.optimizer.param_groups:
            group["lr"] = options.learning_rate * _schedule(self.step, self.total, options.warmup)
        with _seeded(options.seed, self.step):
            batch = self.task.batch(self.train_features, rows, self.encoder)
            loss = self.objective.loss(self.encoder, self.task, batch, rows)
            loss.backward()
        nn.utils.clip_grad_norm_(list(self.trained.values()), self.settings.clip)
        self.optimizer.step()
        if self.keep is not None:
            self.keep(self.encoder)
        self.optimizer.zero_grad(set_to_none=True)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UserError(
                f"The training loss is {value} at step {self.step + 1}: the run has diverged; use a smaller learning "
                f"rate than {options.learning_rate:g}."
            )
        return value

    def _validate(self) -> float:
        quiet = Progress(cancel=self.progress.cancel)
        predictions = predict(self.encoder, self.task, self.validation_features, quiet)
        statistics = self.task.statistics(predictions, self.validation_features, self.validation, self.reference)
        return self.task.metric.value(statistics)

    def _save(self, best_is_new: bool = False) -> None:
        self._saved = time.monotonic()
        if self.checkpoints is None:
            return
        best = self.best_epoch
        if best is not None and best_is_new:
            assert self.best is not None
            self.checkpoints.save(f"best-{best.epoch}", self.best, {})
        names = {parameter: name for name, parameter in self.trained.items()}
        weights = {WEIGHT + name: parameter for name, parameter in self.trained.items()}
        facts = {
            "step": self.step,
            "epoch": self.epoch,
            "batches_done": self.batches_done,
            "loss_sum": self.loss_sum,
            "seconds": self.seconds,
            "history": [asdict(e) for e in self.history],
        }
        self.checkpoints.save("state", weights | optimizer_tensors(self.optimizer, names), facts)
        self.checkpoints.keep_only("state", *([f"best-{best.epoch}"] if best else []))

    def _restore(self) -> None:
        found = self.checkpoints.load("state") if self.checkpoints else None
        if found is None:
            return
        assert self.checkpoints is not None
        tensors, facts = found
        history = [Epoch(**e) for e in facts["history"]]
        if history:
            best = max(history, key=lambda e: (e.metric, -e.epoch))
            stored = self.checkpoints.load(f"best-{best.epoch}")
            if stored is None:
                return
            self.best = stored[0]
        self.history = history
        self.step, self.epoch, self.batches_done = facts["step"], facts["epoch"], facts["batches_done"]
        self.loss_sum, self.seconds = facts["loss_sum"], facts["seconds"]
        weights = {key.removeprefix(WEIGHT): tensor for key, tensor in tensors.items() if key.startswith(WEIGHT)}
        _copy_into(self.trained, weights)
        rest = {key: tensor for key, tensor in tensors.items() if not key.startswith(WEIGHT)}
        restore_optimizer(self.optimizer, rest, self.trained)

    def finish(self, base_name: str | None, save_tokenizer: bool, stage: StageOf, merged: bool = False) -> Trained:
        """base_name: what an adapter names as its base; None = a copy of it is written into the folder. merged: write a
        whole checkpoint of an adapter, too. stage: what the folder will say of this run, given its steps' account."""
        assert self.best is not None
        assert self.best_epoch is not None
        _copy_into(self.trained, self.best)
        self._put_rows_back()
        best_metric = self.best_epoch.metric
        if self.adapter is not None:
            round_adapter(self.adapter)
            best_metric = self._validate()
        self.encoder.model.requires_grad_(False)
        if self.adapter is not None and merged:
            self.encoder, self.adapter = self._merged(), None
        said = account(self.step, self.total, self.best_epoch.step)
        ancestry = self.encoder.ancestry.then(stage(said), self.encoder.public_name)
        if self.out is not None:
            with made_at_once(self.out) as folder:
                if self.adapter is not None:
                    if base_name is None:
                        base_name = str(self.out.resolve() / BASE)
                        save_checkpoint(self.start, folder / BASE)
                        self.start.tokenizer.save_pretrained(folder / BASE)
                    save_adapter(self.encoder, self.adapter, folder, base_name)
                    (folder / "README.md").write_text(loading_with_peft(self.encoder, self.out.name), encoding="utf-8")
                else:
                    save_checkpoint(self.encoder, folder)
                if save_tokenizer:
                    self.encoder.tokenizer.save_pretrained(folder)
                (folder / LOG).write_text(self._log(best_metric), encoding="utf-8")
                ancestry.write(folder, self.out)
        whole = self.encoder if self.adapter is None else self._merged()
        source = whole.source if self.out is None else str(self.out)
        name = whole.name if self.out is None else None
        stored = self.out is not None
        encoder = whole.with_model(
            whole.model, source=source, name=name, packing="float32", ancestry=ancestry, stored=stored
        )
        return Trained(encoder, tuple(self.history), best_metric, self.step, self.total)

    def _merged(self) -> Encoder:
        assert self.adapter is not None
        model = self.adapter.merge_and_unload().requires_grad_(False)
        return self.encoder.with_model(model, packing="float32")

    def _log(self, best_metric: float) -> str:
        """One JSON object a line: how the run was set up, each epoch, how it ended."""
        assert self.best_epoch is not None
        start = {"event": "start", "encoder": self.encoder.name, "task": self.task.name, "split": "train"}
        sizes = {"examples": int(self.train_features.example[-1]) + 1, "trained": _count(self.trained.values())}
        lines: list[dict[str, Any]] = [start | sizes | self.settings.to_json()]
        lines += [{"event": "epoch"} | asdict(e) for e in self.history]
        end = {"event": "end", "best_epoch": self.best_epoch.epoch, "steps": self.step, "planned": self.total}
        end |= {"split": self.validation.split}
        measured = {"metric": self.task.metric.name, "best_metric": best_metric, "examples": len(self.validation)}
        return "".join(json.dumps(line) + "\n" for line in [*lines, end | measured])


def account_in(folder: Path) -> str | None:
    """The account of the run that left a folder; None where its log does not say it (an earlier version's)."""
    try:
        lines = [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]
        end = lines[-1]
        best = next(line["step"] for line in lines if line["event"] == "epoch" and line["epoch"] == end["best_epoch"])
        return account(end["steps"], end.get("planned", end["steps"]), best)
    except (OSError, ValueError, KeyError, TypeError, IndexError, StopIteration):
        return None


def _let_train(model: nn.Module) -> None:
    """All parameters but codes, which are whole numbers."""
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())


def _count(parameters: Any) -> int:
    return sum(p.numel() for p in parameters)


def _adamw(trained: dict[str, nn.Parameter], settings: Settings, tables: Sequence[Any] = ()) -> torch.optim.AdamW:
    """Biases and norms (all that is not a matrix) do not decay, nor do tables of which some rows have no gradient."""
    whole = {id(table) for table in tables}
    matrices = [p for p in trained.values() if p.dim() > 1 and id(p) not in whole]
    rest = [p for p in trained.values() if p.dim() <= 1 or id(p) in whole]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.options.learning_rate)


def _schedule(step: int, total: int, warmup: float) -> float:
    """Linear up over the first `warmup` of the steps, then linear down to 0."""
    rising = warmup * total
    if step < rising:
        return (step + 1) / (rising + 1)
    return (total - step) / max(1.0, total - rising)


@contextmanager
def _seeded(*seed: int) -> Iterator[None]:
    """Random numbers inside are those of this seed, and the caller's go on afterwards as if nothing had happened."""
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]) >> 1)
        yield


def _copy_into(parameters: dict[str, nn.Parameter], values: Tensors) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])


def _fingerprint(encoder: Encoder, task: Task, objective: Objective, settings: Settings, *features: Features) -> str:
    digest = hashlib.blake2b(digest_size=16)
    validation = task.digest("validation")  # with how it is measured
    facts = [STATE_FORMAT, encoder.weights, task.name, task.kind, validation, objective.identity(), settings.to_json()]
    digest.update(json.dumps(facts).encode())
    for one in features:
        for ids in one.input_ids:
            digest.update(ids.tobytes() + b"|")
        for target in one.targets or ():
            digest.update(repr(target).encode())
    return digest.hexdigest()
