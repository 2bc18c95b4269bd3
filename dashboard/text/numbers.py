"""Numbers as people read them: percentages, points, intervals, sizes."""

from __future__ import annotations

import math

MINUS = "−"  # a real minus sign lines up with the plus


def percent(share: float, digits: int = 1) -> str:
    """0.912 -> "91.2 %"."""
    return f"{plain(100 * share, digits)} %"


def points(difference: float, digits: int = 1) -> str:
    """-0.008 -> "−0.8": a difference of two shares, in percentage points, always with its sign."""
    value = round(100 * difference, digits)
    if value == 0:
        return f"±{0:.{digits}f}"
    return f"{'+' if value > 0 else MINUS}{abs(value):.{digits}f}"


def interval_of_points(interval: tuple[float, float]) -> str:
    return f"[{points(interval[0])}, {points(interval[1])}]"


def interval_of_percent(interval: tuple[float, float]) -> str:
    return f"[{plain(100 * interval[0], 1)}, {plain(100 * interval[1], 1)}]"


def amount(number: float) -> str:
    """17_400_000 -> "17.4 M"; three figures."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(number) >= 0.9995 * factor:
            return _three_figures(number / factor) + unit
    return _three_figures(number)


def size(number_of_bytes: float) -> str:
    """70_000_000 -> "70.0 MB" (decimal units, as disks and downloads count)."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number_of_bytes >= 0.9995 * factor:
            return f"{_three_figures(number_of_bytes / factor)} {unit}"
    return f"{number_of_bytes:.0f} bytes"


def milliseconds(seconds: float) -> str:
    return f"{_three_figures(1000 * seconds)} ms"


def duration(seconds: float) -> str:
    """As exact as a forecast is."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def score(value: float) -> str:
    """A score of any method, to four significant figures."""
    return "-" if math.isnan(value) else f"{value:.4g}".replace("-", MINUS)


def thousands(number: int) -> str:
    return f"{number:,}"


def _three_figures(value: float) -> str:
    rounded = float(f"{value:.2e}")
    digits = max(0, 2 - math.floor(math.log10(abs(rounded)))) if rounded else 0
    return f"{rounded:.{digits}f}".replace("-", MINUS)


def plain(value: float, digits: int) -> str:
    """With a minus sign where it is one, and no negative zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)
