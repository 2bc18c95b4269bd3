"""Published methods as a whole: each within its budget, and each selectable by its name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from asc_core.compress import PUBLISHED, Cut, calibrate, prune, published_plan
from asc_core.compress.bias import columns_of
from asc_core.compress.choose import CutToBudget
from asc_core.compress.published import MethodInputs
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.plan import by_budget
from asc_core.plan.encoder_cost import task_cost_model
from asc_core.probes import Probe, Readout, probing
from asc_core.recipes import Recipe
from asc_core.scores import sweep
from asc_core.tasks.base import Batch
from asc_core.values import Plan
from tests.scores.toy import ToyTask
from tests.tiny import logits, padded_batch, tiny

pytestmark = pytest.mark.slow


class DecidedTask(ToyTask):
    def predict(self, output: Any, batch: Batch) -> list[Any]:
        return list(output.logits.argmax(-1).numpy())


TASK = DecidedTask(40)


@pytest.mark.parametrize("method", PUBLISHED)
def test_every_method_stays_within_each_budget_and_can_be_made_again_from_its_recipe(method: str) -> None:
    encoder = tiny()
    costs, keeps = task_cost_model(encoder, TASK), (0.7, 0.5)
    plans = list(PUBLISHED[method].plans(MethodInputs(encoder, TASK), keeps))
    assert len(plans) == len(keeps)
    for keep, plan in zip(keeps, plans, strict=True):
        assert 0 < costs.total(plan, "flops") <= keep * costs.dense_total("flops")
        recipe = Recipe((Cut(plan=plan, repair=PUBLISHED[method].repair, samples=40),))
        again = Recipe.from_json(recipe.to_json())
        first, second = recipe.apply(encoder, TASK), again.apply(encoder, TASK)
        assert torch.equal(logits(first, padded_batch()), logits(second, padded_batch()))
    assert costs.total(plans[1], "flops") <= costs.total(plans[0], "flops")


@pytest.mark.parametrize("method", PUBLISHED)
def test_a_plan_made_again_from_the_same_texts_is_the_same_plan(method: str) -> None:
    """From a fresh encoder and calibration: nothing of the first time is used."""
    first, again = (published_plan(tiny(), TASK, method, 0.5, samples=30, seed=3) for _ in range(2))
    assert (first.layers, first.heads, first.neurons) == (again.layers, again.heads, again.neurons)


def test_the_published_search_looks_at_as_many_tokens_as_it_is_told() -> None:
    encoder, seen = tiny(), []
    for tokens in (64, 10_000):
        given = MethodInputs(encoder, TASK, samples=40, tokens=tokens)
        seen.append(given.calibration.tokens)
    assert seen[0] <= 64 < seen[1]


@pytest.mark.parametrize("method", PUBLISHED)
def test_a_plan_says_which_method_and_weights_it_comes_from(method: str) -> None:
    encoder = tiny()
    plan = published_plan(encoder, TASK, method, 0.6, samples=30)
    assert plan.provenance.method == method
    assert plan.provenance.task == "toy"
    with pytest.raises(UserError, match="--transfer"):
        prune(tiny(seed=1), plan)


def test_kwon_keeps_as_many_parts_of_each_row_as_the_fisher_information_says() -> None:
    encoder = tiny()
    by_diagonal = by_budget(sweep(encoder, TASK, ["fisher"])["fisher"], task_cost_model(encoder, TASK), 0.5)
    found = published_plan(encoder, TASK, "kwon", 0.5)
    assert list(map(len, found.heads)) == list(map(len, by_diagonal.heads))
    assert list(map(len, found.neurons)) == list(map(len, by_diagonal.neurons))


def test_flap_standardises_fluctuations_in_each_sublayer_and_then_compares_all_heads_and_neurons() -> None:
    encoder = tiny()
    given = MethodInputs(encoder, TASK)
    columns = columns_of(encoder, given.calibration)
    ranked = []
    for readout in encoder.readouts:
        weight = readout.weight.detach().numpy().astype(np.float64)
        drive = columns.variances[readout.kind, readout.row].numpy() * np.square(weight).sum(0)
        standard = (drive - drive.mean()) / drive.std(ddof=1)
        kind = "heads" if readout.kind == "attention" else "neurons"
        for block, value in enumerate(standard.reshape(readout.blocks, -1).mean(1)):
            ranked.append((value, kind, readout.row, block))
    (plan,) = PUBLISHED["flap-adaptive"].plans(given, [0.5])
    kept = {(kind, row, i) for kind in ("heads", "neurons") for row, r in enumerate(getattr(plan, kind)) for i in r}
    ranked.sort(reverse=True)
    assert kept == {part[1:] for part in ranked[: len(kept)]}
    dearer = list(ranked[: len(kept) + 1])
    more = {
        kind: [[b for _, k, r, b in dearer if (k, r) == (kind, row)] for row in range(3)]
        for kind in ("heads", "neurons")
    }
    larger = Plan(
        encoder.shape,
        tuple(tuple(sorted(r)) for r in more["heads"]),
        tuple(tuple(sorted(r)) for r in more["neurons"]),
        (0, 1, 2),
    )
    assert given.cost_model.total(larger, "flops") > 0.5 * given.cost_model.dense_total("flops")


@pytest.mark.parametrize("budget", ["flops", "parameters", "bytes"])
@pytest.mark.parametrize("method", sorted(PUBLISHED))
def test_no_published_method_exceeds_its_budget_and_out_of_reach_is_said(method: str, budget: Any) -> None:
    encoder = tiny()
    costs = task_cost_model(encoder, TASK)
    found = 0
    for keep in (0.9, 0.5, 0.3, 0.1, 0.02):
        try:
            plan = published_plan(encoder, TASK, method, keep, budget, samples=16)
        except UserError:
            continue
        found += 1
        assert costs.total(plan, budget) <= keep * costs.dense_total(budget) + 1e-6
    assert found


def test_a_published_method_has_no_widths_in_multiples() -> None:
    with pytest.raises(UserError, match="multiples of 4"):
        CutToBudget(method="kprune", keep=0.5, multiple=4).plan(tiny(), TASK)


def test_fluctuations_of_layers_that_share_weights_are_over_all_their_tokens() -> None:
    encoder = tiny("albert")
    calibration = calibrate(encoder, TASK)
    seen: dict[Any, list[torch.Tensor]] = {}

    class Inputs(Probe):
        def read(self, readout: Readout, inputs: torch.Tensor) -> None:
            seen.setdefault((readout.kind, readout.row), []).append(inputs[text.real].detach().double())

    for text in calibration.texts:
        with probing(Inputs()):
            encoder.model(**text.batch.inputs)
    columns = columns_of(encoder, calibration)
    for place, inputs in seen.items():
        together = torch.cat(inputs)
        assert len(together) == encoder.shape.layers * calibration.tokens
        torch.testing.assert_close(columns.means[place], together.mean(0), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(columns.variances[place], together.var(0, correction=0), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("encoder", "method", "keep", "says"),
    [
        (tiny(), "magic", 0.5, "There is no published method"),
        (tiny(), "kwon", 0.0, "between 0 and 1"),
        (tiny(), "greedy-layers", 0.1, "One layer alone"),
        (tiny("albert"), "kprune", 0.5, "layers share"),
        (tiny("albert"), "greedy-layers", 0.5, "share weights"),
    ],
    ids=["unknown", "nothing left", "less than a layer", "shared weights", "shared layers"],
)
def test_what_cannot_be_is_refused_in_one_sentence(encoder: Encoder, method: str, keep: float, says: str) -> None:
    with pytest.raises(UserError, match=says):
        published_plan(encoder, TASK, method, keep)
