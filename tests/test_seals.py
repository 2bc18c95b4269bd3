"""One bit that changes in anything that was written is said, or changes nothing of what is read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asc_core.errors import UserError
from asc_core.json_files import read_json, write_json
from asc_core.recipes import Recipe
from asc_core.seals import NotAsWrittenError, opened_json, row_digest, sealed_json
from asc_core.stored_arrays import read_arrays, write_arrays
from asc_core.train.checkpoints import Checkpoints
from asc_core.train.masks import read_masks, write_masks
from asc_core.values import Plan
from tests.test_study import PLAN, RECIPE, some_scores

FLIPS = int(os.environ.get("FLIPS", "150"))  # bits of each kind of file


def test_of_scores_and_states(tmp_path: Path) -> None:
    arrays, metadata = some_scores().to_arrays()
    write_arrays(tmp_path / "a.safetensors", arrays, metadata)
    _each_bit_is_said(tmp_path / "a.safetensors", read_arrays)


def test_of_a_plan(tmp_path: Path) -> None:
    PLAN.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == PLAN
    _each_bit_is_said(tmp_path / "plan.json", lambda path: Plan.load(path).to_json())


def test_of_a_recipe(tmp_path: Path) -> None:
    RECIPE.save(tmp_path / "recipe.json")
    _each_bit_is_said(tmp_path / "recipe.json", lambda path: Recipe.load(path).to_json())


def test_of_a_training_state(tmp_path: Path) -> None:
    states = Checkpoints(tmp_path, "key")
    states.save("state", {"w": torch.arange(8.0), "h": torch.ones(3, dtype=torch.bfloat16)}, {"step": 3})
    _each_bit_is_said(tmp_path / "state.safetensors", lambda path: states.load("state"))


def test_of_masks(tmp_path: Path) -> None:
    write_masks(tmp_path / "masks.safetensors", {"a": torch.tensor([[True, False, True]])})
    _each_bit_is_said(tmp_path / "masks.safetensors", read_masks)


def _each_bit_is_said(file: Path, read: Callable[[Path], Any]) -> None:
    content, expected = file.read_bytes(), _in_order(read(file))
    random = np.random.default_rng(len(content))
    bits = len(content) * 8
    said = 0
    for bit in random.choice(bits, min(bits, FLIPS), replace=False).tolist():
        broken = bytearray(content)
        broken[bit // 8] ^= 1 << bit % 8
        file.write_bytes(broken)
        try:
            assert _in_order(read(file)) == expected, f"bit {bit} changes what is read and is not said"
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017
            said += 1
    assert said > 0.9 * min(bits, FLIPS)
    file.write_bytes(content)
    assert _in_order(read(file)) == expected


def _in_order(value: Any) -> str:
    """Of named arrays the order says nothing."""
    if isinstance(value, dict):
        return repr({name: _in_order(value[name]) for name in sorted(value)})
    return repr([*map(_in_order, value)]) if isinstance(value, tuple) else repr(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_sealed_is_opened_as_it_was(content: dict[str, Any]) -> None:
    content.pop("digest", None)
    sealed = sealed_json(content)
    assert opened_json(json.loads(json.dumps(sealed, indent=2))) == content
    with pytest.raises(NotAsWrittenError):
        opened_json(sealed | {"another": 1})


@given(JSON)
def test_what_has_no_digest_of_ours_is_as_it_is(content: Any) -> None:
    assert opened_json(content) == content or content != content


def test_files_of_earlier_versions_are_read_as_they_are(tmp_path: Path) -> None:
    write_json(tmp_path / "new.json", {"a": 1})
    (tmp_path / "old.json").write_text('{"a": 1}')
    (tmp_path / "other.json").write_text('{"a": 1, "digest": "sha of something else"}')
    assert read_json(tmp_path / "new.json") == read_json(tmp_path / "old.json") == {"a": 1}
    assert read_json(tmp_path / "other.json")["digest"] == "sha of something else"


def test_who_changes_a_file_is_told_how(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    PLAN.save(file)
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"format": "x"}))
    with pytest.raises(UserError, match=r'plan\.json is not as it was written.*remove "digest"'):
        Plan.load(file)
    del content["digest"]
    file.write_text(json.dumps(content))
    assert Plan.load(file) == PLAN


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.floats() | st.text() | st.binary(), min_size=1))
def test_a_rows_digest_knows_its_table_its_columns_and_its_types(row: dict[str, Any]) -> None:
    row.pop("digest", None)
    if not row:
        return
    digest = row_digest("t", row)
    assert digest == row_digest("t", dict(reversed(row.items())) | {"digest": "whatever"})
    name, value = next(iter(row.items()))
    for other in (repr(value), b"x", None):
        if repr(other) != repr(value):
            assert row_digest("t", row | {name: other}) != digest
    assert row_digest("u", row) != digest
