"""The law of restarting: whatever layer a pass starts from, ends at or resumes behind, the model says the same."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from asc_core.encoder import HEADS, Encoder
from asc_core.gates import Gates, plan_gates
from asc_core.probes import Probe, Readout, probing
from asc_core.scores.first_token import first_token_only, reads_first_token_only
from asc_core.scores.restart import Restartable
from asc_core.values import Plan
from tests.test_surgery import VARIANTS
from tests.tiny import logits, padded_batch, tiny

READS_ALL = {"embedding", "token-classification", "question-answering", "intent-slots"}


def said(output: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """What `logits` of tests.tiny gives, of an output that is there."""
    mask = inputs["attention_mask"].bool()
    tensors = [v for v in output.values() if isinstance(v, torch.Tensor)]
    per_token = [v.dim() >= 2 and v.shape[:2] == mask.shape for v in tensors]
    return torch.cat([(v[mask] if each else v).flatten() for v, each in zip(tensors, per_token, strict=True)])


def check(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_from_every_layer_on_the_model_says_what_a_whole_pass_says(variant: str, head: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, head=head, **overrides)
    inputs = padded_batch()
    expected = logits(encoder, inputs)
    restartable = Restartable(encoder)
    with torch.inference_mode():
        output, states = restartable.record(inputs)
        check(said(output, inputs), expected)
        assert len(states) == restartable.layers == encoder.shape.layers
        for layer, hidden in enumerate(states):
            check(said(restartable.start(layer, inputs, hidden), inputs), expected)
            written = restartable.layer(layer, inputs, hidden)
            check(said(restartable.resume(layer, inputs, written), inputs), expected)
            changed = restartable.resume(layer, inputs, written.roll(1, 0))
            assert (said(changed, inputs) - expected).abs().max() > 1e-3  # it does depend on what is handed in
    check(logits(encoder, inputs), expected)


@pytest.mark.parametrize("variant", ["bert", "albert", "modernbert", "deberta-v2"])
def test_the_layers_that_run_are_probed_as_in_a_whole_pass(variant: str) -> None:
    encoder = tiny(variant)
    inputs, last = padded_batch(), encoder.shape.layers - 1
    gates = Gates({("ffn", encoder.shape.rows[last]): torch.zeros(20)}, frozenset([last - 1]))
    if encoder.shape.shares_weights:
        gates = Gates({}, frozenset([last - 1]))  # its gates would act below as well
    with torch.inference_mode(), probing(gates):
        expected = encoder.model(**inputs).logits
    restartable = Restartable(encoder)
    with torch.inference_mode():
        _, states = restartable.record(inputs)
        check(restartable.start(last - 1, inputs, states[last - 1], gates).logits, expected)
        assert (restartable.record(inputs)[0].logits - expected).abs().max() > 1e-3


def test_a_cut_encoder_restarts_too() -> None:
    encoder = tiny("deberta-v2")
    smaller = encoder.cut(Plan.full(encoder.shape).drop(layer=0).drop(layer=1, head=2))
    inputs = padded_batch()
    restartable = Restartable(smaller)
    with torch.inference_mode():
        _, states = restartable.record(inputs)
        check(said(restartable.start(1, inputs, states[1]), inputs), logits(smaller, inputs))


def test_weights_are_shared_and_the_encoder_is_left_alone() -> None:
    encoder = tiny()
    restartable = Restartable(encoder)
    own = dict(restartable.encoder.model.named_parameters())
    assert all(own[name] is parameter for name, parameter in encoder.model.named_parameters())
    assert all("forward" not in vars(module) for module in encoder.model.modules())


def test_a_failed_pass_leaves_nothing_behind() -> None:
    encoder, inputs = tiny(), padded_batch()
    restartable = Restartable(encoder)
    with torch.inference_mode():
        _, states = restartable.record(inputs)
        with pytest.raises(RuntimeError):
            restartable.start(1, inputs, states[1][:, :, :5])
        check(restartable.record(inputs)[0].logits, encoder.model(**inputs).logits)


def test_several_threads_restart_and_evaluate_one_model() -> None:
    encoder = tiny(num_hidden_layers=4)
    inputs = padded_batch()
    dense = logits(encoder, inputs)
    wrong: list[str] = []

    def restart() -> None:
        restartable = Restartable(encoder)
        with torch.inference_mode():
            _, states = restartable.record(inputs)
            for turn in range(40):
                layer = turn % 4
                output = restartable.start(layer, inputs, states[layer])
                if not torch.allclose(said(output, inputs), dense, atol=1e-5):
                    wrong.append(f"restarted at {layer}")

    def evaluate() -> None:
        plan = Plan.full(encoder.shape).drop(layer=2)
        expected = None
        for _ in range(40):
            with probing(plan_gates(encoder, plan)):
                now = logits(encoder, inputs)
            if expected is not None and not torch.allclose(now, expected, atol=1e-6):
                wrong.append("gated")
            expected = now

    threads = [threading.Thread(target=work) for work in (restart, evaluate, restart)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _reads(encoder: Encoder) -> bool:
    restartable, inputs = Restartable(encoder), padded_batch()
    with torch.inference_mode():
        restartable.record(inputs)
        return reads_first_token_only(restartable, inputs)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_head_reads_is_found_out(variant: str, head: str) -> None:
    name, overrides = VARIANTS[variant]
    assert _reads(tiny(name, head=head, **overrides)) == (head not in READS_ALL)


def test_mean_pooling_reads_all_tokens() -> None:
    assert not _reads(tiny("modernbert", classifier_pooling="mean"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_last_layer_for_the_first_token_alone_gives_the_same_logits(variant: str) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, **overrides)
    inputs = padded_batch()
    expected = logits(encoder, inputs)
    restartable = Restartable(encoder)
    with torch.inference_mode():
        _, states = restartable.record(inputs)
        with first_token_only(restartable):
            for layer, hidden in enumerate(states):
                check(restartable.start(layer, inputs, hidden).logits.flatten(), expected)
        check(restartable.record(inputs)[0].logits.flatten(), expected)


class Widths(Probe):
    """Which readouts ran, on how many tokens each."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def wrote(self, readout: Readout, inputs: torch.Tensor, output: torch.Tensor) -> None:
        self.seen.append((readout.kind, inputs.shape[1]))


def test_only_the_last_layer_is_computed_for_the_first_token_alone() -> None:
    encoder, inputs, widths = tiny("albert"), padded_batch(), Widths()
    restartable = Restartable(encoder)
    with torch.inference_mode(), first_token_only(restartable):
        restartable.record(inputs, widths)
    length = inputs["input_ids"].shape[1]
    assert widths.seen == [("attention", length), ("ffn", length)] * 2 + [("attention", 1), ("ffn", 1)]
