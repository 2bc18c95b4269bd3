"""What lottery tickets say: metric against sparsity beside the controls, which match, and which two applications share.

"Matching" is as in Chen et al. 2020 (arXiv 2007.12223, section 3): within one standard deviation of the whole model,
over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from asc_core.errors import UserError
from asc_core.train.masks import Masks, overlap, sparsity
from asc_core.train.ticket_kinds import TICKET
from asc_core.train.tickets import Found, Outcome, masks_in


def report(found: Found) -> dict[str, Any]:
    """As JSON. `dense`: of the whole model; `rounds`: of each, the ticket and its controls, a value a seed;
    `matching`: the largest sparsity at which the ticket's mean is at least the whole model's less one standard
    deviation, null where no ticket's is, or `deviation` is unknown since there is one seed alone."""
    dense = _values([o for o in found.outcomes if o.round == 0])
    by_round: dict[int, list[Outcome]] = {}
    for outcome in found.outcomes:
        if outcome.round:
            by_round.setdefault(outcome.round, []).append(outcome)
    rounds = []
    for number, outcomes in sorted(by_round.items()):
        kinds = dict.fromkeys(outcome.which for outcome in outcomes)
        entry: dict[str, Any] = {"round": number, "sparsity": fmean(o.sparsity for o in outcomes if o.which == TICKET)}
        rounds.append(entry | {which: _values([o for o in outcomes if o.which == which]) for which in kinds})
    return {
        "kind": found.kind,
        "encoder": found.encoder,
        "task": found.task,
        "metric": found.metric,
        "split": found.split,
        "examples": found.examples,
        "dense": dense,
        "rounds": rounds,
        "matching": matching(dense, rounds),
    }


def matching(dense: Mapping[str, Any], rounds: Sequence[Mapping[str, Any]]) -> float | None:
    """See `report`."""
    if dense["deviation"] is None:
        return None
    least = dense["mean"] - dense["deviation"]
    return max((entry["sparsity"] for entry in rounds if entry[TICKET]["mean"] >= least), default=None)


def overlaps(one: str | Path, other: str | Path) -> list[dict[str, Any]]:
    """For each round that two folders of tickets have, how much of what they keep is the same, mean over seeds that
    both have: the Jaccard index, and the one that chance alone would give (see `masks.overlap`).

    Raises: UserError where a folder holds no tickets, or they are of models of different shapes.
    """
    mine, theirs = masks_in(one), masks_in(other)
    return _each_round([(number, mask, theirs[seed, number]) for (seed, number), mask in mine.items()
                        if (seed, number) in theirs], other)  # fmt: skip


def overlaps_of_seeds(folder: str | Path) -> list[dict[str, Any]]:
    """The same between the seeds of one folder: how much of a ticket is not its application's but its search's."""
    known = masks_in(folder)
    seeds = sorted({seed for seed, _ in known})
    return _each_round(
        [
            (number, mask, known[other, number])
            for (seed, number), mask in known.items()
            for other in seeds
            if other > seed and (other, number) in known
        ],
        folder,
    )


def _each_round(pairs: Sequence[tuple[int, Masks, Masks]], other: str | Path) -> list[dict[str, Any]]:
    found = []
    for number in sorted({number for number, _, _ in pairs}):
        of_round = [(a, b) for n, a, b in pairs if n == number]
        measured = [overlap(a, b) for a, b in of_round]
        found.append(
            {
                "with": Path(other).name,
                "round": number,
                "sparsity": [fmean(sparsity(pair[i]) for pair in of_round) for i in (0, 1)],
                "jaccard": fmean(jaccard for jaccard, _ in measured),
                "chance": fmean(chance for _, chance in measured),
            }
        )
    return found


def _values(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    if not outcomes:
        raise UserError("There is no outcome of the whole model, which tickets are compared with.")
    values = {str(outcome.seed): outcome.metric for outcome in outcomes}
    numbers = list(values.values())
    return {
        "mean": fmean(numbers),
        "deviation": stdev(numbers) if len(numbers) > 1 else None,
        "values": values,
    }
