from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from dashboard.charts.palette import Palette
from dashboard.charts.pareto import pareto, unbeaten
from dashboard.measuring.measured_cut import MeasuredCut
from tests.dashboard.charts.figures import PALETTES
from tests.dashboard.synthetic import estimate


def candidate(key: str, kept: float, value: float) -> MeasuredCut:
    return MeasuredCut(key, key, {"flops": kept, "parameters": kept, "bytes": kept}, replace(estimate(), value=value))


def test_what_is_unbeaten_is_found_by_looking_at_all_pairs() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        some = [candidate(str(i), *generator.integers(0, 8, 2) / 8) for i in range(12)]
        better = {
            one.key
            for one in some
            if not any(
                other.kept["flops"] <= one.kept["flops"]
                and other.estimate.value >= one.estimate.value
                and (other.kept["flops"], other.estimate.value) != (one.kept["flops"], one.estimate.value)
                for other in some
            )
        }
        found = unbeaten(some, "flops")
        assert {one.key for one in found} <= better
        places = {(one.kept["flops"], one.estimate.value) for one in some if one.key in better}
        assert {(one.kept["flops"], one.estimate.value) for one in found} == places


@PALETTES
def test_named_candidates_are_written_beside_their_points(colours: Palette) -> None:
    others, named = [candidate("x", 0.5, 0.8), candidate("half", 0.5, 0.8)], [candidate("half", 0.5, 0.8)]
    figure = pareto(others, named, estimate(), "flops", colours)
    assert [note.text for note in figure.layout.annotations if note.text] == ["half"]
    drawn = [cell[0] for trace in figure.data if trace.customdata is not None for cell in trace.customdata]
    assert Counter(drawn) == {"": 1, "x": 1, "half": 1}  # the first is the original
