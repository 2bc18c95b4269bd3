"""Embedding models: a text's vector is made as the folder of its model says, and an export says it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from asc_core.encoder import Encoder
from asc_core.errors import UserError
from asc_core.export import export
from asc_core.loading import load_encoder
from asc_core.sentences import POOLINGS, Sentences
from asc_core.tasks import load_task
from asc_core.train.folder import save_checkpoint as save_trained
from tests.tiny import save_checkpoint, tiny

TEXTS = [
    ("a cat sat", "the dog ran on the mat"),
    ("who is in paris", "a big red tree ?"),
    ("music", "bad weather in rome"),
]
TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}


def sentence_folder(
    folder: Path, pooling: dict[str, Any], modules: tuple[str, ...] = (), settings: dict[str, Any] | None = None
) -> Path:
    """As sentence-transformers writes it. modules: kinds behind the pooling, whose folders the test fills."""
    save_checkpoint(tiny(head="embedding"), folder)
    kinds = ("Pooling", *modules)
    listed = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds, 1)
    ]
    (folder / "modules.json").write_text(json.dumps([TRANSFORMER, *listed]))
    for i, kind in enumerate(kinds, 1):
        (folder / f"{i}_{kind}").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 24, **pooling}))
    if settings is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
    return folder


def task(folder: Path) -> Any:
    rows = [{"a": a, "b": b, "score": i} for i, (a, b) in enumerate(TEXTS)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "task.toml").write_text(
        'kind = "sentence-similarity"\ntexts = ["a", "b"]\nlabel = "score"\n[data]\n'
        f"train = {json.dumps(str(folder / 'rows.jsonl'))}\ntest = {json.dumps(str(folder / 'rows.jsonl'))}\n"
    )
    return load_task(str(folder / "task.toml"))


def cosines(encoder: Encoder, folder: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """What the task says of each pair, in one padded batch, and its notes."""
    similarity = task(folder)
    features = similarity.features(similarity.examples("test"), encoder)
    batch = similarity.batch(features, range(len(TEXTS)), encoder)
    with torch.inference_mode():
        said = similarity.predict(encoder.forward(batch.inputs), batch)
    return np.asarray([float(one[0]) for one in said]), features.notes


def states(encoder: Encoder, text: str, limit: int = 64) -> torch.Tensor:
    """(tokens, d) of one text alone, without padding."""
    ids = encoder.tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        return encoder.model(input_ids=ids).last_hidden_state[0]


def by_hand(encoder: Encoder, vector: Any, **options: Any) -> np.ndarray:
    """Cosines of vectors made one text at a time. vector: of the states of one text."""
    pairs = [[vector(states(encoder, text, **options)) for text in pair] for pair in TEXTS]
    return np.asarray([float(torch.cosine_similarity(a, b, dim=0)) for a, b in pairs])


HAND = {
    "cls": lambda h: h[0],
    "max": lambda h: h.max(0).values,
    "mean": lambda h: h.mean(0),
    "mean_sqrt_len_tokens": lambda h: h.sum(0) / len(h) ** 0.5,
    "weightedmean": lambda h: sum((i + 1) * row for i, row in enumerate(h)) / sum(range(1, len(h) + 1)),
    "lasttoken": lambda h: h[-1],
}
FLAGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}


def test_every_pooling_is_checked() -> None:
    assert set(HAND) == set(FLAGS) == set(POOLINGS)


@pytest.mark.parametrize("mode", HAND)
@pytest.mark.parametrize("as_flag", [True, False])
def test_pooling_is_what_the_folder_says(mode: str, as_flag: bool, tmp_path: Path) -> None:
    flags = dict.fromkeys(FLAGS.values(), False) | {FLAGS[mode]: True}
    encoder = load_encoder(
        sentence_folder(tmp_path / "model", flags if as_flag else {"pooling_mode": mode}), device="cpu"
    )
    found, notes = cosines(encoder, tmp_path)
    np.testing.assert_allclose(found, by_hand(encoder, HAND[mode]), atol=1e-5)
    assert not notes


def test_several_poolings_stand_next_to_each_other(tmp_path: Path) -> None:
    pooling = {FLAGS["cls"]: True, FLAGS["mean"]: True}
    encoder = load_encoder(sentence_folder(tmp_path / "model", pooling), device="cpu")
    expected = by_hand(encoder, lambda h: torch.cat([h[0], h.mean(0)]))
    np.testing.assert_allclose(cosines(encoder, tmp_path)[0], expected, atol=1e-5)


def test_modules_behind_the_pooling_are_computed(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", {FLAGS["cls"]: True}, ("Dense", "LayerNorm", "Normalize"))
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(7, 24, generator=generator) / 5, torch.randn(7, generator=generator)
    scale, shift = torch.rand(7, generator=generator), torch.randn(7, generator=generator)
    dense = {"in_features": 24, "out_features": 7, "activation_function": "torch.nn.modules.activation.Tanh"}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(dense))
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "2_Dense" / "model.safetensors")
    save_file({"norm.weight": scale, "norm.bias": shift}, folder / "3_LayerNorm" / "model.safetensors")

    def vector(h: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(weight @ h[0] + bias)
        return (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt() * scale + shift

    encoder = load_encoder(folder, device="cpu")
    np.testing.assert_allclose(cosines(encoder, tmp_path)[0], by_hand(encoder, vector), atol=1e-5)


@pytest.mark.parametrize("pooled", [True, False])
def test_the_default_prompt_stands_before_each_text(pooled: bool, tmp_path: Path) -> None:
    settings = {"prompts": {"query": "who is where : ", "document": ""}, "default_prompt_name": "query"}
    folder = sentence_folder(tmp_path / "model", {FLAGS["mean"]: True, "include_prompt": pooled}, settings=settings)
    encoder = load_encoder(folder, device="cpu")
    skip = 0 if pooled else 1 + len(encoder.tokenizer("who is where : ", add_special_tokens=False)["input_ids"])
    pairs = [[states(encoder, "who is where : " + text)[skip:].mean(0) for text in pair] for pair in TEXTS]
    expected = [float(torch.cosine_similarity(a, b, dim=0)) for a, b in pairs]
    np.testing.assert_allclose(cosines(encoder, tmp_path)[0], expected, atol=1e-5)


def test_prompts_without_a_default_and_other_similarities_are_said(tmp_path: Path) -> None:
    settings = {"prompts": {"query": "who : "}, "default_prompt_name": None, "similarity_fn_name": "dot"}
    folder = sentence_folder(tmp_path / "model", {FLAGS["cls"]: True}, settings=settings)
    encoder = load_encoder(folder, device="cpu")
    found, notes = cosines(encoder, tmp_path)
    np.testing.assert_allclose(found, by_hand(encoder, HAND["cls"]), atol=1e-5)
    assert "prompts (query) and none by default" in notes[0]
    assert "by dot" in notes[1]


def test_the_folders_own_length_cuts_texts(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", {FLAGS["lasttoken"]: True})
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 5, "do_lower_case": false}')
    encoder = load_encoder(folder, device="cpu")
    assert encoder.max_length == 5
    expected = by_hand(encoder, lambda h: h[-1], limit=5)
    np.testing.assert_allclose(cosines(encoder, tmp_path)[0], expected, atol=1e-5)


def test_without_modules_the_mean_is_taken_and_said(tmp_path: Path) -> None:
    encoder = load_encoder(save_checkpoint(tiny(head="embedding"), tmp_path / "model"), device="cpu")
    found, notes = cosines(encoder, tmp_path)
    np.testing.assert_allclose(found, by_hand(encoder, HAND["mean"]), atol=1e-5)
    assert "no modules.json" in notes[0]
    assert encoder.notes


def test_an_encoder_in_a_folder_of_its_own_is_found(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", {FLAGS["cls"]: True})
    inner = folder / "0_Transformer"
    inner.mkdir()
    for path in folder.iterdir():
        if path.is_file() and path.name != "modules.json":
            path.rename(inner / path.name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))
    encoder = load_encoder(folder, device="cpu")
    expected = by_hand(encoder, HAND["cls"])
    np.testing.assert_allclose(cosines(encoder, tmp_path)[0], expected, atol=1e-5)
    save_trained(encoder, tmp_path / "again")
    encoder.tokenizer.save_pretrained(tmp_path / "again")
    again = load_encoder(tmp_path / "again", device="cpu")
    np.testing.assert_allclose(cosines(again, tmp_path)[0], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["compact", "dense"])
def test_an_export_says_it_again(format: str, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "model", {FLAGS["max"]: True}, ("Normalize",))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 6}')
    encoder = load_encoder(folder, device="cpu")
    export(encoder, tmp_path / "out", format, packing="float32")
    for name in ("1_Pooling/config.json", "sentence_bert_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes()
    written = json.loads((tmp_path / "out" / "modules.json").read_text())
    assert [m["path"] for m in written] == ["", "1_Pooling", "2_Normalize"]
    again = load_encoder(tmp_path / "out", device="cpu")
    np.testing.assert_allclose(cosines(again, tmp_path)[0], cosines(encoder, tmp_path)[0], atol=1e-6)


def test_what_is_derived_from_an_encoder_makes_vectors_as_it_does(tmp_path: Path) -> None:
    encoder = load_encoder(sentence_folder(tmp_path / "model", {FLAGS["cls"]: True}), device="cpu")
    for derived in (encoder.copy(), encoder.packed("float16"), encoder.with_model(encoder.model)):
        assert derived.sentences is encoder.sentences
    mean = load_encoder(save_checkpoint(tiny(head="embedding"), tmp_path / "mean"), device="cpu")
    assert mean.weights != encoder.weights  # results of one are not those of the other
    assert mean.shape == encoder.shape


BAD = {
    "modules that are no list": ("modules.json", "{}", "not a list of modules"),
    "modules cut off": ("modules.json", '[{"type":', "cannot be read"),
    "a module that is unknown": (
        "modules.json",
        json.dumps([TRANSFORMER, {"path": "1_Pooling", "type": "sentence_transformers.models.LSTM"}]),
        "names a module LSTM, which is not supported",
    ),
    "a path that leads away": (
        "modules.json",
        json.dumps([TRANSFORMER, {"path": "../other", "type": "sentence_transformers.models.Pooling"}]),
        "is not in this folder",
    ),
    "a pooling that is unknown": ("1_Pooling/config.json", '{"pooling_mode": "median"}', "the pooling 'median'"),
    "a default prompt that is not there": (
        "config_sentence_transformers.json",
        '{"prompts": {}, "default_prompt_name": "query"}',
        "none of its prompts",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_understood_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    name, content, says = BAD[case]
    folder = sentence_folder(tmp_path / "model", {FLAGS["cls"]: True})
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=says) as caught:
        load_encoder(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_masked_first_token_is_not_the_first() -> None:
    hidden = torch.arange(6.0).reshape(1, 3, 2)
    mask = torch.tensor([[1, 1, 0]])
    assert Sentences(("cls",)).embed(hidden, mask, skip=1).tolist() == [[2.0, 3.0]]
    assert Sentences(("lasttoken",)).embed(hidden, mask).tolist() == [[2.0, 3.0]]
    assert Sentences(("max",)).embed(hidden, mask).tolist() == [[2.0, 3.0]]
