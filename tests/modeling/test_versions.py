"""The files that ship inside compact exports are read by transformers 4, too, where some names are others."""

from __future__ import annotations

import ast

import pytest
import torch

from asc_core import modeling
from tests.tiny import ARCHITECTURES, tiny

# Names of transformers that 4.57 and 5 both have.
IN_BOTH = {"AutoConfig", "PreTrainedModel"}


@pytest.mark.parametrize("name", modeling.sources())
def test_what_is_imported_of_transformers_is_in_both_versions(name: str) -> None:
    found = set()
    for node in ast.parse(modeling.sources()[name]).body:  # blocks for the type checker are not run
        if isinstance(node, ast.ImportFrom) and node.module == "transformers":
            found |= {alias.name for alias in node.names}
    assert found <= IN_BOTH


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_attention_without_heads_takes_its_input_under_either_name(architecture: str) -> None:
    """DistilBERT of transformers 4 hands it over as `query`."""
    encoder = tiny(architecture)
    shape = encoder.shape
    model = encoder.copy().model
    modeling.cut(model, [()] * len(shape.heads), [range(n) for n in shape.neurons], range(shape.layers))
    table = modeling.ARCHITECTURES[architecture]
    attention = modeling.rows_of(model)[0].get_submodule(table.attention)
    hidden = torch.randn(2, 3, shape.hidden)
    said = [attention(hidden)[0], attention(hidden_states=hidden)[0], attention(query=hidden, key=hidden)[0]]
    for other in said[1:]:
        torch.testing.assert_close(said[0], other, atol=0, rtol=0)
