"""Tokens that leave between layers: the others compute as if those had never been, and every place has a state.

No part of the laws of `structures.py`: those cut every model afterwards, and a cut changes which tokens leave.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asc_core import modeling
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.gates import gated
from asc_core.modeling.tokens import attention_received
from asc_core.plan.encoder_cost import cost_model
from asc_core.probes import Probe, Readout, probing
from asc_core.scores import restart
from asc_core.scores.sweep import sweep
from asc_core.values import Plan
from tests.evaluate.toy_tasks import encoder_for, toy_task
from tests.export.conftest import in_process  # noqa: F401 (a fixture)
from tests.modeling.structures import assert_reloaded_as_built_and_counted, factored, quantized
from tests.tiny import ARCHITECTURES, logits, padded_batch, tiny

ABLE = ("albert", "bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta")
LENGTHS = np.array([1, 3, 9, 17, 40])
few = settings(max_examples=5, deadline=None)


def eliminating(encoder: Encoder, keep: list[float], by: str = "attention", safe: tuple[int, ...] = ()) -> Encoder:
    entry = {"kind": "tokens", "keep": keep, "safe": list(safe), "by": by}
    generator = torch.Generator().manual_seed(1)
    losing = modeling.layers_losing(keep) if by == "effect" else []
    width = encoder.shape.hidden
    tensors = {modeling.effect_name(encoder.model, i): torch.randn(1, width, generator=generator) for i in losing}
    return encoder.with_structure(entry, tensors)


def one_text(seed: int = 0, length: int = 12) -> dict[str, torch.Tensor]:
    return {name: value[:1] for name, value in padded_batch(seed, 1, length).items()}


@pytest.mark.parametrize("architecture", ABLE)
def test_full_length_is_the_model_itself(architecture: str) -> None:
    encoder, inputs = tiny(architecture), padded_batch()
    for by in ("attention", "effect"):
        assert torch.equal(logits(eliminating(encoder, [1, 1, 1], by), inputs), logits(encoder, inputs))


@pytest.mark.parametrize("architecture", ABLE)
@pytest.mark.parametrize("by", ["attention", "effect"])
def test_company_in_a_batch_changes_no_answer(architecture: str, by: str) -> None:
    encoder = eliminating(tiny(architecture, "token-classification"), [1, 0.7, 0.4], by, safe=(3,))
    inputs = padded_batch(seed=3)
    whole = logits(encoder, inputs).split(inputs["attention_mask"].sum(1).mul(3).tolist())
    for row, together in enumerate(whole):
        real = int(inputs["attention_mask"][row].sum())
        alone = logits(encoder, {name: value[row : row + 1, :real] for name, value in inputs.items()})
        torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    assert (logits(encoder, inputs) - logits(tiny(architecture, "token-classification"), inputs)).abs().max() > 1e-2


def slowly(encoder: Encoder, ids: torch.Tensor, keep: list[float]) -> torch.Tensor:
    """(T, d), the last states of one text: layer by layer, with attention written out."""
    model: Any = encoder.model.bert
    states = model.embeddings(ids[None])[0]
    present = list(range(len(ids)))
    received = torch.zeros(len(ids))
    for layer, share in zip(model.encoder.layer, keep, strict=True):
        wanted = -(-len(ids) * round(share * 1000) // 1000)
        rest = sorted(present[1:], key=lambda token: -float(received[token]))
        present = sorted([present[0], *rest[: wanted - 1]])
        inside = states[present]
        attention = layer.attention.self
        received = torch.zeros(len(ids))
        for head in range(attention.num_attention_heads):
            part = slice(head * attention.attention_head_size, (head + 1) * attention.attention_head_size)
            query, key = attention.query(inside)[:, part], attention.key(inside)[:, part]
            received[present] += (query @ key.T * attention.attention_head_size**-0.5).softmax(-1).sum(0)
        states = states.clone()
        states[present] = layer(inside[None])[0]
    return states


@few
@given(
    seed=st.integers(0, 99),
    shares=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)),
    length=st.integers(2, 16),
)
@torch.inference_mode()
def test_it_is_what_the_slow_code_says(seed: int, shares: tuple[float, float], length: int) -> None:
    keep = [1, *sorted((round(share, 3) for share in shares), reverse=True)]
    encoder, ids = tiny(head="embedding", seed=seed % 4), one_text(seed, length)["input_ids"]
    encoder.model.bert = encoder.model  # the name that it has below a head
    wanted = slowly(encoder, ids[0], keep)
    del encoder.model.bert
    said = eliminating(encoder, keep).model(input_ids=ids).last_hidden_state[0]
    torch.testing.assert_close(said, wanted, atol=1e-4, rtol=0)


def test_attention_received_is_of_those_that_are_there() -> None:
    query, key = torch.randn(2, 1, 5, 12)
    present = torch.tensor([[True, True, True, True, False]])
    received = attention_received(query, key, present, 4)[0]
    scores = torch.stack([query[0, :4, h * 4 : h * 4 + 4] @ key[0, :4, h * 4 : h * 4 + 4].T / 2 for h in range(3)])
    torch.testing.assert_close(received[:4], scores.softmax(-1).sum((0, 1)))
    assert received[:4].sum() == pytest.approx(12, abs=1e-4)  # heads times tokens that attend


class _Seen(Probe):
    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.changed: list[torch.Tensor] = []

    def read(self, readout: Readout, inputs: torch.Tensor) -> None:
        if readout.kind == "ffn":
            self.tokens.append(inputs.shape[1])

    def leave(self, layer: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self.changed.append((before != after).any(-1))


@pytest.mark.parametrize("architecture", ABLE)
def test_a_layer_runs_on_as_many_tokens_as_are_counted_and_leaves_the_others_as_they_are(architecture: str) -> None:
    encoder = eliminating(tiny(architecture), [1, 0.75, 0.3], safe=(3,))
    inputs = one_text()
    with probing(_Seen()) as seen:
        logits(encoder, inputs)
    assert isinstance(seen, _Seen)
    counted = [tokens[0] for tokens in encoder.layer_lengths(np.array([12]))]
    assert counted == seen.tokens == [12, 9, 4]
    assert [int(changed.sum()) for changed in seen.changed] == counted
    for below, above in zip(seen.changed, seen.changed[1:], strict=False):
        assert not (above & ~below).any()  # who has left does not come back
    assert all(changed[0, 0] for changed in seen.changed)


def test_safe_tokens_leave_last() -> None:
    inputs = one_text()
    inputs["input_ids"][0, [5, 9]] = 3
    with probing(_Seen()) as seen:
        logits(eliminating(tiny(), [1, 0.25, 0.25], safe=(3,)), inputs)
    assert isinstance(seen, _Seen)
    assert seen.changed[1][0].nonzero().flatten().tolist() == [0, 5, 9]


@pytest.mark.parametrize("architecture", ABLE)
def test_forecast_cost_is_counted_cost(architecture: str) -> None:
    encoder = tiny(architecture)
    before = encoder.cost(LENGTHS)
    encoder = eliminating(encoder.cut(Plan.full(encoder.shape).drop(0, head=1)), [1, 0.5, 0.333], "effect")
    assert cost_model(encoder, LENGTHS).dense == encoder.cost(LENGTHS)
    assert encoder.cost(LENGTHS).flops < 0.7 * before.flops
    shorter = [LENGTHS, -(-LENGTHS // 2), -(-LENGTHS * 333 // 1000)]
    assert encoder.cost(LENGTHS).flops * len(LENGTHS) == modeling.layer_flops(
        encoder.model, [texts.tolist() for texts in shorter]
    )


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("by", ["attention", "effect"])
@pytest.mark.parametrize("head", ["sequence-classification", "question-answering", "intent-slots", "embedding"])
def test_reloaded_it_answers_as_before_and_the_bytes_are_those_counted(head: str, by: str, tmp_path: Path) -> None:
    encoder = tiny(head=head)
    encoder = encoder.cut(Plan.full(encoder.shape).drop(1, head=0).drop(2, neuron=3))
    encoder = factored(encoder, [{"attention.self.query": 4}, {}, {}])
    encoder = eliminating(quantized(encoder, ["1.output.dense"]), [1, 0.6, 0.5], by)
    assert_reloaded_as_built_and_counted(encoder, tmp_path / "out", LENGTHS)


def test_a_fresh_process_answers_alike(tmp_path: Path) -> None:
    export(eliminating(tiny(head="question-answering"), [1, 0.6, 0.3], "effect"), tmp_path / "out")
    assert (tmp_path / "out" / "tokens.py").exists()


def test_shared_layers_lose_tokens_each_at_its_place() -> None:
    encoder = tiny().with_structure({"kind": "share", "layers": [0, 0, 2]})
    with probing(_Seen()) as seen:
        logits(eliminating(encoder, [1, 0.75, 0.3]), one_text())
    assert isinstance(seen, _Seen)
    assert seen.tokens == [12, 9, 4]


def test_layers_without_heads_keep_the_first_tokens() -> None:
    encoder = tiny()
    plan = Plan.full(encoder.shape)
    for head in range(4):
        plan = plan.drop(0, head=head)
    with probing(_Seen()) as seen:
        logits(eliminating(encoder.cut(plan), [1, 0.5, 0.5]), one_text())
    assert isinstance(seen, _Seen)
    assert seen.changed[1][0].nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_attention_that_is_written_out_loses_the_same_tokens() -> None:
    encoder, inputs = eliminating(tiny(), [1, 0.6, 0.3]), padded_batch()
    wanted = logits(encoder, inputs)
    encoder.model.set_attn_implementation("eager")
    torch.testing.assert_close(logits(encoder, inputs), wanted, atol=1e-5, rtol=0)


def test_gradients_go_through_what_stays() -> None:
    encoder = eliminating(tiny(), [1, 0.6, 0.3], "effect")
    encoder.model(**padded_batch(), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    missing = [name for name, p in encoder.model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - set(ABLE)))
def test_layers_that_count_positions_themselves_are_refused(architecture: str) -> None:
    with pytest.raises(UserError, match="count positions themselves"):
        eliminating(tiny(architecture), [1, 0.5, 0.5])


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"keep": [1, 0.5]}, "2 layers, the model has 3"),
        ({"keep": [1, 0.5, 0.6]}, "never rise"),
        ({"keep": [0.9, 0.5, 0.4]}, "begin with 1"),
        ({"keep": [1, 0.5, 0]}, "above 0"),
        ({"keep": [1, 0.5, "a"]}, "no list of numbers"),
        ({"keep": [1, 0.5, float("nan")]}, "above 0"),
        ({"keep": 3}, "no list"),
        ({"keep": [1, 0.33333, 0.2]}, "1000ths"),
        ({"safe": [64]}, "none of its vocabulary"),
        ({"by": "luck"}, "none of attention, effect"),
        ({"by": "effect"}, "no values for"),
    ],
)
def test_a_schedule_that_does_not_fit_is_refused(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        tiny().with_structure({"kind": "tokens", "keep": [1, 0.5, 0.5], "safe": [], "by": "attention", **entry})


def test_what_would_need_every_token_is_refused_in_words(tmp_path: Path) -> None:
    task = toy_task()
    encoder = eliminating(encoder_for(task), [1, 0.5, 0.5])
    with pytest.raises(UserError, match='"cut" cannot come after "tokens": put it first'):
        encoder.cut(Plan.full(encoder.shape).drop(0, head=1))
    with pytest.raises(UserError, match=r"every token through every layer.*compact"):
        export(encoder, tmp_path / "out", "dense")
    for asked in (lambda: sweep(encoder, task), lambda: restart.Restartable(encoder)):
        with pytest.raises(UserError, match="Not every token goes through every layer"):
            asked()
    with pytest.raises(ValueError, match="does not say which tokens"):
        encoder.model(input_ids=padded_batch()["input_ids"], attention_mask=torch.ones(4, 1, 12, 12))
    with gated(encoder, Plan.full(encoder.shape)):  # a plan that takes nothing away may be asked for
        logits(encoder, padded_batch())


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(("format", "package"), [("onnx", "onnxscript"), ("openvino", "openvino")])
def test_graphs_hold_it_too(format: str, package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    export(eliminating(tiny(), [1, 0.6, 0.3], "effect", safe=(3,)), tmp_path / "out", format)


def test_a_graph_for_torch_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sizes of 1 for a case of its own.*ONNX"):
        export(eliminating(tiny(), [1, 0.6, 0.3]), tmp_path / "out", "torch-export")
