"""Pictures of the card: they show what is left, and names in them cannot become anything else."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from asc_core.export.pictures import _GONE, _KEPT, Front, FrontPoint, front_svg, map_svg
from asc_core.values import Plan
from tests.tiny import ARCHITECTURES, tiny

NAMESPACE = "{http://www.w3.org/2000/svg}"


def squares(picture: str) -> list[str]:
    """Colours of the heads, layer by layer."""
    return [
        box.get("fill", "")
        for box in ElementTree.fromstring(picture).iter(f"{NAMESPACE}rect")
        if box.get("width") == "12.0"
    ]


def test_the_map_shows_each_head_of_the_original_where_it_was() -> None:
    encoder = tiny()
    plan = Plan.full(encoder.shape).drop(layer=0).drop(layer=1, head=2).drop(layer=2, neuron=3)
    picture = map_svg(encoder.cut(plan))
    assert squares(picture) == [_GONE] * 4 + [_KEPT, _KEPT, _GONE, _KEPT] + [_KEPT] * 4
    texts = [text.text for text in ElementTree.fromstring(picture).iter(f"{NAMESPACE}text")]
    assert texts == ["heads (4)", "neurons (of 20)", "layer 1", "removed", "layer 2", "20", "layer 3", "19"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_has_a_map(architecture: str) -> None:
    encoder = tiny(architecture)
    assert _GONE not in squares(map_svg(encoder))
    cut = encoder.cut(Plan.full(encoder.shape).drop(layer=0, head=0))
    assert squares(map_svg(cut)).count(_GONE) == 1


def test_the_front_needs_two_points_and_escapes_their_names() -> None:
    this = FrontPoint("this model", 0.5, 0.8, (0.78, 0.82), this=True)
    assert front_svg(Front("test", [this]), "accuracy") is None
    evil = FrontPoint('</title><script>alert(1)</script>\n"', 0.7, 0.7, (0.6, 0.8))
    picture = front_svg(Front("te<st", [evil, this]), "<b>f1</b>")
    assert picture is not None
    root = ElementTree.fromstring(picture)
    assert {element.tag.removeprefix(NAMESPACE) for element in root.iter()} == {
        "svg", "rect", "path", "text", "circle", "title",
    }  # fmt: skip
    assert [title.text for title in root.iter(f"{NAMESPACE}title")][-1] == (
        "this model: 80.0% [78.0%, 82.0%], 50% of the FLOPs"
    )
