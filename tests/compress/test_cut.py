"""The cut as a step: what it says of itself holds for the model that it makes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from asc_core.compress import REPAIRS, Calibrations, Cut, StepContext
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.evaluate.prefix_cache import prefix_keys
from asc_core.recipes import STEPS
from asc_core.scores.restart import Restartable
from asc_core.values import Plan
from tests.compress.cuts import half
from tests.scores.toy import ToyTask
from tests.test_surgery import plans
from tests.tiny import padded_batch, tiny

TASK = ToyTask(40)
ENCODER = tiny()
CALIBRATIONS = Calibrations(most=2)


def layer_inputs(encoder: Encoder) -> list[torch.Tensor]:
    with torch.no_grad():
        return Restartable(encoder).record(padded_batch())[1]


def keys_and_inputs(plan: Plan, repair: str | None) -> dict[str, torch.Tensor]:
    step = Cut(plan=plan, repair=repair)
    keys = prefix_keys(ENCODER.weights, ENCODER.shape.layers, [step.lineage(ENCODER)])
    assert keys is not None
    made = step.apply(ENCODER, StepContext(TASK, calibrations=CALIBRATIONS))
    assert len(keys) == made.shape.layers
    return dict(zip(keys, layer_inputs(made), strict=False))


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(data=st.data(), repair=st.sampled_from([None, *REPAIRS]))
def test_layers_with_equal_keys_read_equal_hidden_states(data: st.DataObject, repair: str | None) -> None:
    plan = data.draw(plans(ENCODER.shape))
    row = data.draw(st.sampled_from(range(ENCODER.shape.layers)))
    others = [plan.drop(row, neuron=n) for n in plan.neurons[row][:1]] + [Plan.full(ENCODER.shape)]
    if not plan.layers:
        return
    known = keys_and_inputs(plan, repair)
    for other in filter(lambda one: one.layers, others):
        for also in {None, repair}:
            for key, states in keys_and_inputs(other, also).items():
                if key in known:
                    torch.testing.assert_close(states, known[key], atol=1e-4, rtol=1e-3)


def test_it_needs_the_task_where_it_repairs() -> None:
    plan = half(ENCODER)
    assert not Cut(plan=plan).needs_task
    assert Cut(plan=plan, repair="bias").needs_task
    with pytest.raises(UserError, match="name the task"):
        Cut(plan=plan, repair="bias").apply(ENCODER, StepContext())


def test_it_says_what_it_does() -> None:
    assert Cut(plan=half(ENCODER)).describe() == "cut to 3 of 3 layers, 6 of 12 heads, 30 of 60 neurons"
    assert Cut(plan=half(ENCODER), repair="bias").describe().endswith(", means folded into biases")
    assert Cut(plan=half(ENCODER), repair="bias").summary() == {"step": "cut", "repair": "bias"}


def test_a_plan_is_parsed_once_at_the_edge() -> None:
    plan = half(ENCODER)
    step = Cut.model_validate({"plan": plan.to_json()})
    assert step.plan == plan
    assert step == Cut(plan=plan)
    assert Cut(plan=plan).plan is plan
    assert step.model_dump(mode="json")["plan"] == plan.to_json()


@pytest.mark.parametrize("structure", ["share", "factor"])
@pytest.mark.parametrize("kind", ["cut", "cut-to-budget"])
def test_what_cannot_be_repaired_is_said_before_anything_is_scored_or_calibrated(kind: str, structure: str) -> None:
    made = STEPS[structure](**({"lower": 1} if structure == "share" else {"keep": 0.5})).apply(tiny(), StepContext())
    fields: dict[str, Any] = {"plan": Plan.full(made.shape)} if kind == "cut" else {"keep": 0.9}
    step = STEPS[kind].model_validate({"repair": "sequential", **fields})
    with pytest.raises(UserError, match=r"A repair (needs|gives)"):
        step.apply(made, StepContext(task=None))  # no texts: nothing can have been asked of them


def test_a_multiple_beyond_any_width_is_refused() -> None:
    with pytest.raises(ValidationError, match="multiple"):
        STEPS["cut-to-budget"].model_validate({"keep": 0.5, "multiple": 1 << 63})
