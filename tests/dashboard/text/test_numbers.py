from __future__ import annotations

import pytest

from dashboard.text import numbers


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.percent(0.9125), "91.2 %"),
        (numbers.points(-0.008), "−0.8"),
        (numbers.points(0.0104), "+1.0"),
        (numbers.points(-0.0001), "±0.0"),
        (numbers.interval_of_points((-0.026, 0.01)), "[−2.6, +1.0]"),
        (numbers.amount(17_400_000), "17.4 M"),
        (numbers.amount(999_900), "1.00 M"),
        (numbers.amount(12), "12.0"),
        (numbers.amount(0), "0"),
        (numbers.size(70_049_000), "70.0 MB"),
        (numbers.size(12), "12 bytes"),
        (numbers.milliseconds(0.00591), "5.91 ms"),
        (numbers.score(-0.00012347), "−0.0001235"),
        (numbers.score(float("nan")), "-"),
    ],
)
def test_numbers_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected
