"""A plan from someone else is untrusted: it is read as it was written, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.plan import by_share
from asc_core.values import Plan, Shape
from tests.plan.builders import scores_of, shape_of, shapes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def good() -> dict[str, Any]:
    shape = shape_of([3, 2], [4, 4])
    return by_share(scores_of(shape), 0.6, 0.5).to_json()


def places(data: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all values inside."""
    found = [path] if path else []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found += places(value, (*path, key))
    return found


def put(data: Any, path: tuple, value: Any) -> None:
    for key in path[:-1]:
        data = data[key]
    data[path[-1]] = value


@given(shapes(), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_plan_survives_its_file(shape: Shape, heads: float, neurons: float, layers: float) -> None:
    plan = by_share(scores_of(shape), heads, neurons, layers)
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert (again, again.provenance, again.key) == (plan, plan.provenance, plan.key)


@given(JSON)
def test_anything_else_is_refused(data: Any) -> None:
    with pytest.raises(UserError):
        Plan.from_json(data)


@given(st.data())
def test_a_plan_with_anything_in_any_place_is_refused_or_usable(data: st.DataObject) -> None:
    file = good()
    put(file, data.draw(st.sampled_from(places(file))), data.draw(JSON))
    try:
        plan = Plan.from_json(file)
    except UserError:
        return
    assert Plan.from_json(plan.to_json()) == plan
    assert isinstance(plan.keeps_all, bool)
    assert str(plan.shape)
    assert plan.key


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "asc-plan/9"),
        (("heads",), [[0, 1], [0, 1], [0]]),
        (("heads", 0), [2, 1]),
        (("heads", 0), [0, 0]),
        (("heads", 0), [3]),
        (("heads", 0), [-1]),
        (("heads", 0), [True]),
        (("heads", 0), [1.0]),
        (("heads", 0), [10**30]),
        (("layers",), []),
        (("layers",), [0, 2]),
        (("shape",), {}),
        (("shape", "heads"), "ab"),
        (("shape", "heads"), [3, -2]),
        (("shape", "heads"), [3]),
        (("shape", "neurons"), [4, 10**12]),
        (("shape", "neurons"), 4),
        (("shape", "rows"), [0, 7]),
        (("shape", "rows"), [0, -1]),
        (("shape", "rows"), []),
        (("shape", "rows"), True),
        (("shape", "hidden"), [12]),
        (("shape", "hidden"), 0),
        (("shape", "hidden"), True),
        (("shape", "head_width"), "3"),
        (("shape", "architecture"), 5),
        (("shape", "shares_weights"), "no"),
        (("shape", "more"), 1),
        (("provenance",), []),
        (("provenance", "more"), "x"),
        (("provenance", "seed"), "x"),
        (("provenance", "task"), 3),
        (("more",), 1),
    ],
    ids=str,
)
def test_a_hostile_plan_is_refused_in_one_sentence(path: tuple, value: Any) -> None:
    file = good()
    put(file, path, value)
    with pytest.raises(UserError) as refused:
        Plan.from_json(file, origin="theirs.json")
    assert str(refused.value).startswith("theirs.json is not a")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b'{"format": NaN}', b'"\\ud800"', b"\x00"],
    ids=["empty", "cut off", "not text", "deep", "a huge number", "NaN", "half a character", "zero byte"],
)
def test_a_broken_file_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"plan\.json"):
        Plan.load(file)
    with pytest.raises(UserError, match=r"absent\.json"):
        Plan.load(tmp_path / "absent.json")
