"""Colours, for light and dark, safe for colour-blind readers.

What contributes much stands out from the page in both: the sequential scale runs from nearly the page's own colour to
the strongest contrast, with lightness falling (light) or rising (dark) all the way, so that it survives any kind of
colour blindness and a grey printer. Orange, which differs from every blue and green for all of them, means "cut".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

Scale = tuple[tuple[float, str], ...]


def _even(*colours: str) -> Scale:
    return tuple((i / (len(colours) - 1), colour) for i, colour in enumerate(colours))


@dataclass(frozen=True)
class Palette:
    """sequential: low to high contribution. diverging: less here, no difference, more here."""

    ink: str
    quiet: str
    line: str
    page: str
    panel: str
    missing: str
    accent: str
    on_accent: str
    cut: str
    good: str
    sequential: Scale
    diverging: Scale


LIGHT = Palette(
    ink="#1b2530",
    quiet="#66707a",
    line="#dedbd2",
    page="#fbfaf7",
    panel="#ffffff",
    missing="#efede7",
    accent="#0b6a85",
    on_accent="#ffffff",
    cut="#cf5a1b",
    good="#0b6a85",
    sequential=_even("#e6efe9", "#b5dccd", "#74bdb6", "#33949f", "#14678a", "#123f6b", "#10203f"),
    diverging=_even("#8a4a12", "#d1893f", "#f0cfa2", "#f1efe9", "#a9d0dc", "#3f93ad", "#0c4a6a"),
)
DARK = Palette(
    ink="#e4e9ec",
    quiet="#93a0aa",
    line="#2c3640",
    page="#11161b",
    panel="#161d24",
    missing="#1c242c",
    accent="#58b4cb",
    on_accent="#0b1a20",
    cut="#f08a4b",
    good="#58b4cb",
    sequential=_even("#1d2a33", "#1b4257", "#1b6278", "#278693", "#56ada6", "#9bd2b9", "#ecf7d9"),
    diverging=_even("#f3b36b", "#b9762e", "#6b4a2a", "#232d36", "#22546b", "#3f93ad", "#9fdcec"),
)


def palette(dark: bool) -> Palette:
    return DARK if dark else LIGHT


def colour_at(scale: Scale, share: float) -> str:
    """The colour at a place between 0 and 1 of a scale, as #rrggbb."""
    share = min(max(share, 0.0), 1.0)
    for (low, first), (high, second) in pairwise(scale):
        if share <= high:
            weight = (share - low) / (high - low)
            return "#" + "".join(
                f"{round(int(first[i : i + 2], 16) * (1 - weight) + int(second[i : i + 2], 16) * weight):02x}"
                for i in (1, 3, 5)
            )
    return scale[-1][1]


def rgba(colour: str, opacity: float) -> str:
    """colour: "#rrggbb"."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
