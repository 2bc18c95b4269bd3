"""A run of tickets: what is trained holds its zeros, and a killed run ends as one that nobody disturbed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from asc_core.errors import Cancelled, UserError
from asc_core.progress import Progress
from asc_core.train import tickets as module
from asc_core.train.finetune import finetune
from asc_core.train.masks import masked, matrices_of, read_masks, whole
from asc_core.train.options import TrainingOptions
from asc_core.train.ticket_kinds import TICKET, PartTickets, WeightTickets
from asc_core.train.tickets import TicketSettings, find_tickets, masks_in
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.tiny import tiny

pytestmark = pytest.mark.slow

TASK = toy_task(train=48, validation=24)
FAST = TicketSettings(
    rate=0.3,
    rounds=2,
    dense_seeds=(0, 1),
    epochs=1,
    training=TrainingOptions(batch_size=16, lr=1e-2),
)


def test_pruned_weights_stay_zero_through_training_and_the_others_learn(tmp_path: Path) -> None:
    encoder = encoder_for(TASK)
    kind = WeightTickets()
    ticket = kind.smaller(whole(encoder), encoder, TASK, 0.5, 0, Progress())
    candidate = kind.candidate(encoder, ticket, TICKET, 0)
    trained = finetune(candidate.encoder, TASK, keep=candidate.keep, epochs=2, lr=1e-2, batch_size=16).encoder
    for name, linear in matrices_of(trained).items():
        assert not linear.weight[~ticket[name]].any()
        assert (linear.weight != masked(encoder, ticket).model.get_submodule(name).weight)[ticket[name]].any()


def test_every_round_prunes_its_share_and_each_control_is_trained(tmp_path: Path) -> None:
    found = find_tickets(tiny(), TASK, tmp_path / "t", FAST)
    assert (found.kind, found.metric, found.examples) == ("weights", "accuracy", 24)
    of_seed = [o for o in found.outcomes if o.seed == 0]
    assert [(o.round, o.which) for o in of_seed] == [
        (0, TICKET), *((r, w) for r in (1, 2) for w in (TICKET, *WeightTickets.controls))
    ]  # fmt: skip
    total = sum(mask.numel() for mask in whole(tiny()).values())
    for outcome in of_seed:
        assert outcome.sparsity == pytest.approx(1 - 0.7**outcome.round, abs=2 / total)
    assert [(o.seed, o.round) for o in found.outcomes if o.seed] == [(1, 0)]
    masks = masks_in(tmp_path / "t")
    assert {key for key in masks if key[0] == 0} == {(0, 1), (0, 2), (0, 3)}
    assert all(bool((masks[0, 1][name] | ~mask).all()) for name, mask in masks[0, 2].items())
    assert not list(tmp_path.glob("**/model.safetensors"))  # no model is left behind


def test_more_rounds_and_controls_add_to_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(FAST, rounds=1, controls=(), dense_seeds=(0,))
    first = find_tickets(tiny(), TASK, tmp_path / "t", few)
    kept, done = module.finetune, []

    def counted(*args: Any, **options: Any) -> Any:
        done.append(args[2])
        return kept(*args, **options)

    monkeypatch.setattr(module, "finetune", counted)
    more = find_tickets(tiny(), TASK, tmp_path / "t", replace(few, rounds=2, controls=("random",)))
    assert len(done) == len(more.outcomes) - len(first.outcomes) == 3
    assert more.outcomes[:2] == first.outcomes
    assert find_tickets(tiny(), TASK, tmp_path / "t", few) == first
    assert len(done) == 3


@pytest.mark.parametrize("kind", [WeightTickets(), PartTickets(samples=24)], ids=lambda kind: kind.name)
def test_a_killed_run_goes_on_to_the_same_result(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(FAST, early=2, controls=("random",), dense_seeds=(0,))
    wanted = find_tickets(tiny(), TASK, tmp_path / "whole", settings, kind)
    killed = 0
    while True:
        progress, steps = Progress(), 0

        def report(done: int, total: int, what: str, progress: Progress = progress) -> None:
            nonlocal steps
            steps += what == "training steps"
            if steps > 4:
                progress.cancel.set()

        progress.report = report
        try:
            found = find_tickets(tiny(), TASK, tmp_path / "killed", settings, kind, progress)
            break
        except Cancelled:
            killed += 1
    assert killed > 2
    assert found == wanted
    mine, theirs = (masks_in(tmp_path / name) for name in ("killed", "whole"))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mask, theirs[key][name]) for key, of in mine.items() for name, mask in of.items())


def test_a_kill_between_training_and_its_outcome_costs_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(FAST, rounds=1, controls=(), dense_seeds=(0,))
    wanted = find_tickets(tiny(), TASK, tmp_path / "whole", settings)

    def dies(*args: Any) -> None:
        raise Cancelled("killed")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_masks", dies)
        with pytest.raises(Cancelled):
            find_tickets(tiny(), TASK, tmp_path / "t", settings)
    assert (tmp_path / "t/seed-0/round-0/ticket/training.jsonl").exists()
    assert find_tickets(tiny(), TASK, tmp_path / "t", settings) == wanted
    one, other = (read_masks(tmp_path / name / "seed-0/round-2/masks.safetensors") for name in ("t", "whole"))
    assert all(torch.equal(mask, other[name]) for name, mask in one.items())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rate": 1.0}, "between 0 and 1"),
        ({"rounds": 0}, "1 round or more"),
        ({"controls": ("chance",)}, "random, reinitialised, shuffled, untrained, not 'chance'"),
        ({"training": TrainingOptions(lora_rank=2)}, "leave the LoRA out"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        find_tickets(tiny(), TASK, tmp_path / "t", replace(FAST, **change))
    assert not (tmp_path / "t").exists()


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    settings = replace(FAST, rounds=1, controls=(), dense_seeds=(0,))
    find_tickets(tiny(), TASK, tmp_path / "t", settings)
    for encoder, other in ((tiny(seed=1), settings), (tiny(), replace(settings, rate=0.4))):
        with pytest.raises(UserError, match="another encoder, task or setting"):
            find_tickets(encoder, TASK, tmp_path / "t", other)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text(json.dumps(1))
    with pytest.raises(UserError, match="holds no tickets"):
        find_tickets(tiny(), TASK, tmp_path / "mine", settings)
    with pytest.raises(UserError, match="holds no tickets"):
        masks_in(tmp_path / "mine")
