from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from asc_core.compress.step import Step, StepContext
from asc_core.encoder import Encoder
from asc_core.recipes import STEPS
from dashboard.state.further_steps import offered
from dashboard.state.step_parameters import Parameter, can_be_shown, initial, parameters


class Base(Step):
    seed: int = 0

    def apply(self, encoder: Encoder, context: StepContext) -> Encoder:
        return encoder

    def describe(self) -> str:
        return "nothing done"


class Every(Base):
    """One field of each kind."""

    kind: ClassVar[str] = "every"
    share: float = Field(gt=0, le=1, description="What stays.")
    rank: int = Field(default=4, ge=1, le=64, title="Rank of each")
    limit: int | None = Field(default=None, ge=1)
    way: Literal["a", "b"] = "b"
    exact: bool = True
    others: tuple[str, ...] = ()


def test_parameters_are_read_from_the_fields_own_ones_first() -> None:
    assert parameters(Every) == [
        Parameter("share", "Share", "number", 0.5, 0.01, 1, about="What stays."),
        Parameter("rank", "Rank of each", "whole", 4, 1, 64),
        Parameter("limit", "Limit", "whole", None, 1, optional=True),
        Parameter("way", "Way", "choice", "b", choices=("a", "b")),
        Parameter("exact", "Exact", "switch", True),
        Parameter("seed", "Seed", "whole", 0, own=False),
    ], "what no widget can show keeps its default"


def test_a_step_begins_as_its_form_shows_it() -> None:
    step = Every(**initial(Every))
    assert all(getattr(step, one.name) == one.default for one in parameters(Every))


def test_a_step_that_needs_what_no_widget_can_show_is_not_offered() -> None:
    class Needs(Base):
        kind: ClassVar[str] = "needs"
        rows: list[int]

    assert can_be_shown(Every)
    assert not can_be_shown(Needs)


def test_every_step_that_is_offered_begins_valid_and_none_of_them_cuts() -> None:
    assert {"finetune", "distil"} <= offered().keys() <= STEPS.keys()
    for step in offered().values():
        assert step(**initial(step)).describe()
        assert step.structure != "cut"
