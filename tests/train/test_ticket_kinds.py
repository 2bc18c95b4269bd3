"""What each kind of ticket starts from, and what its controls have in common with it."""

from __future__ import annotations

import pytest
import torch

from asc_core.errors import UserError
from asc_core.progress import Progress
from asc_core.train.masks import at_random, by_magnitude, masked, matrices_of, whole
from asc_core.train.ticket_kinds import TICKET, PartTickets, WeightTickets
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import logits, padded_batch, tiny

TASK = toy_task(train=40, validation=20)
WEIGHTS, PARTS = WeightTickets(), PartTickets(samples=24)


def test_a_ticket_is_the_starting_values_and_zeros_whatever_training_made_of_them() -> None:
    start, trained = encoder_for(TASK), encoder_for(TASK, seed=9)
    ticket = WEIGHTS.smaller(WEIGHTS.whole(start), trained, TASK, 0.3, 0, Progress())
    made = WEIGHTS.candidate(start, ticket, TICKET, 0)
    for name, module in matrices_of(made.encoder).items():
        old, largest = (matrices_of(encoder)[name].weight.detach() for encoder in (start, trained))
        assert torch.equal(module.weight, torch.where(ticket[name], old, torch.zeros(())))
        kept, gone = largest.abs()[ticket[name]], largest.abs()[~ticket[name]]
        assert not len(gone) or not len(kept) or kept.min() >= gone.max()


def test_each_control_changes_one_thing() -> None:
    start, trained = encoder_for(TASK), encoder_for(TASK, seed=9)
    ticket = WEIGHTS.smaller(WEIGHTS.whole(start), trained, TASK, 0.5, 0, Progress())
    zeros = {name: (m.weight == 0).sum() for name, m in _matrices(start, ticket, TICKET).items()}
    for which in WEIGHTS.controls:
        found = _matrices(start, ticket, which)
        places = {name: m.weight != 0 for name, m in found.items()}
        if which in ("reinitialised", "shuffled"):
            assert all(torch.equal(places[name], mask) for name, mask in ticket.items())
        else:
            assert any(not torch.equal(places[name], mask) for name, mask in ticket.items())
        if which != "untrained":
            assert {name: (m.weight == 0).sum() for name, m in found.items()} == zeros
    assert sum(int((m.weight == 0).sum()) for m in _matrices(start, ticket, "untrained").values()) == sum(
        map(int, zeros.values())
    )
    largest = masked(start, by_magnitude(whole(start), start, 0.5))
    assert WEIGHTS.candidate(start, ticket, "untrained", 0).encoder.weights == largest.weights
    drawn = masked(start, at_random(ticket, 4))
    assert WEIGHTS.candidate(start, ticket, "random", 4).encoder.weights == drawn.weights


def _matrices(start, ticket, which):  # type: ignore[no-untyped-def]
    return matrices_of(WEIGHTS.candidate(start, ticket, which, 0).encoder)


def test_a_ticket_of_parts_is_the_same_cut_of_the_starting_encoder_round_after_round() -> None:
    start, trained = encoder_for(TASK), encoder_for(TASK, seed=9)
    first = PARTS.smaller(PARTS.whole(start), trained, TASK, 0.3, 0, Progress())
    once = PARTS.candidate(start, first, TICKET, 0).encoder
    second = PARTS.smaller(first, once, TASK, 0.3, 0, Progress())
    twice = PARTS.candidate(start, second, TICKET, 0).encoder
    assert 0.25 < PARTS.sparsity(start, first) < 0.4
    assert 0.45 < PARTS.sparsity(start, second) < 0.6
    assert all(bool((first[name] | ~mask).all()) for name, mask in second.items())
    assert sum(once.shape.heads) + sum(once.shape.neurons) > sum(twice.shape.heads) + sum(twice.shape.neurons)
    again = matrices_of(twice)
    row = next(r for r in range(3) if second[f"neurons.{r}"].any())
    name = [n for n in matrices_of(start) if n.endswith("intermediate.dense")][row]
    old = matrices_of(start)[name].weight[second[f"neurons.{row}"]]
    assert torch.equal(again[name].weight, old)


@pytest.mark.parametrize("method", ["random-layers", "magnitude"])
def test_parts_may_be_whole_layers_or_chosen_by_any_score(method: str) -> None:
    kind, start = PartTickets(method, samples=24), encoder_for(TASK, num_hidden_layers=4)
    ticket = kind.smaller(kind.whole(start), start, TASK, 0.5, 0, Progress())
    made = kind.candidate(start, ticket, TICKET, 0).encoder
    assert made.shape.layers == int(ticket["layers"].sum())
    for which in kind.controls:
        other = kind.candidate(start, ticket, which, 0).encoder
        assert (other.shape.heads, other.shape.neurons) == (made.shape.heads, made.shape.neurons)
        if method == "magnitude" or which != "random":  # of layers that stay whole nothing can be drawn
            assert (logits(other, padded_batch()) - logits(made, padded_batch())).abs().max() > 1e-3


def test_parts_of_layers_that_share_their_weights_are_refused() -> None:
    with pytest.raises(UserError, match="layers of their own"):
        PARTS.whole(tiny("albert"))
