"""Checkpoints as others leave them: what does not count makes no difference, what is damaged is named in a sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from asc_core import modeling
from asc_core.checkpoint import hub
from asc_core.checkpoint.digests import DIGESTS_FILE
from asc_core.checkpoint.names import unwrapped
from asc_core.checkpoint.reasons import reason
from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.tasks import load_task
from asc_core.train.heads import encoder_for_task
from asc_core.values import Plan
from tests.accepted.checkpoints import BESIDE_A_MODEL, WRAPPERS
from tests.export.conftest import checked_in_process
from tests.tiny import WORDS, logits, padded_batch, randomise, save_checkpoint, tiny, tokenizer


def edit(folder: Path, **values: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Path:
    path = folder / "model.safetensors"
    save_file({n: t.contiguous() for n, t in change(load_file(path)).items()}, path, metadata={"format": "pt"})
    return folder


def same(folder: Path, encoder: Encoder) -> None:
    again = load_encoder(folder, device="cpu")
    torch.testing.assert_close(logits(again, padded_batch()), logits(encoder, padded_batch()), atol=1e-6, rtol=0)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_weights_under_a_wrappers_prefix_are_read_of_other_architectures(wrapper: str, tmp_path: Path) -> None:
    encoder = tiny("distilbert")
    folder = save_checkpoint(encoder, tmp_path / "model")
    extra = {"criterion.weight": torch.ones(3)}  # what else the wrapper held
    same(edit_weights(folder, lambda w: {WRAPPERS[wrapper](n): t for n, t in w.items()} | extra), encoder)


def test_a_bare_encoder_inside_a_wrapper_is_read(tmp_path: Path) -> None:
    encoder = tiny(head="embedding")
    folder = save_checkpoint(encoder, tmp_path / "model")
    same(edit_weights(folder, lambda w: {f"encoder.{n}": t for n, t in w.items()}), encoder)


def test_two_models_in_one_file_are_not_chosen_from(tmp_path: Path) -> None:
    folder = save_checkpoint(tiny(), tmp_path / "model")
    edit_weights(folder, lambda w: {f"{p}.{n}": t.clone() for n, t in w.items() for p in ("student", "teacher")})
    with pytest.raises(UserError, match=r"several models, under '(student|teacher)' and '(student|teacher)'"):
        load_encoder(folder, device="cpu")


def test_names_without_a_prefix_stay() -> None:
    names = ["bert.embeddings.weight", "classifier.weight"]
    assert unwrapped(names, names, "bert", "here") == {name: name for name in names}


UNPLACED = {
    "relative positions": "bert.encoder.layer.0.attention.self.distance_embedding.weight",
    "a second norm": "bert.encoder.layer.1.LayerNorm2.weight",
    "a deeper head": "classifier.dense.weight",
}


@pytest.mark.parametrize("what", UNPLACED)
def test_weights_that_the_class_has_no_place_for_are_named(what: str, tmp_path: Path) -> None:
    folder = save_checkpoint(tiny(), tmp_path / "model")
    edit_weights(folder, lambda w: w | {UNPLACED[what]: torch.ones(4, 6)})
    with pytest.raises(UserError, match=f"no place for.*{UNPLACED[what]}"):
        load_encoder(folder, device="cpu")


def test_heads_of_other_tasks_and_what_a_class_computes_itself_are_no_loss(tmp_path: Path) -> None:
    encoder = tiny()
    folder = save_checkpoint(encoder, tmp_path / "model")
    same(edit_weights(folder, lambda w: w | BESIDE_A_MODEL), encoder)
    tags = save_checkpoint(tiny(head="token-classification"), tmp_path / "tags")
    edit_weights(tags, lambda w: w | {"bert.pooler.dense.weight": torch.zeros(24, 24)})
    assert load_encoder(tags, device="cpu").head == "token-classification"


def test_one_weight_of_another_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    classes = edit_weights(
        save_checkpoint(tiny(), tmp_path / "classes"), lambda w: w | {"classifier.weight": torch.zeros(5, 24)}
    )
    with pytest.raises(UserError, match=r"classifier\.weight is 5 x 24 in the file, the configuration says 3 x 24"):
        load_encoder(classes, device="cpu")
    rows = edit(save_checkpoint(tiny(), tmp_path / "rows"), vocab_size=60)
    with pytest.raises(UserError, match=r"word_embeddings\.weight is 64 x 24 .* 60 x 24.*set vocab_size to 64"):
        load_encoder(rows, device="cpu")


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_heads_that_transformers_4_pruned_are_a_cut(architecture: str, tmp_path: Path) -> None:
    """Pruning takes away what a head writes, so it answers like the whole model with zeros for those columns."""
    gone = {0: [1, 3], 2: [0]}
    whole = tiny(architecture)
    expected = whole.copy()
    table, width = modeling.ARCHITECTURES[architecture], modeling.head_width(whole.model.config)
    kept = {layer: [h for h in range(4) if h not in heads] for layer, heads in gone.items()}
    folder = save_checkpoint(whole, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    names = {id(module): name for name, module in whole.model.named_modules()}
    for layer, row in enumerate(modeling.rows_of(whole.model)):
        if layer not in gone:
            continue
        columns = modeling.blocks(kept[layer], width)
        for feeder in table.attention_feeders:
            name = names[id(row.get_submodule(feeder.path))]
            for part in ("weight", "bias"):
                weights[f"{name}.{part}"] = weights[f"{name}.{part}"][columns]
        name = names[id(row.get_submodule(table.attention_readout))]
        weights[f"{name}.weight"] = weights[f"{name}.weight"][:, columns]
        with torch.no_grad():
            readout = modeling.rows_of(expected.model)[layer].get_submodule(table.attention_readout)
            readout.weight[:, modeling.blocks(gone[layer], width)] = 0
    edit_weights(folder, lambda w: weights)
    edit(folder, pruned_heads={str(layer): heads for layer, heads in gone.items()})
    found = load_encoder(folder, device="cpu")
    torch.testing.assert_close(logits(found, padded_batch()), logits(expected, padded_batch()), atol=1e-5, rtol=0)
    assert found.shape.heads == (2, 4, 3)
    assert found.head == "sequence-classification"


ALBERTS: dict[str, tuple[dict[str, int], dict[int, list[int]]]] = {
    "one group": ({}, {0: [1, 3]}),
    "two groups": ({"num_hidden_layers": 4, "num_hidden_groups": 2}, {0: [1], 1: [0, 2]}),
    "two inner layers": ({"inner_group_num": 2}, {0: [1, 3]}),
    "both": ({"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2}, {1: [0], 2: [1, 2, 3]}),
}


@pytest.mark.parametrize("case", ALBERTS)
def test_heads_of_shared_layers_that_transformers_4_pruned_are_numbered_by_their_weights(
    case: str, tmp_path: Path
) -> None:
    own, gone = ALBERTS[case]
    whole = tiny("albert", **own)
    expected, width = whole.copy(), modeling.head_width(whole.model.config)
    weights = load_file(save_checkpoint(whole, tmp_path / "model") / "model.safetensors")
    inner = own.get("inner_group_num", 1)
    for row, heads in gone.items():  # as transformers 4 flattens them: the layers of group 0, then those of group 1
        path = f"albert.encoder.albert_layer_groups.{row // inner}.albert_layers.{row % inner}.attention"
        columns = modeling.blocks([head for head in range(4) if head not in heads], width)
        for name in ("query", "key", "value"):
            for part in ("weight", "bias"):
                weights[f"{path}.{name}.{part}"] = weights[f"{path}.{name}.{part}"][columns]
        weights[f"{path}.dense.weight"] = weights[f"{path}.dense.weight"][:, columns]
        with torch.no_grad():
            expected.model.get_submodule(f"{path}.dense").weight[:, modeling.blocks(heads, width)] = 0  # type: ignore[index]
    edit_weights(tmp_path / "model", lambda w: weights)
    edit(tmp_path / "model", pruned_heads={str(row): heads for row, heads in gone.items()})
    found = load_encoder(tmp_path / "model", device="cpu")
    torch.testing.assert_close(logits(found, padded_batch()), logits(expected, padded_batch()), atol=1e-5, rtol=0)
    rows = len(whole.shape.heads)
    assert found.shape.heads == tuple(4 - len(gone.get(row, ())) for row in range(rows))
    with checked_in_process():
        export(found, tmp_path / "again")
    again = load_encoder(tmp_path / "again", device="cpu")
    torch.testing.assert_close(logits(again, padded_batch()), logits(expected, padded_batch()), atol=1e-5, rtol=0)


def test_pruned_heads_of_a_compact_export_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with checked_in_process():
        export(tiny().cut(Plan.full(tiny().shape).drop(0, head=1)), tmp_path / "model")
    folder = edit(tmp_path / "model", pruned_heads={"0": [0]})
    (folder / DIGESTS_FILE).unlink()
    with pytest.raises(UserError, match=r"compact export, .* remove that entry"):
        load_encoder(folder, device="cpu")


def test_pruned_heads_that_there_are_not_are_refused(tmp_path: Path) -> None:
    folder = edit(save_checkpoint(tiny("albert"), tmp_path / "albert"), pruned_heads={"1": [0]})
    with pytest.raises(UserError, match="pruned_heads names layers or heads"):
        load_encoder(folder, device="cpu")
    folder = edit(save_checkpoint(tiny(), tmp_path / "model"), pruned_heads={"9": [0]})
    with pytest.raises(UserError, match="pruned_heads names layers or heads that its configuration does not have"):
        load_encoder(folder, device="cpu")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_named(value: float, tmp_path: Path) -> None:
    name = "bert.encoder.layer.1.output.dense.bias"

    def spoil(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights[name][3] = value
        return weights

    with pytest.raises(UserError, match=f"the weight {name} holds NaN or infinity"):
        load_encoder(edit_weights(save_checkpoint(tiny(), tmp_path / "model"), spoil), device="cpu")


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_an_epsilon_that_is_no_positive_number_is_named(value: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"layer_norm_eps in its config\.json is"):
        load_encoder(edit(save_checkpoint(tiny(), tmp_path / "model"), layer_norm_eps=value), device="cpu")


def test_weights_whose_answer_overflows_are_refused_with_the_layer(tmp_path: Path) -> None:
    def grow(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        weights["bert.encoder.layer.1.intermediate.dense.weight"].fill_(1e38)
        return weights

    with pytest.raises(UserError, match=r"first answer already is not a finite number.*from layer 2 on"):
        load_encoder(edit_weights(save_checkpoint(tiny(), tmp_path / "model"), grow), device="cpu")


def test_quantised_weights_are_refused_by_name(tmp_path: Path) -> None:
    name = "bert.encoder.layer.0.output.dense.weight"
    folder = save_checkpoint(tiny(), tmp_path / "model")
    edit_weights(folder, lambda w: w | {name: w[name].to(torch.int8)})
    edit(folder, quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(UserError, match=f"stored quantised .bitsandbytes; {name} is I8"):
        load_encoder(folder, device="cpu")


def task_file(folder: Path, kind: str, rows: list[dict[str, Any]], texts: list[str], label: str) -> Path:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "task.toml"
    data = json.dumps(str(folder / "rows.jsonl"))
    path.write_text(f'kind = "{kind}"\ntexts = {texts}\nlabel = "{label}"\n[data]\ntrain = {data}\n')
    return path


def with_more_tokens(folder: Path) -> Encoder:
    """A model of 45 tokens whose tokenizer knows one more."""
    encoder = tiny(vocab_size=len(WORDS), labels=["a", "b"])
    encoder.tokenizer = tokenizer((*WORDS, "zebra"))
    return load_encoder(save_checkpoint(encoder, folder), device="cpu")


def test_a_token_beyond_the_embeddings_is_named_with_its_row_and_both_sizes(tmp_path: Path) -> None:
    encoder = with_more_tokens(tmp_path / "model")
    rows = [{"text": t, "label": "ab"[i % 2]} for i, t in enumerate(["a cat", "the dog", "a zebra", "a tree"])]
    task = load_task(str(task_file(tmp_path, "text-classification", rows, ["text"], "label")))
    examples = task.examples("train")
    at = (
        next(i for i, row in enumerate(examples.rows) if row["text"] == "a zebra")
        if "a zebra" in [row["text"] for row in examples.rows]
        else None
    )
    if at is None:
        examples = task.examples("validation")
    says = rf"rows\.jsonl, line 3: the token 'zebra' .*embeddings for {len(WORDS)} tokens.*knows {len(WORDS) + 1}"
    with pytest.raises(UserError, match=says):
        task.features(examples, encoder)


def test_a_padding_token_beyond_the_embeddings_is_only_padding(tmp_path: Path) -> None:
    encoder = with_more_tokens(tmp_path / "model")
    encoder.tokenizer.pad_token = "zebra"
    rows = [{"text": t, "label": "ab"[i % 2]} for i, t in enumerate(["a cat", "the dog sat on the mat"] * 4)]
    task = load_task(str(task_file(tmp_path, "text-classification", rows, ["text"], "label")))
    examples = task.examples("train")
    features = task.features(examples, encoder)
    batch = task.batch(features, range(len(features)), encoder)
    assert int(batch.inputs["input_ids"].max()) < len(WORDS)


def test_token_types_beyond_the_models_are_named(tmp_path: Path) -> None:
    from asc_core.tasks import tokens

    encoder = tiny()
    ids, types = [torch.tensor([2, 5, 3]).numpy()], [torch.tensor([0, 0, 2]).numpy()]
    found = tokens.beyond(encoder, ids, types)
    assert found is not None
    assert "token type 2" in found[1]


@pytest.mark.parametrize("kind", ["text-classification", "regression"])
@pytest.mark.parametrize("head", ["embedding", "token-classification"])
def test_a_missing_head_is_to_be_fine_tuned(head: str, kind: str, tmp_path: Path) -> None:
    encoder = load_encoder(save_checkpoint(tiny(head=head), tmp_path / "model"), device="cpu")
    labels: list[Any] = ["a", "b"] if kind == "text-classification" else [0.5, 2]
    rows = [{"text": t, "label": labels[i % 2]} for i, t in enumerate(["a cat", "the dog"] * 4)]
    task = load_task(str(task_file(tmp_path, kind, rows, ["text"], "label")))
    with pytest.raises(UserError, match=r"no head for sequence-classification.*fine-tune it"):
        task.features(task.examples("train"), encoder)
    assert encoder_for_task(encoder.source, task, device="cpu").head == "sequence-classification"


def adapter(folder: Path, config: peft.PeftConfig, base: str, rows: int | None = None) -> Path:
    model = tiny().model
    if rows is not None:
        model.resize_token_embeddings(rows, mean_resizing=False)
    adapted = peft.get_peft_model(model, config)
    randomise(adapted)
    adapted.save_pretrained(folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": base}))
    return folder


def lora(**values: Any) -> peft.LoraConfig:
    return peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"], **values)


def test_an_adapter_brings_the_tokens_that_its_training_added(tmp_path: Path) -> None:
    base = save_checkpoint(tiny(head="embedding"), tmp_path / "base")
    folder = adapter(tmp_path / "more", lora(modules_to_save=["classifier", "word_embeddings"]), str(base), rows=70)
    encoder = load_encoder(folder, device="cpu")
    stored = load_file(folder / "adapter_model.safetensors")
    name = next(n for n in stored if n.endswith("word_embeddings.weight"))
    assert encoder.tokens == 70
    torch.testing.assert_close(encoder.model.get_input_embeddings().weight, stored[name], atol=0, rtol=0)


def test_an_adapter_that_changes_no_weights_is_refused_with_the_kinds_that_do(tmp_path: Path) -> None:
    base = save_checkpoint(tiny(head="embedding"), tmp_path / "base")
    config = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4)
    folder = adapter(tmp_path / "prompt", config, str(base))
    with pytest.raises(UserError, match=r"prompt tuning cannot be merged into weights; adapters that can: LoRA"):
        load_encoder(folder, device="cpu")


def test_an_adapter_of_another_width_names_a_weight_and_both_shapes(tmp_path: Path) -> None:
    base = save_checkpoint(tiny(head="embedding", hidden_size=32), tmp_path / "base")
    with pytest.raises(UserError, match=r"is 2 x 24 in the adapter, the encoder's is 2 x 32; .*--base"):
        load_encoder(adapter(tmp_path / "adapter", lora(), str(base)), device="cpu")


def test_an_adapters_base_lies_beside_it_or_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    base = save_checkpoint(tiny(head="embedding"), tmp_path / "base")
    folder = adapter(tmp_path / "adapter", lora(), "base")
    expected = logits(load_encoder(folder, device="cpu"), padded_batch())
    base.rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"names as its base 'base', which is neither.*name another with --base"):
        load_encoder(folder, device="cpu")
    found = load_encoder(folder, base=tmp_path / "moved", device="cpu")
    torch.testing.assert_close(logits(found, padded_batch()), expected, atol=0, rtol=0)
    with pytest.raises(UserError, match="is no adapter, so it has no base"):
        load_encoder(tmp_path / "moved", base=folder, device="cpu")


def test_an_adapter_with_a_weight_that_is_no_number_is_refused(tmp_path: Path) -> None:
    base = save_checkpoint(tiny(head="embedding"), tmp_path / "base")
    folder = adapter(tmp_path / "adapter", lora(), str(base))
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    next(t for n, t in weights.items() if "lora_A" in n)[0] = math.nan
    save_file(weights, path)
    with pytest.raises(UserError, match="holds NaN or infinity"):
        load_encoder(folder, device="cpu")


def test_a_mistyped_folder_does_not_ask_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> bool:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(hub, "reachable", refuse)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "smaller").mkdir(parents=True)
    for name in ("models/smalller", "./smaller", "models/v1/smaller", "~/nowhere", "two words"):
        with pytest.raises(UserError, match="is not a folder with a checkpoint"):
            load_encoder(name, device="cpu")
    with pytest.raises(UserError, match=r"Did you mean models/smaller\?"):
        load_encoder("models/smalller", device="cpu")


def test_an_id_is_looked_for_on_this_disk_alone_where_the_hub_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def snapshot(source: str, **options: Any) -> str:
        asked.update(options, source=source)
        return str(folder)

    encoder = tiny()
    folder = save_checkpoint(encoder, tmp_path / "kept")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "reachable", lambda address: False)
    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    found = load_encoder("somebody/something", device="cpu")
    assert asked["source"] == found.source == "somebody/something"
    assert asked["local_files_only"] is True
    torch.testing.assert_close(logits(found, padded_batch()), logits(encoder, padded_batch()), atol=0, rtol=0)


def test_advice_to_programmers_does_not_reach_a_user() -> None:
    said = (
        "Weights do not fit. You set `ignore_mismatched_sizes` to `False`, thus raising an error. "
        "For details look at the above report!"
    )
    assert reason(RuntimeError(said)) == "Weights do not fit"
    assert reason(RuntimeError("For details look at the above report!")) == "the library says no more than RuntimeError"
    assert reason(ImportError("Please pip install bitsandbytes.")) == "the library says no more than ImportError"
    listed = RuntimeError("Error(s) in loading state_dict for X:\n\tsize mismatch for a.weight.")
    assert reason(listed) == "Error(s) in loading state_dict for X: size mismatch for a.weight"


@pytest.mark.parametrize("architecture", ["albert", "bert"])
def test_a_second_text_has_its_types_whatever_the_tokenizer_lists(architecture: str, tmp_path: Path) -> None:
    encoder = tiny(architecture, labels=["a", "b"])
    assert "token_type_ids" not in tokenizer().model_input_names
    rows = [{"a": f"a {word}", "b": "the dog sat", "label": "ab"[i % 2]} for i, word in enumerate(WORDS[7:19])]
    task = load_task(str(task_file(tmp_path, "pair-classification", rows, ["a", "b"], "label")))
    features = task.features(task.examples("train"), encoder)
    assert features.token_types is not None
    assert features.token_types[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_tiny_models_have_what_is_taken_from_them() -> None:
    """The weights that the tests above rename and damage are there."""
    names = set(tiny().model.state_dict())
    assert {"bert.encoder.layer.1.output.dense.bias", "classifier.weight"} <= names
    assert isinstance(tiny().model.get_input_embeddings(), nn.Embedding)


@pytest.mark.parametrize(
    ("architecture", "values", "says"),
    {
        "inner layers": ("albert", {"inner_group_num": 10**18}, "inner_group_num .* is a number of 19 digits"),
        "groups": ("albert", {"num_hidden_groups": 10**12}, "num_hidden_groups"),
        "layers": ("bert", {"num_hidden_layers": 10**9}, "num_hidden_layers .* is 1,000,000,000, more than the 1,024"),
        "DistilBERT's layers": ("distilbert", {"n_layers": 10**9}, "n_layers"),
        "layers times inner ones": ("albert", {"num_hidden_layers": 999, "inner_group_num": 9}, "is 8,991, more than"),
        "classes": ("bert", {"num_labels": 10**12}, "num_labels"),
        "positions": ("bert", {"max_position_embeddings": 10**13}, "max_position_embeddings"),
        "a width without end": ("bert", {"intermediate_size": 10**400}, "is a number of 401 digits"),
        "a float": ("bert", {"intermediate_size": 1e30}, "is a number of 31 digits"),
        "a width beyond the file": ("bert", {"intermediate_size": 10**7}, r"files hold \d.*correct its config\.json"),
        "tokens beyond the file": ("bert", {"vocab_size": 10**7}, r"word_embeddings\.weight alone would have"),
    }.values(),
)
def test_sizes_that_no_encoder_has_are_refused_before_anything_is_built(
    architecture: str, values: dict[str, Any], says: str, tmp_path: Path
) -> None:
    folder = edit(save_checkpoint(tiny(architecture), tmp_path / "model"), **values)
    with pytest.raises(UserError, match=says) as caught:
        load_encoder(folder, device="cpu")
    assert len(str(caught.value)) < 500


def test_numbers_that_are_no_sizes_may_be_large(tmp_path: Path) -> None:
    encoder = tiny()
    folder = save_checkpoint(encoder, tmp_path / "model")
    same(edit(folder, seed=10**18, max_length=10**30, task_specific_params={"num_labels": 10**12}), encoder)
