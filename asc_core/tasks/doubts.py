"""Whether predictions look as if something is wrong with the data or with the order of the classes.

A model that is no better than chance, or that would be much better with its classes in another order, is seldom a bad
model: mostly the labels were read in another way than it was trained with. Nobody should tune by such figures unwarned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SURE = 0.05  # how often a doubt may be raised where there is nothing to doubt
FEWEST = 20  # decisions below which nothing is said
SHOWN = 8


def doubts_of_classes(
    decided: np.ndarray, gold: np.ndarray, names: Sequence[str], plural: str = "classes"
) -> list[str]:
    """decided, gold: (n,) outputs of the model, the second where each gold label was matched. names: of the outputs."""
    decided, gold = np.asarray(decided), np.asarray(gold)
    n, outputs = len(gold), max(len(names), 1)
    if n < FEWEST or len(np.unique(gold)) < 2:
        return []
    counts = np.zeros((outputs, outputs))
    np.add.at(counts, (decided, gold), 1)
    right = np.trace(counts) / n
    other = better_order(counts)
    if other is not None:
        better = counts[np.arange(outputs), other].sum() / n
        moved = [output for output in np.flatnonzero(other != np.arange(outputs)) if counts[output].any()]
        means = ", ".join(f"output {o} meant {names[other[o]]}" for o in moved[:SHOWN])
        return [
            f"The {plural} seem to be in another order than the model's: {100 * right:.1f} % are right, and "
            f"{100 * better:.1f} % would be if {means}{', ...' if len(moved) > SHOWN else ''}. "
            f"Map the file's values to the model's names in the task file before you go by any figure."
        ]
    by_chance = float((counts.sum(1) / n) @ (counts.sum(0) / n))
    spread = np.sqrt(max(by_chance * (1 - by_chance), 1e-12) / n)
    if right <= by_chance + 1.645 * spread:
        return [
            f"The model is no better than chance: {100 * right:.1f} % of the {plural} are right, "
            f"{100 * by_chance:.1f} % would be without looking at the text. Check that it was trained for this task, "
            "and how texts and labels are read."
        ]
    return []


def better_order(counts: np.ndarray) -> np.ndarray | None:
    """The order of the gold classes with which most decisions are right, where it is significantly better.

    counts: (outputs, outputs) decisions by (decided, gold). Returns (outputs,) the gold class that each output would
    mean. Significance is McNemar's exact test, with a Bonferroni correction for all orders of the classes that occur.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.special import gammaln
    from scipy.stats import binom

    outputs = np.arange(len(counts))
    # What is as good stays where it is.
    _, order = linear_sum_assignment(counts + 1e-3 * np.eye(len(counts)) / len(counts), maximize=True)
    moved = order != outputs
    gained = counts[outputs, order][moved].sum()
    lost = counts[outputs, outputs][moved].sum()
    occurring = int((counts.sum(0) + counts.sum(1) > 0).sum())
    if gained <= lost:
        return None
    unlikely = binom.logsf(gained - 1, gained + lost, 0.5) + gammaln(occurring + 1)
    return order if unlikely < np.log(SURE) else None


def doubts_of_flags(decided: np.ndarray, gold: np.ndarray, names: Sequence[str]) -> list[str]:
    """Of labels that are decided one by one. decided, gold: (n, outputs) bool."""
    decided, gold = np.asarray(decided, dtype=float), np.asarray(gold, dtype=float)
    n, outputs = gold.shape
    if n < FEWEST or not gold.any() or gold.all():
        return []
    same = decided.T @ gold + (1 - decided).T @ (1 - gold)  # (outputs, outputs)
    other = better_order(same)
    right = np.trace(same) / same[0].size / n
    if other is not None:
        better = same[np.arange(outputs), other].sum() / outputs / n
        moved = np.flatnonzero(other != np.arange(outputs))
        means = ", ".join(f"output {o} meant {names[other[o]]}" for o in moved[:SHOWN])
        return [
            f"The labels seem to be in another order than the model's: {100 * right:.1f} % of all decisions are right, "
            f"and {100 * better:.1f} % would be if {means}{', ...' if len(moved) > SHOWN else ''}."
        ]
    by_chance = float((decided.mean(0) * gold.mean(0) + (1 - decided.mean(0)) * (1 - gold.mean(0))).mean())
    if right <= by_chance + 1.645 * np.sqrt(max(by_chance * (1 - by_chance), 1e-12) / (n * outputs)):
        return [
            f"The model is no better than chance: {100 * right:.1f} % of all decisions are right, "
            f"{100 * by_chance:.1f} % would be without looking at the text."
        ]
    return []


def doubts_of_numbers(decided: np.ndarray, gold: np.ndarray) -> list[str]:
    """Of a regression or a ranking. decided, gold: (n,)."""
    from scipy.stats import spearmanr

    if len(gold) < FEWEST or np.ptp(gold) == 0:
        return []
    if np.ptp(decided) == 0:
        return ["The model gives the same number for every text."]
    found = spearmanr(decided, gold)
    if found.statistic < 0 and found.pvalue < SURE:
        return [
            f"The model's numbers fall where the labels rise (rank correlation {found.statistic:.2f}): check which way "
            "the labels count."
        ]
    if found.statistic <= 0 or found.pvalue / 2 > SURE:
        return [
            f"The model is no better than chance: the rank correlation with the labels is {found.statistic:.2f}. Check "
            "that it was trained for this task, and how texts and labels are read."
        ]
    return []
