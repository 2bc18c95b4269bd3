"""The law of export: what the cut model answers, its reloaded directory answers, in every format."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from asc_core.checkpoint.digests import write_digests
from asc_core.encoder import HEADS, Encoder
from asc_core.errors import UserError
from asc_core.export import PACKINGS, Packing, checkpoint, export, package
from asc_core.gates import gated
from asc_core.loading import load_encoder
from asc_core.modeling import COMPACT
from asc_core.recipes import Recipe
from asc_core.values import Plan, Provenance, Shape
from tests.test_surgery import VARIANTS, plans
from tests.tiny import ARCHITECTURES, logits, padded_batch, tiny

pytestmark = pytest.mark.usefixtures("in_process")
# Writing and loading a model again takes long: the fast tests do it for one architecture, the whole run for all.
one_fast = [pytest.param(name, marks=[] if name == "bert" else pytest.mark.slow) for name in VARIANTS]
few = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def half(shape: Shape, layers: tuple[int, ...] | None = None) -> Plan:
    """A plan that cuts inside every layer, unevenly."""
    heads = tuple((0, 2, 3)[: 1 + row % 3] for row in range(len(shape.heads)))
    neurons = tuple(tuple(range(row, 11)) for row in range(len(shape.neurons)))
    return Plan(shape, heads, neurons, layers if layers is not None else tuple(range(shape.layers)))


def reloaded(encoder: Encoder, folder: Path, **options: Any) -> Encoder:
    shutil.rmtree(folder, ignore_errors=True)
    export(encoder, folder, **options)
    return load_encoder(folder, device="cpu")


@pytest.mark.parametrize("variant", one_fast)
@few
@given(data=st.data(), seed=st.integers(0, 3))
def test_exported_logits_equal_gated_logits(variant: str, data: st.DataObject, seed: int, tmp_path: Path) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, seed=seed, **overrides)
    plan = data.draw(plans(encoder.shape))
    inputs = padded_batch(seed)
    with gated(encoder, plan):
        expected = logits(encoder, inputs)
    first = reloaded(encoder.cut(plan), tmp_path / "first", plan=plan, original=encoder)
    torch.testing.assert_close(logits(first, inputs), expected, atol=1e-4, rtol=0)
    again = data.draw(plans(first.shape))
    with gated(first, again):
        expected = logits(first, inputs)
    second = reloaded(first.cut(again), tmp_path / "second", plan=again, original=encoder)
    torch.testing.assert_close(logits(second, inputs), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("variant", one_fast)
@few
@given(data=st.data(), seed=st.integers(0, 3))
def test_dense_logits_equal_gated_logits_or_are_refused(
    variant: str, data: st.DataObject, seed: int, tmp_path: Path
) -> None:
    name, overrides = VARIANTS[variant]
    encoder = tiny(name, seed=seed, **overrides)
    plan = data.draw(plans(encoder.shape))
    first_matters = name == "modernbert" or variant in ("deberta-v2", "deberta-v2 with shared attention key")
    if first_matters and 0 not in plan.layers:
        with pytest.raises(UserError, match="compact format"):
            export(encoder.cut(plan), tmp_path / "out", "dense")
        return
    inputs = padded_batch(seed)
    with gated(encoder, plan):
        expected = logits(encoder, inputs)
    again = reloaded(encoder.cut(plan), tmp_path / "out", format="dense", plan=plan)
    torch.testing.assert_close(logits(again, inputs), expected, atol=1e-4, rtol=0)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == name
    assert "asc" not in config
    assert "auto_map" not in config


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_head_of_every_architecture_survives(architecture: str, head: str, tmp_path: Path) -> None:
    encoder = tiny(architecture, head=head)
    layers = (0,) if architecture == "albert" else (0, 2)
    smaller = encoder.cut(half(encoder.shape, layers))
    again = reloaded(smaller, tmp_path / "out", original=encoder)
    inputs = padded_batch()
    torch.testing.assert_close(logits(again, inputs), logits(smaller, inputs), atol=1e-4, rtol=0)
    assert (again.head, again.shape, again.labels) == (head, smaller.shape, smaller.labels)
    assert again.parameters == smaller.parameters
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == COMPACT + architecture
    assert config["architectures"] == [type(again.model).__name__]


def test_what_was_cut_decides_the_size_on_disk(tmp_path: Path) -> None:
    encoder = tiny()
    smaller = encoder.cut(half(encoder.shape))
    export(smaller, tmp_path / "whole", original=encoder)
    export(smaller, tmp_path / "half", packing="float16")
    whole, stored = load_file(tmp_path / "whole/model.safetensors"), load_file(tmp_path / "half/model.safetensors")
    assert sum(t.numel() for t in whole.values()) == smaller.parameters
    assert all(stored[name].dtype == torch.float16 for name in whole)


def test_half_precision_is_computed_in_float32(tmp_path: Path) -> None:
    encoder = tiny()
    smaller = encoder.cut(half(encoder.shape))
    report = export(smaller, tmp_path / "out", packing="float16")
    again = load_encoder(tmp_path / "out", device="cpu")
    assert {p.dtype for p in again.model.parameters()} == {torch.float32}
    difference = (logits(again, padded_batch()) - logits(smaller, padded_batch())).abs().max().item()
    assert 0 < difference < 0.05
    assert 0 < report.max_difference < 0.05


def test_weights_that_half_precision_cannot_hold_are_refused(tmp_path: Path) -> None:
    encoder = tiny()
    with torch.no_grad():
        next(encoder.model.parameters())[0, 0] = 1e5
    with pytest.raises(UserError, match="not finite in float16"):
        export(encoder, tmp_path / "out", dtype="float16")
    assert not (tmp_path / "out").exists()


def test_an_uncut_encoder_becomes_an_ordinary_checkpoint(tmp_path: Path) -> None:
    encoder = tiny("xlm-roberta")
    report = export(encoder, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == "xlm-roberta"
    assert config["architectures"] == ["XLMRobertaForSequenceClassification"]
    assert not [name for name in report.files if name.endswith(".py")]


def test_intents_and_slots_have_no_dense_format(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no class for intents and slots"):
        export(tiny(head="intent-slots"), tmp_path / "out", "dense")


def test_uncut_intents_and_slots_bring_their_class(tmp_path: Path) -> None:
    encoder = tiny(head="intent-slots")
    again = reloaded(encoder, tmp_path / "out")
    assert (tmp_path / "out" / "compact.py").exists()
    torch.testing.assert_close(logits(again, padded_batch()), logits(encoder, padded_batch()), atol=1e-4, rtol=0)


@pytest.mark.parametrize("format", ["compact", "dense"])
@pytest.mark.parametrize("architecture", ["bert", "mpnet", "deberta-v2"])
def test_a_planted_wrong_head_is_not_exported(
    format: str, architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tiny(architecture)
    full = Plan.full(encoder.shape)
    smaller, wrong = encoder.cut(full.drop(layer=1, head=1)), encoder.cut(full.drop(layer=1, head=2))
    right_writer = checkpoint.write_weights

    def write_wrong(state: Any, path: Path, packing: Packing) -> int:
        return right_writer(wrong.model.state_dict() if format == "compact" else shifted(state), path, packing)

    def shifted(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The columns of two heads of a readout change places."""
        name = next(
            n for n in state if ".layer.1.attention" in n and n.endswith(("output.dense.weight", "attn.o.weight"))
        )
        columns = torch.arange(24)
        columns[:12] = columns[:12].roll(6)
        return {**state, name: state[name][:, columns]}

    monkeypatch.setattr(checkpoint, "write_weights", write_wrong)
    with pytest.raises(UserError, match="does not answer like the one in memory"):
        export(smaller, tmp_path / "out", format)
    assert list(tmp_path.iterdir()) == []


def test_lost_weights_are_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right_writer = checkpoint.write_weights

    def lose_one(state: Any, path: Path, packing: Packing) -> int:
        return right_writer({n: t for n, t in state.items() if n != "classifier.weight"}, path, packing)

    monkeypatch.setattr(checkpoint, "write_weights", lose_one)
    with pytest.raises(UserError, match=r"missing_keys.*classifier\.weight"):
        export(tiny(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_that_splits_otherwise_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right_writer = package.write_tokenizer

    def write_cased(tokenizer: Any, folder: Path, token_types: bool) -> None:
        right_writer(tokenizer, folder, token_types)
        content = json.loads((folder / "tokenizer.json").read_text())
        content["normalizer"] = None
        (folder / "tokenizer.json").write_text(json.dumps(content))

    monkeypatch.setattr(package, "write_tokenizer", write_cased)
    with pytest.raises(UserError, match="tokenizer splits texts otherwise"):
        export(tiny(), tmp_path / "out", texts=["The cat SAT", ("a dog", "on the mat")])
    assert list(tmp_path.iterdir()) == []


def test_what_calls_left_in_a_tokenizer_does_not_travel(tmp_path: Path) -> None:
    encoder = tiny()
    encoder.tokenizer(["a cat", "the dog sat on the mat"], padding=True, truncation=True, max_length=3)
    export(encoder, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "tokenizer.json").read_text())
    assert (written["truncation"], written["padding"]) == (None, None)
    assert encoder.tokenizer.backend_tokenizer.truncation is not None


def test_a_plan_that_is_not_the_cut_is_refused(tmp_path: Path) -> None:
    encoder = tiny()
    plan = half(encoder.shape)
    with pytest.raises(UserError, match="not the one that this encoder"):
        export(encoder.cut(plan), tmp_path / "out", plan=plan.drop(layer=0, neuron=5))
    export(encoder.cut(plan), tmp_path / "out", plan=plan)
    assert Plan.load(tmp_path / "out" / "plan.json") == plan


def test_the_model_in_memory_is_not_touched(tmp_path: Path) -> None:
    encoder = tiny("modernbert")
    smaller = encoder.cut(half(encoder.shape))
    before, weights = smaller.model.config.to_dict(), smaller.weights
    export(smaller, tmp_path / "out")
    export(smaller, tmp_path / "dense", "dense", packing="float16")
    assert smaller.model.config.to_dict() == before
    assert Encoder(smaller.model, smaller.tokenizer, "x").weights == weights


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.pop("asc"), "no asc that says"),
        (lambda c: c.update(asc=[1]), "no asc that says"),
        (lambda c: c["asc"].update(format=3), "format 3"),
        (lambda c: c["asc"].update(structures={}), "no list"),
        (lambda c: c["asc"]["structures"].append({"kind": "magic"}), "'magic' is none of"),
        (lambda c: c["asc"]["structures"].append({"kind": ["cut"]}), "is none of"),
        (lambda c: c["asc"]["structures"][0].update(more=1), "has not the fields"),
        (lambda c: c["asc"]["structures"][0].update(heads=[["0"]]), "does not fit"),
        (lambda c: c["asc"]["structures"][0].update(layers=[0, 1, 9]), "depth"),
        (lambda c: c["asc"].update(dense={"num_hidden_layers": 3, "__class__": 1}), "does not fit"),
        (lambda c: c["asc"]["dense"].update(num_hidden_layers=2), "depth"),
        (lambda c: c["asc"]["dense"].update(num_hidden_layers="3"), "does not fit"),
        (lambda c: c["asc"]["structures"][0]["neurons"].__setitem__(0, 10**9), "does not fit"),
        (lambda c: c["asc"]["structures"][0]["heads"].__setitem__(0, [1]), "do not fit"),
    ],
)
def test_a_record_of_the_cut_that_was_tampered_with_is_refused(change: Any, says: str, tmp_path: Path) -> None:
    encoder = tiny()
    export(encoder.cut(Plan.full(encoder.shape).drop(layer=0, head=1)), tmp_path / "out")
    path = tmp_path / "out" / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    write_digests(tmp_path / "out")  # whoever tampers with one can do so with the other
    with pytest.raises(UserError, match=says):
        load_encoder(tmp_path / "out", device="cpu")


def test_weights_of_another_cut_are_refused(tmp_path: Path) -> None:
    encoder = tiny()
    export(encoder.cut(half(encoder.shape)), tmp_path / "out")
    path = tmp_path / "out" / "model.safetensors"
    weights = load_file(path)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    save_file({**weights, name: torch.cat([weights[name]] * 2)}, path, metadata={"format": "pt"})
    write_digests(tmp_path / "out")
    with pytest.raises(UserError, match="do not fit its configuration"):
        load_encoder(tmp_path / "out", device="cpu")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="compact or weights-only or dense or onnx"):
        export(tiny(), tmp_path / "out", "gguf")
    with pytest.raises(UserError, match="float32 or float16"):
        export(tiny(), tmp_path / "out", packing="int8")


def test_a_packing_that_a_format_lacks_is_refused_with_those_that_have_it(tmp_path: Path) -> None:
    others = "compact or weights-only or dense or onnx or openvino or device"
    said = f"torch-export stores weights as float32, not as float16; {others} does"
    with pytest.raises(UserError, match=said):
        export(tiny(), tmp_path / "out", "torch-export", packing="float16")


def test_the_old_name_of_packing_still_works(tmp_path: Path) -> None:
    assert export(tiny(), tmp_path / "out", dtype="float16").packing == "float16"


def test_the_encoder_says_how_it_is_stored(tmp_path: Path) -> None:
    assert export(tiny().packed("float16"), tmp_path / "out").packing == "float16"


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("format", ["compact", "dense"])
def test_the_card_counts_the_bytes_of_the_tensors_written(format: str, packing: str, tmp_path: Path) -> None:
    encoder = tiny()
    smaller = encoder.cut(half(encoder.shape))
    export(smaller, tmp_path / "out", format, packing=packing, original=encoder)
    stored = load_file(tmp_path / "out/model.safetensors").values()
    written = sum(tensor.numel() * tensor.element_size() for tensor in stored)
    card = (tmp_path / "out/README.md").read_text()
    assert f"| weights, bytes ({packing}) | {written:,} | {4 * encoder.parameters:,} |" in card


def test_a_recipe_is_written_without_paths_of_this_machine(tmp_path: Path) -> None:
    encoder = tiny()
    plan = replace(half(encoder.shape), provenance=Provenance(model="/home/someone/model", method="fisher"))
    recipe = replace(Recipe.of(plan), original="/home/someone/model", task=str(tmp_path / "mood.toml"))
    export(encoder.cut(plan), tmp_path / "out", recipe=recipe)
    text = (tmp_path / "out/recipe.json").read_text()
    assert "/home/someone" not in text
    assert str(tmp_path) not in text
    again = Recipe.load(tmp_path / "out/recipe.json")
    assert (again.original, again.task, again.key) == ("model", "mood.toml", recipe.key)
