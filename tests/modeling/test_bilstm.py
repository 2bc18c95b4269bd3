"""A BiLSTM is what torch's own is, whatever stands in place of its matrices, and comes back as it was stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from asc_core import load_encoder, modeling
from asc_core.encoder import HEADS, Encoder
from asc_core.errors import UserError
from asc_core.plan.encoder_cost import cost_model
from asc_core.train.folder import save_checkpoint
from asc_core.values import Plan
from asc_core.vocabulary.word_tokenizer import word_tokenizer
from tests.tiny import WORDS, logits, randomise

STRUCTURES: dict[str, Any] = {
    "as it is": lambda encoder: encoder,
    "factored": lambda encoder: factored(encoder),
    "int8": lambda encoder: coded(encoder),
    "factored, then int8": lambda encoder: coded(factored(encoder)),
}


def bilstm(head: str = "intent-slots", width: int = 12, hidden: int = 8, layers: int = 2, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    tokenizer = word_tokenizer(WORDS[5:])
    config: Any = modeling.compact_class("bilstm", "AutoConfig")(
        vocab_size=len(tokenizer), embedding_size=width, hidden_size=2 * hidden, num_hidden_layers=layers
    )
    config.asc = dict(modeling.NO_STRUCTURES)
    config.id2label, config.slot_id2label = {0: "a", 1: "b", 2: "c"}, {"0": "O", "1": "B-x", "2": "I-x"}
    model = modeling.compact_class("bilstm", HEADS[head])(config)
    randomise(model)
    return Encoder(model, tokenizer, "tiny-bilstm")


def inputs(seed: int = 0, lengths: tuple[int, ...] = (12, 7, 1, 9)) -> dict[str, torch.Tensor]:
    ids = torch.randint(3, 30, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(seed))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def factored(encoder: Encoder, rank: int = 3) -> Encoder:
    rows = modeling.factorable(encoder.model)
    tensors = {}
    names = {id(module): name for name, module in encoder.model.named_modules()}
    for row in rows:
        for module in row.values():
            left, values, right = torch.linalg.svd(modeling.matrix(module).detach(), full_matrices=False)
            name = names[id(module)]
            tensors[f"{name}.first.weight"] = right[:rank] * values[:rank, None]
            tensors[f"{name}.second.weight"] = left[:, :rank]
            offset = modeling.bias(module)
            if offset is not None:
                tensors[f"{name}.second.bias"] = offset.detach()
    return encoder.with_structure({"kind": "factor", "ranks": [dict.fromkeys(row, rank) for row in rows]}, tensors)


def coded(encoder: Encoder) -> Encoder:
    names = list(modeling.quantizable(encoder.model))
    entry = {"kind": "quantize", "bits": 8, "matrices": names, "activations": "none"}
    return encoder.with_structure(entry, modeling.quantized_tensors(encoder.model, names))


def as_torch_has_it(encoder: Encoder) -> nn.LSTM:
    """With the dense values of the encoder's matrices."""
    base: Any = encoder.model.base_model
    width = base.config.hidden_size // 2
    made = nn.LSTM(base.config.embedding_size, width, len(base.layers), bidirectional=True, batch_first=True)
    with torch.no_grad():
        for number, layer in enumerate(base.layers):
            for reading, end in ((layer.rightward, ""), (layer.leftward, "_reverse")):
                for name, values in (
                    ("weight_ih", modeling.matrix(reading.inputs)),
                    ("weight_hh", modeling.matrix(reading.states)),
                    ("bias_ih", modeling.bias(reading.inputs)),
                    ("bias_hh", torch.zeros(4 * width)),
                ):
                    getattr(made, f"{name}_l{number}{end}").copy_(values)
    return made


@given(
    width=st.integers(1, 9),
    hidden=st.integers(1, 7),
    layers=st.integers(1, 3),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
)
def test_it_computes_what_torchs_own_does_on_packed_texts(
    width: int, hidden: int, layers: int, lengths: list[int]
) -> None:
    encoder = bilstm("embedding", width, hidden, layers)
    asked = inputs(lengths=tuple(lengths))
    with torch.inference_mode():
        said = encoder.model(**asked).last_hidden_state
        packed = nn.utils.rnn.pack_padded_sequence(
            encoder.model.get_input_embeddings()(asked["input_ids"]), torch.tensor(lengths), True, False
        )
        wanted = nn.utils.rnn.pad_packed_sequence(as_torch_has_it(encoder)(packed)[0], True)[0]
    real = asked["attention_mask"].bool()
    assert torch.allclose(said[real], wanted[real], atol=1e-5)


@pytest.mark.parametrize("made", STRUCTURES.values(), ids=STRUCTURES)
def test_matrices_of_every_kind_are_multiplied_as_their_dense_values(made: Any) -> None:
    encoder = made(bilstm("embedding"))
    asked = inputs(lengths=(6,))
    with torch.inference_mode():
        words = encoder.model.get_input_embeddings()(asked["input_ids"])
        wanted = as_torch_has_it(encoder)(words)[0]
        assert torch.allclose(encoder.model(**asked).last_hidden_state, wanted, atol=1e-5)


@pytest.mark.parametrize("head", ["intent-slots", "sequence-classification", "token-classification"])
def test_padding_changes_no_answer(head: str) -> None:
    encoder, asked = bilstm(head), inputs()
    for row in range(len(asked["input_ids"])):
        alone = {name: one[row : row + 1, : int(asked["attention_mask"][row].sum())] for name, one in asked.items()}
        beside = {name: one[row : row + 1] for name, one in asked.items()}
        assert torch.allclose(logits(encoder, alone), logits(encoder, beside), atol=1e-5)


@pytest.mark.parametrize("made", STRUCTURES.values(), ids=STRUCTURES)
@pytest.mark.parametrize("head", ["intent-slots", "sequence-classification", "token-classification", "embedding"])
def test_it_comes_back_as_it_was_stored_with_the_bytes_that_were_counted(head: str, made: Any, tmp_path: Path) -> None:
    encoder = made(bilstm(head))
    save_checkpoint(encoder, tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    again = load_encoder(tmp_path, device="cpu")
    assert (again.weights, again.head, again.blueprint) == (encoder.weights, encoder.head, encoder.blueprint)
    assert (again.labels, again.slot_labels) == (encoder.labels, encoder.slot_labels)
    assert torch.equal(logits(again, inputs()), logits(encoder, inputs()))
    stored = load_file(tmp_path / "model.safetensors")
    counted = encoder.cost(np.asarray([3, 5]))
    assert counted.bytes == sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
    assert counted.parameters == sum(parameter.numel() for parameter in again.model.parameters())


@pytest.mark.parametrize("made", STRUCTURES.values(), ids=STRUCTURES)
def test_its_cost_is_that_of_its_matrices_at_every_word_and_is_forecast_so(made: Any) -> None:
    encoder, lengths = made(bilstm()), np.asarray([3, 5, 4])
    matrices = [module for row in encoder._rows for module in modeling.matrices(
        modeling.ARCHITECTURES["bilstm"], row).values()]  # fmt: skip
    counted, forecast = encoder.cost(lengths), cost_model(encoder, lengths).dense
    assert counted.flops == 2 * 4 * sum(modeling.count(module).macs for module in matrices)
    for name in ("flops", "parameters", "encoder_parameters", "bytes"):
        assert getattr(forecast, name) == pytest.approx(getattr(counted, name))


def test_two_of_other_depth_or_width_are_no_model_of_one_blueprint() -> None:
    made = {bilstm(width=w, layers=n).blueprint for w in (6, 12) for n in (1, 2)}
    assert len(made) == 4
    assert bilstm(seed=1).blueprint == bilstm(seed=2).blueprint


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "cut", "layers": [0, 1], "heads": [[], []], "neurons": [0, 0]},
        {"kind": "share", "layers": [0, 0]},
        {"kind": "tokens", "keep": [1.0, 0.5], "safe": [], "by": "attention"},
        {"kind": "exits", "layers": [0], "sure": 0.9, "leaving": [0.5]},
        {"kind": "differences", "ranks": [{}, {}]},
    ],
    ids=lambda entry: entry["kind"],
)
def test_structures_of_transformer_layers_are_refused_by_the_model_and_in_a_file(
    entry: dict[str, Any], tmp_path: Path
) -> None:
    encoder = bilstm("sequence-classification")
    with pytest.raises(UserError, match="Transformer layers"):
        encoder.with_structure(entry)
    encoder.model.config.asc = {"format": 2, "dense": {}, "structures": [entry]}
    save = encoder.model.save_pretrained
    save(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="Transformer layers"):
        load_encoder(tmp_path, device="cpu")


def test_a_plan_cannot_cut_it() -> None:
    encoder = bilstm()
    with pytest.raises(UserError, match="cannot be cut"):
        encoder.cut(Plan.full(encoder.shape))


@pytest.mark.parametrize(
    ("name", "value"), [("hidden_size", 7), ("hidden_size", 0), ("num_hidden_layers", 0), ("unknown_rate", 1)]
)
def test_a_configuration_that_makes_no_model_is_refused_in_a_sentence(name: str, value: int, tmp_path: Path) -> None:
    encoder = bilstm("sequence-classification")
    save_checkpoint(encoder, tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    setattr(encoder.model.config, name, value)
    config.write_text(encoder.model.config.to_json_string())
    with pytest.raises(UserError, match=r"two directions|do not fit|no share of the words"):
        load_encoder(tmp_path, device="cpu")


def test_words_are_taken_for_unknown_ones_in_training_alone() -> None:
    encoder = bilstm("embedding")
    model: Any = encoder.model
    model.config.unknown_rate = 1.0  # which no configuration of a file may say
    seen: list[torch.Tensor] = []
    model.words.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    asked = inputs()
    asked["input_ids"][0, 2] = model.config.sep_token_id
    model(**asked)
    model.train()(**asked)
    mask = asked["attention_mask"].bool()
    assert torch.equal(seen[0], asked["input_ids"])
    assert seen[1][0, 2] == model.config.sep_token_id
    assert torch.equal(seen[1][~mask], asked["input_ids"][~mask])
    mask[0, 2] = False
    assert (seen[1][mask] == model.config.unk_token_id).all()
