"""The laws of structures: gated = built = reloaded, forecast cost = counted cost, counted bytes = bytes written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from asc_core import modeling
from asc_core.checkpoint.digests import write_digests
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.values import Plan
from tests.modeling.structures import (
    assert_cut_as_gated_and_counted,
    batch_within,
    factored,
    shortened,
    structured,
    structures,
)
from tests.test_surgery import VARIANTS, plans
from tests.tiny import logits, tiny

LENGTHS = np.array([3, 9, 17, 40])
few = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
one_fast = [pytest.param(name, marks=[] if name in ("bert", "eurobert") else pytest.mark.slow) for name in VARIANTS]


@pytest.mark.parametrize("variant", VARIANTS)
@few
@given(data=st.data(), kinds=structures(then="cut"), seed=st.integers(0, 3))
def test_gated_equals_cut_and_forecast_cost_equals_counted_cost(
    variant: str, data: st.DataObject, kinds: list[str], seed: int
) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, seed=seed, **overrides)
    for kind in kinds:
        encoder = structured(data.draw, encoder, kind)
    inputs = batch_within(encoder.model.config.vocab_size, seed)
    assert_cut_as_gated_and_counted(encoder, data.draw(plans(encoder.shape)), inputs, LENGTHS)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("variant", one_fast)
@few
@given(data=st.data(), kinds=structures(), packing=st.sampled_from(sorted(modeling.PACKINGS)))
def test_reloaded_equals_built_and_counted_bytes_equal_bytes_written(
    variant: str, data: st.DataObject, kinds: list[str], packing: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, **overrides)
    for kind in kinds:
        encoder = structured(data.draw, encoder, kind)
    encoder = encoder.packed(packing)
    folder = tmp_path_factory.mktemp("out") / "model"
    export(encoder, folder)
    again = load_encoder(folder, device="cpu")
    inputs = batch_within(encoder.model.config.vocab_size)
    torch.testing.assert_close(logits(again, inputs), logits(encoder, inputs), atol=1e-5, rtol=0)
    assert (again.shape, again.blueprint, again.weights) == (encoder.shape, encoder.blueprint, encoder.weights)
    assert again.cost(LENGTHS) == encoder.cost(LENGTHS)
    stored = load_file(folder / "model.safetensors").values()
    assert sum(tensor.numel() * tensor.element_size() for tensor in stored) == encoder.cost(LENGTHS).bytes


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("variant", one_fast)
@few
@given(data=st.data(), kinds=structures())
def test_the_original_class_answers_alike_or_it_is_said_why_not(
    variant: str, data: st.DataObject, kinds: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, **overrides)
    for kind in kinds:
        encoder = structured(data.draw, encoder, kind)
    folder = tmp_path_factory.mktemp("out") / "model"
    if modeling.dense_refusal(encoder.model, modeling.origin(encoder.model.config).layers):
        with pytest.raises(UserError, match="compact"):
            export(encoder, folder, "dense")
        return
    export(encoder, folder, "dense")
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == name
    assert "asc" not in config
    inputs = batch_within(encoder.model.config.vocab_size)
    again = load_encoder(folder, device="cpu")
    torch.testing.assert_close(logits(again, inputs), logits(encoder, inputs), atol=1e-4, rtol=0)


def test_full_rank_factors_answer_like_the_matrix() -> None:
    encoder = tiny()
    ranks = [{path: min(m.weight.shape) for path, m in row.items()} for row in modeling.factorable(encoder.model)]
    inputs = batch_within(64)
    torch.testing.assert_close(logits(factored(encoder, ranks), inputs), logits(encoder, inputs), atol=1e-4, rtol=0)


def test_a_planted_wrong_factor_is_noticed() -> None:
    encoder = tiny()
    ranks = [{path: min(m.weight.shape) for path, m in row.items()} for row in modeling.factorable(encoder.model)]
    wrong = factored(encoder, ranks)
    name, first = next((n, p) for n, p in wrong.model.named_parameters() if n.endswith("first.weight"))
    with torch.no_grad():
        first.copy_(first.roll(1, dims=0))
    inputs = batch_within(64)
    assert (logits(wrong, inputs) - logits(encoder, inputs)).abs().max() > 1e-3, name


def test_a_shared_layer_runs_twice_and_a_wrong_one_is_noticed() -> None:
    encoder, inputs = tiny(), batch_within(64)
    shared = encoder.with_structure({"kind": "share", "layers": [0, 0, 2]})
    twice = encoder.copy()
    layers = twice.model.bert.encoder.layer
    layers[1].load_state_dict(layers[0].state_dict())
    torch.testing.assert_close(logits(shared, inputs), logits(twice, inputs), atol=1e-5, rtol=0)
    other = encoder.with_structure({"kind": "share", "layers": [0, 1, 1]})
    assert (logits(other, inputs) - logits(shared, inputs)).abs().max() > 1e-3
    assert shared.parameters < encoder.parameters
    assert shared.shape.rows == (0, 0, 1)


def test_kept_tokens_answer_as_before_and_a_wrong_row_is_noticed() -> None:
    encoder, inputs = tiny(), batch_within(20, seed=1)
    kept = [*range(5), 7, *range(9, 30)]
    shorter, wrong = shortened(encoder, kept), shortened(encoder, [*range(5), 8, *range(9, 30)])
    old = {**inputs, "input_ids": torch.tensor(kept)[inputs["input_ids"]]}
    torch.testing.assert_close(logits(shorter, inputs), logits(encoder, old), atol=1e-5, rtol=0)
    assert (inputs["input_ids"] == 5).any()
    assert (logits(wrong, inputs) - logits(encoder, old)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"kind": "factor", "ranks": [{}] * 2}, "2 rows"),
        ({"kind": "factor", "ranks": [{"attention.self.query": 99}, {}, {}]}, "no rank of 99"),
        ({"kind": "factor", "ranks": [{"__class__": 1}, {}, {}]}, "no factored matrix"),
        ({"kind": "factor", "ranks": 3}, "no list"),
        ({"kind": "share", "layers": [0, 2, 2]}, "earlier layer"),
        ({"kind": "share", "layers": [0, 0]}, "the model has 3"),
        ({"kind": "vocabulary", "rows": 65, "special": {}}, "none of 64"),
        ({"kind": "vocabulary", "rows": 10, "special": {"pad_token_id": 10}}, "not in its vocabulary"),
        ({"kind": "vocabulary", "rows": 10, "special": {}}, "no values for"),
    ],
)
def test_a_structure_that_does_not_fit_is_refused(entry: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        tiny().with_structure(entry)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("layers", [[0, 0, 2], [0, 1, 0], [0, 0, 0]])
def test_the_original_class_gets_a_shared_layer_that_was_cut_at_each_of_its_places(
    layers: list[int], tmp_path: Path
) -> None:
    encoder = tiny().with_structure({"kind": "share", "layers": layers})
    encoder = encoder.cut(Plan.full(encoder.shape).drop(0, head=1).drop(0, neuron=3))
    export(encoder, tmp_path / "out", "dense")
    again, inputs = load_encoder(tmp_path / "out", device="cpu"), batch_within(64)
    torch.testing.assert_close(logits(again, inputs), logits(encoder, inputs), atol=1e-4, rtol=0)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("format", ["compact", "dense"])
def test_a_layer_on_the_weights_of_another_attends_as_that_one(format: str, tmp_path: Path) -> None:
    encoder = tiny("modernbert", num_hidden_layers=4)
    shared = encoder.with_structure({"kind": "share", "layers": [0, 1, 1, 3]})
    spans = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]
    assert encoder.model.config.layer_types == spans
    assert shared.model.config.layer_types == [*spans[:2], spans[1], spans[3]]
    export(shared, tmp_path / "out", format)
    again, inputs = load_encoder(tmp_path / "out", device="cpu"), batch_within(64)
    torch.testing.assert_close(logits(again, inputs), logits(shared, inputs), atol=1e-4, rtol=0)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("kept", [(0, 1), (1, 2), (0, 3)])
def test_two_cuts_of_layers_that_share_weights_are_joined(kept: tuple[int, ...], tmp_path: Path) -> None:
    encoder = tiny(num_hidden_layers=4).with_structure({"kind": "share", "layers": [0, 1, 0, 1]})
    once = encoder.cut(Plan.full(encoder.shape).drop(0, head=0))
    twice = once.cut(replace(Plan.full(once.shape), layers=kept).drop(1, head=1))
    export(twice, tmp_path / "out")
    again, inputs = load_encoder(tmp_path / "out", device="cpu"), batch_within(64)
    torch.testing.assert_close(logits(again, inputs), logits(twice, inputs), atol=1e-4, rtol=0)


def test_layers_of_other_widths_cannot_share() -> None:
    encoder = tiny()
    with pytest.raises(UserError, match="other widths"):
        encoder.cut(Plan.full(encoder.shape).drop(0, head=1)).with_structure({"kind": "share", "layers": [0, 0, 2]})


def test_a_senseless_order_is_refused() -> None:
    encoder = factored(tiny(), [{"attention.self.query": 4}, {}, {}])
    with pytest.raises(UserError, match='"share" cannot come after "factor"'):
        encoder.with_structure({"kind": "share", "layers": [0, 1, 1]})


@pytest.mark.usefixtures("in_process")
def test_an_export_of_format_1_still_loads(tmp_path: Path) -> None:
    encoder = tiny()
    smaller = encoder.cut(Plan.full(encoder.shape).drop(1).drop(0, head=2).drop(2, neuron=3))
    export(smaller, tmp_path / "out")
    path = tmp_path / "out" / "config.json"
    config = json.loads(path.read_text())
    (cut,) = config.pop("asc")["structures"]
    config["asc_cut"] = {name: cut[name] for name in ("layers", "heads", "neurons")}
    config["asc_cut"]["dense"] = {"num_hidden_layers": 3}
    path.write_text(json.dumps(config))
    write_digests(tmp_path / "out")  # whoever tampers with one can do so with the other
    again = load_encoder(tmp_path / "out", device="cpu")
    inputs = batch_within(64)
    torch.testing.assert_close(logits(again, inputs), logits(smaller, inputs), atol=1e-5, rtol=0)
    assert again.structures == smaller.structures


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    "values",
    [{"num_hidden_layers": 10**18}, {"num_hidden_layers": -1}, {"pad_token_id": 10**9}, {"vocab_size": 10**18}],
)
def test_a_record_of_an_original_that_nobody_could_build_is_refused(values: dict[str, int], tmp_path: Path) -> None:
    encoder = shortened(tiny().cut(Plan.full(tiny().shape).drop(1)), [*range(12)])
    export(encoder, tmp_path / "out")
    path = tmp_path / "out" / "config.json"
    config = json.loads(path.read_text())
    config["asc"]["dense"] |= values
    path.write_text(json.dumps(config))
    write_digests(tmp_path / "out")  # whoever tampers with one can do so with the other
    with pytest.raises(UserError, match="record of the uncut model does not fit"):
        load_encoder(tmp_path / "out", device="cpu")


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    "values", [{"eos_token_id": 128001}, {"eos_token_id": [2, 3]}, {"bos_token_id": -1}, {"pad_token_id": None}]
)
def test_token_numbers_that_a_configuration_only_mentions_do_not_keep_a_model_from_loading(
    values: dict[str, object], tmp_path: Path
) -> None:
    encoder = tiny()
    for name, value in values.items():
        setattr(encoder.model.config, name, value)
    first = modeling.rows_of_tokens(encoder.model, torch.arange(50))
    shorter = encoder.with_structure({"kind": "vocabulary", "rows": 50, "special": {}}, first)
    smaller = shorter.cut(Plan.full(shorter.shape).drop(1))
    export(smaller, tmp_path / "out")
    again, inputs = load_encoder(tmp_path / "out", device="cpu"), batch_within(40)
    torch.testing.assert_close(logits(again, inputs), logits(smaller, inputs), atol=1e-5, rtol=0)
