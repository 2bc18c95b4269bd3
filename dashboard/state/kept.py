"""What the dashboard keeps in a study's settings: one accessor a key, typed.

A study may come from anyone: what is there and is nothing of its kind counts as not kept, since all of it can be had
again, but for the list of applications, which the user has made. The keys are spelled as they were in the first
studies, so that those are read, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
from pydantic import PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from asc_core.compress.calibration import SAMPLES
from asc_core.compress.matrix_scan import MatrixScan
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.loss_prediction import Prediction
from asc_core.study import Study
from asc_core.tasks import Task
from dashboard.state.application import Application, Facts
from dashboard.state.cut_settings import CutSettings
from dashboard.state.speed import Speed

Value = TypeVar("Value")


@dataclass(frozen=True)
class Setting(Generic[Value]):
    """One key of one study."""

    study: Study
    key: str
    form: TypeAdapter[Value]

    def get(self) -> Value | None:
        return self._read(self.study.get(self.key))

    def set(self, value: Value | None) -> None:
        self.study.set(self.key, self._written(value))

    def change(self, how: Callable[[Value | None], Value | None]) -> None:
        """Replace what is kept by what becomes of it; no other window and no other process writes in between."""
        self.study.change(self.key, lambda stored: self._written(how(self._read(stored))))

    def _read(self, stored: Any) -> Value | None:
        try:
            return self.form.validate_python(stored) if stored is not None else None
        except ValidationError:
            return None

    def _written(self, value: Value | None) -> Any:
        return self.form.dump_python(value, mode="json") if value is not None else None


@dataclass(frozen=True)
class ScoringRun:
    """What a scoring that was allowed to stop early was asked for: only the same one can be continued."""

    methods: list[str]
    samples: int


@dataclass(frozen=True)
class TrustRun:
    """What a report of trust was asked for."""

    samples: int
    held_out: int


@dataclass(frozen=True)
class Pace:
    """Seconds that a text takes through an encoder on the machine that it was last measured on."""

    seconds: float


def _settings(stored: Any) -> CutSettings:
    found = stored if isinstance(stored, CutSettings) else CutSettings.from_json(stored)
    if found is None:
        raise ValueError("these are no settings of a cut")
    return found


SettingsForm = Annotated[CutSettings, PlainValidator(_settings), PlainSerializer(CutSettings.to_json)]


@dataclass(frozen=True)
class PinnedSettings:
    """The settings (`move` in studies) that a pin was made with. plan: the key of the plan that it named then."""

    plan: str
    move: SettingsForm


_TEXT, _COUNT = TypeAdapter(str), TypeAdapter(int)
_FACTS = TypeAdapter(Facts)
_SCORING, _TRUST, _PACE, _SPEED = TypeAdapter(ScoringRun), TypeAdapter(TrustRun), TypeAdapter(Pace), TypeAdapter(Speed)
_SETTINGS: TypeAdapter[CutSettings] = TypeAdapter(SettingsForm)
_PINNED = TypeAdapter(PinnedSettings)
_PREDICTIONS = TypeAdapter(list[Prediction])
_MATRICES = TypeAdapter(MatrixScan)


# Of an application


def weights(study: Study, application: Application) -> Setting[str]:
    """The fingerprint of its encoder, as it was when it was last loaded."""
    return Setting(study, f"weights:{application.encoder}", _TEXT)


def needed_tokens(study: Study, encoder: Encoder, task: Task) -> Setting[int]:
    """How many calibration tokens were enough for repairs of this application."""
    return Setting(study, f"needed tokens:{encoder.weights}:{task.digest('train', SAMPLES, 0)}", _COUNT)


def facts(study: Study, application: Application) -> Setting[Facts]:
    return Setting(study, f"facts-2:{application.task}", _FACTS)  # the number goes up when `Facts` changes


def scoring_run(study: Study, application: Application) -> Setting[ScoringRun]:
    """The last one that was allowed to stop early."""
    return Setting(study, f"watched:{application.name}", _SCORING)


def trust_run(study: Study, application: Application) -> Setting[TrustRun]:
    """The one that has begun and not ended, so that it can go on after a kill."""
    return Setting(study, f"judging:{application.name}", _TRUST)


def pace(study: Study, application: Application) -> Setting[Pace]:
    return Setting(study, f"pace:{application.encoder}:{application.name}", _PACE)


def added(study: Study) -> list[Application]:
    """The user's own applications, in the order of adding. Raises: UserError if the list is damaged."""
    return _applications(study, study.get(_ADDED, []))


def change_added(study: Study, how: Callable[[list[Application]], Sequence[Application]]) -> None:
    """Replace the list of the user's own by what becomes of it; of two that add at once neither is lost.

    Raises: UserError if the list is damaged, and what `how` raises; then it stays as it was.
    """

    def changed(stored: Any) -> list[dict[str, str | None]]:
        return [{field: getattr(one, field) for field in _FIELDS} for one in how(_applications(study, stored or []))]

    study.change(_ADDED, changed)


def _applications(study: Study, stored: Any) -> list[Application]:
    try:
        return [
            Application(
                str(one["name"]),
                str(one["encoder"]),
                str(one["task"]),
                task_name=str(one.get("task_name", one["name"])),
            )
            for one in stored
        ]
    except (TypeError, KeyError, AttributeError):
        raise UserError(
            f"The list of applications in {study.path} is damaged; add the applications again in another study."
        ) from None


_FIELDS = ("name", "encoder", "task", "task_name")
_ADDED = "applications"


def head_shares(study: Study, application: Application, weights: str, samples: int) -> np.ndarray | None:
    """(examples, heads): each head's share in the gradients of single examples."""
    found = study.partial(_head_shares_key(application, weights, samples))
    return found[0].get("shares") if found is not None else None


def keep_head_shares(
    study: Study, application: Application, weights: str, samples: int, shares: np.ndarray, split: str
) -> None:
    study.save_partial(_head_shares_key(application, weights, samples), {"shares": shares}, {"split": split})


def _head_shares_key(application: Application, weights: str, samples: int) -> str:
    return f"head-shares|{weights}|{application.name}|{samples}"


# Of a cut


def plan_settings(study: Study, plan_key: str, application: str | None = None) -> Setting[CutSettings]:
    """application: one plan may suit several, each with settings of its own; None = whichever was the latest."""
    return Setting(study, f"move:{plan_key}" if application is None else f"move:{application}:{plan_key}", _SETTINGS)


def pin_settings(study: Study, name: str) -> Setting[PinnedSettings]:
    return Setting(study, f"pin-move:{name}", _PINNED)


def speed(study: Study, weights: str, application: Application, key: str) -> Setting[Speed]:
    return Setting(study, f"latency:{weights}:{application.name}:{key}", _SPEED)


def matrix_scan(study: Study, weights: str, application: Application, activations: str) -> Setting[MatrixScan]:
    """What int8 does to an encoder's answers, matrix by matrix."""
    return Setting(study, f"matrices:{weights}:{application.name}:{activations}", _MATRICES)


def series(study: Study, application: Application, recipe_key: str) -> Setting[str]:
    """The curve that a measured recipe is a point of."""
    return Setting(study, f"series:{application.name}:{recipe_key}", _TEXT)


def predictions(study: Study, weights: str, application: Application, split: str) -> Setting[list[Prediction]]:
    """What was predicted of cuts and how it came out."""
    return Setting(study, f"foretold:{weights}:{application.name}:{split}", _PREDICTIONS)
