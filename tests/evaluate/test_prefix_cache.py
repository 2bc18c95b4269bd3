"""Evaluations that begin where their model is new give what whole ones give."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asc_core.bounded_cache import BoundedCache
from asc_core.compress import Cut
from asc_core.encoder import Encoder
from asc_core.evaluate import measure
from asc_core.evaluate.prefix_cache import CachedRunner, PrefixReuse, prefix_keys, prefix_shelf, unchanged
from asc_core.probes import Probe, probing
from asc_core.values import Plan
from tests.evaluate.toy_tasks import KINDS, encoder_for, toy_task

pytestmark = pytest.mark.slow


class Layers(Probe):
    """Counts the layers that were computed, by what their readouts saw."""

    def __init__(self) -> None:
        self.ran = 0

    def read(self, readout: object, inputs: torch.Tensor) -> None:
        self.ran += 1


def keys_of(encoder: Encoder, plan: Plan, repair: str | None = None) -> tuple[str, ...]:
    keys = prefix_keys(encoder.weights, encoder.shape.layers, [Cut(plan=plan, repair=repair).lineage(encoder)])
    assert keys is not None
    return keys


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_reused_changes_no_result(kind: str) -> None:
    task = toy_task(kind, validation=70)
    encoder = encoder_for(task)
    cache = prefix_shelf(BoundedCache(1 << 30))
    plan = Plan.full(encoder.shape).drop(0, head=1).drop(2, head=0)
    for again in (Plan.full(encoder.shape), plan, plan.drop(2, head=1), plan.drop(2, head=1).drop(1, head=0)):
        model = encoder.cut(again)
        reuse = PrefixReuse(cache, keys_of(encoder, again))
        plain = measure(model, task)
        np.testing.assert_allclose(measure(model, task, reuse=reuse).statistics, plain.statistics, atol=1e-5)
        np.testing.assert_allclose(measure(model, task, reuse=reuse).statistics, plain.statistics, atol=1e-5)


def test_only_what_is_new_is_computed() -> None:
    task = toy_task("text-classification", validation=200)
    encoder = encoder_for(task)
    cache = prefix_shelf(BoundedCache(1 << 30))
    first = Plan.full(encoder.shape).drop(0, head=1)
    second = first.drop(2, head=0)
    counts = []
    for plan in (first, second, second):
        probe = Layers()
        with probing(probe):
            measure(encoder.cut(plan), task, reuse=PrefixReuse(cache, keys_of(encoder, plan)))
        counts.append(probe.ran)
    layers, batches = encoder.shape.layers, counts[0] // (2 * encoder.shape.layers)
    assert batches > 2
    assert counts[1] == 2 * (layers + (batches - 1) * (layers - 2)), "all but the first batch begin at the third layer"
    assert counts[2] == 2 * (layers + (batches - 1) * 1), "of the same model only the last layer is left"


def test_keys_are_equal_as_far_as_plans_are() -> None:
    encoder, other_weights = (encoder_for(toy_task("text-classification", validation=5), seed=seed) for seed in (0, 1))
    whole = Plan.full(encoder.shape)
    plan, other = whole.drop(1, head=0), whole.drop(1, head=0).drop(2, neuron=3)
    assert keys_of(encoder, plan)[:3] == keys_of(encoder, other)[:3]
    assert keys_of(encoder, plan)[:2] == keys_of(encoder, whole)[:2]
    assert keys_of(encoder, plan)[2] != keys_of(encoder, whole)[2]
    assert keys_of(encoder, plan)[0] != keys_of(other_weights, plan)[0]
    for repair in ("sequential", "one-shot", "bias"):
        repaired = keys_of(encoder, plan, repair)
        assert repaired[:2] == keys_of(encoder, plan)[:2], "below the first cut there was nothing to repair"
        assert repaired[2] != keys_of(encoder, plan)[2]
        assert repaired == keys_of(encoder, other, repair)[:3], "what is repaired depends on nothing above it"
    for repair in ("mask-tuning", "reconstruction"):  # also change what is not cut
        assert keys_of(encoder, plan, repair)[1] != keys_of(encoder, plan)[1]
    without = whole.drop(0)
    assert len(keys_of(encoder, without)) == encoder.shape.layers - 1
    assert keys_of(encoder, without)[1] != keys_of(encoder, whole)[1]


def test_keys_fold_over_several_steps() -> None:
    layers = 3
    changes = (unchanged(0), "a", unchanged(2))
    one = prefix_keys("w", layers, [changes])
    assert one == prefix_keys("w", layers, [tuple(map(unchanged, range(layers))), changes])
    twice = prefix_keys("w", layers, [changes, (unchanged(0), unchanged(1), "b")])
    assert twice == one, "the last layer is read by no layer"
    assert one is not None
    dropped = prefix_keys("w", layers, [changes, (unchanged(0), unchanged(2))])
    assert dropped == one[:2], "a layer above is gone"
    assert prefix_keys("w", layers, [changes, ("b", unchanged(1), unchanged(2))])[1] != one[1]  # type: ignore[index]
    assert prefix_keys("w", layers, [changes, None]) is None
    assert prefix_keys("w", layers, [None, changes]) is None
    first, second = (prefix_keys("w", layers, [(a, *changes[1:]), ("c", *changes[1:])]) for a in ("a", "b"))
    assert first is not None
    assert second is not None
    assert first[1] != second[1], "what a layer was changed from counts"


def test_hidden_states_take_a_half_at_most() -> None:
    cache = BoundedCache(1000)
    states = prefix_shelf(cache)
    for number in range(20):
        states.put(("x", str(number)), torch.zeros(50), 200)
        assert states.bytes <= 500
    assert states.keys() == [("x", "18"), ("x", "19")]


def test_where_not_all_layers_fit_every_second_is_kept() -> None:
    task = toy_task("text-classification", validation=70)
    encoder = encoder_for(task)
    tokens = 1000
    every = tokens * encoder.shape.hidden * 4 * (encoder.shape.layers - 1)
    cache = prefix_shelf(BoundedCache(2 * (every - 1)))
    model = CachedRunner(encoder, PrefixReuse(cache, keys_of(encoder, Plan.full(encoder.shape))), tokens)
    examples = task.examples("validation", 4, 0)
    batch = task.batch(task.features(examples, encoder), range(4), encoder)
    with torch.inference_mode():
        expected = encoder.model(**batch.inputs)
        found = model(batch.inputs)
    torch.testing.assert_close(found.logits, expected.logits)
    assert len(cache) == len([layer for layer in range(1, encoder.shape.layers) if layer % 2 == 0])


def test_a_wrong_number_of_keys_is_refused() -> None:
    encoder = encoder_for(toy_task("text-classification", validation=5))
    with pytest.raises(ValueError, match="prefix keys"):
        CachedRunner(encoder, PrefixReuse(prefix_shelf(BoundedCache(1 << 30)), ("a",)), 10)
