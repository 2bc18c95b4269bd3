"""Pictures for a model card, as SVG written by hand: what is left of the model, and what it lost for how much.

Plain shapes and text, no script, no style from elsewhere: a hub shows them, and so does any browser. They are made of
numbers, and of names that may come from anyone, which are escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from asc_core import modeling
from asc_core.modeling.record import with_values

if TYPE_CHECKING:
    from asc_core.encoder import Encoder

MAP_FILE, FRONT_FILE = "map.svg", "front.svg"
_INK, _QUIET, _KEPT, _GONE, _THIS = "#1b2530", "#66717b", "#0b6a85", "#dedbd2", "#b5541c"
_CELL, _BAR, _LEFT, _TOP = 14, 120, 70, 34
_WIDE, _HIGH, _MARGIN = 460, 260, 56


@dataclass(frozen=True)
class FrontPoint:
    """One measured model. kept: its FLOPs as a share of the original's. value, interval: of the metric, fractions."""

    name: str
    kept: float
    value: float
    interval: tuple[float, float]
    this: bool = False


@dataclass(frozen=True)
class Front:
    """Models that were measured on the same examples of one split, for one picture."""

    split: str
    points: Sequence[FrontPoint]


def map_svg(encoder: Encoder) -> str:
    """Each layer of the original, or set of weights where layers share them, with the heads and neurons it has left."""
    config, shape = encoder.model.config, encoder.shape
    origin = modeling.origin(config)
    shared = shape.shares_weights
    numbers = range(len(shape.heads)) if shared else origin.layers
    kept = dict(zip(numbers, zip(origin.heads, shape.neurons, strict=True), strict=True))
    dense = with_values(config, (getattr(config, "asc", None) or modeling.NO_STRUCTURES)["dense"])
    rows = len(shape.heads) if shared else int(dense.num_hidden_layers)
    heads, width = modeling.head_count(dense), modeling.ffn_width(dense)
    parts = list(_map(kept, rows, heads, max(width, *shape.neurons, 1), "weights" if shared else "layer"))
    return _svg(_LEFT + heads * _CELL + _BAR + 90, _TOP + rows * _CELL + 12, parts)


def _map(
    kept: Mapping[int, tuple[Sequence[int], int]], rows: int, heads: int, width: int, row_name: str
) -> Iterator[str]:
    bars = _LEFT + heads * _CELL + 20
    yield _text(_LEFT, 16, f"heads ({heads})", _QUIET)
    yield _text(bars, 16, f"neurons (of {width:,})", _QUIET)
    for row in range(rows):
        y = _TOP + row * _CELL
        left, neurons = kept.get(row, ((), 0))
        yield _text(_LEFT - 8, y + 10, f"{row_name} {row + 1}", _INK if row in kept else _QUIET, "end")
        for head in range(heads):
            yield _box(_LEFT + head * _CELL, y, _CELL - 2, _KEPT if head in left else _GONE)
        yield _box(bars, y, _BAR, _GONE)
        yield _box(bars, y, _BAR * neurons / width, _KEPT)
        yield _text(bars + _BAR + 8, y + 10, f"{neurons:,}" if row in kept else "removed", _QUIET)


def front_svg(front: Front, metric: str) -> str | None:
    """The metric over the share of FLOPs that is kept, with 95 % intervals; None for fewer than two points."""
    points = front.points
    if len(points) < 2:
        return None
    low, high = min(p.interval[0] for p in points), max(p.interval[1] for p in points)
    room = max(high - low, 0.01) * 0.08
    low, high = low - room, high + room
    most = max(1.0, *(p.kept for p in points))
    return _svg(_WIDE, _HIGH, list(_front(points, f"{metric} ({front.split})", low, high, most)))


def _front(points: Sequence[FrontPoint], metric: str, low: float, high: float, most: float) -> Iterator[str]:
    wide, tall = _WIDE - _MARGIN - 20, _HIGH - 2 * _MARGIN + 20
    bottom = _HIGH - _MARGIN + 10

    def x(kept: float) -> float:
        return _MARGIN + wide * kept / most

    def y(value: float) -> float:
        return bottom - tall * (value - low) / (high - low)

    yield f'<path d="M{_MARGIN} {bottom - tall:.0f}V{bottom}H{_WIDE - 20}" fill="none" stroke="{_QUIET}"/>'
    for share in (0, 0.25, 0.5, 0.75, 1):
        yield _text(x(share), bottom + 16, f"{share:.0%}", _QUIET, "middle")
    for value in (low, (low + high) / 2, high):
        yield _text(_MARGIN - 6, y(value) + 4, f"{value:.1%}", _QUIET, "end")
    yield _text(_MARGIN + wide / 2, bottom + 34, "FLOPs of the layers, share of the original's", _INK, "middle")
    yield _text(_MARGIN, 16, metric, _INK)
    for point in sorted(points, key=lambda each: each.this):
        colour, across = _THIS if point.this else _KEPT, x(point.kept)
        ends = f"M{across:.1f} {y(point.interval[0]):.1f}V{y(point.interval[1]):.1f}"
        yield f'<path d="{ends}" stroke="{colour}" stroke-width="1.5"/>'
        yield (
            f'<circle cx="{across:.1f}" cy="{y(point.value):.1f}" r="{5 if point.this else 4}" fill="{colour}">'
            f"<title>{_said(point)}</title></circle>"
        )
        if point.this:
            yield _text(across, y(point.interval[1]) - 6, "this model", colour, "middle")


def _said(point: FrontPoint) -> str:
    ends = f"[{point.interval[0]:.1%}, {point.interval[1]:.1%}]"
    return escape(" ".join(f"{point.name}: {point.value:.1%} {ends}, {point.kept:.0%} of the FLOPs".split()))


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _box(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_CELL - 2}" fill="{colour}"/>'


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'
