from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asc_core.errors import UserError
from asc_core.train.masks import at_random, by_magnitude, whole, write_masks
from asc_core.train.ticket_kinds import TICKET
from asc_core.train.ticket_report import overlaps, overlaps_of_seeds, report
from asc_core.train.tickets import Found, Outcome
from tests.tiny import tiny


def found(dense: list[float], tickets: dict[int, float]) -> Found:
    outcomes = [Outcome(seed, 0, TICKET, 0.0, value, 9) for seed, value in enumerate(dense)]
    outcomes += [Outcome(0, number, TICKET, 1 - 0.8**number, value, 9) for number, value in tickets.items()]
    outcomes += [Outcome(0, number, "random", 1 - 0.8**number, value / 2, 9) for number, value in tickets.items()]
    return Found("weights", "tiny", "toy", "accuracy", "validation", 60, tuple(outcomes))


def test_a_ticket_matches_within_one_standard_deviation_of_the_whole_model() -> None:
    made = report(found([0.90, 0.92, 0.94], {1: 0.93, 2: 0.90, 3: 0.899}))
    assert made["dense"]["mean"] == pytest.approx(0.92)
    assert made["dense"]["deviation"] == pytest.approx(0.02)
    assert made["matching"] == pytest.approx(1 - 0.8**2)
    assert [entry["round"] for entry in made["rounds"]] == [1, 2, 3]
    assert made["rounds"][1]["random"] == {"mean": 0.45, "deviation": None, "values": {"0": 0.45}}


@pytest.mark.parametrize(("dense", "tickets"), [([0.9], {1: 0.9}), ([0.90, 0.92], {1: 0.5})])
def test_no_match_is_said_where_none_is_known(dense: list[float], tickets: dict[int, float]) -> None:
    assert report(found(dense, tickets))["matching"] is None


def test_overlap_of_two_applications_stands_beside_that_of_chance(tmp_path: Path) -> None:
    encoder = tiny()
    ticket = by_magnitude(whole(encoder), encoder, 0.5)
    for folder, seed, masks in (("a", 0, ticket), ("b", 0, ticket), ("c", 0, at_random(ticket, 1)), ("a", 1, ticket)):
        write_masks(tmp_path / folder / f"seed-{seed}" / "round-1" / "masks.safetensors", masks)
    (same,), (other,) = (overlaps(tmp_path / "a", tmp_path / name) for name in "bc")
    assert (same["jaccard"], same["with"]) == (1, "b")
    assert other["jaccard"] == pytest.approx(other["chance"], abs=0.03)
    assert other["chance"] < 0.5
    (between,) = overlaps_of_seeds(tmp_path / "a")
    assert between["jaccard"] == 1
    assert torch.equal(torch.tensor(between["sparsity"]), torch.tensor([0.5, 0.5]))


def test_without_the_whole_model_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(UserError, match="whole model"):
        report(found([], {1: 0.5}))
