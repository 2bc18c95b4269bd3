"""Running a model without work that changes no answer gives the same answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from asc_core import modeling
from asc_core.encoder import HEADS
from asc_core.evaluate.fast_forward import WIDTH, FastForward
from asc_core.values import Plan
from tests.scores.test_restart import check, said
from tests.test_surgery import VARIANTS, plans
from tests.tiny import logits, padded_batch, tiny


@pytest.mark.parametrize("variant", VARIANTS)
@settings(max_examples=8, deadline=None)
@given(data=st.data(), head=st.sampled_from(sorted(HEADS)))
def test_a_cut_model_says_the_same(variant: str, data: st.DataObject, head: str) -> None:
    name, overrides = VARIANTS[variant]
    assume(HEADS[head] in modeling.heads_of(name))
    whole = tiny(name, head=head, **overrides)
    encoder = whole.cut(data.draw(plans(whole.shape)))
    inputs = padded_batch()
    expected = logits(encoder, inputs)
    fast = FastForward(encoder)
    with torch.inference_mode():
        for _ in range(2):  # from the second batch on it is known what the head reads
            check(said(fast(inputs), inputs), expected)
        output, seen = fast.record(inputs)
        check(said(output, inputs), expected)
        for layer in range(encoder.shape.layers):
            check(said(fast.record(inputs, start=layer, hidden=seen[layer])[0], inputs), expected)
    torch.testing.assert_close(logits(encoder, inputs), expected, atol=0, rtol=0)


def widths_seen(fast: FastForward, inputs: dict[str, torch.Tensor]) -> list[tuple[str, tuple[int, ...]]]:
    """(path, (tokens, width)) of what each linear of the layers says."""
    model = fast._runner.encoder.model
    seen: list[tuple[str, tuple[int, ...]]] = []
    handles = [
        module.register_forward_hook(lambda _, args, output, name=name: seen.append((name, (*output.shape[1:],))))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and ".layer." in name
    ]
    with torch.inference_mode():
        fast(inputs)
    for handle in handles:
        handle.remove()
    return seen


def test_the_last_layer_is_computed_for_cls_alone_and_no_width_is_odd() -> None:
    whole = tiny("bert")
    encoder = whole.cut(replace(Plan.full(whole.shape), neurons=(tuple(range(11)),) * whole.shape.layers))
    inputs, tokens = padded_batch(), padded_batch()["input_ids"].shape[1]
    fast = FastForward(encoder)
    every = {length for name, (length, _) in widths_seen(fast, inputs)}
    assert every == {tokens}, "nothing is left out before it is known what the head reads"
    last = encoder.shape.layers - 1
    for name, (length, width) in widths_seen(fast, inputs):
        of_all_tokens = f".{last}." not in name or name.endswith((".query", ".key", ".value"))
        assert length == (tokens if of_all_tokens else 1), name
        if name.endswith("intermediate.dense"):
            assert width == WIDTH
    assert encoder.shape.neurons == (11,) * encoder.shape.layers


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_model_of_other_than_plain_linears_runs_as_it_is() -> None:
    from torch.ao.quantization import quantize_dynamic

    encoder, inputs = tiny("bert"), padded_batch()
    for module in encoder.model.modules():  # quantization copies hooks, but not that they take keyword arguments
        for hooks in ("_forward_hooks", "_forward_pre_hooks"):
            getattr(module, hooks).clear()
    encoder.model = quantize_dynamic(encoder.model, {nn.Linear}, dtype=torch.qint8)
    with torch.inference_mode():
        check(said(FastForward(encoder)(inputs), inputs), logits(encoder, inputs))
    with pytest.raises(ValueError, match="plain"):
        FastForward(encoder).record(inputs)
